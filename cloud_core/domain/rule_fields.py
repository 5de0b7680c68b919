"""The fields of a rule file, one reader each: TOML value -> value, or a refusal by code.

Known names (warehouses, carriers…) are checked by `rule_checks`; this module must not know them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

from cloud_core.domain.division_names import DivisionNames
from cloud_core.domain.rule_values import FIRST_IN_QUEUE, RANKS
from protocols.errors import Rejected

MAX_LIST = 1_000
MAX_WORD_CHARS = 64
MAX_BROADCAST = 10
MAX_ASK_WAIT_MS = 3_600_000
MAX_PARCELS = 5
MAX_GIFTS = 20
_MAX_NUMBER = 1_000_000_000
_CHINA = timezone(timedelta(hours=8))
_SYSTEM = re.compile(r"[a-z0-9][a-z0-9-]{0,31}")
_HOURS = re.compile(r"([01]\d|2[0-3]):([0-5]\d)-([01]\d|2[0-4]):([0-5]\d)")
_WEEKDAYS = {f"{start}{day}": n for start in ("周", "星期")
             for n, day in enumerate("一二三四五六日", 1)} | {"周天": 7, "星期天": 7}  # fmt: skip
Read = Callable[[Any, DivisionNames], Any]
"""(TOML value, names of places) -> value. Raises `Rejected`."""


def bad(code: str, zh: str, en: str) -> Rejected:
    """A refusal of one value; the caller adds rule and field."""
    return Rejected(code, zh, en)


def _type(value: Any, kind: type | tuple[type, ...], zh: str, en: str) -> None:
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise bad("rule_type", f"类型不对，应为{zh}", f"wrong type, needs {en}")


def word(value: Any, _names: DivisionNames) -> str:
    """A word of 1..64 characters. Raises `Rejected` `rule_type`, `rule_word`."""
    _type(value, str, "文字", "a text")
    clean = str(value).strip()
    if not 1 <= len(clean) <= MAX_WORD_CHARS or not clean.isprintable() or "|" in clean:
        raise bad("rule_word", f"应为 1 到 {MAX_WORD_CHARS} 个字，不含 |",
                  f"needs 1 to {MAX_WORD_CHARS} printable characters without |")  # fmt: skip
    return clean


def words(value: Any, names: DivisionNames) -> tuple[str, ...]:
    """A list of words, each once. Raises `Rejected` `rule_type`, `rule_list_empty`…"""
    _type(value, list, "列表", "a list")
    if not 1 <= len(value) <= MAX_LIST:
        raise bad("rule_list_empty" if not value else "rule_list_long",
                  f"列表应有 1 到 {MAX_LIST} 项", f"a list has 1 to {MAX_LIST} items")  # fmt: skip
    return tuple(dict.fromkeys(word(item, names) for item in value))


def system(value: Any, _names: DivisionNames) -> str:
    """The short name of another system, as it stands in headers. Raises as `word`."""
    _type(value, str, "文字", "a text")
    if not _SYSTEM.fullmatch(str(value)):
        raise bad("rule_word", "应为 1 到 32 个小写字母、数字或连字符",
                  "needs 1 to 32 lower-case letters, digits or hyphens")  # fmt: skip
    return str(value)


def fallback(value: Any, _names: DivisionNames) -> str:
    """`accept` or `park`. Raises `Rejected` `rule_type`, `rule_word`."""
    _type(value, str, "文字", "a text")
    if value not in ("accept", "park"):
        raise bad("rule_word", "应为 accept 或 park", "needs accept or park")
    return str(value)


def word_set(value: Any, names: DivisionNames) -> frozenset[str]:
    """As `words`, without order."""
    return frozenset(words(value, names))


def places(value: Any, names: DivisionNames) -> tuple[str, ...]:
    """Names or codes of divisions as prefixes. Raises `Rejected("division_unknown_rule")`."""
    found: set[str] = set()
    for text in words(value, names):
        prefixes = names.prefixes(text)
        if not prefixes:
            raise bad("division_unknown_rule", f"没有这个地区：{text}", f"no such place: {text}")
        found.update(prefixes)
    return tuple(sorted(found))


def scaled(decimals: int) -> Read:
    """A number from 0 with up to `decimals` places, as a whole of the smallest unit."""

    def read(value: Any, _names: DivisionNames) -> int:
        _type(value, (int, Decimal), "数字", "a number")
        number = Decimal(value)
        if not number.is_finite() or not 0 <= number <= _MAX_NUMBER:
            raise bad("rule_range", f"应在 0 到 {_MAX_NUMBER} 之间", f"0 to {_MAX_NUMBER}")
        small = number.scaleb(decimals)
        if small != small.to_integral_value():
            raise bad("rule_range", f"小数最多 {decimals} 位", f"at most {decimals} decimals")
        return int(small)

    return read


def whole(low: int, high: int) -> Read:
    """A whole number from `low` to `high`. Raises `Rejected` `rule_type`, `rule_range`."""

    def read(value: Any, _names: DivisionNames) -> int:
        _type(value, int, "整数", "a whole number")
        if not low <= value <= high:
            raise bad("rule_range", f"应在 {low} 到 {high} 之间", f"must be {low} to {high}")
        return int(value)

    return read


def priority(value: Any, names: DivisionNames) -> int:
    """`"first"`, or 0..1000. Raises `Rejected` `rule_type`, `rule_range`."""
    return FIRST_IN_QUEUE if value == "first" else int(whole(0, FIRST_IN_QUEUE)(value, names))


def yes(value: Any, _names: DivisionNames) -> bool:
    """true or false. Raises `Rejected("rule_type")`."""
    _type(value, bool, " true 或 false", "true or false")
    return bool(value)


def moment(value: Any, _names: DivisionNames) -> int:
    """A TOML date or date and time, in China unless it says otherwise; ms UTC."""
    _type(value, date, "日期时间，如 2026-11-11T00:00:00", "a date and time")
    full = value
    if not isinstance(value, datetime):
        full = datetime(value.year, value.month, value.day, tzinfo=_CHINA)
    if full.tzinfo is None:
        full = full.replace(tzinfo=_CHINA)
    return int(full.timestamp() * 1000)


def hours(value: Any, _names: DivisionNames) -> tuple[int, int]:
    """`20:00-23:59` as minutes of the day; may pass midnight. Raises `Rejected`."""
    _type(value, str, "文字，如 09:00-18:00", "a text such as 09:00-18:00")
    found = _HOURS.fullmatch(value)
    if found is None:
        raise bad("rule_hours", "格式为 09:00-18:00", "write it as 09:00-18:00")
    start, end = (int(found[n]) * 60 + int(found[n + 1]) for n in (1, 3))
    if start == end or end > 1440:
        raise bad("rule_unreachable", "时段为空，规则永远不会生效", "an empty span never matches")
    return start, end


def weekdays(value: Any, _names: DivisionNames) -> frozenset[int]:
    """周一…周日, or 1..7 from Monday. Raises `Rejected` `rule_type`, `rule_weekday`…"""
    _type(value, list, "列表", "a list")
    found: set[Any] = {
        _WEEKDAYS.get(item, 0) if isinstance(item, str) else item
        for item in value
        if isinstance(item, str | int)
    }
    if not value:
        raise bad("rule_list_empty", "列表不能为空", "the list is empty")
    if not found or not all(type(day) is int and 1 <= day <= 7 for day in found):
        raise bad("rule_weekday", "只能是周一到周日，或 1 到 7", "周一…周日, or 1 to 7")
    return frozenset(found)


def rank_order(value: Any, names: DivisionNames) -> tuple[str, ...]:
    """Some of the ranks, each once. Raises `Rejected("rule_rank")`."""
    found = words(value, names)
    if len(found) != len(value) or not set(found) <= set(RANKS):
        raise bad("rule_rank", f"只能是 {'、'.join(RANKS)}，各一次", f"each of {RANKS} once")
    return found


def gifts(value: Any, names: DivisionNames) -> tuple[tuple[str, int], ...]:
    """`{ "CUP-9" = 1 }`: units by SKU, at most 20. Raises `Rejected` `rule_type`, `rule_range`…"""
    _type(value, dict, '表，如 { "CUP-9" = 1 }', "a table of units by SKU")
    if not 1 <= len(value) <= MAX_GIFTS:
        raise bad("rule_list_long", f"应有 1 到 {MAX_GIFTS} 种赠品", f"1 to {MAX_GIFTS} gifts")
    return tuple(
        sorted((word(sku, names), whole(1, 99)(units, names)) for sku, units in value.items())
    )


def buckets(value: Any, names: DivisionNames) -> tuple[int, ...]:
    """Days in rising order, at most 20. Raises `Rejected("rule_range")`."""
    _type(value, list, "列表", "a list")
    found = tuple(whole(0, 60)(item, names) for item in value)
    if list(found) != sorted(set(found)) or not 1 <= len(found) <= 20:
        raise bad("rule_range", "应为 1 到 20 个递增的天数", "1 to 20 rising numbers of days")
    return found


WHEN: Mapping[str, tuple[str, Read]] = {
    "provinces": ("divisions", places),
    "divisions": ("divisions", places),
    "except_divisions": ("except_divisions", places),
    "weight_over_kg": ("weight_over_g", scaled(3)),
    "weight_up_to_kg": ("weight_up_to_g", scaled(3)),
    "amount_from_yuan": ("amount_from_fen", scaled(2)),
    "amount_below_yuan": ("amount_below_fen", scaled(2)),
    "skus": ("skus", word_set),
    "categories": ("categories", word_set),
    "sku_tags": ("sku_tags", word_set),
    "tags": ("tags", word_set),
    "channels": ("channels", word_set),
    "warehouses": ("warehouses", word_set),
    "starts": ("starts_ms", moment),
    "ends": ("ends_ms", moment),
    "hours": ("hours", hours),
    "weekdays": ("weekdays", weekdays),
}
THEN: Mapping[str, tuple[str, Read]] = {
    "tags": ("tags", words),
    "priority": ("priority", priority),
    "allow_carriers": ("allow_carriers", word_set),
    "exclude_carriers": ("exclude_carriers", word_set),
    "force_carrier": ("force_carrier", word),
    "allow_warehouses": ("allow_warehouses", word_set),
    "exclude_warehouses": ("exclude_warehouses", word_set),
    "prefer_warehouses": ("prefer_warehouses", words),
    "broadcast": ("broadcast", whole(2, MAX_BROADCAST)),
    "ask_first": ("ask_first", system),
    "ask_wait_ms": ("ask_wait_ms", whole(10, MAX_ASK_WAIT_MS)),
    "ask_fallback": ("ask_fallback", fallback),
    "split": ("split", yes),
    "gifts": ("gifts", gifts),
    "gift_bind": ("gift_bind", yes),
    "stop": ("stop", yes),
}
RANKING: Mapping[str, tuple[str, Read]] = {
    "order": ("order", rank_order),
    "transit_buckets": ("transit_buckets", buckets),
}
SPLIT: Mapping[str, tuple[str, Read]] = {
    "default": ("default", yes),
    "max_parcels": ("max_parcels", whole(2, MAX_PARCELS)),
}
