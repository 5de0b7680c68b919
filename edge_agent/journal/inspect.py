"""Look into a journal file from outside, while the agent runs or after it: list, count, export.

For people at the command line; read-only, through sqlite-utils, which is loaded only here.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from edge_agent.journal import jobs, rows, tasks
from edge_agent.ports import Connection
from protocols.errors import Unavailable

SHOWN_MAX = 100_000


def open_file(path: Path) -> sqlite3.Connection:
    """A read-only connection. Raises `Unavailable("journal_missing")`."""
    if not path.is_file():
        raise Unavailable(
            "journal_missing", f"没有日志文件 {path}", f"no journal at {path}", field="data_dir"
        )
    return sqlite3.connect(f"file:{path}?mode=ro", uri=True, isolation_level=None)


def newest_rows(path: Path, count: int) -> Iterator[dict[str, Any]]:
    """The newest rows of a stream, newest first, decoded (1..100,000)."""
    db = open_file(path)
    try:
        for epoch, seq, row, wall_ms in rows.newest(db, min(count, SHOWN_MAX)):
            event = msgspec.json.decode(row)
            yield {
                "epoch": epoch, "seq": seq, "type": event["t"], "wall_ms": wall_ms,
                "station": event.get("s", ""), "body": event["d"],
            }  # fmt: skip
    finally:
        db.close()


def tables(path: Path) -> dict[str, int]:
    """Table -> number of rows."""
    import sqlite_utils

    db = open_file(path)
    try:
        found = sqlite_utils.Database(db)
        return {name: found[name].count for name in sorted(found.table_names())}
    finally:
        db.close()


def overview(path: Path) -> dict[str, Any]:
    """Epochs, tasks and jobs of a floor journal."""
    db = open_file(path)
    try:
        return {"epochs": _epochs(db), "tasks": tasks.counts(db), "jobs": jobs.counts(db)}
    finally:
        db.close()


def unsent(path: Path) -> tuple[int, int]:
    """(rows the core does not hold, wall ms of the oldest of them or 0). Raises `sqlite3.Error`."""
    db = open_file(path)
    try:
        waiting = sum(max(0, e.last - max(e.acked, e.carried, e.base_seq)) for e in rows.epochs(db))
        return waiting, rows.oldest_unacked_ms(db) if waiting else 0
    finally:
        db.close()


def _epochs(db: Connection) -> list[dict[str, Any]]:
    return [
        {"epoch": e.id, "first": e.base_seq + 1, "last": e.last, "acked": e.acked,
         "queued": max(0, e.last - max(e.acked, e.carried))}
        for e in rows.epochs(db)
    ]  # fmt: skip
