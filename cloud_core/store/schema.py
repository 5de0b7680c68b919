"""The core's tables: one set for SQLite and PostgreSQL (SQLAlchemy Core, no ORM).

Times are integer milliseconds UTC (`*_ms`), money is fen, quantities are units. Every mutable row
that a commit chooses carries `version`, the guard of the group commit: a batch that loaded another
version is folded again. Personal data stands in `contact` and nowhere else (P12).
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    Sequence,
    String,
    Table,
    Text,
    text,
)

from cloud_core.store.schema_master import agent as agent
from cloud_core.store.schema_master import carrier as carrier
from cloud_core.store.schema_master import carrier_service as carrier_service
from cloud_core.store.schema_master import carrier_transit as carrier_transit
from cloud_core.store.schema_master import channel as channel
from cloud_core.store.schema_master import freight as freight
from cloud_core.store.schema_master import metadata as metadata
from cloud_core.store.schema_master import rule_set as rule_set
from cloud_core.store.schema_master import shelf_location as shelf_location
from cloud_core.store.schema_master import sku as sku
from cloud_core.store.schema_master import sku_barcode as sku_barcode
from cloud_core.store.schema_master import station as station
from cloud_core.store.schema_master import warehouse as warehouse

# One column a line reads as a table; the formatter would take four lines for each index.
# fmt: off

_Big = BigInteger().with_variant(Integer, "sqlite")
HOLD_LIVE = "state IN ('held', 'confirmed', 'incident')"
"""The holds whose units are counted in `stock.held`; a query must say it in these very words."""

HOLD_GIVEN = "kind = 'shipment' AND state IN ('held', 'shipped')"
"""The holds that count as work given to a warehouse on their day; in these very words."""
CONTACT_FINDABLE = "purged_ms IS NOT NULL AND (phone_hash <> '' OR last4_hash <> '')"
"""Purged contacts that a search by phone still finds; in these very words."""


def _id(name: str = "id", length: int = 64) -> Column[str]:
    return Column(name, String(length), primary_key=True)


core_meta = Table("core_meta", metadata, _id("key"), Column("value", Text, nullable=False))

# --- orders ------------------------------------------------------------------------------------

raw_message = Table(
    "raw_message", metadata,
    Column("id", _Big, primary_key=True, autoincrement=True),
    Column("channel", String(64), nullable=False),
    Column("kind", String(16), nullable=False),  # event | file
    Column("digest", String(64), nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("note", Text, nullable=False, server_default=""),  # file name, mapping
    Column("received_ms", _Big, nullable=False),
    Column("processed_ms", _Big),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("source", Text, nullable=False, server_default=""),
    Index("raw_message_digest", "channel", "digest", unique=True),
    Index("raw_message_open", "processed_ms", "id"),
)
orders = Table(
    "orders", metadata, _id(),
    Column("channel", String(64), nullable=False),
    Column("native_id", String(128), nullable=False),
    Column("state", String(24), nullable=False),
    Column("stop", String(16), nullable=False, server_default=""),  # "", requested, cancelled
    Column("source_version", _Big, nullable=False, server_default="0"),
    Column("native_status", Text, nullable=False, server_default=""),
    Column("created_ms", _Big, nullable=False),
    Column("paid_ms", _Big),
    Column("ship_by_ms", _Big),
    Column("expected_ms", _Big),
    Column("amount_fen", _Big, nullable=False, server_default="0"),
    Column("province", String(12), nullable=False, server_default=""),
    Column("city", String(12), nullable=False, server_default=""),
    Column("district", String(12), nullable=False, server_default=""),
    Column("division_text", Text, nullable=False, server_default=""),
    Column("division_flag", String(32), nullable=False, server_default=""),
    Column("remark", Text, nullable=False, server_default=""),
    Column("tags", Text, nullable=False, server_default=""),
    Column("track_token", String(32), nullable=False, unique=True),
    Column("track_until_ms", _Big),
    Column("flags", Text, nullable=False, server_default=""),  # reattached, address_changed…
    Column("hold", String(64), nullable=False, server_default=""),  # the checkout hold it names
    Column("version", Integer, nullable=False, server_default="0"),
    Index("orders_native", "channel", "native_id", unique=True),
    Index("orders_native_only", "native_id"),
    Index("orders_state", "state", "ship_by_ms"),
)
order_line = Table(
    "order_line", metadata,
    Column("order_id", String(64), primary_key=True),
    Column("line_no", Integer, primary_key=True),
    Column("sku", String(64), nullable=False),
    Column("quantity", Integer, nullable=False),
    Column("price_fen", _Big, nullable=False, server_default="0"),
    Column("title", Text, nullable=False, server_default=""),
    Column("gift", Integer, nullable=False, server_default="0"),
)
contact = Table(
    "contact", metadata, _id("order_id"),
    Column("sealed", LargeBinary),  # AES-GCM of the clear fields; NULL once purged
    Column("key_id", String(16), nullable=False, server_default=""),
    Column("name_masked", Text, nullable=False, server_default=""),
    Column("phone_masked", Text, nullable=False, server_default=""),
    Column("address_masked", Text, nullable=False, server_default=""),
    Column("phone_hash", String(64), nullable=False, server_default="", index=True),
    Column("purged_ms", _Big),
    Column("last4_hash", String(64), nullable=False, server_default="", index=True),
    Index("contact_findable", "purged_ms", sqlite_where=text(CONTACT_FINDABLE),
          postgresql_where=text(CONTACT_FINDABLE)),
)
seen_key = Table(  # idempotency: every effect of an outside message stands beside its key (P8)
    "seen_key", metadata,
    Column("scope", String(80), primary_key=True),
    Column("key", String(160), primary_key=True),
    Column("at_ms", _Big, nullable=False),
    Column("result", Text, nullable=False, server_default=""),
    Column("until_ms", _Big),  # a key that may be forgotten after this; NULL = kept
    Index("seen_key_until", "until_ms", sqlite_where=text("until_ms IS NOT NULL"),
          postgresql_where=text("until_ms IS NOT NULL")),
)

# --- shipments, stock, ownership ---------------------------------------------------------------

shipment = Table(
    "shipment", metadata, _id(),
    Column("order_id", String(64), ForeignKey("orders.id"), nullable=False, index=True),
    Column("kind", String(8), nullable=False, server_default="main"),  # main | gift
    Column("state", String(24), nullable=False),
    Column("stop", String(16), nullable=False, server_default=""),  # "", stopping, cancelled
    Column("parked", String(32), nullable=False, server_default=""),  # reason, "" = not parked
    Column("parked_ms", _Big),
    Column("warehouse", String(64), nullable=False, server_default=""),
    Column("agent", String(48), nullable=False, server_default=""),
    Column("token_epoch", _Big, nullable=False, server_default="0"),
    Column("token_n", _Big, nullable=False, server_default="0"),
    Column("deadline_ms", _Big),  # of the open offer; NULL = none running
    Column("waiting", String(16), nullable=False, server_default=""),  # waybill
    Column("excluded", Text, nullable=False, server_default=""),  # comma list of warehouses
    Column("carrier", String(64), nullable=False, server_default=""),
    Column("waybill", String(40), nullable=False, server_default=""),
    Column("label", String(16), nullable=False, server_default=""),  # "", started, printed…
    Column("label_revision", Integer, nullable=False, server_default="0"),
    Column("priority", Integer, nullable=False, server_default="0"),
    Column("paid_ms", _Big, nullable=False, server_default="0"),
    Column("ship_by_ms", _Big, nullable=False, server_default="0"),
    Column("expected_ms", _Big, nullable=False, server_default="0"),
    Column("granted_ms", _Big),
    Column("handed_over_ms", _Big),
    Column("purged_ms", _Big),
    Column("decision", Text, nullable=False, server_default="{}"),  # JSON, readable by a person
    Column("version", Integer, nullable=False, server_default="0"),
    Column("top_n", _Big, nullable=False, server_default="0"),
    Column("handling_ms", _Big),
    Index("shipment_waybill", "waybill"),
    Index("shipment_deadline", "deadline_ms", sqlite_where=text("deadline_ms IS NOT NULL"),
          postgresql_where=text("deadline_ms IS NOT NULL")),
    Index("shipment_parked", "parked", "paid_ms", sqlite_where=text("parked <> ''"),
          postgresql_where=text("parked <> ''")),
    Index("shipment_waiting", "waiting", sqlite_where=text("waiting <> ''"),
          postgresql_where=text("waiting <> ''")),
    Index("shipment_unpurged", "handed_over_ms", sqlite_where=text("purged_ms IS NULL"),
          postgresql_where=text("purged_ms IS NULL")),
    Index("shipment_agent", "agent", "state"),
)
shipment_line = Table(
    "shipment_line", metadata,
    Column("shipment_id", String(64), primary_key=True),
    Column("sku", String(64), primary_key=True),
    Column("quantity", Integer, nullable=False),
    Column("picked", Integer, nullable=False, server_default="0"),
    Column("verified", Integer, nullable=False, server_default="0"),
)
hold = Table(
    "hold", metadata, _id(),  # one per (shipment, warehouse, token) or per checkout
    Column("shipment_id", String(64), nullable=False, server_default="", index=True),
    Column("warehouse", String(64), nullable=False),  # "" when its lines stand in several
    # held | confirmed | released | expired | moved | shipped | incident
    Column("state", String(12), nullable=False),
    Column("expires_ms", _Big),  # only checkout holds expire (P9)
    Column("created_ms", _Big, nullable=False),
    Column("kind", String(10), nullable=False, server_default="shipment"),  # shipment | checkout
    Column("channel", String(64), nullable=False, server_default=""),
    Column("order_ref", String(128), nullable=False, server_default=""),  # the shop's own name
    Column("resolved_ms", _Big),  # when a checkout hold was confirmed, released or expired
    Column("result", Text, nullable=False, server_default=""),  # who or what resolved it
    Column("version", Integer, nullable=False, server_default="0"),
    Index("hold_expiry", "expires_ms",
          sqlite_where=text("state = 'held' AND expires_ms IS NOT NULL"),
          postgresql_where=text("state = 'held' AND expires_ms IS NOT NULL")),
    Index("hold_confirmed", "resolved_ms", sqlite_where=text("state = 'confirmed'"),
          postgresql_where=text("state = 'confirmed'")),
    Index("hold_live", "warehouse", sqlite_where=text(HOLD_LIVE), postgresql_where=text(HOLD_LIVE)),
    Index("hold_given", "created_ms", "warehouse", sqlite_where=text(HOLD_GIVEN),
          postgresql_where=text(HOLD_GIVEN)),
)
hold_line = Table(
    "hold_line", metadata,
    Column("hold_id", String(96), primary_key=True),
    Column("warehouse", String(64), primary_key=True),
    Column("sku", String(64), primary_key=True),
    Column("quantity", Integer, nullable=False),
)
stock = Table(
    "stock", metadata,
    Column("warehouse", String(64), primary_key=True),
    Column("sku", String(64), primary_key=True),
    Column("shelf", Integer, nullable=False, server_default="0"),
    Column("picked", Integer, nullable=False, server_default="0"),
    Column("held", Integer, nullable=False, server_default="0"),
    Column("safety", Integer, nullable=False, server_default="0"),
    Column("counted_ms", _Big, nullable=False, server_default="0"),
    Column("version", Integer, nullable=False, server_default="0"),
    Index("stock_sku", "sku"),
)
movement = Table(
    "movement", metadata,
    Column("id", _Big, primary_key=True, autoincrement=True),
    Column("at_ms", _Big, nullable=False),
    Column("warehouse", String(64), nullable=False),
    Column("sku", String(64), nullable=False),
    Column("d_shelf", Integer, nullable=False),
    Column("d_picked", Integer, nullable=False),
    Column("d_held", Integer, nullable=False),
    Column("reason", String(24), nullable=False),
    Column("ref", String(96), nullable=False),
    Index("movement_stock", "warehouse", "sku", "id"),
)
stock_base = Table(  # movements up to `stock_base_upto` (core_meta), summed by the checker
    "stock_base", metadata,
    Column("warehouse", String(64), primary_key=True),
    Column("sku", String(64), primary_key=True),
    Column("shelf", _Big, nullable=False),
    Column("picked", _Big, nullable=False),
    Column("held", _Big, nullable=False),
)
outside_check = Table(  # a paid order that another system must look at first
    "outside_check", metadata, _id("id", 96),  # idempotency key of the call
    Column("order_id", String(64), nullable=False, index=True),
    Column("shipment_id", String(64), nullable=False),
    Column("rule", String(64), nullable=False),
    # waiting | accepted | refused | fallback | dropped
    Column("state", String(12), nullable=False),
    Column("fallback", String(8), nullable=False),  # accept | park
    Column("body", Text, nullable=False),  # what is asked; no personal data
    Column("created_ms", _Big, nullable=False),
    Column("deadline_ms", _Big, nullable=False),
    Column("due_ms", _Big, nullable=False),  # next try
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("done_ms", _Big),
    Column("answer", Text, nullable=False, server_default=""),
    Column("version", Integer, nullable=False, server_default="0"),
    Index("outside_check_open", "due_ms", sqlite_where=text("state = 'waiting'"),
          postgresql_where=text("state = 'waiting'")),
)
waybill = Table(
    "waybill", metadata, _id("number", 40),
    Column("carrier", String(64), nullable=False),
    Column("state", String(8), nullable=False),  # free | drawn | void
    Column("shipment_id", String(64), nullable=False, server_default=""),
    Column("token_epoch", _Big, nullable=False, server_default="0"),
    Column("token_n", _Big, nullable=False, server_default="0"),
    Column("at_ms", _Big, nullable=False, server_default="0"),
    Index("waybill_free", "carrier", "state", "number"),
)
incident = Table(
    "incident", metadata,
    Column("id", _Big, primary_key=True, autoincrement=True),
    Column("at_ms", _Big, nullable=False),
    Column("kind", String(32), nullable=False),
    Column("shipment_id", String(64), nullable=False, index=True),
    Column("warehouse", String(64), nullable=False),
    Column("token_epoch", _Big, nullable=False),
    Column("token_n", _Big, nullable=False),
    Column("stock_effect", Text, nullable=False, server_default=""),
    Column("detail", Text, nullable=False, server_default=""),
    Column("resolved_ms", _Big),
    Column("resolved_by", Text, nullable=False, server_default=""),
)
milestone = Table(
    "milestone", metadata,
    Column("id", _Big, primary_key=True, autoincrement=True),
    Column("shipment_id", String(64), nullable=False, index=True),
    Column("at_ms", _Big, nullable=False),
    Column("code", String(24), nullable=False),
    Column("text", Text, nullable=False, server_default=""),
    Column("source", String(48), nullable=False, server_default=""),
)
trail = Table(
    "trail", metadata,
    Column("id", _Big, primary_key=True, autoincrement=True),
    Column("at_ms", _Big, nullable=False),
    Column("subject", String(64), nullable=False, index=True),  # order or shipment id
    Column("change", String(64), nullable=False),  # "offered>granted", "refused:downgrade"…
    Column("actor", String(64), nullable=False),  # channel:x, agent:x, key:x, core
    Column("source", String(64), nullable=False, server_default=""),  # caller address
    Column("detail", Text, nullable=False, server_default=""),
)

# --- agents, streams, commands -----------------------------------------------------------------

agent_state = Table(
    "agent_state", metadata, _id("agent", 48),
    Column("online", Integer, nullable=False, server_default="0"),
    Column("inc", _Big, nullable=False, server_default="0"),
    Column("seen_ms", _Big, nullable=False, server_default="0"),
    Column("boot", _Big, nullable=False, server_default="0"),
    Column("sw", Text, nullable=False, server_default=""),
    Column("queued", _Big, nullable=False, server_default="0"),
    Column("oldest_ms", _Big, nullable=False, server_default="0"),
    Column("detail", Text, nullable=False, server_default="{}"),
    Column("next_cs", _Big, nullable=False, server_default="1"),
    Column("replayed_epoch", _Big, nullable=False, server_default="0"),
    Column("waived", Integer, nullable=False, server_default="0"),
)
stream = Table(
    "stream", metadata,
    Column("id", _Big, primary_key=True, autoincrement=True),
    Column("agent", String(48), nullable=False),
    Column("name", String(12), nullable=False),
    Column("epoch", String(16), nullable=False),
    Column("have", _Big, nullable=False, server_default="0"),
    Column("hash", LargeBinary, nullable=False),
    Column("opened_ms", _Big, nullable=False),
    Column("resynced", Integer, nullable=False, server_default="0"),
    Column("current", Integer, nullable=False, server_default="1"),
    Index("stream_key", "agent", "name", "epoch", unique=True),
)
event = Table(
    "event", metadata,
    Column("stream_id", _Big, primary_key=True),
    Column("seq", _Big, primary_key=True),
    Column("hash", LargeBinary, nullable=False),
    Column("type", String(48), nullable=False),
    Column("row", LargeBinary, nullable=False),
    Column("at_ms", _Big, nullable=False),  # corrected event time
    Column("result", String(32), nullable=False, server_default=""),  # "", code of a refusal
    sqlite_with_rowid=False,
)
origin = Table(  # carried-over rows, by where they stood first
    "origin", metadata,
    Column("agent", String(48), primary_key=True),
    Column("name", String(12), primary_key=True),
    Column("epoch", String(16), primary_key=True),
    Column("seq", _Big, primary_key=True),
    Column("hash", LargeBinary, primary_key=True),
)
clock_offset = Table(  # server_ms - mono_ms per boot, best (lowest round trip) known
    "clock_offset", metadata,
    Column("agent", String(48), primary_key=True),
    Column("boot", _Big, primary_key=True),
    Column("offset_ms", _Big, nullable=False),
)
outbox = Table(
    "outbox", metadata, _id(),  # the cmd_id
    Column("agent", String(48), nullable=False),
    Column("kind", String(32), nullable=False),
    Column("shipment_id", String(64), nullable=False, server_default=""),
    Column("body", LargeBinary, nullable=False),
    Column("ttl_s", Integer),
    Column("n", _Big, nullable=False),  # order of creation in this core
    Column("cs", _Big),  # assigned when first sent
    Column("created_ms", _Big, nullable=False),
    Column("sent_ms", _Big),
    Column("received_ms", _Big),
    Column("result", String(48), nullable=False, server_default=""),
    Index("outbox_open", "agent", "received_ms", "n"),
)
outbox_n = Sequence("outbox_n", metadata=metadata)  # PostgreSQL: `n` in the order of commits
shop_outbox = Table(
    "shop_outbox", metadata, _id("id", 96),  # idempotency key of the call
    Column("channel", String(64), nullable=False),
    Column("order_id", String(64), nullable=False),
    Column("kind", String(32), nullable=False),
    Column("body", Text, nullable=False),
    Column("created_ms", _Big, nullable=False),
    Column("due_ms", _Big, nullable=False),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("done_ms", _Big),
    Column("answer", Text, nullable=False, server_default=""),
    Index("shop_outbox_open", "done_ms", "due_ms"),
)
lease = Table(
    "lease", metadata, _id("site", 48),
    Column("holder", String(64), nullable=False),
    Column("fence", _Big, nullable=False),
    Column("until_ms", _Big, nullable=False),
)
commit_mark = Table(  # written with a commit whose outcome may stay unknown; deleted soon after
    "commit_mark", metadata, _id("id", 32),
    Column("at_ms", _Big, nullable=False, index=True),
)

# --- people, faults ----------------------------------------------------------------------------

quarantine = Table(
    "quarantine", metadata,
    Column("id", _Big, primary_key=True, autoincrement=True),
    Column("at_ms", _Big, nullable=False),
    Column("source", String(96), nullable=False),  # channel:x, agent:x/floor…
    Column("code", String(48), nullable=False),
    Column("field", Text, nullable=False, server_default=""),
    Column("message", Text, nullable=False, server_default=""),
    Column("ref", String(160), nullable=False, server_default=""),
    Column("body", LargeBinary),
    Column("resolved_ms", _Big),
)
alarm = Table(
    "alarm", metadata,
    Column("id", _Big, primary_key=True, autoincrement=True),
    Column("kind", String(32), nullable=False),
    Column("key", String(160), nullable=False),
    Column("opened_ms", _Big, nullable=False),
    Column("closed_ms", _Big),
    Column("count", Integer, nullable=False, server_default="1"),
    Column("text", Text, nullable=False, server_default=""),
    Index("alarm_open", "kind", "key", "closed_ms"),
    Index("alarm_one_open", "kind", "key", unique=True, sqlite_where=text("closed_ms IS NULL"),
          postgresql_where=text("closed_ms IS NULL")),
)
api_key = Table(
    "api_key", metadata, _id(),
    Column("name", Text, nullable=False),
    Column("hash", String(64), nullable=False, unique=True),
    Column("scopes", Text, nullable=False, server_default="read"),
    Column("created_ms", _Big, nullable=False),
    Column("used_ms", _Big),
    Column("revoked_ms", _Big),
)
audit = Table(
    "audit", metadata,
    Column("id", _Big, primary_key=True, autoincrement=True),
    Column("at_ms", _Big, nullable=False),
    Column("actor", String(96), nullable=False),
    Column("source", String(64), nullable=False, server_default=""),
    Column("action", String(64), nullable=False),
    Column("target", String(160), nullable=False, server_default=""),
    Column("detail", Text, nullable=False, server_default=""),
)
# fmt: on
