"""Rows out of a broken file: what can still be read and proved becomes part of the new journal.

A row counts only if its stored hash continues a row before it, so that bit rot is not passed on as
a fact. What is missing between is named as a gap (P2). Reads only; the broken file stays.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from edge_agent.journal.tx import Tx
from protocols import chain
from protocols.events import EpochGap
from protocols.messages import Event, Origin

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
        with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as db:
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
    rows = _each(db, "SELECT seq, row, hash FROM row WHERE epoch_no=? ORDER BY seq", (epoch[0],))
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
