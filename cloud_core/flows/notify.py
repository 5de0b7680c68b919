"""Notify: what people far away are told, put down in the commit that decided it, and its fate.

One row a (happening, target); the row's id is the idempotency key. Delivery is `flows.deliver`,
outside of any commit. Nothing personal goes into a notice (P12).
"""

from __future__ import annotations

from msgspec.structs import replace

from cloud_core.domain.breaker_commands import SettleNotice
from cloud_core.domain.notice import GIVE_UP_MS, TEXT_CHARS_MAX, TITLE_CHARS_MAX, hears
from cloud_core.domain.rows import Notice
from cloud_core.store.notify_rows import ears
from cloud_core.store.working_set import WorkingSet

ALARM_AFTER = 3
"""Failed tries of one notice before an alarm says that a target does not hear."""
ANSWER_CHARS_MAX = 300


def tell(ws: WorkingSet, kind: str, warehouse: str, key: str, title: str, text: str) -> int:
    """Queue a notice for every target that hears of this; how many. `key` names the happening."""
    count = 0
    for ear in ears(ws.fetch.connection):
        notice_id = f"{key}@{ear.name}"
        if not hears(ear.kinds, ear.warehouses, kind, warehouse):
            continue
        if ws.notices.get(notice_id) is not None:
            continue
        notice = Notice(
            notice_id, ear.name, kind, warehouse, title[:TITLE_CHARS_MAX], text[:TEXT_CHARS_MAX],
            ws.now_ms, ws.now_ms,
        )  # fmt: skip
        ws.notices.put(notice)
        count += 1
    return count


def settle_notice(ws: WorkingSet, command: SettleNotice) -> None:
    """A target's answer: done, tried again later, or given up after a day; alarmed in between."""
    notice = ws.notices.get(command.id)
    if notice is None or notice.done_ms is not None:
        return
    tried = replace(
        notice, attempts=notice.attempts + 1, answer=command.answer[:ANSWER_CHARS_MAX],
        due_ms=command.retry_ms or notice.due_ms,
    )  # fmt: skip
    if command.done:
        ws.notices.put(replace(tried, done_ms=ws.now_ms, result="sent"))
        ws.close_alarm("notify_failed", notice.target)
        return
    if command.no_target:
        ws.notices.put(replace(tried, done_ms=ws.now_ms, result="no_target"))
        return
    given_up = ws.now_ms - notice.created_ms >= GIVE_UP_MS
    if given_up:
        tried = replace(tried, done_ms=ws.now_ms, result="given_up")
    ws.notices.put(tried)
    if given_up or tried.attempts >= ALARM_AFTER:
        ws.alarm(
            "notify_failed", notice.target,
            f"通知对象 {notice.target} 连续 {tried.attempts} 次未收到通知：{tried.answer}",
        )  # fmt: skip
