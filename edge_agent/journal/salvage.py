"""Rows out of a broken file: what can still be read and proved becomes part of the new journal.

Rows are sought by primary key: behind pages that cannot be read the next readable key is found, so
that one broken page costs its own rows and no others. A row counts only if its stored hash
continues a row before it, so that bit rot is not passed on as a fact. What is missing between is
named as a gap (P2). Reads only; the broken file stays.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from edge_agent.journal import read_only
from edge_agent.journal.tx import Tx
from protocols import chain
from protocols.events import EpochGap
from protocols.messages import Event, Origin

SEQ_MAX = 1 << 40
_decode = msgspec.json.Decoder(Event).decode


@dataclass(frozen=True, slots=True)
class Salvaged:
    """Events to carry over, with origins, and the gaps between them as (epoch, first, last)."""

    events: tuple[Event, ...] = ()
    gaps: tuple[tuple[str, int, int], ...] = ()


def read(path: Path, agent: str, stream: str) -> Salvaged:
    """Everything the core may not hold, as far as it can be read. Raises nothing."""
    events: list[Event] = []
    gaps: list[tuple[str, int, int]] = []
    try:
        with contextlib.closing(read_only.connect(path)) as db:
            found = list(_each(db, "SELECT no, id, base_seq, base_hash, acked, carried FROM epoch"))
            for no, epoch, base_seq, base_hash, acked, carried in found:
                start = base_hash if base_seq else chain.genesis(agent, stream, epoch)
                settled = max(acked, carried)
                _one(db, (no, epoch), (base_seq, start), settled, events, gaps)
    except (sqlite3.Error, TypeError, ValueError):
        # Nothing can be read at all; the new epoch says that it follows a broken file.
        return Salvaged(tuple(events), tuple(gaps))
    return Salvaged(tuple(events), tuple(gaps))


def carry_over(tx: Tx, salvaged: Salvaged) -> int:
    """Put what was saved into the new epoch; returns how many rows."""
    for epoch, first, last in salvaged.gaps:
        tx.append("epoch.gap", EpochGap(epoch, first, last))
    tx.carry(list(salvaged.events))
    return len(salvaged.events)


def _one(
    db: sqlite3.Connection,
    epoch: tuple[int, str],
    base: tuple[int, bytes],
    settled: int,
    events: list[Event],
    gaps: list[tuple[str, int, int]],
) -> None:
    """The rows of one epoch beyond `settled`."""
    expected, before = base[0] + 1, base[1]
    rows = _Rows(db, epoch[0], base[0])
    for seq, row, digest in rows:
        whole = chain.link(before, row) == digest if seq == expected else False
        if not whole:
            # The row after a hole cannot be linked back; it only anchors the one behind it.
            if seq > settled:
                gaps.append((epoch[1], max(expected, settled + 1), seq))
        elif seq > settled:
            event = _decode(row)
            origin = event.o or Origin(epoch[1], seq, digest.hex())
            events.append(msgspec.structs.replace(event, o=origin))
        expected, before = seq + 1, digest
    if rows.tail_broken:
        first = max(expected, settled + 1)
        gaps.append((epoch[1], first, max(first, _heard_of(db, epoch[0]))))


class _Rows:
    """The readable rows of one epoch after `base_seq`, in order."""

    def __init__(self, db: sqlite3.Connection, epoch_no: int, base_seq: int) -> None:
        self._db = db
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
                    yield seq, bytes(row), bytes(digest)
            except sqlite3.DatabaseError:
                start = self._next_readable(after + 1)
                if start is None:
                    self.tail_broken = True
                    return
                after = start - 1
            else:
                return

    def _from(self, seq: int) -> sqlite3.Cursor:
        return self._db.execute(
            "SELECT seq, row, hash FROM row WHERE epoch_no=? AND seq>=? ORDER BY seq",
            (self._epoch_no, seq),
        )

    def _readable(self, seq: int) -> bool:
        try:
            self._from(seq).fetchone()
        except sqlite3.DatabaseError:
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


def _heard_of(db: sqlite3.Connection, epoch_no: int) -> int:
    """The newest row of an epoch that other tables of the file speak of, 0 if none can be read."""
    newest = 0
    for sql in (
        "SELECT MAX(seq) FROM age WHERE epoch_no=?",
        "SELECT MAX(receipt_seq) FROM inbox WHERE receipt_epoch=?",
    ):
        with contextlib.suppress(sqlite3.Error):
            (found,) = db.execute(sql, (epoch_no,)).fetchone()
            newest = max(newest, found or 0)
    return newest


def _each(db: sqlite3.Connection, sql: str, values: tuple[Any, ...] = ()) -> Iterator[Any]:
    """The rows of a query up to the first page that cannot be read."""
    cursor = db.execute(sql, values)
    while True:
        try:
            found = cursor.fetchone()
        except sqlite3.DatabaseError:
            return
        if found is None:
            return
        yield found
