"""Route: what routing is asked about a shipment, gathered from what this commit knows.

Agents, breakers, capacity and load of the warehouses are looked up once a commit and kept up to
date as shipments are given away; the choice itself is `domain.decision`. Nothing is changed here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from msgspec.structs import replace

from cloud_core.domain.decision import decide
from cloud_core.domain.decision_values import Decision, Request, WarehouseNow, World
from cloud_core.domain.hours import midnight_ms
from cloud_core.domain.master import AgentInfo, WarehouseInfo
from cloud_core.domain.routing_table import RoutingTable
from cloud_core.domain.rows import Order, Shipment
from cloud_core.domain.rule_values import NO_RULES
from cloud_core.flows.breaker_gate import may_take_now, too_far_behind
from cloud_core.flows.excluded import excluded_now
from cloud_core.store.breaker_rows import all_breakers
from cloud_core.store.capacity import counts, given_here
from cloud_core.store.working_set import WorkingSet

Lines = Sequence[tuple[str, int]]
Basket = Sequence[tuple[str, str, int]]
"""(warehouse, sku, quantity) that the shipment's own checkout hold sets aside."""


def ask(
    ws: WorkingSet, order: Order, shipment: Shipment, lines: Lines, *, kept: str = "",
    kept_hold: str = "", basket: Basket = (), only: tuple[str, str] | None = None,
    stay: tuple[str, str] | None = None,
) -> Decision:  # fmt: skip
    """Ask routing where the shipment goes; `kept` holds its goods already, as hold `kept_hold`.

    `only` is the one (warehouse, agent) that may get it, for a claim. `stay` is the one that gets
    it if it still can, whoever else is better; the others are looked at all the same.
    """
    excluded = {} if only else excluded_now(ws, shipment, lines)
    if stay:
        excluded.pop(stay[0], None)
    request = Request(
        tuple(lines), order.district or order.city or order.province, order.channel,
        order.amount_fen, shipment.ship_by_ms, _words(order.tags),
        excluded, kept, not only and _is_whole(ws, order.id), stay[0] if stay else "",
    )  # fmt: skip
    now = warehouses_now(ws)
    if only:
        now = {only[0]: replace(now[only[0]], agent=only[1])} if only[0] in now else {}
    if stay and stay[0] in now:
        now = {**now, stay[0]: replace(now[stay[0]], agent=stay[1])}
    if kept in now and _has_place(ws, shipment, kept_hold):  # which is not taken twice
        own = now[kept]
        now = {**now, kept: replace(own, used_today=max(0, own.used_today - 1))}
    world = World(ws.now_ms, now, _available(ws, basket))
    return decide(request, world, table_of(ws))


def table_of(ws: WorkingSet) -> RoutingTable:
    """The rules and master data of this commit."""
    if ws.routing is None:
        ws.routing = RoutingTable(NO_RULES, ws.master)
    return ws.routing


def warehouses_now(ws: WorkingSet) -> Mapping[str, WarehouseNow]:
    """Every enabled warehouse as it is at this moment of the commit."""
    if ws.worked_out.warehouses_now is None:
        for state in ws.fetch.agent_states():
            ws.agents.loaded(state.agent, state)
        breakers = {row.warehouse: row for row in all_breakers(ws.fetch.connection)}
        for warehouse in ws.master.warehouses:
            ws.breakers.loaded(warehouse, breakers.get(warehouse))
        for agent in ws.master.agents:
            ws.agents.loaded(agent, None)
        used = _used_today(ws)
        ws.worked_out.warehouses_now = {
            info.id: _now(ws, info, used.get(info.id, 0))
            for info in ws.master.warehouses.values()
            if info.enabled
        }
    return ws.worked_out.warehouses_now


def note_given(ws: WorkingSet, warehouse: str, agent: str) -> None:
    """A shipment went to this agent: the next one sees a busier warehouse."""
    if ws.load is not None:
        ws.load[agent] = ws.load.get(agent, 0) + 1
    known = ws.worked_out.warehouses_now
    if known is None or warehouse not in known:
        return
    now = known[warehouse]
    if now.agents > 1:
        now = replace(now, agent=_least_loaded(ws, ws.master.agents_of(warehouse)))
    known[warehouse] = replace(now, used_today=now.used_today + 1, load=now.load + 1)


