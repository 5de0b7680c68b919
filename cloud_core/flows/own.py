"""Own: give a paid shipment to exactly one warehouse, or say why not (P4, P5).

Routing, the hold, the token and the offer are decided together and written in one commit. Stock of
a paid shipment is only ever moved to the next owner or parked with it, never given back to sale by
a timer (P9). Taking an un-granted shipment back fences the old agent with the new token.
"""

from __future__ import annotations

import msgspec
from msgspec.structs import replace

from cloud_core.domain.hours import is_open
from cloud_core.domain.master import AgentInfo
from cloud_core.domain.policy import DAY_MS
from cloud_core.domain.progress import UNGRANTED, order_state, order_stop
from cloud_core.domain.routing import Candidate, choose
from cloud_core.domain.rows import Hold, Order, Shipment
from cloud_core.flows.reserve import take_over
from cloud_core.store.working_set import WorkingSet
from protocols import codec
from protocols.commands import Cancel, Offer, OfferLine
from protocols.messages import Token


def own(ws: WorkingSet, shipment: Shipment, *, actor: str = "core") -> Shipment:
    """Route, hold, own and offer an unowned shipment; park it when nobody can take it.

    The token grows in either case, so whatever the last owner still does is void.
    """
    assert shipment.state in UNGRANTED, shipment.state
    assert not shipment.stop, shipment.stop
    lines = [(line.sku, line.quantity) for line in ws.lines_of(shipment.id)]
    ws.stock_for(sku for sku, _ in lines)
    token = Token(ws.core_epoch, shipment.token_n + 1)
    order = ws.orders.get(shipment.order_id)
    assert order is not None
    taken = ""
    if order.hold:  # the checkout hold it names becomes its own (P9)
        taken = take_over(ws, order, shipment, hold_id(shipment.id, shipment.token_n), lines)
    if ws.recovering:  # under its old token: the bench that has it may still tell us
        return _park(ws, shipment, shipment.token, "recovering", shipment.decision)
    kept = taken or _kept(ws, shipment, lines)
    candidates = _candidates(ws, shipment, lines)
    available = {
        (c.warehouse, sku): ws.available(c.warehouse, sku) + (units if c.warehouse == kept else 0)
        for c in candidates
        for sku, units in lines
    }
    choice = choose(lines, candidates, available)
    if choice.parked:
        if shipment.parked not in ("", "recovering"):
            token = shipment.token  # nobody has had it meanwhile
        elif kept:
            release(ws, shipment, "moved")
            _hold(ws, shipment.id, token, kept, lines)
        return _park(ws, shipment, token, choice.parked, choice.record)
    if kept:
        release(ws, shipment, "moved")
    _hold(ws, shipment.id, token, choice.warehouse, lines)
    info = ws.master.warehouses[choice.warehouse]
    days = ws.master.transit_days(info.carrier, info.id, order.province)
    owned = replace(
        shipment,
        state="offered",
        parked="",
        parked_ms=None,
        warehouse=choice.warehouse,
        agent=choice.agent,
        token_epoch=token.core_epoch,
        token_n=token.n,
        carrier=info.carrier,
        deadline_ms=ws.now_ms + ws.policy.offer_ttl_s * 1000,
        waiting="",
        waybill="",
        expected_ms=shipment.ship_by_ms + days * DAY_MS,
        decision=choice.record,
        version=shipment.version + 1,
    )
    ws.shipments.put(owned)
    if ws.load is not None:
        ws.load[choice.agent] = ws.load.get(choice.agent, 0) + 1
    _send_offer(ws, owned, order, lines)
    note(ws, owned, f"{shipment.state}>offered", actor)
    settle_order(ws, order.id)
    return owned


def _send_offer(
    ws: WorkingSet, shipment: Shipment, order: Order, lines: list[tuple[str, int]]
) -> None:
    token = shipment.token
    offer = Offer(
        shipment.id,
        token,
        order.id,
        order.channel,
        order.native_id,
        [OfferLine(sku, quantity) for sku, quantity in lines],
        shipment.ship_by_ms,
        shipment.priority,
    )
    ws.send(
        f"offer:{shipment.id}:{token.core_epoch}.{token.n}",
        shipment.agent,
        "offer",
        codec.encode(offer),
        shipment_id=shipment.id,
        ttl_s=ws.policy.offer_ttl_s,
        fresh=True,
    )


