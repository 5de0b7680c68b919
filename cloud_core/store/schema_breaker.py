"""The tables of breakers and notices, and the index that a judgement reads shipments by.

Beside `store.schema`, on its metadata. The index is partial: a shipment enters it with its grant.
"""

from __future__ import annotations

from sqlalchemy import Column, Index, Integer, LargeBinary, String, Table, Text, text

from cloud_core.store import schema as t

metadata = t.metadata
_Ms = t.shipment.c.ship_by_ms.type

# fmt: off
breaker = Table(
    "breaker", metadata,
    Column("warehouse", String(64), primary_key=True),
    Column("state", String(12), nullable=False),  # closed | open | half_open
    Column("since_ms", _Ms, nullable=False),
    Column("until_ms", _Ms),
    Column("openings", Integer, nullable=False, server_default="0"),
    Column("counted_from_ms", _Ms, nullable=False),  # deadlines up to it are history
    Column("because", Text, nullable=False, server_default="[]"),
    Column("trials", Text, nullable=False, server_default="[]"),
    Column("capped", Integer, nullable=False, server_default="0"),
    Column("forced", String(8), nullable=False, server_default=""),  # "", open, closed
    Column("forced_until_ms", _Ms),
    Column("forced_by", String(96), nullable=False, server_default=""),
    Column("forced_reason", Text, nullable=False, server_default=""),
    Column("version", Integer, nullable=False, server_default="0"),
)
notify_target = Table(
    "notify_target", metadata,
    Column("name", String(48), primary_key=True),
    Column("kind", String(12), nullable=False),  # log | webhook | dingtalk | wecom
    Column("shown_url", Text, nullable=False, server_default=""),  # without what is secret in it
    Column("sealed", LargeBinary, nullable=False),  # url, secret, mobiles: JSON, sealed
    Column("warehouses", Text, nullable=False, server_default=""),  # comma list, "" = all
    Column("kinds", Text, nullable=False, server_default=""),  # comma list, "" = all
    Column("enabled", Integer, nullable=False, server_default="1"),
    Column("created_ms", _Ms, nullable=False),
)
notice_outbox = Table(
    "notice_outbox", metadata,
    Column("id", String(160), primary_key=True),  # idempotency key: what happened @ target
    Column("target", String(48), nullable=False),
    Column("kind", String(32), nullable=False),
    Column("warehouse", String(64), nullable=False, server_default=""),
    Column("title", Text, nullable=False),
    Column("text", Text, nullable=False),
    Column("created_ms", _Ms, nullable=False),
    Column("due_ms", _Ms, nullable=False),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("done_ms", _Ms),
    Column("result", String(16), nullable=False, server_default=""),  # sent | given_up | no_target
    Column("answer", Text, nullable=False, server_default=""),
    Index("notice_open", "target", "due_ms", sqlite_where=text("done_ms IS NULL"),
          postgresql_where=text("done_ms IS NULL")),
)
# fmt: on

GRANTED = "granted_ms IS NOT NULL"
"""Written out in the query as in the index: SQLite uses a partial index only for the same words."""

Index(
    "shipment_judged", t.shipment.c.warehouse, t.shipment.c.ship_by_ms,
    sqlite_where=text(GRANTED), postgresql_where=text(GRANTED),
)  # fmt: skip
