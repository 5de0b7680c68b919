"""Rules and master data together, compiled: which carrier each warehouse would use for a parcel.

One table per (rule set, master version). What does not change between two orders (regions, rules,
carriers) is worked out once for each lane (warehouse, place, rules), prices once for each weight
step of a place; `decision` adds what changes. The memory is bounded and changes no answer.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from cloud_core.domain.freight import FreightTable, price_among
from cloud_core.domain.master import Master, WarehouseInfo
from cloud_core.domain.master_data import FreightBand
from cloud_core.domain.rule_index import Effects, RuleIndex
from cloud_core.domain.rule_values import RuleSet
from cloud_core.domain.service_area import ServiceMap, prefixes_of

LANES_MAX = 50_000
"""Remembered lanes (warehouse, place, rules); a full memory is emptied."""
QUOTES_MAX = 400_000
"""Remembered quotes, one a site for each (place, weight, rules); a full memory is emptied."""
UNPRICED = 10**12
"""Stands for an unknown price when candidates are ranked: after every known one."""


class Site(NamedTuple):
    """A warehouse as routing reads it for every order; minutes are of the day in China, -1 none."""

    info: WarehouseInfo
    opens: int
    closes: int
    cut_off: int


class Quote(NamedTuple):
    """What a warehouse would send a parcel with. `why` says why it cannot, "" if it can.

    `fen` is None when no price is known.
    """

    why: str
    carrier: str = ""
    days: int = 0
    bucket: int = 0
    fen: int | None = None


class _Way(NamedTuple):
    """One carrier of a lane; `why` not, "" if it can be taken."""

    carrier: str
    why: str
    days: int
    bucket: int
    default: bool
    bands: tuple[FreightBand, ...]


class _Lane(NamedTuple):
    """From one warehouse to one place: every carrier looked at, and those worth pricing."""

    why: str
    ways: tuple[_Way, ...]
    worth: tuple[_Way, ...]


@dataclass(frozen=True, slots=True)
class _Carriage:
    area: ServiceMap
    freight: FreightTable
    classes: frozenset[str]
    step_g: int


class RoutingTable:
    """Rules bound to master data. Create a new one when either changes."""

    def __init__(self, rules: RuleSet, master: Master) -> None:
        self.rules, self.master = rules, master
        self.index = RuleIndex(rules)
        enabled = (info for info in master.warehouses.values() if info.enabled)
        self.sites = tuple(
            _site(info) for info in sorted(enabled, key=lambda info: (info.priority, info.id))
        )
        self._carriage = _carriage(master)
        self._lanes: dict[tuple[int, str, int], _Lane] = {}
        self._quotes: dict[tuple[str, int, int], tuple[Quote, ...]] = {}
        self._by_freight_first = _freight_first(rules.ranking.order)

    def quotes(self, place: str, weight: int, effects: Effects) -> tuple[Quote, ...]:
        """What each of `sites` would send with, in their order.

        `place` and `weight` are as the class methods give them.
        """
        key = (place, weight, effects.carriage)
        found = self._quotes.get(key)
        if found is None:
            if len(self._quotes) * len(self.sites) >= QUOTES_MAX:
                self._quotes.clear()
            lanes = [self._lane(at, place, effects) for at in range(len(self.sites))]
            found = self._quotes[key] = tuple([self._price(lane, weight) for lane in lanes])
        return found

    def carriers(
        self, at: int, place: str, weight: int, effects: Effects
    ) -> list[tuple[str, str, int, int | None]]:
        """Every carrier that was looked at: (carrier, why not, days, fen)."""
        free = not self._carriage.freight
        return [
            (way.carrier, way.why, way.days, 0 if free else price_among(way.bands, weight))
            for way in self._lane(at, place, effects).ways
        ]

    def place_class(self, division: str) -> str:
        """The longest region that any table tells apart."""
        classes = self._carriage.classes
        for n in (6, 4, 2):
            if division[:n] in classes:
                return division[:n]
        return ""

    def weight_class(self, weight_g: int) -> int:
        """The heaviest weight that costs the same everywhere."""
        step = self._carriage.step_g
        return -(-weight_g // step) * step if step else 0

    def _lane(self, at: int, place: str, effects: Effects) -> _Lane:
        key = (at, place, effects.carriage)
        found = self._lanes.get(key)
        if found is None:
            if len(self._lanes) >= LANES_MAX:
                self._lanes.clear()
            found = self._lanes[key] = self._open_lane(self.sites[at].info, place, effects)
        return found

    def _open_lane(self, info: WarehouseInfo, place: str, effects: Effects) -> _Lane:
        allowed = effects.allow_warehouses
        if info.id in effects.exclude_warehouses or (
            allowed is not None and info.id not in allowed
        ):
            return _Lane("rule", (), ())
        if info.regions and not any(place.startswith(region) for region in info.regions):
            return _Lane("region", (), ())
        allow, exclude = self._carriers_left(info.id, effects)
        ways = []
        for carrier in self._candidates(info, allow):
            why, days = self._days(carrier, info.id, place)
            if carrier in exclude or (allow is not None and carrier not in allow):
                why = "rule"
            bands = self._carriage.freight.bands(carrier, info.id, place)
            bucket = self.rules.ranking.bucket(days)
            ways.append(_Way(carrier, why, days, bucket, carrier == info.carrier, bands))
        worth = [way for way in ways if not way.why]
        if worth and not self._by_freight_first:
            fastest = min(way.bucket for way in worth)
            worth = [way for way in worth if way.bucket == fastest]
        return _Lane("" if worth else "carrier", tuple(ways), tuple(worth))

    def _price(self, lane: _Lane, weight: int) -> Quote:
        """The cheapest way; the default carrier, then the id, where prices are the same."""
        if lane.why:
            return Quote(lane.why)
        if not self._carriage.freight:
            priced = [(0, way.bucket, not way.default, way.carrier, way) for way in lane.worth]
        else:
            priced = []
            for way in lane.worth:
                fen = price_among(way.bands, weight)
                cost = UNPRICED if fen is None else fen
                priced.append((cost, way.bucket, not way.default, way.carrier, way))
        cost, bucket, _, carrier, way = min(priced)
        return Quote("", carrier, way.days, bucket, None if cost == UNPRICED else cost)

    def _candidates(self, info: WarehouseInfo, named: frozenset[str] | None) -> Iterable[str]:
        found = dict.fromkeys(self._carriage.area.carriers_of(info.id))
        if info.carrier or not (found or named):
            found.setdefault(info.carrier)
        found.update(dict.fromkeys(sorted(named or ())))
        return found

    def _carriers_left(
        self, warehouse: str, effects: Effects
    ) -> tuple[frozenset[str] | None, frozenset[str]]:
        allow, exclude = effects.allow_carriers, effects.exclude_carriers
        for rule in effects.scoped:
            if warehouse not in rule.when.warehouses:
                continue
            then = rule.then
            exclude |= then.exclude_carriers
            named = frozenset({then.force_carrier}) if then.force_carrier else then.allow_carriers
            if named:
                allow = named if allow is None else allow & named
        return allow, exclude

    def _days(self, carrier: str, warehouse: str, place: str) -> tuple[str, int]:
        """(why it does not deliver, days) of one carrier."""
        row = self._carriage.area.row(carrier, warehouse, place)
        if row is None or not row.served:
            return "unserved", 0
        if row.days >= 0:
            return "", row.days
        return "", self.master.transit_days(carrier, warehouse, place[:2].ljust(6, "0"))


def _site(info: WarehouseInfo) -> Site:
    opens, _, closes = info.hours.partition("-")
    start, end = _minute(opens), _minute(closes)
    if start < 0 or end < 0 or start == end:
        start, end = 0, 1440
    return Site(info, start, end, _minute(info.cut_off))


def _minute(text: str) -> int:
    """Minutes of the day, -1 when this is no time."""
    hour, colon, minute = text.strip().partition(":")
    if not colon or not hour.isdigit() or not minute.isdigit():
        return -1
    return int(hour) * 60 + int(minute)


def _carriage(master: Master) -> _Carriage:
    area, freight = ServiceMap.of(master.services), FreightTable.of(master.freight)
    classes = area.regions() | freight.regions()
    classes |= {prefixes_of(province)[0] for _, _, province in master.transit}
    for info in master.warehouses.values():
        classes |= set(info.regions)
    sizes = [
        size
        for band in master.freight
        for size in (band.from_g, band.up_to_g, band.first_g, band.step_g)
    ]
    return _Carriage(area, freight, frozenset(classes - {""}), math.gcd(*sizes))


def _freight_first(order: tuple[str, ...]) -> bool:
    if "freight" not in order:
        return False
    return "transit" not in order or order.index("freight") < order.index("transit")