def take_back(ws: WorkingSet, shipment: Shipment, why: str, *, actor: str = "core") -> Shipment:
    """Take an offered shipment from its agent: old agent fenced, not yet re-owned.

    Its hold stays until `own` moves it: a timer never gives paid goods back to sale (P9).

    `why` is `timeout`, `rejected`, `stopped`…; the first two keep the warehouse out of the next
    routing until its stock changes.
    """
    assert shipment.state == "offered", shipment.state
    fence = Token(ws.core_epoch, shipment.token_n + 1)
    send_cancel(ws, shipment, fence, why, answer=False)
    excluded = shipment.excluded
    if why in ("timeout", "rejected"):
        excluded = _exclude(ws, shipment, why)
    free = replace(
        shipment,
        state="routed",
        warehouse="",
        agent="",
        deadline_ms=None,
        waiting="",
        excluded=excluded,
        token_epoch=fence.core_epoch,
        token_n=fence.n - 1,
        version=shipment.version + 1,
    )
    ws.shipments.put(free)
    note(ws, shipment, f"taken_back:{why}", actor)
    return free


def release(ws: WorkingSet, shipment: Shipment, state: str) -> None:
    """End the shipment's hold and give its units back to what may be promised."""
    hold = ws.holds.get(hold_id(shipment.id, shipment.token_n))
    if hold is None or hold.state != "held":
        return
    ws.holds.put(replace(hold, state=state, version=hold.version + 1))
    for line in ws.lines_of(shipment.id):
        ws.move(hold.warehouse, line.sku, held=-line.quantity, reason="release", ref=hold.id)


def send_cancel(
    ws: WorkingSet, shipment: Shipment, fence: Token, why: str, *, answer: bool
) -> None:
    """Tell the owner's agent to stop; tokens below `fence` are void there."""
    body = Cancel(shipment.id, fence, why, shipment.order_id, answer)
    ws.send(
        f"cancel:{shipment.id}:{fence.core_epoch}.{fence.n}",
        shipment.agent,
        "cancel",
        codec.encode(body),
        shipment_id=shipment.id,
    )


def settle_order(ws: WorkingSet, order_id: str) -> None:
    """Fold the order's state and stop axis over its shipments."""
    order = ws.orders.get(order_id)
    assert order is not None, order_id
    shipments = ws.shipments_of(order_id)
    state = order_state(order.state, shipments)
    stop = order_stop(order.stop, shipments) if shipments else order.stop
    expected = max((s.expected_ms for s in shipments if s.stop != "cancelled"), default=0)
    if (state, stop, expected or order.expected_ms) != (order.state, order.stop, order.expected_ms):
        ws.orders.put(
            replace(
                order,
                state=state,
                stop=stop,
                expected_ms=expected or order.expected_ms,
                version=order.version + 1,
            )
        )


def note(ws: WorkingSet, shipment: Shipment, change: str, actor: str, source: str = "") -> None:
    """Write a change of a shipment into the trail, with the token it was made under."""
    ws.trail(shipment.id, change, actor, f"{shipment.token_epoch}.{shipment.token_n}", source)


def hold_id(shipment_id: str, token_n: int) -> str:
    """The id of the hold that belongs to one token of a shipment."""
    return f"{shipment_id}@{token_n}"


def _kept(ws: WorkingSet, shipment: Shipment, lines: list[tuple[str, int]]) -> str:
    """The warehouse that still sets goods aside for the unowned shipment, "" if none does.

    A hold on goods that a count did not find any more ends here.
    """
    if shipment.token_n == 0:  # new: nothing to look up on the way of every order
        return ""
    hold = ws.holds.get(hold_id(shipment.id, shipment.token_n))
    if hold is None or hold.state != "held":
        return ""
    if any(ws.available(hold.warehouse, sku) < 0 for sku, _ in lines):
        release(ws, shipment, "released")
        return ""
    return hold.warehouse


