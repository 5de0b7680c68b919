"""Which paid orders another system must look at first: conditions as data, read from TOML.

E.g. an amount of 200 yuan or more to 江浙沪 asks the ERP. The first rule that fits counts; a rule
has a deadline and says what then: go on (`accept`) or wait for a person (`park`). Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cloud_core.domain.rows import Order
from protocols.errors import Rejected

RULES_MAX = 50
DEADLINE_S_MAX = 3_600
FALLBACKS = ("accept", "park")
REGIONS: Mapping[str, tuple[str, ...]] = {
    "江浙沪": ("32", "33", "31"),
    "京津冀": ("11", "12", "13"),
}
"""Names for groups of provinces: the first two digits of their official codes (GB/T 2260)."""
_FIELDS = {"name", "min_amount_fen", "regions", "channels", "deadline_s", "fallback"}
_NAME_CHARS_MAX = 32


@dataclass(frozen=True, slots=True)
class OutsideRule:
    """One condition; empty `provinces` or `channels` mean all."""

    name: str
    min_amount_fen: int = 0
    provinces: frozenset[str] = frozenset()
    """First two digits of the province codes."""
    channels: frozenset[str] = frozenset()
    deadline_s: int = 30
    fallback: str = "accept"


def rule_for(rules: Iterable[OutsideRule], order: Order) -> OutsideRule | None:
    """The first rule that wants to see the order; None when it may go on at once."""
    for rule in rules:
        if order.amount_fen < rule.min_amount_fen:
            continue
        if rule.provinces and order.province[:2] not in rule.provinces:
            continue
        if rule.channels and order.channel not in rule.channels:
            continue
        return rule
    return None


def read_rules(document: Mapping[str, Any]) -> tuple[OutsideRule, ...]:
    """The rules of a parsed TOML document: its list `outside`.

    Raises `Rejected("outside_rule_broken")` naming the field, e.g. `outside[0].fallback`.
    """
    found = document.get("outside", [])
    if not isinstance(found, list) or len(found) > RULES_MAX:
        raise _broken(
            "outside", f"须为最多 {RULES_MAX} 条规则的列表", f"a list of {RULES_MAX} at most"
        )
    rules = [_rule(given, f"outside[{n}]") for n, given in enumerate(found)]
    names = [rule.name for rule in rules]
    for position, name in enumerate(names):
        if name in names[:position]:
            raise _broken(
                f"outside[{position}].name", f"规则名 {name} 重复", f"{name} stands twice"
            )
    return tuple(rules)


def _rule(given: Any, at: str) -> OutsideRule:
    if not isinstance(given, dict):
        raise _broken(at, "须为一张表", "a table is needed")
    for key in given:
        if key not in _FIELDS:
            raise _broken(f"{at}.{key}", f"没有字段 {key}", f"no field {key}")
    name = given.get("name")
    if not isinstance(name, str) or not 1 <= len(name) <= _NAME_CHARS_MAX or not name.isascii():
        raise _broken(f"{at}.name", "名称须为 1 到 32 个 ASCII 字符", "1 to 32 ASCII characters")
    if given.get("fallback") not in FALLBACKS:
        raise _broken(f"{at}.fallback", "须为 accept 或 park", "accept or park")
    return OutsideRule(
        name,
        _number(given, "min_amount_fen", 0, 10**12, 0, at),
        frozenset(_provinces(_texts(given, "regions", at), f"{at}.regions")),
        frozenset(_texts(given, "channels", at)),
        _number(given, "deadline_s", 1, DEADLINE_S_MAX, 30, at),
        given["fallback"],
    )


def _number(given: Mapping[str, Any], key: str, low: int, high: int, usual: int, at: str) -> int:
    value = given.get(key, usual)
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise _broken(f"{at}.{key}", f"须为 {low} 到 {high} 的整数", f"from {low} to {high}")
    return value


def _texts(given: Mapping[str, Any], key: str, at: str) -> list[str]:
    value = given.get(key, [])
    if not isinstance(value, list) or not all(isinstance(part, str) for part in value):
        raise _broken(f"{at}.{key}", "须为文字列表", "a list of texts")
    return value


def _provinces(regions: Sequence[str], at: str) -> list[str]:
    found: list[str] = []
    for region in regions:
        if region in REGIONS:
            found += REGIONS[region]
        elif region.isdigit() and len(region) in (2, 6) and region[2:] in ("", "0000"):
            found.append(region[:2])
        else:
            known = "、".join(REGIONS)
            raise _broken(at, f"没有地区 {region[:24]}，可用：{known} 或省级代码", "no such region")
    return found


def _broken(field: str, zh: str, en: str) -> Rejected:
    return Rejected("outside_rule_broken", f"外部审核规则：{zh}", en, field=field)
