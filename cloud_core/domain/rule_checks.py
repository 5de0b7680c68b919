"""Whether rules make sense together and in this company: names, reach, and places left unserved.

Pure: what exists is given as `Known`. A rule that can never match is found when its own conditions
contradict, or when one earlier rule takes everything it would match; several earlier rules that
only together do so are not noticed.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass

from cloud_core.domain.division_names import covers
from cloud_core.domain.freight import MAINLAND, place_zh
from cloud_core.domain.master import Master
from cloud_core.domain.rule_values import Rule, RuleProblem, RuleSet, Then, When
from cloud_core.domain.service_area import ServiceMap

_SCOPED = {
    "then.tags", "then.priority", "then.allow_carriers", "then.exclude_carriers",
    "then.force_carrier",
}  # fmt: skip
"""What a rule about certain warehouses may do; the rest is decided before one is chosen."""
_NAMES = (
    ("when", "skus", "sku", "商品"), ("when", "warehouses", "warehouse", "仓库"),
    ("when", "channels", "channel", "渠道"),
    ("then", "allow_carriers", "carrier", "承运商"),
    ("then", "exclude_carriers", "carrier", "承运商"),
    ("then", "force_carrier", "carrier", "承运商"),
    ("then", "allow_warehouses", "warehouse", "仓库"),
    ("then", "exclude_warehouses", "warehouse", "仓库"),
    ("then", "prefer_warehouses", "warehouse", "仓库"),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Known:
    """What exists; `channels` None leaves channels unchecked."""

    master: Master
    channels: Container[str] | None = None


def check_rules(rules: RuleSet, known: Known) -> list[RuleProblem]:
    """Everything wrong with rules that were read without a problem.

    Codes: `sku_unknown`, `warehouse_unknown`, `carrier_unknown`, `channel_unknown`,
    `rule_conflict`, `rule_scope`, `rule_unreachable`, `division_unserved`.
    """
    problems: list[RuleProblem] = []
    area = ServiceMap.of(known.master.services)
    for at, rule in enumerate(rules.rules):
        unknown = _unknown_names(rule, known)
        problems += unknown
        found = _contradiction(rule) or _conflict(rule) or _scope(rule)
        before = [earlier for earlier in rules.rules[:at] if _takes_all(earlier.when, rule.when)]
        found = found or _shadowed(rule, before)
        if found is None and not unknown:
            found = _unserved(rule, before, known.master, area)
        if found is not None:
            problems.append(found)
    if known.channels is not None:
        for channel in rules.split.channels:
            if channel not in known.channels:
                problems.append(
                    _missing("", f"split.channels.{channel}", "channel", "渠道", channel)
                )
    return problems


def check_names(rules: RuleSet, known: Known) -> list[RuleProblem]:
    """Only the names that are not there: said also while other faults stop the rest."""
    return [problem for rule in rules.rules for problem in _unknown_names(rule, known)]


def _unknown_names(rule: Rule, known: Known) -> list[RuleProblem]:
    master = known.master
    exists: Mapping[str, Container[str] | None] = {
        "sku": master.skus, "warehouse": master.warehouses, "carrier": master.carriers,
        "channel": known.channels,
    }  # fmt: skip
    problems = []
    for sku, _ in rule.then.gifts:
        if sku not in master.skus:
            problems.append(_missing(rule.name, "then.gifts", "sku", "商品", sku))
    for part, field, noun, noun_zh in _NAMES:
        value = getattr(getattr(rule, part), field)
        there = exists[noun]
        for name in sorted([value] if isinstance(value, str) else value):
            if name and there is not None and name not in there:
                problems.append(_missing(rule.name, f"{part}.{field}", noun, noun_zh, name))
    return problems


def _missing(rule: str, field: str, noun: str, noun_zh: str, name: str) -> RuleProblem:
    return RuleProblem(
        rule, field, f"{noun}_unknown", f"没有{noun_zh} {name}", f"there is no {noun} {name}"
    )


def _contradiction(rule: Rule) -> RuleProblem | None:
    """Conditions of one rule that nothing can meet."""
    w = rule.when
    if w.weight_up_to_g is not None and w.weight_over_g >= w.weight_up_to_g:
        return _never(rule, "when.weight_up_to_kg", "重量范围为空", "no weight is in this range")
    if w.amount_below_fen is not None and w.amount_from_fen >= w.amount_below_fen:
        return _never(rule, "when.amount_below_yuan", "金额范围为空", "no amount is in this range")
    if w.ends_ms is not None and w.starts_ms >= w.ends_ms:
        return _never(rule, "when.ends", "结束时间不晚于开始时间", "it ends before it starts")
    if w.divisions and all(covers(w.except_divisions, place) for place in w.divisions):
        return _never(rule, "when.except_divisions", "排除了全部地区", "every place is excepted")
    return None


def _conflict(rule: Rule) -> RuleProblem | None:
    """Actions of one rule that contradict one another."""
    t = rule.then
    if t.force_carrier and (
        t.force_carrier in t.exclude_carriers
        or (t.allow_carriers and t.force_carrier not in t.allow_carriers)
    ):
        return RuleProblem(rule.name, "then.force_carrier", "rule_conflict",
                           f"指定的承运商 {t.force_carrier} 同时被排除",
                           f"{t.force_carrier} is forced and excluded at once")  # fmt: skip
    for field, allowed, excluded in (
        ("then.allow_carriers", t.allow_carriers, t.exclude_carriers),
        ("then.allow_warehouses", t.allow_warehouses, t.exclude_warehouses),
    ):
        if allowed and allowed <= excluded:
            return RuleProblem(rule.name, field, "rule_conflict", "允许的全部又被排除",
                               "everything allowed is excluded too")  # fmt: skip
    return None


def _scope(rule: Rule) -> RuleProblem | None:
    if not rule.when.warehouses:
        return None
    for field in sorted(rule.given):
        if field.startswith("then.") and field not in _SCOPED:
            return RuleProblem(rule.name, field, "rule_scope",
                               "带仓库条件的规则只能限定承运商、打标签、设优先级",
                               "a rule about certain warehouses cannot do this")  # fmt: skip
    return None


def _shadowed(rule: Rule, before: Iterable[Rule]) -> RuleProblem | None:
    """A rule that nothing is left for by the earlier ones, which match wherever it does."""
    left = {name.removeprefix("then.") for name in rule.given if name.startswith("then.")}
    for earlier in before:
        if earlier.then.stop:
            return _never(rule, "when", f"前面的“{earlier.name}”已先匹配并停止",
                          f"{earlier.name} before it always matches and stops")  # fmt: skip
        for name in tuple(left):
            if _is_done(name, earlier, rule.then):
                left.discard(name)
        if not left:
            return _never(rule, "then", f"前面的“{earlier.name}”已决定同样的内容",
                          f"{earlier.name} before it decides the same")  # fmt: skip
    return None


def _is_done(name: str, earlier: Rule, later: Then) -> bool:
    """Whether an action of a later rule adds nothing to that of an earlier one."""
    before, after = getattr(earlier.then, name), getattr(later, name)
    if name in ("tags", "prefer_warehouses"):
        return set(after) <= set(before)
    if name.startswith("exclude_"):
        return bool(after <= before)
    if name.startswith("allow_"):
        return bool(before) and bool(before <= after)
    return f"then.{name}" in earlier.given


def _never(rule: Rule, field: str, zh: str, en: str) -> RuleProblem:
    return RuleProblem(rule.name, field, "rule_unreachable", f"规则永远不会生效：{zh}",
                       f"the rule can never match: {en}")  # fmt: skip


def _takes_all(wide: When, narrow: When) -> bool:
    """Whether every request that meets `narrow` meets `wide`."""
    if wide.warehouses and not (narrow.warehouses and narrow.warehouses <= wide.warehouses):
        return False
    if not _places_in(wide, narrow) or not _numbers_in(wide, narrow):
        return False
    for name in ("skus", "categories", "sku_tags", "tags", "channels", "weekdays"):
        outer, inner = getattr(wide, name), getattr(narrow, name)
        if outer and not (inner and inner <= outer):
            return False
    return wide.hours is None or wide.hours == narrow.hours


def _places_in(wide: When, narrow: When) -> bool:
    if wide.divisions and not (
        narrow.divisions and all(covers(wide.divisions, place) for place in narrow.divisions)
    ):
        return False
    return all(
        covers(narrow.except_divisions, place)
        or (narrow.divisions and not any(_touch(place, mine) for mine in narrow.divisions))
        for place in wide.except_divisions
    )


def _touch(one: str, other: str) -> bool:
    return one.startswith(other) or other.startswith(one)


def _numbers_in(wide: When, narrow: When) -> bool:
    return (
        wide.weight_over_g <= narrow.weight_over_g
        and wide.amount_from_fen <= narrow.amount_from_fen
        and wide.starts_ms <= narrow.starts_ms
        and _ends_in(wide.weight_up_to_g, narrow.weight_up_to_g)
        and _ends_in(wide.amount_below_fen, narrow.amount_below_fen)
        and _ends_in(wide.ends_ms, narrow.ends_ms)
    )


def _ends_in(wide: int | None, narrow: int | None) -> bool:
    return wide is None or (narrow is not None and narrow <= wide)


def _unserved(
    rule: Rule, before: Iterable[Rule], master: Master, area: ServiceMap
) -> RuleProblem | None:
    """A place where the carriers that the rule leaves deliver from no warehouse."""
    mine = rule.then.allow_carriers or rule.then.exclude_carriers or rule.then.force_carrier
    stays = rule.then.allow_warehouses or rule.then.exclude_warehouses
    if not mine and not stays:
        return None
    together = [*before, rule]
    for place in _places_of(rule.when, area):
        if not any(
            _leaves(together, master, area, warehouse, place) for warehouse in master.warehouses
        ):
            field = _field_of(rule.then)
            return RuleProblem(rule.name, field, "division_unserved",
                               f"按此规则，没有承运商能送达 {place_zh(place)}",
                               f"no carrier that the rule leaves delivers to {place}")  # fmt: skip
    return None


def _field_of(then: Then) -> str:
    for name in ("force_carrier", "allow_carriers", "exclude_carriers", "allow_warehouses"):
        if getattr(then, name):
            return f"then.{name}"
    return "then.exclude_warehouses"


def _places_of(when: When, area: ServiceMap) -> list[str]:
    """The rule's places, and those in them that service rows name."""
    wanted = when.divisions or MAINLAND
    inner = {r for r in area.regions() if covers(wanted, r)}
    return [p for p in sorted({*wanted, *inner}) if not covers(when.except_divisions, p)]


def _leaves(
    rules: Iterable[Rule], master: Master, area: ServiceMap, warehouse: str, place: str
) -> bool:
    """Whether a carrier is left that takes parcels from this warehouse to this place."""
    info = master.warehouses[warehouse]
    carriers = {*area.carriers_of(warehouse), info.carrier}
    for rule in rules:
        t = rule.then
        if warehouse in t.exclude_warehouses:
            return False
        if t.allow_warehouses and warehouse not in t.allow_warehouses:
            return False
        if rule.when.warehouses and warehouse not in rule.when.warehouses:
            continue
        named = t.allow_carriers | ({t.force_carrier} if t.force_carrier else set())
        carriers |= named
    for rule in rules:
        if rule.when.warehouses and warehouse not in rule.when.warehouses:
            continue
        t = rule.then
        carriers -= t.exclude_carriers
        if t.allow_carriers:
            carriers &= t.allow_carriers
        if t.force_carrier:
            carriers &= {t.force_carrier}
    near = not info.regions or any(_touch(place, mine) for mine in info.regions)
    return info.enabled and near and any(area.serves(c, warehouse, place) for c in carriers)
