"""Upload: the next batch of committed rows, and what an ack of the core means for them.

Between the journal and the sender's window. Rows travel exactly as they were hashed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from msgspec import Raw

from edge_agent.journal import rows
from edge_agent.journal.tx import Tx
from edge_agent.ports import Connection
from protocols import codec, limits
from protocols.messages import Ack, Batch


@dataclass(frozen=True, slots=True)
class Parcel:
    """One batch ready for the broker; `last` is its newest row."""

    payload: bytes
    first: int
    last: int


def next_batch(
    db: Connection, agent: str, epoch_no: int, epoch: str, span: tuple[int, int], batch_max: int
) -> Parcel | None:
    """Rows `span` (first, last) as one message, as many as fit; None when they are not here.

    Rows that aged out or were dropped before `first` are declared as a gap with the hash to go on
    from; they are named, never silent (P2).
    """
    first, last = span
    skip_from = 0
    before = rows.hash_at(db, epoch_no, first - 1)
    if before is None:
        base = next((e for e in rows.epochs(db) if e.no == epoch_no), None)
        if base is None or base.base_seq < first:
            return None
        skip_from, first, before = first, base.base_seq + 1, base.base_hash
    found = rows.slice_(db, epoch_no, first, last, min(batch_max, limits.BATCH_EVENTS_MAX))
    if not found:
        return None
    batch = Batch(
        v=limits.VERSION,
        a=agent,
        e=epoch,
        s=first,
        h=before.hex(),
        ev=[Raw(row) for row in found],
        skip_from=skip_from,
    )
    return Parcel(codec.encode_batch(batch), first, first + len(found) - 1)


def continues(db: Connection, epoch_no: int, ack: Ack) -> bool:
    """Whether the ack's chain is ours. A row that aged out cannot be compared and is believed."""
    ours = rows.hash_at(db, epoch_no, ack.have)
    epoch = next((e for e in rows.epochs(db) if e.no == epoch_no), None)
    if epoch is None or ack.have > epoch.last:
        return False
    return ours is None or ours.hex() == ack.hash


def remember_acks(tx: Tx, acks: Sequence[tuple[int, int]]) -> None:
    """Keep how far the core is, as (epoch number, row); it only decides what may age out."""
    for epoch_no, have in acks:
        rows.set_acked(tx.db, epoch_no, have)


def queued(db: Connection) -> int:
    """Rows of the current epoch that the core is not known to hold."""
    epoch = rows.current(db)
    return 0 if epoch is None else max(0, epoch.last - max(epoch.acked, epoch.base_seq))


def oldest_ms(db: Connection) -> int:
    """Wall time of the oldest such row, 0 if none."""
    return rows.oldest_unacked_ms(db)


def wall_ms_of(db: Connection, epoch_no: int, seq: int) -> int:
    """Wall time of one row, 0 when it is not here."""
    return rows.wall_ms_of(db, epoch_no, seq)
