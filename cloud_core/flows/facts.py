"""Facts: what a bench reports about a shipment, and what it does to states and stock.

A fact under the current token moves the shipment forward (P7). A physical fact under an older one
is never thrown away: its stock effect is booked where it happened and an incident tells people
(P4). Facts about a shipment this core has forgotten re-attach it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from cloud_core.domain.progress import GONE, ON_THE_BENCH, RANK, moves_forward
from cloud_core.domain.rows import Incident, Shipment, ShipmentLine, ShopCall
from cloud_core.flows.grant import grant
from cloud_core.flows.own import hold_id, note, own, release, settle_order, take_back
from cloud_core.flows.reattach import draw_again, forgotten, reattach
from cloud_core.flows.stop import intercept
from cloud_core.store.working_set import WorkingSet
from protocols import events as e
from protocols.messages import Event, Token

_SHIP_BODY = msgspec.json.Encoder()

Fact = Callable[["Report"], None]


class Report:
    """One event on its way through the fold: who says what, when, about which shipment."""

    __slots__ = ("agent", "at_ms", "body", "event", "shipment", "warehouse", "ws")

    def __init__(self, ws: WorkingSet, agent: str, event: Event, body: Any, at_ms: int) -> None:
        self.ws, self.agent, self.event, self.body, self.at_ms = ws, agent, event, body, at_ms
        info = ws.master.agents.get(agent)
        self.warehouse = info.warehouse if info else ""
        self.shipment: Shipment | None = None

    @property
    def actor(self) -> str:
        """The agent, as the trail names it."""
        return f"agent:{self.agent}"

    def put(self, change: str, **values: Any) -> Shipment:
        """Change the shipment and say so in the trail."""
        assert self.shipment is not None
        old = self.shipment
        new = replace(old, version=old.version + 1, **values)
        self.ws.shipments.put(new)
        if change:
            token: Token = self.body.token
            self.ws.trail(new.id, change, self.actor, f"{token.core_epoch}.{token.n}")
        self.shipment = new
        return new


def apply_fact(ws: WorkingSet, agent: str, event: Event, body: Struct, at_ms: int) -> None:
    """Apply one decoded event of an agent. Raises `Rejected` for what must be quarantined."""
    report = Report(ws, agent, event, body, at_ms)
    handler = _FACTS.get(event.t)
    if handler is None:
        return  # telemetry and notes: stored, no effect
    if event.t in _ABOUT_SHIPMENTS:
        report.shipment = ws.shipments.get(body.shipment)  # type: ignore[attr-defined]
        if report.shipment is None:
            report.shipment = reattach(ws, agent, event, body)
            if report.shipment is None:
                return
        elif forgotten(ws, event, body, report.shipment):
            report.shipment = reattach(ws, agent, event, body, report.shipment)
    handler(report)


def _current(report: Report) -> bool:
    """Whether the fact was done under the token that owns the shipment now."""
    shipment = report.shipment
    assert shipment is not None
    return bool(
        report.body.token == shipment.token and shipment.agent == report.agent and not shipment.stop
    )


def _stopping_owner(report: Report) -> bool:
    """Whether the fact comes from the bench that was told to stop and has not answered yet."""
    shipment = report.shipment
    assert shipment is not None
    return (
        shipment.stop == "stopping"
        and shipment.agent == report.agent
        and bool(report.body.token < shipment.token)
    )


def _incident(report: Report, kind: str, effect: str) -> None:
    shipment = report.shipment
    assert shipment is not None
    token: Token = report.body.token
    report.ws.appended.append(
        Incident(
            report.ws.now_ms,
            kind,
            shipment.id,
            report.warehouse,
            token.core_epoch,
            token.n,
            effect,
            report.event.t,
        )
    )
    report.ws.alarm(
        "incident",
        shipment.id,
        f"发货单 {shipment.id}：仓库 {report.warehouse} 在失效令牌下上报 {report.event.t}",
    )
    note(report.ws, shipment, f"incident:{kind}", report.actor)


# --- offers ------------------------------------------------------------------------------------


def _offer_accepted(report: Report) -> None:
    shipment = report.shipment
    assert shipment is not None
    if not _current(report) or shipment.state != "offered" or shipment.waiting:
        return  # a late accept gets no grant
    grant(report.ws, shipment, actor=report.actor)


def _offer_rejected(report: Report) -> None:
    shipment = report.shipment
    assert shipment is not None
    body: e.OfferRejected = report.body
    for count in body.counts:
        count_shelf(report, count.sku, count.shelf)
    if not _current(report) or shipment.state != "offered":
        return
    free = take_back(report.ws, shipment, "rejected", actor=report.actor)
    own(report.ws, free)


def _grant_stored(report: Report) -> None:
    """The bench has the grant; a core that had forgotten giving it takes note."""
    shipment = report.shipment
    assert shipment is not None
    body: e.GrantStored = report.body
    if _current(report) and shipment.state == "offered":
        granted = report.put(
            "offered>granted",
            state="granted",
            waiting="",
            deadline_ms=None,
            waybill=body.waybill,
            carrier=body.carrier,
            granted_ms=report.at_ms,
        )
        draw_again(report.ws, granted)
        settle_order(report.ws, granted.order_id)


# --- the bench ---------------------------------------------------------------------------------


def _task_started(report: Report) -> None:
    if _current(report):
        _advance(report, "picking")


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
    if _current(report) or _stopping_owner(report):
        _count_line(report, body.sku, picked=body.quantity)
        if _current(report):
            _advance(report, "picking")
        return
    _incident(
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
    if _current(report) or _stopping_owner(report):
        _count_line(report, report.body.sku, verified=report.body.quantity)


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
    if _current(report):
        _pick_rest(report)
        _advance(report, "packed")
        report.ws.milestone(
            report.body.shipment, "packed", "仓库已打包", report.actor, report.at_ms
        )
        return
    if _stopping_owner(report):
        _pick_rest(report)
        _incident(report, "packed_after_stop", "")
        return
    _incident(report, "packed_under_old_token", "")


def _handed_over(report: Report) -> None:
    shipment = report.shipment
    assert shipment is not None
    if shipment.state in GONE:
        if report.body.token != shipment.token:
            _incident(report, "handed_over_twice", _ship_lines(report))
        return
    if _current(report) or _stopping_owner(report):
        stopped = bool(shipment.stop)
        _pick_rest(report)
        _ship_held(report)
        shipped = report.put(
            f"{shipment.state}>handed_over",
            state="handed_over",
            handed_over_ms=report.at_ms,
            deadline_ms=None,
        )
        report.ws.milestone(
            shipped.id, "handed_over", "包裹已交给快递公司", report.actor, report.at_ms
        )
        if stopped:
            intercept(report.ws, shipped, "handed_over", report.body.token, "已按交接扣减库存")
        else:
            _tell_shop(report, shipped)
        settle_order(report.ws, shipped.order_id)
        return
    _incident(report, "handed_over_under_old_token", _ship_lines(report))


def _task_stopped(report: Report) -> None:
    shipment = report.shipment
    assert shipment is not None
    body: e.TaskStopped = report.body
    picked = {line.sku: line.picked for line in report.ws.lines_of(shipment.id)}
    for back in body.put_back:
        units = min(back.quantity, picked.get(back.sku, back.quantity))
        if units:
            report.ws.move(
                report.warehouse,
                back.sku,
                shelf=units,
                picked=-units,
                reason="put_back",
                ref=shipment.id,
            )
            _count_line(report, back.sku, picked=-units)
    if _current(report) and shipment.state in ON_THE_BENCH:
        # The bench only stops when it was told to: this core has forgotten the cancel.
        order = report.ws.orders.get(shipment.order_id)
        assert order is not None
        report.ws.orders.put(replace(order, stop="requested", version=order.version + 1))
        shipment = report.put("stopping", stop="stopping", token_n=shipment.token_n + 1)
    if shipment.stop != "stopping" or shipment.agent != report.agent:
        return
    left = sum(line.picked for line in report.ws.lines_of(shipment.id))
    if left:
        report.ws.alarm(
            "put_back_short", shipment.id, f"发货单 {shipment.id} 停单后还有 {left} 件未放回货架"
        )
    release(report.ws, replace(shipment, token_n=shipment.token_n - 1), "released")
    void_waybill(report.ws, shipment)
    report.put("cancelled", stop="cancelled", parked_ms=report.ws.now_ms)
    settle_order(report.ws, shipment.order_id)


def _stock_counted(report: Report) -> None:
    for count in report.body.counts:
        count_shelf(report, count.sku, count.shelf)


def _command_received(report: Report) -> None:
    body: e.CommandReceived = report.body
    refused = {item.id: item.code for item in body.refused}
    for command_id in [*body.ids, *refused]:
        row = report.ws.outbox.get(command_id)
        if row is not None and row.agent == report.agent and row.received_ms is None:
            report.ws.outbox.put(
                replace(row, received_ms=report.ws.now_ms, result=refused.get(command_id, "")[:48])
            )


# --- parts -------------------------------------------------------------------------------------


def count_shelf(report: Report, sku: str, shelf: int) -> None:
    """Correct the shelf to what was counted; an older count changes nothing."""
    row = report.ws.stock_at(report.warehouse, sku)
    if row is not None and report.at_ms < row.counted_ms:
        return
    delta = shelf - (row.shelf if row else 0)
    row = report.ws.move(
        report.warehouse, sku, shelf=delta, reason="count", ref=f"{report.agent}#{report.event.q}"
    )
    report.ws.stock.put(replace(row, counted_ms=report.at_ms))
    report.ws.wake_parked = True


def void_waybill(ws: WorkingSet, shipment: Shipment) -> None:
    """A number whose shipment was stopped is void, never used again (P6)."""
    row = ws.waybills.get(shipment.waybill) if shipment.waybill else None
    if row is not None and row.state == "drawn":
        ws.waybills.put(replace(row, state="void", at_ms=ws.now_ms))


def _advance(report: Report, state: str) -> None:
    shipment = report.shipment
    assert shipment is not None
    if moves_forward(shipment.state, state) and RANK[shipment.state] >= RANK["granted"]:
        report.put(f"{shipment.state}>{state}", state=state)
        settle_order(report.ws, shipment.order_id)


def _count_line(report: Report, sku: str, *, picked: int = 0, verified: int = 0) -> None:
    assert report.shipment is not None
    lines = report.ws.lines_of(report.shipment.id)
    changed = tuple(
        replace(line, picked=line.picked + picked, verified=line.verified + verified)
        if line.sku == sku
        else line
        for line in lines
    )
    if changed != lines:
        report.ws.shipment_lines.put(changed)


def _pick_rest(report: Report) -> None:
    """A packed box holds every line: units nobody scanned as picked were picked all the same."""
    assert report.shipment is not None
    lines: list[ShipmentLine] = []
    for line in report.ws.lines_of(report.shipment.id):
        rest = line.quantity - line.picked
        if rest > 0:
            report.ws.move(
                report.warehouse,
                line.sku,
                shelf=-rest,
                picked=rest,
                reason="pick",
                ref=line.shipment_id,
            )
            line = replace(line, picked=line.quantity)
        lines.append(line)
    report.ws.shipment_lines.put(tuple(lines))


def _ship_held(report: Report) -> None:
    """Hand-over: picked and held drop together and the hold ends as shipped."""
    shipment = report.shipment
    assert shipment is not None
    token_n = shipment.token_n - (1 if shipment.stop == "stopping" else 0)
    hold = report.ws.holds.get(hold_id(shipment.id, token_n))
    held = hold is not None and hold.state == "held"
    for line in report.ws.lines_of(shipment.id):
        report.ws.move(
            shipment.warehouse,
            line.sku,
            picked=-line.quantity,
            held=-line.quantity if held else 0,
            reason="hand_over",
            ref=shipment.id,
        )
    if hold is not None and held:
        report.ws.holds.put(replace(hold, state="shipped", version=hold.version + 1))


def _ship_lines(report: Report) -> str:
    """A parcel left under a token that owns nothing: its units are gone from that building."""
    for line in report.body.lines:
        report.ws.move(
            report.warehouse,
            line.sku,
            picked=-line.quantity,
            reason="hand_over_incident",
            ref=report.body.shipment,
        )
    return "；".join(f"{line.sku} 已拣-{line.quantity}" for line in report.body.lines)


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
    call_id = f"shipped:{shipment.id}"
    if report.ws.shop_calls.get(call_id) is None:
        report.ws.shop_calls.put(
            ShopCall(
                call_id,
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
    "stock.counted": _stock_counted,
}
_ABOUT_SHIPMENTS = frozenset(_FACTS) - {"command.received", "stock.counted"}
