"""Purge: label fields go a set number of hours after hand-over or stop; old rows age out (P12)."""

from __future__ import annotations

from collections.abc import Sequence

from edge_agent.domain.print_job import MAX_TTL_S
from edge_agent.flows.bench import Bench
from edge_agent.flows.blob import KEPT_BYTES_MAX, KEPT_MS
from edge_agent.journal import age, chunks, fences, inbox, jobs, meta, papers, returns, rows, tasks
from edge_agent.journal.tx import Tx
from protocols import limits
from protocols.events import PersonalPurged

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
INBOX_DAYS = 30
"""Command ids are kept longer than any repeat can take, so that none is executed twice."""


def forget(tx: Tx, shipments: Sequence[str]) -> int:
    """Forget the label fields of these shipments now; returns how many had any."""
    gone = tasks.purge_labels(tx.db, shipments)
    tx.scrub |= papers.forget_of(tx.db, shipments) > 0
    for ticket in (name for name in shipments if name.startswith("RET-")):
        tx.scrub |= papers.forget(tx.db, "return_ticket", ticket)
    if gone:
        tx.scrub = True
        tx.append("personal.purged", PersonalPurged(shipments=gone), reserve=True)
    return len(gone)


def purge_due(tx: Tx, at: Bench) -> int:
    """Forget label fields and papers whose time is up; at most `FENCES_MAX` shipments a call."""
    hours = _configured(tx, "personal_hours", at.plan.personal_hours)
    now_ms = tx.now.wall_ms
    before_ms, after_ms = now_ms - hours * HOUR_MS, now_ms + DAY_MS
    due = tasks.purge_due(tx.db, before_ms, after_ms, limits.FENCES_MAX)
    tx.scrub |= papers.purge(tx.db, before_ms, after_ms, now_ms - MAX_TTL_S * 1000) > 0
    chunks.trim(tx.db, KEPT_BYTES_MAX, now_ms - KEPT_MS, after_ms)
    return forget(tx, due)


def prune_floor(tx: Tx, at: Bench, *, used_bytes: int, full: bool = False) -> int:
    """Let settled rows, old commands, tasks and jobs age out; returns rows gone.

    In a full journal, or above the byte bound of kept rows, settled ones go whatever their age.
    Days are those the journal has run (`journal.age`), not the wall clock's.
    """
    days = _configured(tx, "retain_days", at.plan.retain_days)
    lived_ms = _lived(tx)
    pressed = full or used_bytes > at.plan.retain_bytes
    gone = rows.prune(tx.db) if pressed else _prune_before(tx, lived_ms - days * DAY_MS)
    old = age.reached(tx.db, lived_ms - INBOX_DAYS * DAY_MS)
    if gone == 0 and old is not None:
        inbox.prune(tx.db, old.no)
        without_task = tasks.prune(tx.db, old.no)
        if inbox.receipt_settled(tx.db, inbox.Receipt(old.epoch_no, old.seq)):
            fences.forget(tx.db, without_task)
        returns.prune(tx.db, old.no)
        jobs.prune(tx.db, tx.now.wall_ms - INBOX_DAYS * DAY_MS)
        age.forget(tx.db, old.lived_ms)
    return gone


def _lived(tx: Tx) -> int:
    tx.flush()
    return age.mark(tx.db, tx.now.mono_ms, tx.head.epoch_no, tx.head.last)


def _prune_before(tx: Tx, lived_ms: int) -> int:
    mark = age.reached(tx.db, lived_ms)
    return 0 if mark is None else rows.prune(tx.db, upto=(mark.epoch_no, mark.seq))


def prune_telemetry(tx: Tx, at: Bench) -> int:
    """Drop the oldest telemetry above its bound, counted; the next batch declares the gap."""
    lived_ms = _lived(tx)
    _prune_before(tx, lived_ms - at.plan.retain_days * DAY_MS)
    age.forget(tx.db, lived_ms - at.plan.retain_days * DAY_MS)
    dropped = rows.drop_oldest(tx.db, at.plan.telemetry_rows_max)
    if dropped:
        meta.put(tx.db, "dropped", meta.number(tx.db, "dropped") + dropped)
    return dropped


def _configured(tx: Tx, key: str, otherwise: int) -> int:
    """A value of the configuration the core wants, if it has sent one."""
    return meta.number(tx.db, f"cfg_{key}", otherwise)
