"""Which warehouse and carrier send a shipment, and why: pure choice over rules and what is now.

Filters first (stock of all lines, breaker, agent, hours, capacity, region, rules, carrier), then
ranks; the first difference wins. `decide` answers for one shipment; what it read and why each
warehouse was passed over stands in `Decision.record`, which `decision_record` says in Chinese.
This module must not know rows, SQL or the working set.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from operator import attrgetter

from msgspec import Struct
from msgspec.structs import replace

from cloud_core.domain.decision_record import write_record
from cloud_core.domain.decision_values import (
    Decision,
    Lines,
    Parcel,
    Request,
    WarehouseNow,
    World,
)
from cloud_core.domain.hours import minute_of_day
from cloud_core.domain.policy import DAY_MS
from cloud_core.domain.routing_table import UNPRICED, Quote, RoutingTable, Site
from cloud_core.domain.rule_index import Effects, Facts
from cloud_core.domain.rule_values import RANKS
from cloud_core.domain.split import find_split

_key_of = attrgetter("key")
SHORT_MAX = 5
"""SKUs that a record names as lacking in one warehouse."""


class _Look(Struct, gc=False):
    """A site that may be the one; `lost` is the rank by which it was not."""

    at: int
    site: Site
    now: WarehouseNow
    quote: Quote
    key: tuple[int | str, ...] = ()
    lost: str = ""


class _Case(Struct, gc=False):
    """One request with everything that is asked of it again and again."""

    request: Request
    world: World
    table: RoutingTable
    effects: Effects
    facts: Facts
    place: str
    minute: int
    flags: list[str]

    def quote(self, at: int, weight_g: int) -> Quote:
        """What the site at this position would send with."""
        table = self.table
        return table.quotes(self.place, table.weight_class(weight_g), self.effects)[at]


_ABSENT = WarehouseNow("", 0)
_NEVER = frozenset({"short", "region", "rule", "carrier", "no_agent"})
"""Reasons that time does not take away."""


def facts_of(request: Request, table: RoutingTable, now_ms: int) -> Facts:
    """What rules ask of a request; a SKU that is not in the master data weighs nothing."""
    skus = table.master.skus
    weight = 0
    categories: set[str] = set()
    tags: set[str] = set()
    for sku, quantity in request.lines:
        info = skus.get(sku)
        if info is not None:
            weight += info.weight_g * quantity
            if info.category:
                categories.add(info.category)
            if info.tags:
                tags.update(info.tags)
    return Facts(
        request.division, weight, request.amount_fen, request.channel,
        [sku for sku, _ in request.lines], frozenset(categories), frozenset(tags), request.tags,
        now_ms,
    )  # fmt: skip


def effects_of(request: Request, table: RoutingTable, now_ms: int) -> Effects:
    """What the rules say of a request, before any warehouse is looked at (`ask_first`, tags)."""
    return table.index.effects(facts_of(request, table, now_ms))


def decide(request: Request, world: World, table: RoutingTable) -> Decision:
    """Choose for one shipment. Never raises; no warehouse is a reason to park, not an error."""
    facts = facts_of(request, table, world.now_ms)
    effects = table.index.effects(facts)
    place, minute = table.place_class(request.division), minute_of_day(world.now_ms)
    case = _Case(request, world, table, effects, facts, place, minute, [])
    whys, lacking, open_to = _look_at_all(case)
    if not open_to:
        open_to = _sole_holder(case, whys)
    ranked: list[_Look] = []
    sent: list[_Look] = []
    parcels: tuple[Parcel, ...] = ()
    if open_to:
        ranked = _rank(case, open_to)
        sent = ranked[:1]
        parcels = (_parcel(case, ranked[0], request.lines),)
    elif _may_split(case, whys):
        parcels, sent = _split(case)
    parked = "" if parcels else _parked(whys)
    flags = case.flags
    if None in [parcel.fen for parcel in parcels]:
        flags.append("unpriced")
    k = effects.broadcast if len(ranked) > 1 else 0
    broadcast = [(look.site.info.id, look.now.agent) for look in ranked[:k]]
    weight = table.weight_class(facts.weight_g)
    weighed = table.carriers(ranked[0].at, place, weight, effects) if ranked else ()
    candidates = _candidates(case, whys, lacking, (*ranked, *sent))
    record = write_record(
        table.rules.version, facts, effects, candidates, weighed, parcels, parked, flags
    )
    return Decision(parcels, parked, tuple(broadcast), tuple(flags), record)


def _look_at_all(case: _Case) -> tuple[list[str], dict[int, list[str]], list[_Look]]:
    """The first filter that each site fails ("" none), what it lacks, and who may be the one."""
    request, warehouses, table = case.request, case.world.warehouses, case.table
    available = case.world.available
    stock = [(sku, quantity, available(sku)) for sku, quantity in request.lines]
    weight = table.weight_class(case.facts.weight_g)
    quotes, kept = table.quotes(case.place, weight, case.effects), request.kept
    whys: list[str] = []
    lacking: dict[int, list[str]] = {}
    open_to: list[_Look] = []
    for at, site in enumerate(table.sites):
        warehouse = site.info.id
        now = warehouses.get(warehouse, _ABSENT)
        if not now.agents:
            whys.append("no_agent")
            continue
        why = ""
        for _, quantity, units in stock:
            if units.get(warehouse, 0) < quantity and warehouse != kept:
                why = "short"
                lacking[at] = [s for s, n, left in stock if left.get(warehouse, 0) < n][:SHORT_MAX]
                break
        else:
            why = _away(case, site, now)
            if not why:
                quote = quotes[at]
                why = quote.why
                if not why:
                    open_to.append(_Look(at, site, now, quote))
        whys.append(why)
    return whys, lacking, open_to


def _candidates(
    case: _Case, whys: list[str], lacking: Mapping[int, list[str]], quoted: Sequence[_Look]
) -> list[tuple[object, ...]]:
    """A row a site for the record."""
    rows: list[tuple[object, ...]] = [
        (site.info.id, why, lacking[at]) if at in lacking else (site.info.id, why)
        for at, (site, why) in enumerate(zip(case.table.sites, whys, strict=True))
    ]
    for look in quoted:
        quote = look.quote
        row = (look.site.info.id, look.lost, (), quote.carrier, quote.days, quote.fen)
        rows[look.at] = row
    return rows


def _away(case: _Case, site: Site, now: WarehouseNow) -> str:
    """Why a warehouse takes nothing, or not this, at this moment."""
    warehouse, minute = site.info.id, case.minute
    if case.request.excluded and warehouse in case.request.excluded:
        return case.request.excluded[warehouse]
    if now.breaker:
        return "breaker"
    if not now.agent:
        return "unreachable"
    opens, closes = site.opens, site.closes
    if not (opens <= minute < closes if opens < closes else minute >= opens or minute < closes):
        return "closed"
    capacity = site.info.capacity_per_day
    return "capacity" if capacity and now.used_today >= capacity else ""


def _sole_holder(case: _Case, whys: list[str]) -> list[_Look]:
    """A warehouse behind an open breaker that alone can have the goods still gets the shipment."""
    weight_g = case.facts.weight_g
    holders = [
        at for at, why in enumerate(whys) if why not in _NEVER and not case.quote(at, weight_g).why
    ]
    if len(holders) != 1 or whys[holders[0]] != "breaker":
        return []
    (at,) = holders
    site = case.table.sites[at]
    now = case.world.warehouses[site.info.id]
    if not now.sole_ok or _away(case, site, replace(now, breaker="")):
        return []
    case.flags.append("sole_holder")
    return [_Look(at, site, now, case.quote(at, weight_g))]


def _rank(case: _Case, open_to: list[_Look]) -> list[_Look]:
    """Best first; after a cut-off only who is still in time counts, unless nobody is."""
    order, prefer = case.table.rules.ranking.order, case.effects.prefer
    places = None if order == RANKS else [RANKS.index(name) for name in order]
    others = len(prefer)
    for look in open_to:
        quote, info, cut_off = look.quote, look.site.info, look.site.cut_off
        values = (  # as RANKS
            prefer.get(info.id, others) if others else 0,
            quote.bucket,
            UNPRICED if quote.fen is None else quote.fen,
            look.now.load,
            info.priority,
        )
        late = 0 <= cut_off <= case.minute and _leaves(case, look.site) > case.request.ship_by_ms
        ranks = values if places is None else [values[at] for at in places]
        look.key = (late, *ranks, info.id)
    ranked, stay = sorted(open_to, key=_key_of), case.request.stay
    if stay and ranked[0].site.info.id != stay:
        ranked.sort(key=lambda look: look.site.info.id != stay)
    best = ranked[0].key
    if best[0]:
        case.flags.append("late")
    if any(look.key < best for look in ranked[1:]):
        case.flags.append("stayed")
    names = ("cut_off", *order, "id")
    for look in ranked[1:]:
        if look.key < best:  # it would have been the one
            look.lost = "stay"
            continue
        for own, other, name in zip(look.key, best, names, strict=True):
            if own != other:
                look.lost = name
                break
    return ranked


def _leaves(case: _Case, site: Site) -> int:
    """When the next van leaves: today's cut-off, or tomorrow's once it is over."""
    ahead = site.cut_off - case.minute
    return case.world.now_ms + ahead * 60_000 + (DAY_MS if ahead <= 0 else 0)


def _parcel(case: _Case, look: _Look, lines: Lines) -> Parcel:
    quote = look.quote
    leaves = case.request.ship_by_ms if look.site.cut_off < 0 else _leaves(case, look.site)
    warehouse = look.site.info.id
    tags, priority = case.effects.tags, case.effects.priority
    for rule in case.effects.scoped:
        if warehouse in rule.when.warehouses:
            tags = tuple(dict.fromkeys((*tags, *rule.then.tags)))
            priority = priority or rule.then.priority or 0
    return Parcel(
        warehouse, look.now.agent, quote.carrier, quote.fen, quote.days,
        leaves + quote.days * DAY_MS, lines, tags, priority,
    )  # fmt: skip


def _may_split(case: _Case, whys: list[str]) -> bool:
    """Only an order that no warehouse covers alone, not even one that is away for now."""
    if not case.request.may_split or any(why not in ("short", "no_agent") for why in whys):
        return False
    allowed = case.effects.split
    return case.table.rules.split.allowed(case.request.channel) if allowed is None else allowed


def _split(case: _Case) -> tuple[tuple[Parcel, ...], list[_Look]]:
    request, skus = case.request, case.table.master.skus
    weights = {sku: skus[sku].weight_g if sku in skus else 0 for sku, _ in request.lines}
    usable: dict[str, _Look] = {}
    for at, site in enumerate(case.table.sites):
        now = case.world.warehouses.get(site.info.id, _ABSENT)
        quote = case.quote(at, 0)
        if now.agents and not quote.why and not _away(case, site, now):
            usable[site.info.id] = _Look(at, site, now, quote)

    def price(warehouse: str, weight_g: int) -> int:
        fen = case.quote(usable[warehouse].at, weight_g).fen
        return UNPRICED if fen is None else fen

    available = {sku: case.world.available(sku) for sku, _ in request.lines}
    most = case.table.rules.split.max_parcels
    found = find_split(request.lines, tuple(usable), available, weights, price, most)
    if found is None:
        return (), []
    case.flags += ["split"] if found.exact else ["split", "split_not_exact"]
    parcels, sent = [], []
    for warehouse, lines in found.parcels:
        look = usable[warehouse]
        look.quote = case.quote(look.at, sum(weights[sku] * n for sku, n in lines))
        parcels.append(_parcel(case, look, lines))
        sent.append(look)
    return tuple(parcels), sent


def _parked(whys: list[str]) -> str:
    """The reason that would have to change first for the shipment to move."""
    reasons = {why.partition(":")[0] for why in whys}
    for why, parked in (
        ("timeout", "no_answer"), ("rejected", "rejected"), ("unreachable", "unreachable"),
        ("closed", "unreachable"), ("capacity", "capacity"), ("breaker", "breaker"),
        ("carrier", "no_carrier"), ("region", "no_carrier"), ("rule", "rule"),
        ("short", "no_stock"),
    ):  # fmt: skip
        if why in reasons:
            return parked
    return "no_warehouse"
