"""Parts of payloads too large for one message, kept until their command asks for the whole."""

from __future__ import annotations

from edge_agent.ports import Connection
from protocols import limits
from protocols.messages import Chunk


def put(db: Connection, chunk: Chunk, received_ms: int) -> None:
    """Keep one part; the first of an index stays."""
    db.execute(
        "INSERT INTO chunk VALUES(?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
        (chunk.digest, chunk.index, chunk.count, chunk.data, received_ms),
    )


def of(db: Connection, digest: str) -> list[Chunk]:
    """Every part there is of one payload."""
    found = db.execute(
        "SELECT idx, count, data FROM chunk WHERE digest=? ORDER BY idx", (digest,)
    ).fetchall()
    return [Chunk(limits.VERSION, digest, idx, count, bytes(data)) for idx, count, data in found]


def missing(db: Connection, digest: str) -> bool:
    """Whether a part of the payload has not come; reads no data."""
    found = db.execute(
        "SELECT COUNT(*), MIN(count) FROM chunk WHERE digest=?", (digest,)
    ).fetchone()
    return not found[0] or int(found[0]) < int(found[1])


def forget(db: Connection, digest: str) -> None:
    """The payload is used, or useless."""
    db.execute("DELETE FROM chunk WHERE digest=?", (digest,))


def trim(db: Connection, bytes_max: int, before_ms: int, after_ms: int, *, spare: str = "") -> None:
    """Forget parts received before, or later than any clock could truly say; then the oldest
    payloads above `bytes_max`, but never those of `spare`."""
    db.execute(
        "DELETE FROM chunk WHERE (received_ms<? OR received_ms>?) AND digest<>?",
        (before_ms, after_ms, spare),
    )
    payloads = db.execute(
        "SELECT digest, SUM(LENGTH(data)) FROM chunk GROUP BY digest ORDER BY MIN(received_ms)"
    ).fetchall()
    over = sum(int(size) for _digest, size in payloads) - bytes_max
    for digest, size in payloads:
        if over > 0 and digest != spare:
            forget(db, str(digest))
            over -= int(size)
