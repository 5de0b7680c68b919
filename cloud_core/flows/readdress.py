"""Readdress: the goods go elsewhere; one rule for doors, shops and people (002.22, 003.17–19).

The address travels only in the grant. Before it, the address simply changes, and the shipment moves
to another warehouse only when its own can no longer serve the place. After it the bench is told to
stop: a red screen, the label pulled, what was picked put back. Its answer ends the old token and
its waybill number (P6), and in the same commit the shipment is offered again under a higher token,
to the same warehouse if that still serves the place. A packed parcel is opened again only when a
person approves; what has left is an intercept, never a change.
"""

from __future__ import annotations

from msgspec.structs import replace

from cloud_core.domain.change_commands import ChangeAddress, KeyedAnswer
from cloud_core.domain.progress import GONE, ON_THE_BENCH
from cloud_core.domain.rows import Contact, Order, Shipment
from cloud_core.domain.tracking import REROUTED
from cloud_core.flows import warn
from cloud_core.flows.changes import READDRESS, open_change, settle_changes
from cloud_core.flows.grant import void_waybill
from cloud_core.flows.keyed import remember, replay
from cloud_core.flows.outside import PARKED
from cloud_core.flows.own import (
    CLAIM,
    hold_id,
    lift,
    note,
    own,
    send_cancel,
    settle_order,
    take_back,
)
from cloud_core.flows.route import ask
from cloud_core.store.working_set import WorkingSet
from protocols.errors import Rejected, Unavailable
from protocols.messages import Token

SCREEN_ZH = "收货地址已更改：请撕下旧面单，把已拣商品放回货架，稍后会用新运单重新派来"


def change_address(ws: WorkingSet, command: ChangeAddress) -> KeyedAnswer:
    """A door's request. Raises `Rejected`: `order_unknown`, `order_stopped`, `shipment_left`,
    `address_packed`, `address_flagged`; `Unavailable("recovering")`."""
    stored = replay(ws, command.keyed)
    if stored is not None:
        return stored
    order = ws.orders.get(command.order_id)
    if order is None:
        raise Rejected("order_unknown", "没有这个订单", "no such order", field="order_id")
    _check(ws, order, command)
    place, given = command.division, command.contact
    order = replace(
        order, province=place.province_code, city=place.city_code, district=place.district_code,
        division_flag="", version=order.version + 1,
        division_text="".join(
            dict.fromkeys(p for p in (place.province, place.city, place.district) if p)
        ),
    )  # fmt: skip
    ws.orders.put(order)
    ws.contacts.put(
        Contact(
            order.id, given.sealed, given.key_id, given.name_masked, given.phone_masked,
            given.address_masked, given.phone_hash, None, given.last4_hash,
        )
    )  # fmt: skip
    ws.trail(order.id, "address_changed", command.actor, command.reason, command.source)
    shipments = readdress(
        ws, order, command.reason, command.actor, command.source, command.approved_by
    )
    return remember(ws, command.keyed, {"order_id": order.id, "shipments": shipments})


def readdress(
    ws: WorkingSet, order: Order, reason: str, actor: str, source: str = "", approved_by: str = ""
) -> list[dict[str, str]]:
    """The order's address was changed: what that means for each of its shipments.

    `outcome` is `changed`, `moved`, `stopping` (a bench must confirm), `packed`, `left` (people are
    told) or `stopped`.
    """
    if not order.division_flag:
        ws.close_alarm("address_flagged", order.id)
    answers = []
    for shipment in ws.shipments_of(order.id):
        outcome = _one(ws, order, shipment, reason, actor, source, approved_by)
        now = ws.shipments.get(shipment.id)
        assert now is not None
        answers.append({"id": shipment.id, "outcome": outcome, "warehouse": now.warehouse})
    return answers


def bench_stopped(ws: WorkingSet, shipment: Shipment) -> Shipment:
    """The bench put back and pulled the label: the old number is void, the shipment goes out again.

    `shipment` is stopping for a changed address; its fence was made when the bench was told.
    """
    assert (shipment.stop, shipment.waiting) == ("stopping", READDRESS)
    void_waybill(ws, shipment)
    settle_changes(ws, shipment, "done")
    lines = ws.lines_of(shipment.id)
    ws.shipment_lines.put(tuple(replace(line, picked=0, verified=0) for line in lines))
    before = (shipment.warehouse, shipment.agent)
    free = replace(
        shipment, state="routed", stop="", waiting="", warehouse="", agent="", deadline_ms=None,
        waybill="", label="", label_revision=0, granted_ms=None, token_n=shipment.token_n - 1,
        version=shipment.version + 1,
    )  # fmt: skip
    ws.shipments.put(free)
    note(ws, free, "taken_back:address_changed", "core")
    ws.milestone(free.id, REROUTED, "收货地址已更改，正在重新安排发货", "core")
    return own(ws, free, claim=False, back_to=before)


