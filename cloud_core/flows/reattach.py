"""Re-attach: facts about a shipment this core has forgotten (it was restored from a backup).

Accept, grant and hand-over events name channel, native order id and lines, so that the order and
the shipment can be built again, with the stock held where the agent works. If the shop has sent the
order again meanwhile, its new, still un-owned shipment gives way to the one that is on a bench.
"""

from __future__ import annotations

from collections import Counter
from functools import partial
from typing import Any

from msgspec.structs import replace

from cloud_core.domain.policy import DAY_MS, HOUR_MS
from cloud_core.domain.progress import GONE, UNGRANTED
from cloud_core.domain.rows import Hold, Incident, Order, OrderLine, Shipment, ShipmentLine
from cloud_core.flows.own import (
    hold_id,
    lift,
    note,
    release,
    send_cancel,
    settle_order,
    take_back,
)
from cloud_core.flows.parts import next_id
from cloud_core.store import hold_rows
from cloud_core.store.working_set import WorkingSet
from protocols.messages import Event, Token

_STATE = {"offer.accepted": "offered", "grant.stored": "granted", "parcel.handed_over": "packed"}


def forgotten(ws: WorkingSet, event: Event, body: Any, shipment: Shipment) -> bool:
    """Whether the fact comes from a life of the core that this shipment's row knows nothing of."""
    token: Token = body.token
    if event.t not in _STATE or token.core_epoch >= ws.core_epoch or shipment.state in GONE:
        return False
    unowned = not shipment.agent and shipment.state in UNGRANTED
    since = unowned and shipment.token_epoch == ws.core_epoch  # what this life gave, it can give up
    return since or token > shipment.token


def reattach(
    ws: WorkingSet, agent: str, event: Event, body: Any, known: Shipment | None = None
) -> Shipment | None:
    """Build the forgotten shipment an event speaks of, or give a known one back to its bench.

    None, and an incident, when the event does not tell enough.
    """
    info = ws.master.agents.get(agent)
    state = _STATE.get(event.t)
    if info is None or state is None:
        _unknown(ws, agent, event, body, info.warehouse if info else "")
        return None
    order = ws.order_by_native(body.channel, body.native_id)
    if order is None and ws.orders.get(body.order) is not None:  # another shop's order has this id
        _unknown(ws, agent, event, body, info.warehouse)
        return None
    if known is not None:
        release(ws, known, "moved")
    order = order or _order(ws, body)
    shipment = _attached(ws, agent, info.warehouse, state, order, body, known)
    _give_way(ws, order, agent, shipment)
    _hold_again(ws, shipment, body)
    draw_again(ws, shipment)
    note(ws, shipment, f"reattached:{state}", f"agent:{agent}")
    if order.stop:
        shipment = _stop_again(ws, shipment)
    settle_order(ws, order.id)
    return shipment


def draw_again(ws: WorkingSet, shipment: Shipment) -> None:
    """Mark the shipment's number as drawn if this core thinks that it is free."""
    waybill = ws.waybills.get(shipment.waybill) if shipment.waybill else None
    if waybill is not None and waybill.state == "free":
        token = shipment.token
        ws.waybills.put(
            replace(
                waybill, state="drawn", shipment_id=shipment.id, token_epoch=token.core_epoch,
                token_n=token.n, at_ms=ws.now_ms,
            )
        )  # fmt: skip


def _attached(
    ws: WorkingSet, agent: str, warehouse: str, state: str, order: Order, body: Any,
    known: Shipment | None,
) -> Shipment:  # fmt: skip
    """The shipment's row as the bench knows it; a known row keeps what the bench cannot tell."""
    token: Token = body.token
    carrier = getattr(body, "carrier", ws.master.warehouses[warehouse].carrier)
    ship_by = order.ship_by_ms or ws.now_ms + ws.policy.ship_within_h * HOUR_MS
    days = ws.master.transit_days(carrier, warehouse, order.province)
    base = known or Shipment(
        id=body.shipment, order_id=order.id, kind="main", state=state, stop="", parked="",
        parked_ms=None, warehouse="", agent="", token_epoch=0, token_n=0, deadline_ms=None,
        waiting="", excluded="", carrier="", waybill="", label="", label_revision=0, priority=0,
        paid_ms=order.paid_ms or ws.now_ms, ship_by_ms=ship_by,
        expected_ms=ship_by + days * DAY_MS, granted_ms=None, handed_over_ms=None, purged_ms=None,
        decision="",
    )  # fmt: skip
    shipment = replace(
        base, state=state, stop="", parked="", parked_ms=None, warehouse=warehouse, agent=agent,
        token_epoch=token.core_epoch, token_n=token.n, deadline_ms=None, waiting="",
        carrier=carrier, waybill=getattr(body, "waybill", ""),
        granted_ms=None if state == "offered" else ws.now_ms,
        decision='{"reattached":true}', version=base.version + 1,
        top_n=max(base.top_n, base.token_n),
    )  # fmt: skip
    units: Counter[str] = Counter()
    for line in body.lines:
        units[line.sku] += line.quantity
    lines = tuple(ShipmentLine(shipment.id, sku, n) for sku, n in sorted(units.items()))
    if known is None:
        ws.add_shipment(shipment, lines)
        return shipment
    ws.shipments.put(shipment)
    if {line.sku: line.quantity for line in ws.lines_of(shipment.id)} != units:
        ws.shipment_lines.put(lines)  # the forgotten life cut the order into other parts
    return shipment


