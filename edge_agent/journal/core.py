"""The journal without its thread: group commit, sequence numbers, hash chain, epochs.

Everything the agent does becomes durable here before its effect. The writer thread and the
simulation call the same `commit`; nothing here waits, and no clock is read.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from edge_agent.domain.moment import Now
from edge_agent.journal import meta, rows, soundness, tables
from edge_agent.journal.tx import StreamHead, Tx
from edge_agent.ports import Connection
from protocols import chain
from protocols.errors import Unavailable

Work = Callable[[Tx], Any]
Result = tuple[Any, Exception | None]

FULL_SHARE = 0.95
PAGE_BYTES = 4096
INC_STEP = 256
"""Incarnation numbers set aside at a time; upkeep sets more aside long before they are used up.

Small, so that a program that crashes at every start does not run ahead of the wall clock: a wiped
card begins at the wall clock, and below what the core has seen nobody would listen to it.
"""


@dataclass(frozen=True, slots=True)
class Position:
    """The newest durable row; replaced as a whole after each commit, so any thread may read it."""

    epoch_no: int
    epoch: str
    last: int


def set_inc_aside(tx: Tx, inc: int) -> None:
    """Numbers of this boot's connections up to `inc` + `INC_STEP` are not used by the next."""
    meta.put(tx.db, "inc", inc + INC_STEP)


@dataclass(frozen=True, slots=True)
class Room:
    """How much the medium can still take, and the share kept for what must be said when full."""

    free_bytes: Callable[[], int]
    reserve_bytes: int


class JournalCore:
    """One stream's file. Not thread-safe: one owner calls `open` and `commit`."""

    def __init__(
        self,
        connect: Callable[[], Connection],
        agent: str,
        stream: str,
        new_epoch: Callable[[], str],
        quota_bytes: int = 4_000_000_000,
        room: Room | None = None,
    ) -> None:
        assert stream in ("floor", "telemetry")
        self.agent = agent
        self.stream = stream
        self.boot = 0
        self.boot_no = 0
        """The start on the wire and in rows; no other start of this agent has it, on any card."""
        self.inc_base = 0
        self.full = False
        self.failing = ""
        """What the last commit failed of, "" after one that worked."""
        self.used_bytes = 0
        self._room = room
        self._connect = connect
        self._new_epoch = new_epoch
        self._quota_bytes = quota_bytes
        self._db: Connection | None = None
        self._head = StreamHead(0, "", 0, b"")
        self.position = Position(0, "", 0)

    @property
    def db(self) -> Connection:
        assert self._db is not None, "journal is not open"
        return self._db

    def open(self, now: Now, reason: str = "first", boot_no: int = 0) -> None:
        """Create or load the file, count the boot, open the first epoch of an empty file.

        `reason` is what `epoch.opened` says of it: `first`, `wiped` or `salvaged`. `boot_no` is
        drawn by chance for each start: the count begins again on a new card and goes back with one
        put back, and the core would date their events by the clock of another start.

        Raises `Corrupt` for a file of a newer program; database errors go through.
        """
        self._db = self._connect()
        tables.set_up(self._db, floor=self.stream == "floor")
        self._db.execute("BEGIN IMMEDIATE")
        self.boot = meta.number(self._db, "boot") + 1
        meta.put(self._db, "boot", self.boot)
        self.boot_no = boot_no or self.boot
        # The wall clock keeps a wiped card's incarnation above what the broker has seen.
        self.inc_base = max(meta.number(self._db, "inc") + 1, now.wall_ms)
        meta.put(self._db, "inc", self.inc_base + INC_STEP)
        self._db.execute("COMMIT")
        self._load()
        if self._head.epoch_no == 0:
            self._only(self.commit([(lambda tx: tx.open_epoch(reason), now)]))

    def close(self) -> None:
        if self._db is not None:
            self._db.close()
            self._db = None

    def commit(self, works: Sequence[tuple[Work, Now]]) -> list[Result]:
        """Run each work in arrival order and commit them together; (value, error) for each.

        A work that raises is rolled back alone. When the database itself fails, the whole group
        is rolled back and everyone gets `Unavailable("journal_failed")`. Broken content of the file
        goes through as `sqlite3.DatabaseError`: only a new start can put it aside.
        """
        if self.full:
            self._publish()  # somebody may have made room: the next scan need not be refused
        try:
            self.db.execute("BEGIN IMMEDIATE")
            tx = Tx(self.db, self, self._head, self.boot, self.boot_no, refuse=self.full)
            results = [tx.run(work, now) for work, now in works]
            tx.finish()
            self.db.execute("COMMIT")
        except sqlite3.Error as error:
            self.failing = str(error) or "error"
            self._roll_back()
            if soundness.is_broken(error):
                raise
            failed = Unavailable(
                "journal_failed", f"本机存储写入失败：{error}", f"journal write failed: {error}"
            )
            failed.__cause__ = error
            return [(None, failed)] * len(works)
        self._head = tx.head
        self.failing = ""
        self._publish()
        if tx.scrub:
            self._scrub()
        return results

    def genesis(self, epoch: str) -> bytes:
        return chain.genesis(self.agent, self.stream, epoch)

    def new_epoch(self) -> str:
        return self._new_epoch()

    def _scrub(self) -> None:
        """Empty the write-ahead log, which keeps old pages until it is written over."""
        with contextlib.suppress(sqlite3.Error):
            # A reader in the way or a failing disk: committed all the same, the next one tries.
            self.db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    def _roll_back(self) -> None:
        """Undo the group and go on from what the file holds, not from what we believe.

        A commit may fail in a way that leaves it done; its rows were refused, but they are facts.
        """
        with contextlib.suppress(sqlite3.Error):
            # SQLite rolls back by itself after some errors; then there is nothing to roll back.
            self.db.execute("ROLLBACK")
        with contextlib.suppress(sqlite3.Error):
            self._load()

    def _load(self) -> None:
        epoch = rows.current(self.db)
        if epoch is not None:
            self._head = StreamHead(epoch.no, epoch.id, epoch.last, epoch.head)
        self._publish()

    def _publish(self) -> None:
        head = self._head
        self.position = Position(head.epoch_no, head.epoch, head.last)
        with contextlib.suppress(sqlite3.Error):  # what was committed is no failure any more
            self.used_bytes = tables.used_bytes(self.db)
            self.full = self._short() or self.used_bytes >= self._quota_bytes * FULL_SHARE

    def _short(self) -> bool:
        """Whether the medium has no more room than the reserve, free pages of the file counted."""
        if self._room is None:
            return False
        lacking = self._room.reserve_bytes - self._room.free_bytes()
        if lacking <= 0:
            return False
        free_pages = int(self.db.execute("PRAGMA freelist_count").fetchone()[0])
        return free_pages * PAGE_BYTES < lacking

    @staticmethod
    def _only(results: list[Result]) -> None:
        ((_value, error),) = results
        if error is not None:
            raise error