def note_asked(ws: WorkingSet, warehouse: str) -> None:
    """Goods stand aside here for whoever answers first: a place of the warehouse's day is taken."""
    known = ws.worked_out.warehouses_now
    if known is not None and warehouse in known:
        now = known[warehouse]
        known[warehouse] = replace(now, used_today=now.used_today + 1)


def is_reachable(ws: WorkingSet, agent: str) -> bool:
    """Birth seen and heartbeat young enough (DESIGN §6)."""
    state = ws.agents.get(agent)
    return (
        state is not None
        and state.online == 1
        and ws.now_ms - state.seen_ms <= ws.policy.reachable_s * 1000
    )


def note_left(ws: WorkingSet, shipment: Shipment, name: str) -> None:
    """This hold of the shipment ends: the place that its warehouse had for it is free."""
    hold, known = ws.holds.get(name), ws.worked_out.warehouses_now
    if hold is None or known is None or hold.warehouse not in known:
        return
    if counts(hold, shipment) and hold.created_ms >= midnight_ms(ws.now_ms):
        now = known[hold.warehouse]
        known[hold.warehouse] = replace(now, used_today=max(0, now.used_today - 1))


# --- parts -------------------------------------------------------------------------------------


def _has_place(ws: WorkingSet, shipment: Shipment, name: str) -> bool:
    """Whether the shipment's hold of this name is counted as stored; looked up if it must be."""
    ws.holds.get(name)
    return counts(ws.holds.stored(name), ws.shipments.stored(shipment.id))


def _is_whole(ws: WorkingSet, order_id: str) -> bool:
    """Whether the order is one shipment; a part of a split order is not split again."""
    if table_of(ws).rules.version == 0:
        return False
    return sum(s.stop != "cancelled" for s in ws.shipments_of(order_id)) == 1


def _available(ws: WorkingSet, basket: Basket) -> Callable[[str], Mapping[str, int]]:
    if not basket:
        return ws.available_of
    mine: dict[str, dict[str, int]] = {}
    for warehouse, sku, quantity in basket:
        mine.setdefault(sku, {})[warehouse] = quantity

    def with_basket(sku: str) -> Mapping[str, int]:
        units = dict(ws.available_of(sku))
        for warehouse, quantity in mine.get(sku, {}).items():
            units[warehouse] = units.get(warehouse, 0) + quantity
        return units

    return with_basket


def _now(ws: WorkingSet, info: WarehouseInfo, used_today: int) -> WarehouseNow:
    agents = ws.master.agents_of(info.id)
    take = may_take_now(ws, info.id, sole_holder=False)
    shut = take.answer == "no"
    sole_ok = not shut or may_take_now(ws, info.id, sole_holder=True).answer != "no"
    load = 0
    if _load_counts(ws):
        open_work = _load(ws)
        load = sum(open_work.get(agent.id, 0) for agent in agents)
    return WarehouseNow(
        _least_loaded(ws, agents), len(agents), take.why if shut else "", sole_ok, used_today, load
    )


def _least_loaded(ws: WorkingSet, agents: Sequence[AgentInfo]) -> str:
    """The least-loaded agent that can be reached and is not too far behind, "" if none is."""
    found = [a.id for a in agents if is_reachable(ws, a.id) and not too_far_behind(ws, a.id)]
    if len(found) < 2:
        return found[0] if found else ""
    load = _load(ws)
    return min(found, key=lambda agent: (load.get(agent, 0), agent))


def _load_counts(ws: WorkingSet) -> bool:
    """Whether open work decides between warehouses: only where a person wrote rules."""
    rules = table_of(ws).rules
    return rules.version > 0 and "load" in rules.ranking.order


def _load(ws: WorkingSet) -> dict[str, int]:
    if ws.load is None:
        ws.load = ws.fetch.agent_load()
    return ws.load


def _used_today(ws: WorkingSet) -> Mapping[str, int]:
    """Shipments each warehouse was given today (China), where somebody set a capacity.

    Another process may give the last place away meanwhile; then the save finds it (adr/0008).
    """
    if not any(info.capacity_per_day for info in ws.master.warehouses.values()):
        return {}
    midnight = midnight_ms(ws.now_ms)
    if ws.used_stored is None:
        ws.used_stored = ws.fetch.given_since(midnight)
    used = dict(ws.used_stored)
    for warehouse, more in given_here(ws, midnight).items():
        used[warehouse] = used.get(warehouse, 0) + more
    return used


def _words(text: str) -> frozenset[str]:
    return frozenset(word for word in text.split(",") if word) if text else frozenset()
