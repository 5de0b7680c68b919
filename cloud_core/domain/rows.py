"""The rows a commit decides on: frozen values with exactly the columns of their table.

A decision replaces a row (`msgspec.structs.replace`); the working set keeps the newest and writes
one final row per key. Structs rather than dataclasses: thousands are made and replaced in a
commit, and they cost a tenth there. Units: `*_ms` UTC milliseconds, fen, units.
"""

from __future__ import annotations

from msgspec import Struct

from protocols.messages import Token


class Order(Struct, frozen=True, gc=False):
    """An order as the shop sold it; `stop` is the second axis: cancel, refund."""

    id: str
    channel: str
    native_id: str
    state: str
    stop: str
    source_version: int
    native_status: str
    created_ms: int
    paid_ms: int | None
    ship_by_ms: int | None
    expected_ms: int | None
    amount_fen: int
    province: str
    city: str
    district: str
    division_text: str
    division_flag: str
    remark: str
    tags: str
    track_token: str
    track_until_ms: int | None
    flags: str
    version: int = 0
    hold: str = ""
    """The checkout hold the shop named, "" if none."""


class OrderLine(Struct, frozen=True, gc=False):
    """One line of an order."""

    order_id: str
    line_no: int
    sku: str
    quantity: int
    price_fen: int
    title: str
    gift: int


class Contact(Struct, frozen=True, gc=False):
    """The only row with personal data; `sealed` is None once purged (P12)."""

    order_id: str
    sealed: bytes | None
    key_id: str
    name_masked: str
    phone_masked: str
    address_masked: str
    phone_hash: str
    purged_ms: int | None = None
    last4_hash: str = ""


class Shipment(Struct, frozen=True, gc=False):
    """The part of an order that one warehouse sends, with its owner and token."""

    id: str
    order_id: str
    kind: str
    state: str
    stop: str
    parked: str
    parked_ms: int | None
    warehouse: str
    agent: str
    token_epoch: int
    token_n: int
    deadline_ms: int | None
    waiting: str
    excluded: str
    carrier: str
    waybill: str
    label: str
    label_revision: int
    priority: int
    paid_ms: int
    ship_by_ms: int
    expected_ms: int
    granted_ms: int | None
    handed_over_ms: int | None
    purged_ms: int | None
    decision: str
    version: int = 0
    top_n: int = 0
    """The highest token ever given, where the row went back to an older one (`flows.reattach`)."""
    handling_ms: int | None = None
    """The true handling time, from the scan that began packing to that of the loading code."""

    @property
    def token(self) -> Token:
        """The current owner's fencing token."""
        return Token(self.token_epoch, self.token_n)


class ShipmentLine(Struct, frozen=True, gc=False):
    """Units of one SKU in a shipment and how far the bench has come with them."""

    shipment_id: str
    sku: str
    quantity: int
    picked: int = 0
    verified: int = 0


class Hold(Struct, frozen=True, gc=False):
    """Stock set aside for a shipment at one warehouse, or for a checkout at one or several."""

    id: str
    shipment_id: str
    warehouse: str
    """"" for a checkout whose lines stand in several warehouses."""
    state: str
    expires_ms: int | None
    created_ms: int
    version: int = 0
    kind: str = "shipment"
    channel: str = ""
    order_ref: str = ""
    resolved_ms: int | None = None
    result: str = ""


class HoldLine(Struct, frozen=True, gc=False):
    """Units of one SKU that a hold sets aside in one warehouse; never changed."""

    hold_id: str
    warehouse: str
    sku: str
    quantity: int


class Stock(Struct, frozen=True, gc=False):
    """The counters of one SKU in one warehouse; every one can be rebuilt from `movement`."""

    warehouse: str
    sku: str
    shelf: int = 0
    picked: int = 0
    held: int = 0
    safety: int = 0
    counted_ms: int = 0
    version: int = 0

    @property
    def on_hand(self) -> int:
        """Units in the building: on the shelf or in a tote."""
        return self.shelf + self.picked

    @property
    def available(self) -> int:
        """Units that may still be promised."""
        return self.shelf + self.picked - self.held - self.safety


class Waybill(Struct, frozen=True, gc=False):
    """A carrier's number: free, drawn by one (shipment, token), or void; never used again."""

    number: str
    carrier: str
    state: str
    shipment_id: str = ""
    token_epoch: int = 0
    token_n: int = 0
    at_ms: int = 0


class AgentState(Struct, frozen=True, gc=False):
    """What the core knows of an agent right now."""

    agent: str
    online: int = 0
    inc: int = 0
    seen_ms: int = 0
    boot: int = 0
    sw: str = ""
    queued: int = 0
    oldest_ms: int = 0
    detail: str = "{}"
    next_cs: int = 1
    replayed_epoch: int = 0
    waived: int = 0


