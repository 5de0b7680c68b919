"""Escalate: what no bench confirmed, and no clerk inspected, in time goes up, step by step.

Past its deadline a change request or a return stands on the supervisors' list (an alarm); when it
still stands there after `escalate_s`, the notifier tells them. Nothing is decided for anybody.
"""

from __future__ import annotations

from msgspec.structs import replace

from cloud_core.domain.after_rows import Change, Return
from cloud_core.flows.changes import KIND_ZH
from cloud_core.flows.notify import tell
from cloud_core.store import after_rows
from cloud_core.store.working_set import WorkingSet


def escalate(ws: WorkingSet, limit: int) -> int:
    """Take every due step once; how many were taken. At most `limit` of each kind."""
    connection = ws.fetch.connection
    count = 0
    for change_id in after_rows.due_changes(connection, ws.now_ms, limit):
        change = ws.changes.get(change_id)
        if change is not None and change.next_ms is not None and change.next_ms <= ws.now_ms:
            _change(ws, change)
            count += 1
    for return_id in after_rows.due_returns(connection, ws.now_ms, limit):
        found = ws.returns.get(return_id)
        if found is not None and found.next_ms is not None and found.next_ms <= ws.now_ms:
            _return(ws, found)
            count += 1
    return count


def _change(ws: WorkingSet, change: Change) -> None:
    minutes = (ws.now_ms - change.asked_ms) // 60_000
    text = (
        f"发货单 {change.shipment_id} 的请求“{KIND_ZH[change.kind]}”已 {minutes} 分钟"
        f"没有工位确认（{change.agent}），请到现场处理"
    )
    if change.level == 0:
        ws.alarm("change_unconfirmed", change.id, text)
    else:
        tell(ws, "change_unconfirmed", change.warehouse, change.id, "变更未确认", text)
    ws.changes.put(
        replace(
            change, level=change.level + 1, next_ms=_next(ws, change.level),
            version=change.version + 1,
        )
    )  # fmt: skip


def _return(ws: WorkingSet, found: Return) -> None:
    assert found.due_ms is not None
    late = max(0, ws.now_ms - found.due_ms) // 60_000
    text = f"退货 {found.id}（订单 {found.order_id}）已签收，质检超时 {late} 分钟（{found.agent}）"
    if found.level == 0:
        ws.alarm("return_overdue", found.id, text)
    else:
        tell(ws, "return_overdue", found.warehouse, found.id, "退货质检超时", text)
    ws.returns.put(
        replace(
            found, level=found.level + 1, next_ms=_next(ws, found.level),
            version=found.version + 1,
        )
    )  # fmt: skip


def _next(ws: WorkingSet, level: int) -> int | None:
    """When the step after this one is due: the list first, then the notifier, then none."""
    return ws.now_ms + ws.policy.escalate_s * 1000 if level == 0 else None
