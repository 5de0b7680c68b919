"""Facts: what a bench reports about a shipment, and what it does to states and stock.

A fact under the current token moves the shipment forward (P7). A physical fact under an older one
is never thrown away: its stock effect is booked where it happened and an incident tells people
(P4). Facts about a shipment this core has forgotten re-attach it.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from cloud_core.domain.progress import GONE, ON_THE_BENCH
from cloud_core.domain.rows import Shipment, ShopCall
from cloud_core.flows.changes import READDRESS, settle_changes
from cloud_core.flows.claim import try_accepted
from cloud_core.flows.gifts import move_gift
from cloud_core.flows.grant import grant, void_waybill
from cloud_core.flows.incident_holds import end_by_bench
from cloud_core.flows.lost_grants import grant_refused
from cloud_core.flows.own import own, release, settle_order, take_back
from cloud_core.flows.readdress import bench_stopped
from cloud_core.flows.reattach import draw_again, forgotten, reattach
from cloud_core.flows.report import (
    Report,
    advance,
    confirmed,
    current,
    incident,
    left_with_old_label,
    stopping_owner,
)
from cloud_core.flows.return_facts import RETURN_FACTS, keep_serial
from cloud_core.flows.stop import intercept
from cloud_core.flows.units import (
    count_line,
    count_shelf,
    pick_rest,
    picked_here,
    ship_held,
    ship_lines,
)
from cloud_core.store.working_set import WorkingSet
from protocols import events as e
from protocols.messages import Event

_SHIP_BODY = msgspec.json.Encoder()

Fact = Callable[["Report"], None]


def apply_fact(ws: WorkingSet, agent: str, event: Event, body: Struct, at_ms: int) -> None:
    """Apply one decoded event of an agent. Raises `Rejected` for what must be quarantined."""
    handler = _FACTS.get(event.t)
    if handler is None:
        return  # telemetry and notes: stored, no effect
    report = Report(ws, agent, event, body, at_ms)
    if event.t in _ABOUT_SHIPMENTS:
        report.shipment = ws.shipments.get(body.shipment)  # type: ignore[attr-defined]
        if report.shipment is None and event.t in _NO_RIGHT:
            return
        if report.shipment is None:
            report.shipment = reattach(ws, agent, event, body)
            if report.shipment is None:
                return
        elif forgotten(ws, event, body, report.shipment):
            report.shipment = reattach(ws, agent, event, body, report.shipment)
    handler(report)


# --- offers ------------------------------------------------------------------------------------


def _offer_accepted(report: Report) -> None:
    shipment = report.shipment
    assert shipment is not None
    if not current(report) or shipment.state != "offered" or shipment.waiting:
        return  # a late accept gets no grant
    grant(report.ws, shipment, actor=report.actor)


def _offer_rejected(report: Report) -> None:
    shipment = report.shipment
    assert shipment is not None
    body: e.OfferRejected = report.body
    for count in body.counts:
        count_shelf(report, count.sku, count.shelf)
    shipment = report.shipment  # the count may have made it give way
    assert shipment is not None
    if not current(report) or shipment.state != "offered":
        return
    free = take_back(report.ws, shipment, "rejected", actor=report.actor, reason=body.reason)
    own(report.ws, free)


def _grant_stored(report: Report) -> None:
    """The bench has the grant; a core that had forgotten giving it takes note."""
    shipment = report.shipment
    assert shipment is not None
    body: e.GrantStored = report.body
    if current(report) and shipment.state == "offered":
        granted = report.put(
            "offered>granted",
            state="granted",
            waiting="",
            parked_ms=None,
            deadline_ms=None,
            waybill=body.waybill,
            carrier=body.carrier,
            granted_ms=report.at_ms,
        )
        draw_again(report.ws, granted)
        report.ws.milestone(granted.id, "granted", "", report.actor, report.at_ms)
        settle_order(report.ws, granted.order_id)


# --- the bench ---------------------------------------------------------------------------------


def _task_started(report: Report) -> None:
    if current(report):
        _picking(report)


def _picking(report: Report) -> None:
    """The bench has begun: by its own word, or by the first unit it picks."""
    if advance(report, "picking"):
        report.ws.milestone(report.body.shipment, "picking", "", report.actor, report.at_ms)


def _item_picked(report: Report) -> None:
    body: e.ItemPicked = report.body
    report.ws.move(
        report.warehouse,
        body.sku,
        shelf=-body.quantity,
        picked=body.quantity,
        reason="pick",
        ref=body.shipment,
    )
    if current(report) or stopping_owner(report):
        count_line(report, body.sku, picked=body.quantity)
        if current(report):
            _picking(report)
        return
    incident(
        report, "picked_under_old_token", f"{body.sku} 货架-{body.quantity} 已拣+{body.quantity}"
    )


def _pick_shorted(report: Report) -> None:
    body: e.PickShorted = report.body
    count_shelf(report, body.sku, body.found)
    report.ws.alarm(
        "short_pick",
        body.shipment,
        f"发货单 {body.shipment} 缺拣 {body.sku}：需要 {body.wanted}，只有 {body.found}",
    )


def _item_verified(report: Report) -> None:
    if report.body.serial:
        keep_serial(report)
    if current(report) or stopping_owner(report):
        count_line(report, report.body.sku, verified=report.body.quantity)


def _label(report: Report) -> None:
    shipment = report.shipment
    assert shipment is not None
    body: e.LabelEvent = report.body
    state = report.event.t.partition(".")[2]
    waybill = report.ws.waybills.get(body.waybill)
    if waybill is not None and waybill.state == "free":  # drawn in a life this core forgot
        report.ws.waybills.put(
            replace(
                waybill,
                state="drawn",
                shipment_id=shipment.id,
                token_epoch=body.token.core_epoch,
                token_n=body.token.n,
                at_ms=report.ws.now_ms,
            )
        )
    if body.waybill != shipment.waybill:
        return
    report.put(
        f"label:{state}#{body.revision}",
        label=state,
        label_revision=max(shipment.label_revision, body.revision),
    )
    if state == "unknown":
        report.ws.alarm(
            "label_unknown", shipment.id, f"运单 {body.waybill} 的面单不确定是否打印，请到工位确认"
        )
    elif state == "printed":
        report.ws.close_alarm("label_unknown", shipment.id)


def _parcel_packed(report: Report) -> None:
    shipment = report.shipment
    assert shipment is not None
    if current(report):
        pick_rest(report)
        if advance(report, "packed"):
            report.ws.milestone(shipment.id, "packed", "仓库已打包", report.actor, report.at_ms)
        move_gift(report.ws, shipment.order_id, shipment.id, "packed")
        return
    if stopping_owner(report):
        pick_rest(report)
        incident(report, "packed_after_stop", "")
        return
    incident(report, "packed_under_old_token", "")


def _handed_over(report: Report) -> None:
    shipment = report.shipment
    assert shipment is not None
    if shipment.state in GONE:
        if report.body.token != shipment.token:
            incident(report, "handed_over_twice", ship_lines(report))
            end_by_bench(report.ws, report, "shipped")
        return
    if current(report) or stopping_owner(report):
        moving = shipment.waiting == READDRESS  # to another address, but nobody stopped it
        stopped = bool(shipment.stop) and not moving
        pick_rest(report)
        ship_held(report)
        if shipment.stop:
            settle_changes(report.ws, shipment, "left")
        shipped = report.put(
            f"{shipment.state}>handed_over",
            state="handed_over",
            handed_over_ms=report.at_ms,
            deadline_ms=None,
            handling_ms=report.body.handling_ms or None,
            **({"stop": "", "waiting": ""} if moving else {}),
        )
        report.ws.milestone(
            shipped.id, "handed_over", "包裹已交给快递公司", report.actor, report.at_ms
        )
        move_gift(report.ws, shipped.order_id, shipped.id, "sent")
        if moving:
            left_with_old_label(report, shipped)
        if stopped:
            intercept(report.ws, shipped, "handed_over", report.body.token, "已按交接扣减库存")
        else:
            _tell_shop(report, shipped)
        settle_order(report.ws, shipped.order_id)
        return
    incident(report, "handed_over_under_old_token", ship_lines(report))
    end_by_bench(report.ws, report, "shipped")


def _notice_confirmed(report: Report) -> None:
    body: e.NoticeConfirmed = report.body
    confirmed(report, body.code, body.operator)


def _task_stopped(report: Report) -> None:
    shipment = report.shipment
    assert shipment is not None
    body: e.TaskStopped = report.body
    if body.operator:  # nobody has to confirm what was not begun
        confirmed(report, "stop", body.operator)
    owner = current(report) or stopping_owner(report)
    picked = {line.sku: line.picked for line in report.ws.lines_of(shipment.id)}
    for back in body.put_back:
        held = picked.get(back.sku, back.quantity) if owner else picked_here(report, back.sku)
        units = min(back.quantity, held)
        if units > 0:
            report.ws.move(
                report.warehouse,
                back.sku,
                shelf=units,
                picked=-units,
                reason="put_back",
                ref=shipment.id,
            )
            if owner:
                count_line(report, back.sku, picked=-units)
    if current(report) and shipment.state in ON_THE_BENCH:
        shipment = _stopped_unasked(report, shipment)
    if not owner:
        end_by_bench(report.ws, report, "released")
    if shipment.stop != "stopping" or shipment.agent != report.agent:
        return
    left = sum(line.picked for line in report.ws.lines_of(shipment.id))
    if left:
        report.ws.alarm(
            "put_back_short", shipment.id, f"发货单 {shipment.id} 停单后还有 {left} 件未放回货架"
        )
    if shipment.waiting == READDRESS:
        report.shipment = bench_stopped(report.ws, shipment)
        return
    settle_changes(report.ws, shipment, "done")
    release(report.ws, replace(shipment, token_n=shipment.token_n - 1), "released")
    void_waybill(report.ws, shipment)
    report.put("cancelled", stop="cancelled", parked_ms=report.ws.now_ms)
    settle_order(report.ws, shipment.order_id)


def _stopped_unasked(report: Report, shipment: Shipment) -> Shipment:
    """The bench only stops when it was told to: this core has forgotten that it did.

    A forgotten address is not here any more: the shipment goes out again, people are told.
    """
    fence = shipment.token_n + 1
    if report.body.reason == "address_changed":
        report.ws.alarm(
            "address_changed", shipment.id,
            f"发货单 {shipment.id} 在恢复之前改过收货地址，新地址已丢失，请核对并重新修改",
        )  # fmt: skip
        return report.put("stopping", stop="stopping", waiting=READDRESS, token_n=fence)
    order = report.ws.orders.get(shipment.order_id)
    assert order is not None
    report.ws.orders.put(replace(order, stop="requested", version=order.version + 1))
    return report.put("stopping", stop="stopping", token_n=fence)


def _stock_counted(report: Report) -> None:
    for count in report.body.counts:
        count_shelf(report, count.sku, count.shelf)


def _command_received(report: Report) -> None:
    body: e.CommandReceived = report.body
    refused = {item.id: item.code for item in body.refused}
    for command_id in [*body.ids, *refused]:
        row = report.ws.outbox.get(command_id)
        if row is not None and row.agent == report.agent and row.received_ms is None:
            code = refused.get(command_id, "")[:48]
            report.ws.outbox.put(replace(row, received_ms=report.ws.now_ms, result=code))
            if code == "stale_token" and row.kind == "grant":
                grant_refused(report.ws, report.agent, row)
            if code and code not in _HARMLESS:
                report.ws.alarm(
                    "command_refused",
                    command_id[:160],
                    f"代理 {report.agent} 拒绝了指令 {command_id}（{code}）",
                )


# --- parts -------------------------------------------------------------------------------------


def call_id(shipment_id: str) -> str:
    """The id, also the idempotency key, of telling the shop that a shipment left."""
    return f"shipped:{shipment_id}"


def _tell_shop(report: Report, shipment: Shipment) -> None:
    order = report.ws.orders.get(shipment.order_id)
    assert order is not None
    body = _SHIP_BODY.encode(
        {
            "order": order.id,
            "native_id": order.native_id,
            "shipment": shipment.id,
            "carrier": shipment.carrier,
            "waybill": shipment.waybill,
            "shipped_at_ms": report.at_ms,
        }
    ).decode()
    told = call_id(shipment.id)
    if report.ws.shop_calls.get(told) is None:
        report.ws.shop_calls.put(
            ShopCall(
                told,
                order.channel,
                order.id,
                "shipped",
                body,
                report.ws.now_ms,
                report.ws.now_ms,
            )
        )


_FACTS: dict[str, Fact] = {
    "command.received": _command_received,
    "offer.accepted": _offer_accepted,
    "offer.rejected": _offer_rejected,
    "try.accepted": try_accepted,
    "grant.stored": _grant_stored,
    "task.started": _task_started,
    "item.picked": _item_picked,
    "pick.shorted": _pick_shorted,
    "item.verified": _item_verified,
    "label.started": _label,
    "label.printed": _label,
    "label.unknown": _label,
    "label.failed": _label,
    "label.held": _label,
    "parcel.packed": _parcel_packed,
    "parcel.handed_over": _handed_over,
    "task.stopped": _task_stopped,
    "notice.confirmed": _notice_confirmed,
    "stock.counted": _stock_counted,
    **RETURN_FACTS,
}
_HARMLESS = frozenset({"stale_token", "stale_epoch", "expired"})
"""Refusals that a race explains: something newer has overtaken the command."""
_NO_RIGHT = frozenset({"try.accepted", "notice.confirmed"})
"""Facts that mean nothing to a core that does not know the shipment."""
_ABOUT_SHIPMENTS = frozenset(_FACTS) - {"command.received", "stock.counted", *RETURN_FACTS}