class Stream(Struct, frozen=True, gc=False):
    """How much of one stream epoch the core holds: rows 1..`have`, chain hash `hash`."""

    id: int
    agent: str
    name: str
    epoch: str
    have: int
    hash: bytes
    opened_ms: int
    resynced: int = 0
    current: int = 1


class OutboxRow(Struct, frozen=True, gc=False):
    """One command to an agent; sent until the agent says it is durable there."""

    id: str
    agent: str
    kind: str
    shipment_id: str
    body: bytes
    ttl_s: int | None
    n: int
    cs: int | None
    created_ms: int
    sent_ms: int | None
    received_ms: int | None
    result: str = ""


class ShopCall(Struct, frozen=True, gc=False):
    """A write-back to a shop; `id` is the idempotency key, made before the first try."""

    id: str
    channel: str
    order_id: str
    kind: str
    body: str
    created_ms: int
    due_ms: int
    attempts: int = 0
    done_ms: int | None = None
    answer: str = ""


class Breaker(Struct, frozen=True, gc=False):
    """A warehouse's breaker as `domain.breaker.BreakerState` has it; lists are JSON."""

    warehouse: str
    state: str
    since_ms: int
    until_ms: int | None
    openings: int
    counted_from_ms: int
    because: str
    trials: str
    capped: int
    forced: str
    forced_until_ms: int | None
    forced_by: str
    forced_reason: str
    version: int = 0


class Notice(Struct, frozen=True, gc=False):
    """One message to one robot or web hook; `id` is the idempotency key. No personal data."""

    id: str
    target: str
    kind: str
    warehouse: str
    title: str
    text: str
    created_ms: int
    due_ms: int
    attempts: int = 0
    done_ms: int | None = None
    result: str = ""
    answer: str = ""


class SeenKey(Struct, frozen=True, gc=False):
    """An outside message that has had its effect (P8); may be forgotten after `until_ms`."""

    scope: str
    key: str
    at_ms: int
    result: str
    until_ms: int | None = None


class OutsideCheck(Struct, frozen=True, gc=False):
    """A paid order that waits for another system; `id` is the idempotency key of the call."""

    id: str
    order_id: str
    shipment_id: str
    rule: str
    state: str
    fallback: str
    body: str
    created_ms: int
    deadline_ms: int
    due_ms: int
    attempts: int = 0
    done_ms: int | None = None
    answer: str = ""
    version: int = 0


class Alarm(Struct, frozen=True, gc=False):
    """Something a person should look at; one open row per (kind, key)."""

    id: int
    kind: str
    key: str
    opened_ms: int
    closed_ms: int | None
    count: int
    text: str


# Rows that are only ever appended.


class Movement(Struct, frozen=True, gc=False):
    """One change of a stock row, with its reason; never edited."""

    at_ms: int
    warehouse: str
    sku: str
    d_shelf: int
    d_picked: int
    d_held: int
    reason: str
    ref: str


class Trail(Struct, frozen=True, gc=False):
    """One change of state of an order or shipment, applied or refused, with its caller."""

    at_ms: int
    subject: str
    change: str
    actor: str
    source: str
    detail: str


class Milestone(Struct, frozen=True, gc=False):
    """One step the buyer may see."""

    shipment_id: str
    at_ms: int
    code: str
    text: str
    source: str


class Incident(Struct, frozen=True, gc=False):
    """A physical fact that contradicts ownership or a stop; people are told."""

    at_ms: int
    kind: str
    shipment_id: str
    warehouse: str
    token_epoch: int
    token_n: int
    stock_effect: str
    detail: str


class Quarantine(Struct, frozen=True, gc=False):
    """Bad input, kept with the code and field of its fault; its neighbours went through."""

    at_ms: int
    source: str
    code: str
    field: str
    message: str
    ref: str
    body: bytes | None


class EventRow(Struct, frozen=True, gc=False):
    """One row of an agent's stream, bytes as they came."""

    stream_id: int
    seq: int
    hash: bytes
    type: str
    row: bytes
    at_ms: int
    result: str


class OriginRow(Struct, frozen=True, gc=False):
    """Where a carried-over row stood first; its effect is applied once."""

    agent: str
    name: str
    epoch: str
    seq: int
    hash: bytes


class RawMessage(Struct, frozen=True, gc=False):
    """A verified message before it is processed; `body` is sealed."""

    id: int
    channel: str
    kind: str
    digest: str
    body: bytes
    note: str
    received_ms: int
    source: str


class Audit(Struct, frozen=True, gc=False):
    """Who changed what from where."""

    at_ms: int
    actor: str
    source: str
    action: str
    target: str
    detail: str
