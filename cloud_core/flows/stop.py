"""Stop: a cancel or refund reaches every shipment of an order before it leaves (002.9).

Un-granted shipments end at once. A granted one is fenced and waits for the bench: its stock comes
back only by the bench's own `task.stopped`. One that has left becomes an intercept.
"""

from __future__ import annotations

from msgspec.structs import replace

from cloud_core.domain.change_commands import CancelOrder, KeyedAnswer
from cloud_core.domain.progress import GONE, ON_THE_BENCH
from cloud_core.domain.rows import Incident, Order, Shipment
from cloud_core.flows.changes import READDRESS, open_change, settle_changes
from cloud_core.flows.gifts import cancel_gift
from cloud_core.flows.keyed import remember, replay
from cloud_core.flows.own import lift, note, release, send_cancel, settle_order
from cloud_core.flows.reserve import let_go
from cloud_core.store.working_set import WorkingSet
from protocols.errors import Rejected
from protocols.messages import Token


def cancel_order(ws: WorkingSet, command: CancelOrder) -> KeyedAnswer:
    """A person cancels an order; the answer says what its benches still have to do.

    Raises `Rejected`: `order_unknown`, `idempotency_conflict`.
    """
    stored = replay(ws, command.keyed)
    if stored is not None:
        return stored
    order = ws.orders.get(command.order_id)
    if order is None:
        raise Rejected("order_unknown", "没有这个订单", "no such order", field="order_id")
    stopped = stop(ws, order, command.reason, command.actor, command.source)
    ws.audit(command.actor, command.source, "order.cancel", order.id, command.reason)
    shipments = [{"id": s.id, "stop": s.stop} for s in ws.shipments_of(order.id)]
    body = {"order_id": order.id, "stop": stopped.stop, "shipments": shipments}
    return remember(ws, command.keyed, body)


def stop(ws: WorkingSet, order: Order, reason: str, actor: str, source: str = "") -> Order:
    """Stop an order; stopping twice changes nothing."""
    if order.stop:
        return order
    ws.orders.put(replace(order, stop="requested", version=order.version + 1))
    ws.trail(order.id, f"stop:{reason}", actor, source=source)
    for shipment in ws.shipments_of(order.id):
        _stop_shipment(ws, shipment, reason, actor, source)
    if order.hold:
        let_go(ws, order)
    settle_order(ws, order.id)
    cancel_gift(ws, order)
    stopped = ws.orders.get(order.id)
    assert stopped is not None
    if stopped.stop == "requested" and not ws.shipment_ids(order.id):
        stopped = replace(stopped, stop="cancelled", version=stopped.version + 1)
        ws.orders.put(stopped)
        _forget_contact(ws, order.id)
    return stopped


def _forget_contact(ws: WorkingSet, order_id: str) -> None:
    """Nothing was ever to be sent, so no sweep over shipments would find it (P12)."""
    contact = ws.contacts.get(order_id)
    if contact is not None and contact.sealed is not None:
        ws.contacts.put(replace(contact, sealed=None, purged_ms=ws.now_ms))


def _stop_shipment(
    ws: WorkingSet, shipment: Shipment, reason: str, actor: str, source: str
) -> None:
    if shipment.stop == "stopping" and shipment.waiting == READDRESS:
        _no_other_address(ws, shipment, reason, actor, source)
        return
    if shipment.stop:
        return
    if shipment.state in GONE:
        intercept(ws, shipment, f"stop:{reason}", shipment.token, "")
        return
    shipment = lift(ws, shipment)
    fence = Token(ws.core_epoch, shipment.token_n + 1)
    if shipment.state in ON_THE_BENCH:
        send_cancel(ws, shipment, fence, reason, answer=True)
        stopping = replace(
            shipment,
            stop="stopping",
            token_epoch=fence.core_epoch,
            token_n=fence.n,
            version=shipment.version + 1,
        )
        ws.shipments.put(stopping)
        note(ws, stopping, "stopping", actor)
        open_change(ws, stopping, "cancel", reason, actor, source)
        return
    release(ws, shipment, "released")  # a parked one may hold goods, too
    if shipment.state == "offered":
        send_cancel(ws, shipment, fence, reason, answer=False)
    cancelled = replace(
        shipment,
        stop="cancelled",
        parked="",
        parked_ms=ws.now_ms,
        deadline_ms=None,
        waiting="",
        token_epoch=fence.core_epoch,
        token_n=fence.n,
        version=shipment.version + 1,
    )
    ws.shipments.put(cancelled)
    note(ws, cancelled, "cancelled", actor)


def _no_other_address(
    ws: WorkingSet, shipment: Shipment, reason: str, actor: str, source: str
) -> None:
    """The bench stops for a changed address already: now it ends there."""
    ended = replace(shipment, waiting="", version=shipment.version + 1)
    ws.shipments.put(ended)
    note(ws, ended, "stopping", actor)
    settle_changes(ws, ended, "superseded")
    open_change(ws, ended, "cancel", reason, actor, source)


def intercept(ws: WorkingSet, shipment: Shipment, why: str, token: Token, effect: str) -> None:
    """A stopped shipment has left the house: recorded, people told, never refused."""
    ws.appended.append(
        Incident(
            ws.now_ms,
            "handed_over_after_stop",
            shipment.id,
            shipment.warehouse,
            token.core_epoch,
            token.n,
            effect,
            why,
        )
    )
    ws.alarm(
        "intercept",
        shipment.id,
        f"发货单 {shipment.id} 在取消后已交接，运单 {shipment.waybill}，请联系承运商拦截",
    )
    ws.shipments.put(replace(shipment, stop="intercept", version=shipment.version + 1))
    note(ws, shipment, "intercept", "core")
