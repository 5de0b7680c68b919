"""Tables of the master data and of the routing rules: what people and imports tell the core.

The other half of `store.schema`, which is the one to import.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    ForeignKey,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
)

metadata = MetaData()

# fmt: off

_Big = BigInteger().with_variant(Integer, "sqlite")


def _id(name: str = "id", length: int = 64) -> Column[str]:
    return Column(name, String(length), primary_key=True)


warehouse = Table(
    "warehouse", metadata, _id(),
    Column("site", String(48), nullable=False, unique=True),  # the id in lower case, on the wire
    Column("name", Text, nullable=False),
    Column("division", String(12), nullable=False, server_default=""),
    Column("address", Text, nullable=False, server_default=""),
    Column("sender_name", Text, nullable=False, server_default=""),
    Column("sender_phone", Text, nullable=False, server_default=""),
    Column("priority", Integer, nullable=False, server_default="100"),
    Column("hours", Text, nullable=False, server_default=""),  # "09:00-18:00", "" = always
    Column("carrier", String(64), nullable=False, server_default=""),  # the default carrier
    Column("print_on", String(8), nullable=False, server_default="grant"),
    Column("enabled", Integer, nullable=False, server_default="1"),
    Column("capacity_per_day", Integer, nullable=False, server_default="0"),  # 0 = no limit
    Column("cut_off", String(5), nullable=False, server_default=""),  # "16:00", "" = none
    Column("regions", Text, nullable=False, server_default=""),  # "31|3301", "" = everywhere
)
agent = Table(
    "agent", metadata, _id(),
    Column("warehouse", String(64), ForeignKey("warehouse.id"), nullable=False),
    Column("name", Text, nullable=False, server_default=""),
    Column("secret_hash", Text, nullable=False, server_default=""),
    Column("enabled", Integer, nullable=False, server_default="1"),
)
station = Table(
    "station", metadata, _id(),
    Column("agent", String(48), ForeignKey("agent.id"), nullable=False),
    Column("name", Text, nullable=False, server_default=""),
)
carrier = Table(
    "carrier", metadata, _id(),
    Column("name", Text, nullable=False),
    Column("kind", String(32), nullable=False, server_default="pool"),
    Column("transit_days", Integer, nullable=False, server_default="3"),
    Column("pattern", Text, nullable=False, server_default=""),
)
carrier_transit = Table(
    "carrier_transit", metadata,
    Column("carrier", String(64), ForeignKey("carrier.id"), primary_key=True),
    Column("warehouse", String(64), primary_key=True),
    Column("province", String(12), primary_key=True),
    Column("days", Integer, nullable=False),
)
carrier_service = Table(  # where a carrier delivers to; the longest region that fits counts
    "carrier_service", metadata,
    Column("carrier", String(64), ForeignKey("carrier.id"), primary_key=True),
    Column("warehouse", String(64), primary_key=True),  # "" = from every warehouse
    Column("region", String(6), primary_key=True),  # division prefix, "" = everywhere
    Column("served", Integer, nullable=False, server_default="1"),
    Column("days", Integer, nullable=False, server_default="-1"),  # -1 = as the time table says
)
freight = Table(  # (from_g, up_to_g]: first weight and price, then price for each step begun
    "freight", metadata,
    Column("carrier", String(64), ForeignKey("carrier.id"), primary_key=True),
    Column("warehouse", String(64), primary_key=True),
    Column("region", String(6), primary_key=True),
    Column("from_g", Integer, primary_key=True),
    Column("up_to_g", Integer, nullable=False, server_default="0"),  # 0 = no upper end
    Column("first_g", Integer, nullable=False),
    Column("first_fen", Integer, nullable=False),
    Column("step_g", Integer, nullable=False),
    Column("step_fen", Integer, nullable=False),
)
rule_set = Table(  # every set of routing rules that ever ran; core_meta.rules_version runs now
    "rule_set", metadata,
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("digest", String(32), nullable=False),
    Column("toml", Text, nullable=False),
    Column("applied_ms", _Big, nullable=False),
    Column("actor", Text, nullable=False),
    Column("note", Text, nullable=False, server_default=""),
)
sku = Table(
    "sku", metadata, _id(),
    Column("name", Text, nullable=False),
    Column("weight_g", Integer, nullable=False, server_default="0"),
    Column("volume_cm3", Integer, nullable=False, server_default="0"),
    Column("category", Text, nullable=False, server_default=""),
    Column("serial", Integer, nullable=False, server_default="0"),
    Column("tags", Text, nullable=False, server_default=""),  # "易碎|礼盒": routing rules ask
)
sku_barcode = Table(
    "sku_barcode", metadata, _id("barcode", 128),
    Column("sku", String(64), ForeignKey("sku.id"), nullable=False, index=True),
)
shelf_location = Table(
    "shelf_location", metadata,
    Column("warehouse", String(64), primary_key=True),
    Column("sku", String(64), primary_key=True),
    Column("location", Text, nullable=False),
)
channel = Table(
    "channel", metadata, _id(),
    Column("dialect", String(32), nullable=False),
    Column("name", Text, nullable=False, server_default=""),
    Column("config", Text, nullable=False, server_default="{}"),  # JSON: app key, mapping, options
    Column("secrets", LargeBinary, nullable=False),  # sealed JSON list, at most two live
    Column("write_back_url", Text, nullable=False, server_default=""),
    Column("enabled", Integer, nullable=False, server_default="1"),
)
# fmt: on
