"""The tables of change requests, gift children, returns and scanned serial numbers.

Beside `store.schema`, on its metadata. Partial indexes hold only what still waits.
"""

from __future__ import annotations

from sqlalchemy import Column, Index, Integer, String, Table, Text, text

from cloud_core.store import schema as t

metadata = t.metadata
_Ms = t.shipment.c.ship_by_ms.type
ESCALATES = "next_ms IS NOT NULL"
CHANGE_WAITS = "state = 'waiting'"
RETURN_OPEN = "state IN ('announced', 'accepted')"
RETURN_UNPURGED = "purged_ms IS NULL AND closed_ms IS NOT NULL"
"""Written out in queries as in the indexes: SQLite uses a partial index only for the same words."""

# fmt: off
change_request = Table(
    "change_request", metadata,
    Column("id", String(160), primary_key=True),
    Column("kind", String(12), nullable=False),  # cancel | address
    Column("order_id", String(64), nullable=False, index=True),
    Column("shipment_id", String(64), nullable=False, index=True),
    Column("warehouse", String(64), nullable=False, server_default=""),
    Column("agent", String(48), nullable=False, server_default=""),
    Column("state", String(12), nullable=False),  # waiting | done | left | superseded
    Column("asked_ms", _Ms, nullable=False),
    Column("due_ms", _Ms, nullable=False),
    Column("next_ms", _Ms),
    Column("level", Integer, nullable=False, server_default="0"),
    Column("done_ms", _Ms),
    Column("actor", String(96), nullable=False, server_default=""),
    Column("source", String(64), nullable=False, server_default=""),
    Column("reason", Text, nullable=False, server_default=""),
    Column("approved_by", String(96), nullable=False, server_default=""),
    Column("version", Integer, nullable=False, server_default="0"),
)
gift_child = Table(
    "gift_child", metadata,
    Column("id", String(64), primary_key=True),  # order number + GIFT
    Column("order_id", String(64), nullable=False, index=True),
    Column("rule", String(64), nullable=False, server_default=""),
    Column("lines", Text, nullable=False),  # JSON [[sku, quantity], …]
    Column("bound", Integer, nullable=False, server_default="1"),
    Column("state", String(12), nullable=False),  # riding | owed | packed | sent | cancelled
    Column("shipment_id", String(64), nullable=False, server_default=""),
    Column("created_ms", _Ms, nullable=False),
    Column("changed_ms", _Ms, nullable=False),
    Column("version", Integer, nullable=False, server_default="0"),
)
return_ticket = Table(
    "return_ticket", metadata,
    Column("id", String(40), primary_key=True),  # RET-…, also the barcode
    Column("order_id", String(64), nullable=False, index=True),
    Column("channel", String(64), nullable=False),
    Column("native_id", String(128), nullable=False),
    Column("warehouse", String(64), nullable=False),
    Column("agent", String(48), nullable=False, index=True),
    Column("state", String(12), nullable=False),  # announced | accepted | closed | void
    Column("outcome", String(12), nullable=False, server_default=""),  # passed | failed | partial
    Column("printed", String(12), nullable=False, server_default=""),
    Column("reason", Text, nullable=False, server_default=""),
    Column("waybill", String(40), nullable=False, server_default=""),
    Column("lines", Text, nullable=False),  # JSON, see domain.returning
    Column("window_from_ms", _Ms, nullable=False, server_default="0"),
    Column("window_to_ms", _Ms, nullable=False, server_default="0"),
    Column("inspect_s", Integer, nullable=False),
    Column("created_ms", _Ms, nullable=False, index=True),
    Column("accepted_ms", _Ms),
    Column("due_ms", _Ms),
    Column("closed_ms", _Ms),
    Column("next_ms", _Ms),
    Column("level", Integer, nullable=False, server_default="0"),
    Column("refund", String(12), nullable=False, server_default=""),  # requested | done
    Column("refund_fen", _Ms, nullable=False, server_default="0"),
    Column("actor", String(96), nullable=False, server_default=""),
    Column("approved_by", String(96), nullable=False, server_default=""),
    Column("purged_ms", _Ms),
    Column("version", Integer, nullable=False, server_default="0"),
)
shipment_serial = Table(
    "shipment_serial", metadata,
    Column("shipment_id", String(64), primary_key=True),
    Column("sku", String(64), primary_key=True),
    Column("serial", String(128), primary_key=True),
    Column("at_ms", _Ms, nullable=False),
    Column("agent", String(48), nullable=False, server_default=""),
    Index("shipment_serial_of", "serial"),
)
# fmt: on


def _partial(name: str, column: Column[object], where: str) -> None:
    Index(name, column, sqlite_where=text(where), postgresql_where=text(where))


_partial("change_escalates", change_request.c.next_ms, ESCALATES)
_partial("change_waits", change_request.c.asked_ms, CHANGE_WAITS)
_partial("return_escalates", return_ticket.c.next_ms, ESCALATES)
_partial("return_open", return_ticket.c.created_ms, RETURN_OPEN)
_partial("return_unpurged", return_ticket.c.closed_ms, RETURN_UNPURGED)