def _hold_again(ws: WorkingSet, shipment: Shipment, body: Any) -> None:
    hold = Hold(
        hold_id(shipment.id, shipment.token_n), shipment.id, shipment.warehouse, "held", None,
        ws.now_ms,
    )  # fmt: skip
    old = ws.holds.get(hold.id)
    if old is not None and old.state == "held":
        return
    ws.holds.put(hold)
    lines = ws.lines_of(shipment.id)
    units = tuple((shipment.warehouse, line.sku, line.quantity) for line in lines)
    ws.cover_hold(hold.id, units)
    if old is not None:  # another life gave the same number
        ws.writes.append(partial(hold_rows.cover_again, hold_id=hold.id, units=units))
    for line in lines:
        ws.move(shipment.warehouse, line.sku, held=line.quantity, reason="reattach", ref=hold.id)


def _stop_again(ws: WorkingSet, shipment: Shipment) -> Shipment:
    """The order was cancelled meanwhile: the bench is told to stop and to put back."""
    shipment = lift(ws, shipment)
    fence = Token(ws.core_epoch, shipment.token_n + 1)
    send_cancel(ws, shipment, fence, "cancelled", answer=True)
    stopping = replace(
        shipment, stop="stopping", token_epoch=fence.core_epoch, token_n=fence.n,
        version=shipment.version + 1,
    )  # fmt: skip
    ws.shipments.put(stopping)
    return stopping


def _unknown(ws: WorkingSet, agent: str, event: Event, body: Any, warehouse: str) -> None:
    ws.appended.append(
        Incident(
            ws.now_ms, "unknown_shipment", body.shipment, warehouse, body.token.core_epoch,
            body.token.n, "", event.t,
        )
    )  # fmt: skip
    text = f"代理 {agent} 上报了未知发货单 {body.shipment} 的 {event.t}"
    ws.alarm("incident", body.shipment, text)


def _order(ws: WorkingSet, body: Any) -> Order:
    """The order as far as the agent knows it; the shop's next message fills in the rest."""
    order = Order(
        id=body.order,
        channel=body.channel,
        native_id=body.native_id,
        state="paid",
        stop="",
        source_version=0,
        native_status="",
        created_ms=ws.now_ms,
        paid_ms=ws.now_ms,
        ship_by_ms=ws.now_ms + ws.policy.ship_within_h * HOUR_MS,
        expected_ms=None,
        amount_fen=0,
        province="",
        city="",
        district="",
        division_text="",
        division_flag="",
        remark="",
        tags="",
        track_token=ws.track_token(),
        track_until_ms=ws.now_ms + ws.policy.track_days * DAY_MS,
        flags="reattached",
    )
    ws.add_order(order)
    ws.trail(order.id, "reattached", "core")
    return order


def _give_way(ws: WorkingSet, order: Order, agent: str, kept: Shipment) -> None:
    """Withdraw un-granted shipments of the order that promise what the bench already has.

    What they promised beyond that becomes a new shipment, so that nothing is left out (a split
    order comes back part by part).
    """
    spare = Counter(_wanted(ws, order))
    spare.subtract({line.sku: line.quantity for line in ws.lines_of(kept.id)})
    others = [s for s in ws.shipments_of(order.id) if s.id != kept.id and s.stop != "cancelled"]
    for other in others:
        spare.subtract({line.sku: line.quantity for line in ws.lines_of(other.id)})
    for other in reversed(others):
        lines = {line.sku: line.quantity for line in ws.lines_of(other.id)}
        if other.stop or other.state not in UNGRANTED or all(spare[sku] >= 0 for sku in lines):
            continue
        spare.update(lines)
        _withdraw(ws, other, agent)
    left = {sku: units for sku, units in sorted(spare.items()) if units > 0}
    if left and not order.stop:
        _add_rest(ws, order, kept, left)


def _wanted(ws: WorkingSet, order: Order) -> dict[str, int]:
    """Units by SKU that the order asks for; one that only benches told us of grows by each part."""
    wanted: Counter[str] = Counter()
    if order.flags == "reattached" and not order.source_version:
        for shipment in ws.shipments_of(order.id):
            if shipment.stop != "cancelled":
                wanted.update({line.sku: line.quantity for line in ws.lines_of(shipment.id)})
        known = enumerate(sorted(wanted.items()), 1)
        ws.lines.put(
            tuple(OrderLine(order.id, n, sku, units, 0, "", 0) for n, (sku, units) in known)
        )
        return wanted
    for line in ws.lines.get(order.id) or ():
        wanted[line.sku] += line.quantity
    return wanted


def _add_rest(ws: WorkingSet, order: Order, kept: Shipment, left: dict[str, int]) -> None:
    rest = replace(
        kept, id=next_id(ws, order.id), state="routed", parked="recovering", parked_ms=ws.now_ms,
        warehouse="", agent="", token_epoch=0 if ws.recovering else ws.core_epoch, token_n=0,
        top_n=0, carrier="", waybill="", label="", label_revision=0, granted_ms=None,
        handed_over_ms=None, purged_ms=None, decision="{}", version=0,
    )  # fmt: skip
    ws.add_shipment(rest, tuple(ShipmentLine(rest.id, sku, n) for sku, n in left.items()))
    ws.trail(rest.id, "split", "core", kept.id)


def _withdraw(ws: WorkingSet, shipment: Shipment, agent: str) -> None:
    """End what promises too much; its token stays, for its own bench may still tell of it."""
    other = shipment
    if shipment.state == "offered":
        other = take_back(ws, shipment, "reattached")
    release(ws, other, "moved")
    ws.shipments.put(
        replace(
            other, stop="cancelled", parked="", parked_ms=ws.now_ms, deadline_ms=None, waiting="",
            version=other.version + 1,
        )
    )  # fmt: skip
    note(ws, other, "superseded", f"agent:{agent}")
