"""What only the staff console needs in the database: its sessions, and indexes of its lists.

The indexes are partial: a row leaves or enters one at most twice in its life, so that the commits
of the floor pay next to nothing for pages that people look at.
"""

from __future__ import annotations

from sqlalchemy import Column, Index, String, Table, text

from cloud_core.store import schema as t

OPEN_SHIPMENT = "handed_over_ms IS NULL AND stop = ''"
LEFT_SHIPMENT = "handed_over_ms IS NOT NULL"
STOPPED = "stop <> ''"
"""Written out in queries as in the indexes: SQLite uses a partial index only for the same words."""

metadata = t.metadata

console_session = Table(
    "console_session", metadata,
    Column("hash", String(64), primary_key=True),  # SHA-256 of the cookie's value
    Column("key_id", String(64), nullable=False, index=True),
    Column("created_ms", t.shipment.c.token_n.type, nullable=False),
    Column("expires_ms", t.shipment.c.token_n.type, nullable=False, index=True),
)  # fmt: skip


def _partial(name: str, columns: tuple[Column[object], ...], where: str) -> Index:
    return Index(name, *columns, sqlite_where=text(where), postgresql_where=text(where))


_shipment, _orders = t.shipment.c, t.orders.c
_partial("shipment_open_due", (_shipment.ship_by_ms, _shipment.id), OPEN_SHIPMENT)
_partial("shipment_left", (_shipment.handed_over_ms, _shipment.id), LEFT_SHIPMENT)
_partial("shipment_stopped", (_shipment.paid_ms, _shipment.id), STOPPED)
_partial("orders_stopped", (_orders.created_ms, _orders.id), STOPPED)
