"""Print jobs: one row a (kind, number, revision); the same key never becomes a second row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from edge_agent.domain.print_job import PrintJob, PrintKey, PrintState
from edge_agent.domain.task import OPEN
from edge_agent.ports import Connection
from protocols.messages import Token


@dataclass(frozen=True, slots=True)
class Placed:
    """A job, the printer and station it belongs to, and the boot that queued it.

    `moved_from` is the printer that could not print it, "" if it is where it was queued.
    """

    job: PrintJob
    printer: str
    station: str
    boot: int
    moved_from: str = ""


_COLUMNS = """kind, number, revision, shipment, token_epoch, token_n, state, printer, station,
    queued_ms, ttl_s, bytes_sent, total_bytes, reason, evidence, operator, reprint_reason,
    copy_mark, superseded_by, boot, moved_from"""


def get(db: Connection, key: PrintKey) -> Placed | None:
    """One job."""
    return _first(
        _many(db, "kind=? AND number=? AND revision=?", (key.kind, key.number, key.revision))
    )


def newest(db: Connection, kind: str, number: str) -> Placed | None:
    """The highest revision of a number."""
    return _first(_many(db, "kind=? AND number=? ORDER BY revision DESC LIMIT 1", (kind, number)))


def of_shipment(db: Connection, shipment: str) -> list[Placed]:
    """Every job of a shipment, oldest revision first."""
    return _many(db, "shipment=? ORDER BY number, revision", (shipment,))


def next_queued(db: Connection, printer: str, kinds: Sequence[str] = ()) -> Placed | None:
    """The job that has waited longest for a printer; only of these `kinds`, if any are given."""
    named = f"AND kind IN ({', '.join('?' * len(kinds))})" if kinds else ""
    where = f"state='queued' AND printer=? {named} ORDER BY queued_ms, number, revision LIMIT 1"
    return _first(_many(db, where, (printer, *kinds)))


def in_states(db: Connection, states: Sequence[PrintState], limit: int = 10_000) -> list[Placed]:
    """Jobs in these states, oldest first."""
    marks = ", ".join("?" * len(states))
    where = f"state IN ({marks}) ORDER BY queued_ms, number, revision LIMIT ?"
    return _many(db, where, (*(state.value for state in states), limit))


def in_question(db: Connection, states: Sequence[PrintState], limit: int) -> list[Placed]:
    """Jobs in these states, oldest first: papers, and labels of tasks somebody still works on."""
    marks = ", ".join("?" * len(states))
    marks_open = ", ".join("?" * len(OPEN))
    where = f"""state IN ({marks}) AND (shipment='' OR EXISTS (SELECT 1 FROM task
        WHERE task.shipment=print_job.shipment AND task.token_epoch=print_job.token_epoch
        AND task.token_n=print_job.token_n AND task.state IN ({marks_open})))
        ORDER BY queued_ms, number, revision LIMIT ?"""  # noqa: S608
    values = [state.value for state in (*states, *sorted(OPEN))]
    return _many(db, where, (*values, limit))


def latest(db: Connection, states: Sequence[PrintState], limit: int) -> list[Placed]:
    """Jobs in these states, newest first; for pages."""
    marks = ", ".join("?" * len(states))
    where = f"state IN ({marks}) ORDER BY queued_ms DESC, number, revision DESC LIMIT ?"
    return _many(db, where, (*(state.value for state in states), limit))


def counts(db: Connection) -> dict[str, int]:
    """State -> number of jobs."""
    return dict(db.execute("SELECT state, COUNT(*) FROM print_job GROUP BY state").fetchall())


def save(db: Connection, placed: Placed) -> None:
    """Insert or replace one job."""
    job = placed.job
    marks = ", ".join("?" * 21)
    db.execute(
        f"INSERT OR REPLACE INTO print_job({_COLUMNS}) VALUES({marks})",
        (
            job.key.kind, job.key.number, job.key.revision, job.shipment_id, *job.token,
            job.state.value, placed.printer, placed.station, job.queued_ms, job.ttl_s,
            job.bytes_sent, job.total_bytes, job.reason, job.evidence, job.operator,
            job.reprint_reason, job.copy_mark, job.superseded_by, placed.boot,
            placed.moved_from,
        ),
    )  # fmt: skip


def prune(db: Connection, before_ms: int) -> None:
    """Forget jobs whose task is gone; `before_ms` (wall clock) spares the newest of those."""
    db.execute(
        """DELETE FROM print_job WHERE queued_ms<?
        AND NOT EXISTS (SELECT 1 FROM task WHERE shipment=print_job.shipment)""",
        (before_ms,),
    )


def _many(db: Connection, where: str, values: Sequence[Any]) -> list[Placed]:
    found = db.execute(f"SELECT {_COLUMNS} FROM print_job WHERE {where}", values).fetchall()  # noqa: S608
    return [_placed(row) for row in found]


def _first(found: list[Placed]) -> Placed | None:
    return found[0] if found else None


def _placed(row: tuple[Any, ...]) -> Placed:
    job = PrintJob(
        key=PrintKey(row[0], row[1], row[2]),
        shipment_id=row[3],
        token=Token(row[4], row[5]),
        state=PrintState(row[6]),
        queued_ms=row[9],
        ttl_s=row[10],
        bytes_sent=row[11],
        total_bytes=row[12],
        reason=row[13],
        evidence=row[14],
        operator=row[15],
        reprint_reason=row[16],
        copy_mark=row[17],
        superseded_by=row[18],
    )
    return Placed(job, printer=row[7], station=row[8], boot=row[19], moved_from=row[20])