def _check(ws: WorkingSet, order: Order, command: ChangeAddress) -> None:
    if ws.recovering:
        raise Unavailable("recovering", "系统恢复中，暂不能改地址", "recovering from a backup")
    if order.stop:
        raise Rejected(
            "order_stopped", "订单已取消或退款", "the order is stopped", field="order_id"
        )
    if command.division.flag:
        raise Rejected(
            "address_flagged", "收货地址不能确定到区县，请补全省市区",
            "the address names no certain district", field="receiver",
        )  # fmt: skip
    states = {s.state for s in ws.shipments_of(order.id) if s.stop != "cancelled"}
    if states & GONE:
        raise Rejected(
            "shipment_left", "包裹已交接发运，不能改地址，请联系承运商改址",
            "the parcel has left; ask the carrier", field="order_id",
        )  # fmt: skip
    if "packed" in states and not command.approved_by:
        raise Rejected(
            "address_packed", "包裹已打包，改地址须主管批准（approved_by）",
            "the parcel is packed; a manager must approve", field="approved_by",
        )  # fmt: skip


def _one(
    ws: WorkingSet, order: Order, shipment: Shipment, reason: str, actor: str, source: str,
    approved_by: str,
) -> str:  # fmt: skip
    if shipment.stop == "stopping" and shipment.waiting == READDRESS:
        return "stopping"  # the bench is stopping for an earlier change already
    if shipment.stop:
        return "stopped"
    if shipment.state in GONE or (shipment.state == "packed" and not approved_by):
        warn.label_is_old(ws, order, shipment)
        return "left" if shipment.state in GONE else "packed"
    if shipment.state in ON_THE_BENCH:
        _stop_bench(ws, shipment, reason, actor, source, approved_by)
        return "stopping"
    if ws.recovering or shipment.waiting == CLAIM or shipment.parked in PARKED:
        return "changed"
    return _ungranted(ws, order, shipment, actor)


def _ungranted(ws: WorkingSet, order: Order, shipment: Shipment, actor: str) -> str:
    """Nothing of the address has left the core; does the warehouse still serve it?"""
    if shipment.parked:
        return "moved" if not own(ws, shipment, actor=actor).parked else "changed"
    if shipment.state != "offered":
        return "changed"
    lines = [(line.sku, line.quantity) for line in ws.lines_of(shipment.id)]
    found = ask(
        ws, order, shipment, lines, kept=shipment.warehouse,
        kept_hold=hold_id(shipment.id, shipment.token_n),
        stay=(shipment.warehouse, shipment.agent),
    )  # fmt: skip
    if [parcel.warehouse for parcel in found.parcels] != [shipment.warehouse]:
        own(ws, take_back(ws, shipment, "address_changed", actor=actor), claim=False)
        return "moved"
    (parcel,) = found.parcels
    kept = replace(
        shipment, carrier=parcel.carrier, expected_ms=parcel.expected_ms, decision=found.record,
        priority=parcel.priority, version=shipment.version + 1,
    )  # fmt: skip
    ws.shipments.put(kept)
    note(ws, kept, "address_changed", actor)
    return "changed"


def _stop_bench(
    ws: WorkingSet, shipment: Shipment, reason: str, actor: str, source: str, approved_by: str
) -> None:
    """Fence the bench; what it does until it has heard still counts as the owner's work."""
    shipment = lift(ws, shipment)
    fence = Token(ws.core_epoch, shipment.token_n + 1)
    send_cancel(ws, shipment, fence, "address_changed", answer=True, text=SCREEN_ZH)
    stopping = replace(
        shipment, stop="stopping", waiting=READDRESS, token_epoch=fence.core_epoch,
        token_n=fence.n, version=shipment.version + 1,
    )  # fmt: skip
    ws.shipments.put(stopping)
    note(ws, stopping, "stopping:address_changed", actor, source)
    open_change(ws, stopping, "address", reason, actor, source, approved_by)
    settle_order(ws, shipment.order_id)
