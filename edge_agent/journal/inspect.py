"""Look into a journal file from outside, while the agent runs or after it: list, count, export.

For people at the command line; read-only, through sqlite-utils, which is loaded only here.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from edge_agent.journal import jobs, read_only, rows, tasks
from edge_agent.ports import Connection
from protocols import chain
from protocols.errors import Corrupt, Unavailable

SHOWN_MAX = 100_000


def open_file(path: Path) -> sqlite3.Connection:
    """A read-only connection. Raises `Unavailable("journal_missing")`."""
    if not path.is_file():
        raise Unavailable(
            "journal_missing", f"没有日志文件 {path}", f"no journal at {path}", field="data_dir"
        )
    return read_only.connect(path)


@contextmanager
def reading(path: Path) -> Iterator[sqlite3.Connection]:
    """A read-only look.

    Raises `Unavailable("journal_missing")`, `Corrupt("journal_unreadable")`.
    """
    db = open_file(path)
    try:
        yield db
    except sqlite3.Error as error:
        zh = f"读不了 {path}：{error}；启动代理会自动抢救"
        en = f"cannot read {path}: {error}"
        raise Corrupt("journal_unreadable", zh, en, field="data_dir") from error
    finally:
        db.close()


def newest_rows(path: Path, count: int) -> Iterator[dict[str, Any]]:
    """The newest rows of a stream, newest first, decoded (1..100,000)."""
    with reading(path) as db:
        for epoch, seq, row, wall_ms in rows.newest(db, min(count, SHOWN_MAX)):
            event = msgspec.json.decode(row)
            yield {
                "epoch": epoch, "seq": seq, "type": event["t"], "wall_ms": wall_ms,
                "station": event.get("s", ""), "body": event["d"],
            }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Chain:
    """One epoch looked through: rows `first`..`last`; `broken_at` = the first row that is wrong."""

    epoch: str
    first: int
    last: int
    rows: int
    broken_at: int = 0
    why: str = ""


def verify(path: Path, agent: str, stream: str) -> list[Chain]:
    """Every epoch's hash chain computed anew, from its genesis or the newest row that aged out.

    Raises as `reading` does.
    """
    with reading(path) as db:
        return [_chain(db, epoch, agent, stream) for epoch in rows.epochs(db)]


def _chain(db: sqlite3.Connection, epoch: rows.Epoch, agent: str, stream: str) -> Chain:
    digest = epoch.base_hash if epoch.base_seq else chain.genesis(agent, stream, epoch.id)
    expected = epoch.base_seq + 1
    found = db.execute("SELECT seq, row, hash FROM row WHERE epoch_no=? ORDER BY seq", (epoch.no,))
    for seq, row, stored in found:
        digest = chain.link(digest, row)
        why = "missing" if seq != expected else "changed" if digest != stored else ""
        if why:
            return Chain(
                epoch.id, epoch.base_seq + 1, epoch.last, expected - epoch.base_seq - 1, expected,
                why,
            )  # fmt: skip
        expected += 1
    return Chain(epoch.id, epoch.base_seq + 1, epoch.last, expected - epoch.base_seq - 1)


def exported(path: Path, since: int = 0) -> Iterator[dict[str, Any]]:
    """Every row of a stream with its chain hash, oldest first; `since` leaves earlier rows out.

    Events hold no personal data (P12), so an export may leave the warehouse.
    """
    import sqlite_utils

    with reading(path) as db:
        found = sqlite_utils.Database(db).query(
            """SELECT e.id AS epoch, r.seq, r.wall_ms, r.row, r.hash FROM row r
            JOIN epoch e ON e.no=r.epoch_no WHERE r.seq>=? ORDER BY r.epoch_no, r.seq""",
            (since,),
        )
        for one in found:
            event = msgspec.json.decode(one["row"])
            yield {
                "epoch": one["epoch"], "seq": one["seq"], "type": event["t"],
                "wall_ms": one["wall_ms"], "mono_ms": event.get("m", 0),
                "boot": event.get("b", 0), "station": event.get("s", ""),
                "origin": event.get("o"), "body": event["d"], "hash": bytes(one["hash"]).hex(),
            }  # fmt: skip


def tables(path: Path) -> dict[str, int]:
    """Table -> number of rows."""
    import sqlite_utils

    with reading(path) as db:
        found = sqlite_utils.Database(db)
        return {name: found[name].count for name in sorted(found.table_names())}


def overview(path: Path) -> dict[str, Any]:
    """Epochs, tasks and jobs of a floor journal."""
    with reading(path) as db:
        return {"epochs": _epochs(db), "tasks": tasks.counts(db), "jobs": jobs.counts(db)}


def unsent(path: Path) -> tuple[int, int]:
    """(rows the core does not hold, wall ms of the oldest of them or 0)."""
    with reading(path) as db:
        waiting = sum(max(0, e.last - max(e.acked, e.carried, e.base_seq)) for e in rows.epochs(db))
        return waiting, rows.oldest_unacked_ms(db) if waiting else 0


def _epochs(db: Connection) -> list[dict[str, Any]]:
    return [
        {"epoch": e.id, "first": e.base_seq + 1, "last": e.last, "acked": e.acked,
         "queued": max(0, e.last - max(e.acked, e.carried))}
        for e in rows.epochs(db)
    ]  # fmt: skip
