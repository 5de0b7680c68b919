"""Re-attach: facts about a shipment this core has forgotten (it was restored from a backup).

Accept, grant and hand-over events name channel, native order id and lines, so that the order and
the shipment can be built again, with the stock held where the agent works. If the shop has sent the
order again meanwhile, its new, still un-owned shipment gives way to the one that is on a bench.
"""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from cloud_core.domain.policy import DAY_MS, HOUR_MS
from cloud_core.domain.rows import Hold, Incident, Order, OrderLine, Shipment, ShipmentLine
from cloud_core.flows.own import hold_id, note, release, send_cancel, settle_order
from cloud_core.store.working_set import WorkingSet
from protocols.messages import Event, Token

_STATE = {"offer.accepted": "offered", "grant.stored": "granted", "parcel.handed_over": "packed"}


def reattach(ws: WorkingSet, agent: str, event: Event, body: Any) -> Shipment | None:
    """Build the forgotten shipment an event speaks of; None (and an incident) if it cannot be."""
    info = ws.master.agents.get(agent)
    state = _STATE.get(event.t)
    if info is None or state is None:
        ws.appended.append(
            Incident(
                ws.now_ms,
                "unknown_shipment",
                body.shipment,
                info.warehouse if info else "",
                body.token.core_epoch,
                body.token.n,
                "",
                event.t,
            )
        )
        ws.alarm(
            "incident", body.shipment, f"代理 {agent} 上报了未知发货单 {body.shipment} 的 {event.t}"
        )
        return None
    order = ws.order_by_native(body.channel, body.native_id) or _order(ws, body)
    _give_way(ws, order, agent)
    ws.lines.loaded(order.id, None)
    if ws.lines.get(order.id) is None:
        ws.lines.put(
            tuple(
                OrderLine(order.id, number, line.sku, line.quantity, 0, "", 0)
                for number, line in enumerate(body.lines, 1)
            )
        )
    token: Token = body.token
    warehouse = ws.master.warehouses[info.warehouse]
    ship_by = order.ship_by_ms or ws.now_ms + ws.policy.ship_within_h * HOUR_MS
    days = ws.master.transit_days(warehouse.carrier, warehouse.id, order.province)
    shipment = Shipment(
        id=body.shipment,
        order_id=order.id,
        kind="main",
        state=state,
        stop="",
        parked="",
        parked_ms=None,
        warehouse=warehouse.id,
        agent=agent,
        token_epoch=token.core_epoch,
        token_n=token.n,
        deadline_ms=None,
        waiting="",
        excluded="",
        carrier=getattr(body, "carrier", warehouse.carrier),
        waybill=getattr(body, "waybill", ""),
        label="",
        label_revision=0,
        priority=0,
        paid_ms=order.paid_ms or ws.now_ms,
        ship_by_ms=ship_by,
        expected_ms=ship_by + days * DAY_MS,
        granted_ms=ws.now_ms if state != "offered" else None,
        handed_over_ms=None,
        purged_ms=None,
        decision='{"reattached":true}',
    )
    units: dict[str, int] = {}
    for line in body.lines:
        units[line.sku] = units.get(line.sku, 0) + line.quantity
    ws.add_shipment(
        shipment,
        tuple(ShipmentLine(shipment.id, sku, quantity) for sku, quantity in sorted(units.items())),
    )
    hold = Hold(hold_id(shipment.id, token.n), shipment.id, warehouse.id, "held", None, ws.now_ms)
    ws.holds.put(hold)
    for sku, quantity in sorted(units.items()):
        ws.move(warehouse.id, sku, held=quantity, reason="reattach", ref=hold.id)
    waybill = ws.waybills.get(shipment.waybill) if shipment.waybill else None
    if waybill is not None and waybill.state == "free":
        ws.waybills.put(
            replace(
                waybill,
                state="drawn",
                shipment_id=shipment.id,
                token_epoch=token.core_epoch,
                token_n=token.n,
                at_ms=ws.now_ms,
            )
        )
    note(ws, shipment, f"reattached:{state}", f"agent:{agent}")
    if order.stop:
        fence = Token(ws.core_epoch, shipment.token_n + 1)
        send_cancel(ws, shipment, fence, "cancelled", answer=True)
        shipment = replace(
            shipment, stop="stopping", token_epoch=fence.core_epoch, token_n=fence.n, version=1
        )
        ws.shipments.put(shipment)
    settle_order(ws, order.id)
    return shipment


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
        track_token=f"r-{body.order}"[:32],
        track_until_ms=ws.now_ms + ws.policy.track_days * DAY_MS,
        flags="reattached",
    )
    ws.add_order(order)
    ws.trail(order.id, "reattached", "core")
    return order


def _give_way(ws: WorkingSet, order: Order, agent: str) -> None:
    """Withdraw shipments of the order that no bench has been granted."""
    for other in ws.shipments_of(order.id):
        if other.stop or other.state not in ("routed", "offered"):
            continue
        if other.state == "offered":
            release(ws, other, "moved")
            send_cancel(
                ws, other, Token(ws.core_epoch, other.token_n + 1), "reattached", answer=False
            )
        ws.shipments.put(
            replace(
                other,
                stop="cancelled",
                parked="",
                parked_ms=ws.now_ms,
                deadline_ms=None,
                waiting="",
                token_epoch=ws.core_epoch,
                token_n=other.token_n + 1,
                version=other.version + 1,
            )
        )
        note(ws, other, "superseded", f"agent:{agent}")
