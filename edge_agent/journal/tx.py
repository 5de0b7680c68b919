"""One work inside the group commit: its savepoint, its database, and the next rows of the stream.

Flows get a `Tx` and nothing else to write with. Sequence numbers and hashes are made here, so a
work that is rolled back leaves no hole.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import msgspec
from msgspec import Raw, Struct

from edge_agent.domain.moment import Now
from edge_agent.journal import rows
from edge_agent.ports import Connection
from protocols import chain, limits
from protocols.errors import Corrupt, Unavailable
from protocols.events import EpochOpened
from protocols.messages import Event, Origin

_encode = msgspec.json.Encoder().encode
_decode_event = msgspec.json.Decoder(Event).decode


@dataclass(frozen=True, slots=True)
class StreamHead:
    """The newest row of the current epoch, committed or about to be."""

    epoch_no: int
    epoch: str
    last: int
    hash: bytes


class Chains(Protocol):
    """What a transaction needs from the journal it belongs to."""

    def genesis(self, epoch: str) -> bytes: ...

    def new_epoch(self) -> str: ...


class Tx:
    """The group's transaction as one work sees it. `now` is when the work was handed in."""

    def __init__(
        self, db: Connection, chains: Chains, head: StreamHead, boot: int, boot_no: int, *,
        refuse: bool,
    ) -> None:  # fmt: skip
        self._db = db
        self._chains = chains
        self._refuse = refuse
        self._pending: list[tuple[int, int, bytes, bytes, int]] = []
        self._earlier = 0
        self._open = False
        self._depth = 0
        self.head = head
        self.boot = boot
        self._boot_no = boot_no
        self.now = Now(0, 0)
        self.scrub = False
        """Set by a work that forgot something for good: no copy may stay in the log either."""

    @property
    def db(self) -> Connection:
        """The connection; the work's savepoint begins with its first use.

        Rows of earlier works are written before it, so that rolling back cannot take them along.
        """
        if not self._open:
            own = self._pending[self._earlier :]
            self._pending = self._pending[: self._earlier]
            self.finish()
            self._pending, self._earlier = own, 0
            self._db.execute("SAVEPOINT work")
            self._open = True
        return self._db

    def append(self, type_: str, body: Struct, *, station: str = "", reserve: bool = False) -> int:
        """Add one event to the stream; returns its sequence number.

        `reserve`: may use the last share of the quota, for what must be said before a full journal
        can empty again. Raises `Unavailable("journal_full")` above the quota otherwise,
        `Corrupt("event_too_large")`.
        """
        if not reserve:
            self.check_room()
        now = self.now
        return self._add(
            Event(
                q=self.head.last + 1,
                t=type_,
                w=now.wall_ms,
                m=now.mono_ms,
                b=self._boot_no,
                d=Raw(_encode(body)),
                s=station,
            )
        )

    def check_room(self) -> None:
        """Raise `Unavailable("journal_full")` when scans are refused (red light)."""
        if self._refuse:
            raise Unavailable("journal_full", "本机存储已满, 暂停作业", "the journal is full")

    def _add(self, event: Event) -> int:
        row = _encode(event)
        if len(row) > limits.EVENT_BYTES_MAX:
            raise Corrupt(
                "event_too_large", "单个事件超过上限", "event above the bound", field=event.t
            )
        head = self.head
        digest = chain.link(head.hash, row)
        self._pending.append((head.epoch_no, event.q, row, digest, event.w))
        self.head = StreamHead(head.epoch_no, head.epoch, event.q, digest)
        return event.q

    def open_epoch(self, reason: str) -> int:
        """Begin a new epoch; rows the core may not hold are carried over with their first origin.

        Returns how many were carried. `reason` is one of `EpochOpened`'s.
        """
        self.flush()
        old = rows.current(self.db)
        carried = [] if old is None else self.take_unsettled(old)
        epoch = self._chains.new_epoch()
        start = self._chains.genesis(epoch)
        number = 1 if old is None else old.no + 1
        self.db.execute("UPDATE epoch SET closed=1")
        self.db.execute(
            "INSERT INTO epoch(no, id, opened_ms, base_hash) VALUES(?, ?, ?, ?)",
            (number, epoch, self.now.wall_ms, start),
        )
        self.head = StreamHead(number, epoch, 0, start)
        previous = "" if old is None else old.id
        body = EpochOpened(previous=previous, reason=reason, carried=len(carried))
        self.append("epoch.opened", body, reserve=True)
        self.carry(carried)
        return len(carried)

    def take_unsettled(self, epoch: rows.Epoch) -> list[Event]:
        """Rows of a dead epoch that must live on, with the origin they have or get now."""
        taken = [
            _with_origin(row, Origin(epoch.id, seq, digest.hex()))
            for seq, row, digest in rows.unsettled(self.db, epoch)
        ]
        if taken:
            rows.set_carried(self.db, epoch.no, epoch.last)
        return taken

    def carry(self, events: list[Event]) -> None:
        """Append carried rows under new sequence numbers, unchanged otherwise."""
        for event in events:
            self._add(msgspec.structs.replace(event, q=self.head.last + 1))

    def flush(self) -> None:
        """Write the work's rows now, so that statements after it see them."""
        assert self.db is not None
        self.finish()

    def finish(self) -> None:
        """Write the rows that still wait; the last step before the group's commit."""
        if self._pending:
            self._db.executemany("INSERT INTO row VALUES(?, ?, ?, ?, ?)", self._pending)
            self._pending = []

    @contextmanager
    def part(self) -> Iterator[None]:
        """A part of a work that may fail alone: its rows and changes vanish, the error goes on."""
        self._depth += 1
        name = f"part{self._depth}"
        self.flush()
        self.db.execute(f"SAVEPOINT {name}")
        head = self.head
        try:
            yield
            self.flush()
        except Exception:
            self._pending = []
            self.head = head
            self.db.execute(f"ROLLBACK TO {name}")
            raise
        finally:
            self._depth -= 1
            self.db.execute(f"RELEASE {name}")

    def run(self, work: Callable[[Tx], Any], now: Now) -> tuple[Any, Exception | None]:
        """Run one work; (value, error). Database errors go through and end the group."""
        self.now = now
        self._earlier = len(self._pending)
        head = self.head
        try:
            value, failed = work(self), None
        except sqlite3.Error:
            raise
        except Exception as error:
            value, failed = None, error
            self._pending = self._pending[: self._earlier]
            self.head = head
            if self._open:
                self._db.execute("ROLLBACK TO work")
        if self._open:
            self._db.execute("RELEASE work")
            self._open = False
        return value, failed


def _with_origin(row: bytes, origin: Origin) -> Event:
    event = _decode_event(row)
    return event if event.o is not None else msgspec.structs.replace(event, o=origin)