def _hold(
    ws: WorkingSet, shipment_id: str, token: Token, warehouse: str, lines: list[tuple[str, int]]
) -> None:
    hold = Hold(hold_id(shipment_id, token.n), shipment_id, warehouse, "held", None, ws.now_ms)
    ws.holds.loaded(hold.id, None)
    ws.holds.put(hold)
    ws.cover_hold(hold.id, [(warehouse, sku, quantity) for sku, quantity in lines])
    for sku, quantity in lines:
        row = ws.move(warehouse, sku, held=quantity, reason="hold", ref=hold.id)
        assert row.available >= 0, (warehouse, sku)


def _park(ws: WorkingSet, shipment: Shipment, token: Token, reason: str, record: str) -> Shipment:
    if shipment.parked == reason and shipment.decision == record:
        return shipment
    parked = replace(
        shipment,
        state="routed",
        parked=reason,
        parked_ms=shipment.parked_ms or ws.now_ms,
        warehouse="",
        agent="",
        deadline_ms=None,
        decision=record,
        token_epoch=token.core_epoch,
        token_n=token.n,
        version=shipment.version + 1,
    )
    ws.shipments.put(parked)
    if shipment.parked != reason:
        note(ws, parked, f"parked:{reason}", "core")
    settle_order(ws, shipment.order_id)
    return parked


def _candidates(
    ws: WorkingSet, shipment: Shipment, lines: list[tuple[str, int]]
) -> list[Candidate]:
    excluded = msgspec.json.decode(shipment.excluded) if shipment.excluded else {}
    found = []
    for info in ws.master.warehouses.values():
        if not info.enabled:
            continue
        agents = ws.master.agents_of(info.id)
        out = excluded.get(info.id)
        why = ""
        if out is not None and out["sig"] == _signature(ws, info.id, lines):
            fresh = out["why"] == "timeout" and ws.now_ms - out["at"] > _TIMEOUT_OUT_MS
            why = "" if fresh else out["why"]
        found.append(
            Candidate(
                info.id,
                info.name,
                info.priority,
                _agent(ws, agents),
                len(agents),
                is_open(info.hours, ws.now_ms),
                why,
            )
        )
    return found


_TIMEOUT_OUT_MS = 300_000
"""A warehouse that let an offer pass may be asked for the same shipment again after this."""


def _agent(ws: WorkingSet, agents: tuple[AgentInfo, ...]) -> str:
    """The least-loaded reachable agent, "" if none is."""
    reachable = [a.id for a in agents if is_reachable(ws, a.id)]
    if len(reachable) < 2:
        return reachable[0] if reachable else ""
    if ws.load is None:
        ws.load = ws.fetch.agent_load()
    load = ws.load
    return min(reachable, key=lambda agent: (load.get(agent, 0), agent))


def is_reachable(ws: WorkingSet, agent: str) -> bool:
    """Birth seen and heartbeat young enough (DESIGN §6)."""
    state = ws.agents.get(agent)
    return (
        state is not None
        and state.online == 1
        and ws.now_ms - state.seen_ms <= ws.policy.reachable_s * 1000
    )


def _signature(ws: WorkingSet, warehouse: str, lines: list[tuple[str, int]]) -> str:
    """Changes when the warehouse's stock of these SKUs or its hours change."""
    info = ws.master.warehouses[warehouse]
    rows = (ws.stock_at(warehouse, sku) for sku, _ in lines)
    return info.hours + "/" + "/".join(str(row.on_hand if row else 0) for row in rows)


def _exclude(ws: WorkingSet, shipment: Shipment, why: str) -> str:
    excluded = msgspec.json.decode(shipment.excluded) if shipment.excluded else {}
    lines = [(line.sku, line.quantity) for line in ws.lines_of(shipment.id)]
    excluded[shipment.warehouse] = {
        "why": why,
        "at": ws.now_ms,
        "sig": _signature(ws, shipment.warehouse, lines),
    }
    return msgspec.json.encode(excluded).decode()
