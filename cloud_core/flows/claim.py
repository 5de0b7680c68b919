"""Claim: several warehouses were asked at once, and one says yes (000.21, DESIGN §6).

The first yes under the running token, in commit order, whose warehouse covers the shipment and may
have it moves the hold, owns and is granted in one commit under the next token; the others are
fenced with it. A yes that is committed after the deadline means nothing: `sweep` has, or will have,
made an ordinary offer.
"""

from __future__ import annotations

from msgspec.structs import replace

from cloud_core.domain.decision_record import claimed
from cloud_core.domain.decision_values import Decision
from cloud_core.domain.rows import Shipment
from cloud_core.flows.grant import grant
from cloud_core.flows.own import (
    CLAIM,
    asked_agents,
    hold_id,
    note,
    release,
    send_cancel,
    set_goods_aside,
    take_place,
)
from cloud_core.flows.report import Report
from cloud_core.flows.route import ask, note_left
from cloud_core.store.working_set import WorkingSet
from protocols.messages import Token


def try_accepted(report: Report) -> None:
    """A yes to a try; one that comes too late, or that its warehouse cannot keep, is noted."""
    ws, shipment = report.ws, report.shipment
    assert shipment is not None
    if shipment.state != "offered" or shipment.waiting != CLAIM or shipment.stop:
        return
    if report.body.token != shipment.token or report.agent not in asked_agents(ws, shipment):
        return
    if shipment.deadline_ms is None or ws.now_ms >= shipment.deadline_ms or ws.recovering:
        note(ws, shipment, "claim_refused:late", report.actor)
        return
    found = _may_have(ws, shipment, report)
    if not found.parcels:
        note(ws, shipment, f"claim_refused:{found.parked}", report.actor)
        return
    report.shipment = _win(ws, shipment, report, found)


def _may_have(ws: WorkingSet, shipment: Shipment, report: Report) -> Decision:
    """Routing for this warehouse alone; goods set aside there count for it while they exist."""
    order = ws.orders.get(shipment.order_id)
    assert order is not None
    lines = [(line.sku, line.quantity) for line in ws.lines_of(shipment.id)]
    ws.stock_for(sku for sku, _ in lines)
    here = shipment.warehouse == report.warehouse
    sound = here and all(ws.available(report.warehouse, sku) >= 0 for sku, _ in lines)
    return ask(
        ws, order, shipment, lines, kept=report.warehouse if sound else "",
        kept_hold=hold_id(shipment.id, shipment.token_n), only=(report.warehouse, report.agent),
    )  # fmt: skip


def _win(ws: WorkingSet, shipment: Shipment, report: Report, found: Decision) -> Shipment:
    (parcel,) = found.parcels
    token = Token(ws.core_epoch, shipment.token_n + 1)
    send_cancel(ws, shipment, token, "claimed", answer=False, but=report.agent)
    note_left(ws, shipment, hold_id(shipment.id, shipment.token_n))
    release(ws, shipment, "moved")
    set_goods_aside(ws, shipment.id, token, parcel.warehouse, parcel.lines)
    owned = replace(
        shipment, warehouse=parcel.warehouse, agent=report.agent, token_epoch=token.core_epoch,
        token_n=token.n, carrier=parcel.carrier, deadline_ms=None, waiting="",
        priority=parcel.priority, expected_ms=parcel.expected_ms,
        decision=claimed(shipment.decision, found.record), version=shipment.version + 1,
    )  # fmt: skip
    ws.shipments.put(owned)
    take_place(ws, owned, found)
    note(ws, owned, "claimed", report.actor)
    return grant(ws, owned, actor=report.actor)
