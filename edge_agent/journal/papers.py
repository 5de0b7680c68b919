"""What papers other than waybills say, beside their print job, apart from all else (P12)."""

from __future__ import annotations

from collections.abc import Sequence

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


def forget_kind(db: Connection, kind: str) -> None:
    """Purge every paper of a kind."""
    db.execute("DELETE FROM paper WHERE kind=?", (kind,))


def forget_of(db: Connection, shipments: Sequence[str]) -> int:
    """Purge every paper that belongs to one of these shipments; returns how many."""
    gone = 0
    for shipment in shipments:
        found = db.execute(
            """DELETE FROM paper WHERE (kind, number) IN
            (SELECT kind, number FROM print_job WHERE shipment=? AND shipment<>'') RETURNING 1""",
            (shipment,),
        ).fetchall()
        gone += len(found)
    return gone


def purge(db: Connection, before_ms: int, after_ms: int, waiting_before_ms: int) -> int:
    """Purge papers queued before `before_ms`, or later than a clock could truly say; how many.

    One that still waits for its printer stays until `waiting_before_ms`.
    """
    gone = db.execute(
        """DELETE FROM paper WHERE queued_ms<?3 OR ((queued_ms<?1 OR queued_ms>?2)
        AND NOT EXISTS(SELECT 1 FROM print_job AS job WHERE job.kind=paper.kind
        AND job.number=paper.number AND job.state IN ('queued', 'rendered', 'sending', 'held')))
        RETURNING 1""",
        (before_ms, after_ms, waiting_before_ms),
    ).fetchall()
    return len(gone)
