"""What a person tells us once: goods, shelves, warehouses, benches, carriers, opening stock.

The values that imports and the REST door produce, and the rules each must meet. `master_tables`
reads them from spreadsheets; the store keeps them. This module must not know files or SQL.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

MAX_ID_CHARS = 64
MAX_WIRE_ID_CHARS = 48
MAX_NAME_CHARS = 200
MAX_BARCODES = 20
MAX_BARCODE_CHARS = 128
MAX_WEIGHT_G = 1_000_000
MAX_VOLUME_CM3 = 10_000_000
MAX_STOCK = 10_000_000
MAX_PRIORITY = 10_000
MAX_TRANSIT_DAYS = 60
MAX_WAYBILL_CHARS = 40
MAX_CAPACITY_PER_DAY = 1_000_000
MAX_REGIONS = 400
MAX_FREIGHT_FEN = 10_000_000
PRINT_ON = ("grant", "pack")
CARRIER_KINDS = ("pool",)
RESERVED_SITES = frozenset({"core"})

_WIRE_ID = re.compile(r"[a-z0-9][a-z0-9-]*")
_CODE = re.compile(r"[0-9A-Za-z][0-9A-Za-z._-]*")
_HOURS = re.compile(r"([01]\d|2[0-3]):[0-5]\d-(?:([01]\d|2[0-3]):[0-5]\d|24:00)")
_CUT_OFF = re.compile(r"([01]\d|2[0-3]):[0-5]\d")
_WAYBILL = re.compile(r"[0-9A-Z]+(?:-[0-9A-Z]+)*")
# A pattern is data from a person: plain pieces only, so that no pattern can be slow to match.
_PATTERN = re.compile(r"(?:(?:[0-9A-Z-]|\\d|\[[0-9A-Z-]+\])(?:\{\d{1,2}(?:,\d{1,2})?\})?){1,24}")


@dataclass(frozen=True, slots=True)
class Sku:
    """A thing that is sold. `barcodes` are scanned at the bench, unique over all SKUs.

    `tags` are words that routing rules ask for, `易碎|礼盒`.
    """

    id: str
    name: str
    barcodes: tuple[str, ...] = ()
    weight_g: int = 0
    volume_cm3: int = 0
    category: str = ""
    serial: bool = False
    tags: str = ""


@dataclass(frozen=True, slots=True)
class ShelfLocation:
    """Where a SKU lies in a warehouse, e.g. `A-03-2`."""

    warehouse: str
    sku: str
    location: str


@dataclass(frozen=True, slots=True)
class Warehouse:
    """A warehouse. `site` is its id on the wire; lower `priority` is tried first.

    `division` is its district's official code, `hours` `09:00-18:00` or "" for always;
    name, phone and address of the sender are printed on labels. `capacity_per_day` are shipments
    (0 = no limit), `cut_off` is the time after which nothing new leaves today ("" = none),
    `regions` the division prefixes it sends to, `31|3301` ("" = everywhere).
    """

    id: str
    site: str
    name: str
    division: str = ""
    address: str = ""
    sender_name: str = ""
    sender_phone: str = ""
    priority: int = 100
    hours: str = ""
    carrier: str = ""
    print_on: str = "grant"
    enabled: bool = True
    capacity_per_day: int = 0
    cut_off: str = ""
    regions: str = ""


@dataclass(frozen=True, slots=True)
class Agent:
    """An edge agent: a bench, or several stations, of one warehouse."""

    id: str
    warehouse: str
    name: str = ""
    enabled: bool = True


@dataclass(frozen=True, slots=True)
class Station:
    """A place at a bench where one person works."""

    id: str
    agent: str
    name: str = ""


@dataclass(frozen=True, slots=True)
class Carrier:
    """Who carries parcels. `pattern` is what its waybill numbers look like, "" for anything."""

    id: str
    name: str
    kind: str = "pool"
    transit_days: int = 3
    pattern: str = ""


@dataclass(frozen=True, slots=True)
class TransitDays:
    """Days from hand-over to the door, from a warehouse to a province (official code)."""

    carrier: str
    warehouse: str
    province: str
    days: int


@dataclass(frozen=True, slots=True)
class CarrierService:
    """Whether a carrier delivers to a region, from one warehouse or ("") from all.

    `region` is a division prefix, "" everywhere; the longest that fits counts, a warehouse's own
    rows before those of all. `days` -1 leaves the time to the time table.
    """

    carrier: str
    warehouse: str = ""
    region: str = ""
    served: bool = True
    days: int = -1


@dataclass(frozen=True, slots=True)
class FreightBand:
    """What a carrier asks for a parcel of `from_g` < weight <= `up_to_g` (0 = no upper end).

    `first_fen` up to `first_g`, then `step_fen` for each `step_g` begun. Warehouse and region as
    in `CarrierService`.
    """

    carrier: str
    warehouse: str = ""
    region: str = ""
    from_g: int = 0
    up_to_g: int = 0
    first_g: int = 1_000
    first_fen: int = 0
    step_g: int = 1_000
    step_fen: int = 0


@dataclass(frozen=True, slots=True)
class OpeningStock:
    """What stands on the shelf when we begin, and what of it is never promised."""

    warehouse: str
    sku: str
    quantity: int
    safety: int = 0


@dataclass(frozen=True, slots=True)
class WaybillNumber:
    """One unused number of a carrier's pool."""

    carrier: str
    number: str


MasterValue = (
    Sku
    | ShelfLocation
    | Warehouse
    | Agent
    | Station
    | Carrier
    | TransitDays
    | CarrierService
    | FreightBand
    | OpeningStock
    | WaybillNumber
)


def is_code(text: str) -> bool:
    """Whether this is an id a person may choose: 1..64 of letters, digits, `.`, `_`, `-`."""
    return len(text) <= MAX_ID_CHARS and _CODE.fullmatch(text) is not None


def is_wire_id(text: str) -> bool:
    """Whether this may stand in an MQTT topic: 1..48 of `a-z`, `0-9`, `-`, not reserved."""
    fits = len(text) <= MAX_WIRE_ID_CHARS and _WIRE_ID.fullmatch(text) is not None
    return fits and text not in RESERVED_SITES


def is_hours(text: str) -> bool:
    """Whether this is `HH:MM-HH:MM` (may pass midnight), or "" for always open."""
    return not text or _HOURS.fullmatch(text) is not None


def is_cut_off(text: str) -> bool:
    """Whether this is a time of day `HH:MM`, or "" for none."""
    return not text or _CUT_OFF.fullmatch(text) is not None


def is_waybill_number(text: str) -> bool:
    """Whether this can be a waybill number: 1..40 of `0-9`, `A-Z`, `-` between."""
    return len(text) <= MAX_WAYBILL_CHARS and _WAYBILL.fullmatch(text) is not None


def is_waybill_pattern(text: str) -> bool:
    r"""Whether this is a pattern we match: pieces such as `YT\d{13}` or `[A-Z]{2}\d{9}`."""
    if not text:
        return True
    if not _PATTERN.fullmatch(text):
        return False
    try:
        re.compile(text)
    except re.error:
        return False
    return True
