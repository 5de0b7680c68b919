"""Rows and epochs of one stream: read for the way up, acknowledged, pruned.

A row is kept exactly as it was hashed and as it travels. Nothing is deleted because it was
acknowledged; acknowledged rows age out, so that a core restored from a backup can be replayed.
"""

from __future__ import annotations

from dataclasses import dataclass

from edge_agent.ports import Connection
from protocols import limits


@dataclass(frozen=True, slots=True)
class Epoch:
    """One epoch of the stream: rows `base_seq + 1`..`last` are here."""

    no: int
    id: str
    base_seq: int
    base_hash: bytes
    acked: int
    carried: int
    last: int
    head: bytes


_EPOCH = """SELECT e.no, e.id, e.base_seq, e.base_hash, e.acked, e.carried,
    COALESCE((SELECT MAX(seq) FROM row WHERE epoch_no=e.no), e.base_seq),
    COALESCE((SELECT hash FROM row WHERE epoch_no=e.no ORDER BY seq DESC LIMIT 1), e.base_hash)
    FROM epoch e"""


def epochs(db: Connection) -> list[Epoch]:
    """Every epoch, oldest first; the last one is the current."""
    return [Epoch(*found) for found in db.execute(f"{_EPOCH} ORDER BY e.no").fetchall()]


def current(db: Connection) -> Epoch | None:
    """The newest epoch."""
    found = db.execute(f"{_EPOCH} ORDER BY e.no DESC LIMIT 1").fetchone()
    return None if found is None else Epoch(*found)


def hash_at(db: Connection, epoch_no: int, seq: int) -> bytes | None:
    """The chain hash after row `seq`, or None when it is neither here nor the base."""
    found = db.execute(
        "SELECT hash FROM row WHERE epoch_no=? AND seq=?", (epoch_no, seq)
    ).fetchone()
    if found is None:
        found = db.execute(
            "SELECT base_hash FROM epoch WHERE no=? AND base_seq=?", (epoch_no, seq)
        ).fetchone()
    return None if found is None else bytes(found[0])


def slice_(db: Connection, epoch_no: int, first: int, last: int, count: int) -> list[bytes]:
    """Rows from `first` on, at most `count` of them and never beyond `last`, as many as fit."""
    taken: list[bytes] = []
    size = 0
    found = db.execute(
        "SELECT row FROM row WHERE epoch_no=? AND seq BETWEEN ? AND ? ORDER BY seq",
        (epoch_no, first, min(last, first + count - 1)),
    ).fetchall()
    for (row,) in found:
        size += len(row) + 1
        if taken and size > limits.BATCH_PLAIN_BYTES_MAX:
            break
        taken.append(bytes(row))
    return taken


def unsettled(db: Connection, epoch: Epoch) -> list[tuple[int, bytes, bytes]]:
    """(seq, row, hash) of the rows that neither the core holds nor a later epoch carries."""
    settled = max(epoch.acked, epoch.carried)
    return [
        (int(seq), bytes(row), bytes(digest))
        for seq, row, digest in db.execute(
            "SELECT seq, row, hash FROM row WHERE epoch_no=? AND seq>? ORDER BY seq",
            (epoch.no, settled),
        ).fetchall()
    ]


def set_acked(db: Connection, epoch_no: int, seq: int) -> None:
    """The core holds rows up to `seq`: also lower than before, after its own restore."""
    db.execute("UPDATE epoch SET acked=? WHERE no=?", (seq, epoch_no))


def set_carried(db: Connection, epoch_no: int, seq: int) -> None:
    """Rows up to `seq` live on in a later epoch."""
    db.execute("UPDATE epoch SET carried=? WHERE no=?", (seq, epoch_no))


def oldest_unacked_ms(db: Connection) -> int:
    """Wall time of the oldest row of the current epoch that the core does not hold, 0 if none."""
    found = db.execute(
        """SELECT wall_ms FROM row WHERE epoch_no=(SELECT MAX(no) FROM epoch)
        AND seq>(SELECT acked FROM epoch ORDER BY no DESC LIMIT 1) ORDER BY seq LIMIT 1"""
    ).fetchone()
    return 0 if found is None else int(found[0])


def wall_ms_of(db: Connection, epoch_no: int, seq: int) -> int:
    """Wall time of one row, 0 when it is not here."""
    found = db.execute(
        "SELECT wall_ms FROM row WHERE epoch_no=? AND seq=?", (epoch_no, seq)
    ).fetchone()
    return 0 if found is None else int(found[0])


def newest(db: Connection, count: int) -> list[tuple[str, int, bytes, int]]:
    """(epoch, seq, row, wall_ms) of the newest rows, newest first; for people."""
    return db.execute(
        """SELECT e.id, r.seq, r.row, r.wall_ms FROM row r JOIN epoch e ON e.no=r.epoch_no
        ORDER BY r.epoch_no DESC, r.seq DESC LIMIT ?""",
        (count,),
    ).fetchall()


def prune(db: Connection, *, upto: tuple[int, int] | None = None, limit: int = 20_000) -> int:
    """Forget settled rows up to (epoch number, row), or all; at most `limit` an epoch.

    Returns how many. The current epoch keeps its newest row; epochs without rows and without
    meaning go.
    """
    gone = 0
    known = epochs(db)
    for epoch in known:
        is_current = epoch.no == known[-1].no
        top = max(epoch.acked, epoch.carried)
        if is_current:
            top = min(top, epoch.last - 1)
        if upto is not None and epoch.no >= upto[0]:
            top = min(top, upto[1]) if epoch.no == upto[0] else 0
        found = db.execute(
            """SELECT MAX(seq) FROM (SELECT seq FROM row WHERE epoch_no=? AND seq<=?
            ORDER BY seq LIMIT ?)""",
            (epoch.no, top, limit),
        ).fetchone()
        if found[0] is not None:
            gone += _cut(db, epoch, int(found[0]))
        if not is_current:
            db.execute(
                "DELETE FROM epoch WHERE no=? AND NOT EXISTS"
                " (SELECT 1 FROM row WHERE epoch_no=epoch.no)",
                (epoch.no,),
            )
    return gone


def drop_oldest(db: Connection, rows_max: int) -> int:
    """Keep the newest `rows_max` rows of the current epoch, acknowledged or not (telemetry).

    Returns how many were lost: those that neither the core holds nor a later epoch carries.
    """
    epoch = current(db)
    if epoch is None or epoch.last - epoch.base_seq <= rows_max:
        return 0
    upto = epoch.last - rows_max
    lost = upto - max(epoch.base_seq, epoch.acked, epoch.carried)
    _cut(db, epoch, upto)
    return max(0, lost)


def _cut(db: Connection, epoch: Epoch, upto: int) -> int:
    base_hash = hash_at(db, epoch.no, upto)
    assert base_hash is not None
    db.execute("UPDATE epoch SET base_seq=?, base_hash=? WHERE no=?", (upto, base_hash, epoch.no))
    db.execute("DELETE FROM row WHERE epoch_no=? AND seq<=?", (epoch.no, upto))
    return upto - epoch.base_seq
