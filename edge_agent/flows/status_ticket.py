"""The status ticket: how this agent is, on paper, for a warehouse without a screen at hand.

Says what the journal knows in the commit that queues it; names no order and no person.
"""

from __future__ import annotations

from edge_agent.domain.label import NoticeFields
from edge_agent.domain.print_job import PrintJob
from edge_agent.flows import bench, upload
from edge_agent.flows.bench import Bench
from edge_agent.flows.paper import enqueue_paper
from edge_agent.journal import jobs, meta, tasks
from edge_agent.journal.tx import Tx

KIND = "status_ticket"
TTL_S = 120
"""A state that is two minutes old is none."""
MINUTE_MS = 60_000


def print_status(tx: Tx, at: Bench, *, station: str = "", operator: str = "") -> PrintJob:
    """Queue one status ticket. Raises `Rejected("no_printer")`."""
    now_ms = tx.now.wall_ms
    fields = NoticeFields(
        title=f"状态 {at.plan.agent}",
        lines=_lines(tx, at),
        created=at.plan.clock_text(now_ms),
        warehouse=meta.text(tx.db, "cfg_warehouse_name") or at.plan.warehouse_name or at.plan.site,
        station=station,
    )
    number = f"status-{now_ms}"
    return enqueue_paper(
        tx, KIND, number, fields, at, station=station, operator=operator, ttl_s=TTL_S
    )


def _lines(tx: Tx, at: Bench) -> tuple[str, ...]:
    queued, oldest_ms = upload.queued(tx.db), upload.oldest_ms(tx.db)
    waiting = f"待上传 {queued} 条"
    if queued and oldest_ms:
        waiting += f", 最早 {max(0, tx.now.wall_ms - oldest_ms) // MINUTE_MS} 分钟前"
    return (
        f"版本 {at.plan.version} · 第 {tx.boot} 次启动",
        waiting if queued else "全部已上传",
        "正在接单" if bench.is_open(tx.db) else "已暂停接单",
        f"任务 {_counts(tasks.counts(tx.db))}",
        f"面单 {_counts(jobs.counts(tx.db))}",
        f"打印机 {'、'.join(at.plan.printers)}",
    )


def _counts(found: dict[str, int]) -> str:
    return ", ".join(f"{state} {count}" for state, count in sorted(found.items())) or "无"
