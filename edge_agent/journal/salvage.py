"""Rows out of a broken file: what can still be read and proved becomes part of the new journal.

Rows are sought by primary key: behind pages that cannot be read the next readable key is found, so
that one broken page costs its own rows and no others. A row counts only if its stored hash
continues a row before it, so that bit rot is not passed on as a fact. What is missing between, or
written by a program whose rows this one cannot read, is named as a gap (P2). Reads only; the broken
file stays.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from edge_agent.journal import read_only, soundness
from edge_agent.journal.tx import Tx
from edge_agent.ports import Connection
from protocols import chain
from protocols.events import EpochGap
from protocols.messages import Event, Origin

SEQ_MAX = 1 << 40
_LATER = frozenset(
    {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_FULL,
     sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH, sqlite3.SQLITE_PROTOCOL}
)  # fmt: skip
"""What says nothing of the content; the same question may be answered the next time."""
_decode = msgspec.json.Decoder(Event).decode


@dataclass(frozen=True, slots=True)
class Salvaged:
    """Events to carry over, with origins, and the gaps between them as (epoch, first, last)."""

    events: tuple[Event, ...] = ()
    gaps: tuple[tuple[str, int, int], ...] = ()


def read(path: Path, agent: str, stream: str, *, skip_unread: bool = False) -> Salvaged:
    """Everything the core may not hold, as far as it can be read.

    Raises `sqlite3.Error` when the file cannot be looked at now (a lock, no memory, a failing
    read): it may be read later. With `skip_unread` failing reads count as broken pages.
    """
    with contextlib.closing(read_only.connect(path)) as db:
        return read_from(db, agent, stream, skip_unread=skip_unread)


def read_from(db: Connection, agent: str, stream: str, *, skip_unread: bool = False) -> Salvaged:
    """See `read`."""
    events: list[Event] = []
    gaps: list[tuple[str, int, int]] = []
    file = _Broken(db, skip_unread)
    try:
        for no, epoch, base_seq, base_hash, acked, carried in file.epochs():
            start = base_hash if base_seq else chain.genesis(agent, stream, epoch)
            settled = max(acked, carried)
            _one(file, (no, epoch), (base_seq, start), settled, events, gaps)
    except sqlite3.Error as error:
        if not file.is_page(error):
            raise
        # Nothing can be read at all; the new epoch says that it follows a broken file.
    except (TypeError, ValueError):
        # The same for an epoch whose own row makes no sense.
        pass
    return Salvaged(tuple(events), tuple(gaps))


def carry_over(tx: Tx, salvaged: Salvaged) -> int:
    """Put what was saved into the new epoch; returns how many rows."""
    for epoch, first, last in salvaged.gaps:
        tx.append("epoch.gap", EpochGap(epoch, first, last))
    tx.carry(list(salvaged.events))
    return len(salvaged.events)


@dataclass(frozen=True, slots=True)
class _Broken:
    """The file, and which errors are a broken page of it; all others go through."""

    db: Connection
    skip_unread: bool

    def is_page(self, error: sqlite3.Error) -> bool:
        """Whether the rest of the file may be read all the same."""
        if soundness.is_read_error(error):
            return self.skip_unread
        return getattr(error, "sqlite_errorcode", 0) & 0xFF not in _LATER

    def epochs(self) -> Iterator[Any]:
        """The epochs up to the first page that cannot be read."""
        sql = "SELECT no, id, base_seq, base_hash, acked, carried FROM epoch"
        yield from _each(self, sql)


def _one(
    file: _Broken,
    epoch: tuple[int, str],
    base: tuple[int, bytes],
    settled: int,
    events: list[Event],
    gaps: list[tuple[str, int, int]],
) -> None:
    """The rows of one epoch beyond `settled`."""
    expected, before = base[0] + 1, base[1]
    rows = _Rows(file, epoch[0], base[0])
    for seq, row, digest in rows:
        whole = chain.link(before, row) == digest if seq == expected else False
        event = _event(row) if whole and seq > settled else None
        if event is not None:
            origin = event.o or Origin(epoch[1], seq, digest.hex())
            events.append(msgspec.structs.replace(event, o=origin))
        elif seq > settled:
            # The row after a hole cannot be linked back; it only anchors the one behind it.
            gaps.append((epoch[1], max(expected, settled + 1), seq))
        expected, before = seq + 1, digest
    if rows.tail_broken:
        first = max(expected, settled + 1)
        gaps.append((epoch[1], first, max(first, _heard_of(file, epoch[0]))))


def _event(row: bytes) -> Event | None:
    """None for a row in a newer program's form: it stays in the broken file, named as a gap."""
    try:
        return _decode(row)
    except msgspec.DecodeError:
        return None


class _Rows:
    """The readable rows of one epoch after `base_seq`, in order."""

    def __init__(self, file: _Broken, epoch_no: int, base_seq: int) -> None:
        self._file = file
        self._epoch_no = epoch_no
        self._base_seq = base_seq
        self.tail_broken = False
        """Known once all were read: what came after the last one cannot be."""

    def __iter__(self) -> Iterator[tuple[int, bytes, bytes]]:
        after = self._base_seq
        while True:
            try:
                for seq, row, digest in self._from(after + 1):
                    after = seq
                    yield seq, _bytes(row), _bytes(digest)
            except sqlite3.DatabaseError as error:
                self._pass_on(error)
                start = self._next_readable(after + 1)
                if start is None:
                    self.tail_broken = True
                    return
                after = start - 1
            else:
                return

    def _pass_on(self, error: sqlite3.Error) -> None:
        if not self._file.is_page(error):
            raise error

    def _from(self, seq: int) -> Iterator[Any]:
        cursor = self._file.db.execute(
            "SELECT seq, row, hash FROM row WHERE epoch_no=? AND seq>=? ORDER BY seq",
            (self._epoch_no, seq),
        )
        while (found := cursor.fetchone()) is not None:
            yield found

    def _readable(self, seq: int) -> bool:
        try:
            next(self._from(seq), None)
        except sqlite3.DatabaseError as error:
            self._pass_on(error)
            return False
        return True

    def _next_readable(self, broken: int) -> int | None:
        """The first key after `broken` from which a row can be read: steps that double, then halve.

        None when there is none up to `SEQ_MAX`: the end of the tree is what is broken.
        """
        step = 1
        while not self._readable(broken + step):
            step *= 2
            if broken + step > SEQ_MAX:
                return None
        low, high = broken + step // 2, broken + step
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if self._readable(middle) else (middle, high)
        return high


def _bytes(value: Any) -> bytes:
    """What stands in a column of bytes; b"", which links to nothing, for what is none."""
    return value if isinstance(value, bytes) else b""


def _heard_of(file: _Broken, epoch_no: int) -> int:
    """The newest row of an epoch that other tables of the file speak of, 0 if none can be read."""
    newest = 0
    for sql in (
        "SELECT MAX(seq) FROM age WHERE epoch_no=?",
        "SELECT MAX(receipt_seq) FROM inbox WHERE receipt_epoch=?",
    ):
        with contextlib.suppress(sqlite3.Error):
            (found,) = file.db.execute(sql, (epoch_no,)).fetchone()
            newest = max(newest, found or 0)
    return newest


def _each(file: _Broken, sql: str) -> Iterator[Any]:
    """The rows of a query up to the first page that cannot be read."""
    cursor = file.db.execute(sql)
    while True:
        try:
            found = cursor.fetchone()
        except sqlite3.DatabaseError as error:
            if not file.is_page(error):
                raise
            return
        if found is None:
            return
        yield found
