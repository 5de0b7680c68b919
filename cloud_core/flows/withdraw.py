"""Withdraw: a person takes a shipment from its warehouse, also one that may be packed already.

Un-granted it simply goes to the next warehouse. Granted, the person accepts the risk: the old bench
is fenced and told to put back, the goods it was to send stay counted as held (`incident_holds`),
its number is void, and the next warehouse gets a hold, a token and later a number of its own.
"""

from __future__ import annotations

from msgspec.structs import replace

from cloud_core.domain.commands import TakeBack, TakenBack
from cloud_core.domain.progress import ON_THE_BENCH
from cloud_core.domain.rows import Audit, Incident, Shipment
from cloud_core.domain.tracking import REROUTED
from cloud_core.flows.excluded import exclude
from cloud_core.flows.grant import void_waybill
from cloud_core.flows.incident_holds import KIND
from cloud_core.flows.own import CLAIM, hold_id, lift, note, own, send_cancel, take_back
from cloud_core.store.working_set import WorkingSet
from protocols.errors import Rejected, Unavailable
from protocols.messages import Token

REASON_CHARS_MAX = 200
_WHY = "taken_back"


def withdraw(ws: WorkingSet, command: TakeBack) -> TakenBack:
    """Take the shipment away and route it again, audited in the same commit.

    Raises `Rejected` `shipment_unknown`, `shipment_stopped`, `shipment_not_owned`,
    `reason_missing`; `Unavailable("recovering")`.
    """
    reason = " ".join(command.reason.split())[:REASON_CHARS_MAX]
    shipment = _checked(ws, command.shipment_id, reason)
    at_risk = shipment.state in ON_THE_BENCH
    excluded = exclude(ws, shipment, _WHY) if shipment.waiting != CLAIM else shipment.excluded
    if at_risk:
        free = _take_granted(ws, shipment, reason, command.actor)
    else:
        free = take_back(ws, shipment, _WHY, actor=command.actor)
    free = replace(free, excluded=excluded)
    ws.shipments.put(free)
    detail = f"{shipment.warehouse} {shipment.token_epoch}.{shipment.token_n}: {reason}"
    ws.appended.append(
        Audit(ws.now_ms, command.actor, command.source, "shipment.taken_back", free.id, detail)
    )
    now = own(ws, free, actor=command.actor)
    return TakenBack(now.state, now.parked, now.warehouse, at_risk)


def _checked(ws: WorkingSet, shipment_id: str, reason: str) -> Shipment:
    """The shipment, if it may be taken back. Raises as `withdraw` says."""
    shipment = ws.shipments.get(shipment_id)
    if shipment is None:
        raise Rejected(
            "shipment_unknown", "没有这个发货单", "there is no such shipment", field="shipment_id"
        )
    if ws.recovering:
        raise Unavailable("recovering", "系统恢复中，暂不能收回", "recovering from a backup")
    if shipment.stop:
        raise Rejected(
            "shipment_stopped", "发货单已取消", "the shipment is stopped", field="shipment_id"
        )
    if shipment.state != "offered" and shipment.state not in ON_THE_BENCH:
        raise Rejected(
            "shipment_not_owned", "发货单不在任何仓库手中，或已交接",
            "no warehouse has the shipment, or it has left", field="shipment_id",
        )  # fmt: skip
    if not reason:
        raise Rejected(
            "reason_missing", "请写明原因", "a reason is needed, people will ask", field="reason"
        )
    return shipment


def _take_granted(ws: WorkingSet, shipment: Shipment, reason: str, actor: str) -> Shipment:
    """Fence the old bench; its hold, units picked and number stay behind with it."""
    token = shipment.token
    fence = Token(ws.core_epoch, max(shipment.token_n, shipment.top_n) + 1)
    send_cancel(ws, shipment, fence, _WHY, answer=True)
    hold = ws.holds.get(hold_id(shipment.id, shipment.token_n))
    if hold is not None and hold.state == "held":
        ws.holds.put(replace(hold, state="incident", version=hold.version + 1))
    void_waybill(ws, shipment)
    lines = ws.lines_of(shipment.id)
    ws.shipment_lines.put(tuple(replace(line, picked=0, verified=0) for line in lines))
    ws.appended.append(
        Incident(
            ws.now_ms, KIND, shipment.id, shipment.warehouse, token.core_epoch, token.n,
            "原仓占用待处理", reason,
        )
    )  # fmt: skip
    ws.alarm(
        "incident", shipment.id,
        f"发货单 {shipment.id} 已从仓库 {shipment.warehouse} 冒险收回，请确认原货去向",
    )  # fmt: skip
    free = replace(
        lift(ws, shipment), state="routed", warehouse="", agent="", deadline_ms=None, waiting="",
        waybill="", label="", label_revision=0, granted_ms=None, token_epoch=fence.core_epoch,
        token_n=fence.n - 1, version=shipment.version + 1,
    )  # fmt: skip
    ws.shipments.put(free)
    note(ws, shipment, "taken_back:at_risk", actor)
    ws.milestone(free.id, REROUTED, "", "core")
    return free
