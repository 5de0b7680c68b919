"""Finds the rules that match a request, and what they do together. Built once per rule set.

Rules about SKUs are looked up by SKU; for the others, place and channel are settled once for each
(division, channel) and remembered. What a combination of rules does is worked out once.
The memories are bounded and change no answer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from msgspec import Struct

from cloud_core.domain.division_names import covers
from cloud_core.domain.hours import CHINA_OFFSET_MS, minute_of_day
from cloud_core.domain.policy import DAY_MS
from cloud_core.domain.rule_values import Rule, RuleSet, Then, When

MEMORY_MAX = 8_192
"""Remembered places and combinations; a full memory is emptied."""


class Facts(Struct, frozen=True, gc=False):
    """What rules ask of a request; `division` is its longest known official code, "" if none."""

    division: str
    weight_g: int
    amount_fen: int
    channel: str
    skus: Sequence[str]
    categories: frozenset[str]
    sku_tags: frozenset[str]
    tags: frozenset[str]
    now_ms: int


@dataclass(frozen=True, slots=True, eq=False)
class Effects:
    """What the matching rules do together. Compared by identity: one object a combination."""

    matched: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    priority: int = 0
    allow_carriers: frozenset[str] | None = None
    exclude_carriers: frozenset[str] = frozenset()
    allow_warehouses: frozenset[str] | None = None
    exclude_warehouses: frozenset[str] = frozenset()
    prefer: Mapping[str, int] = field(default_factory=dict)
    broadcast: int = 0
    ask_first: str = ""
    ask_wait_ms: int = 0
    ask_fallback: str = ""
    split: bool | None = None
    gifts: tuple[tuple[str, int], ...] = ()
    gift_rule: str = ""
    gift_bound: bool = True
    scoped: tuple[Rule, ...] = ()
    """Matching rules that speak of certain warehouses only."""
    carriage: int = 0
    """The same for all combinations that leave the same warehouses and carriers; 0 is all."""


class RuleIndex:
    """The rules of one set, ready for matching."""

    def __init__(self, rules: RuleSet) -> None:
        self._rules = rules.rules
        self.asks = any(rule.then.ask_first for rule in rules.rules)
        """Whether any rule asks another system: most sets do not, and need not be matched twice."""
        self.gives = any(rule.then.gifts for rule in rules.rules)
        """Whether any rule gives something away."""
        self._by_sku: dict[str, list[int]] = {}
        general = []
        for at, rule in enumerate(rules.rules):
            if rule.when.skus:
                for sku in rule.when.skus:
                    self._by_sku.setdefault(sku, []).append(at)
            else:
                general.append(at)
        self._general = tuple(general)
        self._classes = {
            place
            for rule in rules.rules
            for place in (*rule.when.divisions, *rule.when.except_divisions)
        }
        self._near: dict[tuple[str, str], tuple[int, ...]] = {}
        self._together: dict[tuple[int, ...], Effects] = {(): Effects()}
        self._carriages: dict[object, int] = {(None, frozenset(), None, frozenset(), ()): 0}

    def effects(self, facts: Facts) -> Effects:
        """What the rules that match these facts do together."""
        return self._effects_of(self.matching(facts))

    def matching(self, facts: Facts) -> tuple[int, ...]:
        """Positions of the rules that match, in order, up to one that stops."""
        place = (self._class_of(facts.division), facts.channel)
        near = self._near.get(place)
        if near is None:
            near = self._note_place(place)
        candidates: Sequence[int] = near
        if self._by_sku:
            named = {at for sku in facts.skus for at in self._by_sku.get(sku, ())}
            if named:
                here = [at for at in named if _is_near(self._rules[at].when, *place)]
                candidates = sorted((*near, *here))
        if not candidates:
            return ()
        found: list[int] = []
        tags = facts.tags
        for at in candidates:
            rule = self._rules[at]
            if _holds(rule.when, facts, tags):
                found.append(at)
                if rule.then.stop:
                    break
                if rule.then.tags:
                    tags = tags | set(rule.then.tags)
        return tuple(found)

    def _class_of(self, division: str) -> str:
        """The longest place that any rule names and the division lies in."""
        classes = self._classes
        for n in (6, 4, 2):
            if division[:n] in classes:
                return division[:n]
        return ""

    def _note_place(self, place: tuple[str, str]) -> tuple[int, ...]:
        if len(self._near) >= MEMORY_MAX:
            self._near.clear()
        found = tuple(at for at in self._general if _is_near(self._rules[at].when, *place))
        self._near[place] = found
        return found

    def _effects_of(self, matched: tuple[int, ...]) -> Effects:
        found = self._together.get(matched)
        if found is None:
            if len(self._together) >= MEMORY_MAX:
                self._together = {(): Effects()}
            merged = merge([self._rules[at] for at in matched])
            found = replace(merged, carriage=self._carriage_of(merged))
            self._together[matched] = found
        return found

    def _carriage_of(self, effects: Effects) -> int:
        """A number for what is left to send with; it grows with the rule set, not with orders."""
        left = (
            effects.allow_carriers, effects.exclude_carriers, effects.allow_warehouses,
            effects.exclude_warehouses, tuple(rule.name for rule in effects.scoped),
        )  # fmt: skip
        return self._carriages.setdefault(left, len(self._carriages))


def merge(rules: Sequence[Rule]) -> Effects:
    """What rules in this order do together: lists add up, of the rest the first rule counts."""
    scoped = tuple(rule for rule in rules if rule.when.warehouses)
    thens = [rule.then for rule in rules if not rule.when.warehouses]
    allow_carriers: frozenset[str] | None = None
    allow_warehouses: frozenset[str] | None = None
    forced = next((t.force_carrier for t in thens if t.force_carrier), "")
    for then in thens:
        if then.allow_carriers:
            before = allow_carriers
            allow_carriers = then.allow_carriers if before is None else before & then.allow_carriers
        if then.allow_warehouses:
            kept = allow_warehouses
            allow_warehouses = (
                then.allow_warehouses if kept is None else kept & then.allow_warehouses
            )
    if forced:
        allow_carriers = frozenset({forced})
    preferred = dict.fromkeys(name for then in thens for name in then.prefer_warehouses)
    asks = next((then for then in thens if then.ask_first), None)
    return Effects(
        matched=tuple(rule.name for rule in rules),
        tags=tuple(dict.fromkeys(tag for then in thens for tag in then.tags)),
        priority=next((t.priority for t in thens if t.priority is not None), 0),
        allow_carriers=allow_carriers,
        exclude_carriers=frozenset().union(*(then.exclude_carriers for then in thens)),
        allow_warehouses=allow_warehouses,
        exclude_warehouses=frozenset().union(*(then.exclude_warehouses for then in thens)),
        prefer={name: at for at, name in enumerate(preferred)},
        broadcast=next((then.broadcast for then in thens if then.broadcast), 0),
        ask_first=asks.ask_first if asks else "",
        ask_wait_ms=asks.ask_wait_ms if asks else 0,
        ask_fallback=asks.ask_fallback if asks else "",
        split=next((then.split for then in thens if then.split is not None), None),
        gifts=_gifts(thens),
        gift_rule=next((rule.name for rule in rules if rule.then.gifts), ""),
        gift_bound=all(then.gift_bind is not False for then in thens if then.gifts),
        scoped=scoped,
    )


def _gifts(thens: Sequence[Then]) -> tuple[tuple[str, int], ...]:
    """What several rules give away together."""
    units: dict[str, int] = {}
    for then in thens:
        for sku, quantity in then.gifts:
            units[sku] = units.get(sku, 0) + quantity
    return tuple(sorted(units.items()))


def _is_near(when: When, division: str, channel: str) -> bool:
    if when.channels and channel not in when.channels:
        return False
    if when.divisions and not covers(when.divisions, division):
        return False
    return not covers(when.except_divisions, division)


def _holds(when: When, facts: Facts, tags: frozenset[str]) -> bool:
    """Whether all conditions but place and channel hold."""
    weight = facts.weight_g
    if weight <= when.weight_over_g or facts.amount_fen < when.amount_from_fen:
        return False
    if when.weight_up_to_g is not None and weight > when.weight_up_to_g:
        return False
    if when.amount_below_fen is not None and facts.amount_fen >= when.amount_below_fen:
        return False
    if when.categories and when.categories.isdisjoint(facts.categories):
        return False
    if when.sku_tags and when.sku_tags.isdisjoint(facts.sku_tags):
        return False
    if when.tags and when.tags.isdisjoint(tags):
        return False
    return _is_time(when, facts.now_ms)


def _is_time(when: When, now_ms: int) -> bool:
    if now_ms < when.starts_ms or (when.ends_ms is not None and now_ms >= when.ends_ms):
        return False
    if when.hours is not None:
        start, end = when.hours
        minute = minute_of_day(now_ms)
        inside = start <= minute < end if start < end else minute >= start or minute < end
        if not inside:
            return False
    return not when.weekdays or weekday(now_ms) in when.weekdays


def weekday(now_ms: int) -> int:
    """The day of the week in China, 1 is Monday; 1970-01-01 was a Thursday."""
    return ((now_ms + CHINA_OFFSET_MS) // DAY_MS + 3) % 7 + 1
