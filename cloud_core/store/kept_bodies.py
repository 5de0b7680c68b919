"""Which kept bytes have had their time: bodies of raw shop messages and of quarantined input.

Only the bytes go; the row with what, when, from whom and why stays, as does a raw message's digest
that tells a repeat. Rows are looked at from the first that may still hold bytes, so that a look
costs what is kept, not what ever came.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, func, or_, select

from cloud_core.store import schema as t


@dataclass(frozen=True, slots=True)
class Ripe:
    """Rows whose bytes must go, oldest first, and from which id on rows may hold any."""

    ids: list[int]
    first: int


def ripe_raw(connection: Connection, first: int, before_ms: int, kept_max: int, limit: int) -> Ripe:
    """Raw messages processed by `before_ms`, or processed and not among the newest `kept_max`.

    One that is not processed stays whole: it is somebody's order.
    """
    c = t.raw_message.c
    return _ripe(
        connection, (c.id, func.length(c.body) > 0, c.processed_ms), first, before_ms, kept_max,
        limit,
    )  # fmt: skip


def ripe_quarantine(
    connection: Connection, first: int, before_ms: int, kept_max: int, limit: int
) -> Ripe:
    """Quarantined input from `before_ms` or earlier, or not among the newest `kept_max` rows."""
    c = t.quarantine.c
    return _ripe(
        connection, (c.id, c.body.is_not(None), c.at_ms), first, before_ms, kept_max, limit
    )


def _ripe(
    connection: Connection,
    of: tuple[ColumnElement[int], ColumnElement[bool], ColumnElement[int]],
    first: int,
    before_ms: int,
    kept_max: int,
    limit: int,
) -> Ripe:
    name, has_body, done_ms = of
    last: int = connection.execute(select(func.max(name))).scalar() or 0
    kept = select(name).where(name >= first, has_body).order_by(name).limit(1)
    found = connection.execute(kept).scalar()
    if found is None:
        return Ripe([], last + 1)
    wanted = select(name).where(
        name >= found,
        has_body,
        done_ms.is_not(None),
        or_(done_ms <= before_ms, name <= last - kept_max),
    )
    ids = connection.execute(wanted.order_by(name).limit(limit)).scalars()
    return Ripe(list(ids), found)
