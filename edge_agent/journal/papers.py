"""What papers other than waybills say, beside their print job, apart from all else (P12)."""

from __future__ import annotations

from edge_agent.ports import Connection


def put(db: Connection, kind: str, number: str, fields: bytes, *, queued_ms: int) -> None:
    """Keep what the paper says; the first word stays."""
    db.execute(
        "INSERT INTO paper VALUES(?, ?, ?, ?) ON CONFLICT DO NOTHING",
        (kind, number, fields, queued_ms),
    )


def get(db: Connection, kind: str, number: str) -> bytes | None:
    """What the paper says, None when it is not known or was purged."""
    found = db.execute(
        "SELECT fields FROM paper WHERE kind=? AND number=?", (kind, number)
    ).fetchone()
    return None if found is None or found[0] is None else bytes(found[0])


def forget(db: Connection, kind: str, number: str) -> bool:
    """Purge one paper; whether it was there."""
    gone = db.execute(
        "DELETE FROM paper WHERE kind=? AND number=? RETURNING 1", (kind, number)
    ).fetchall()
    return bool(gone)


def purge(db: Connection, before_ms: int, after_ms: int) -> int:
    """Purge papers queued before, or later than a clock could truly say; returns how many."""
    gone = db.execute(
        "DELETE FROM paper WHERE queued_ms<? OR queued_ms>? RETURNING 1", (before_ms, after_ms)
    ).fetchall()
    return len(gone)
