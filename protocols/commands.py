"""Bodies of the commands a core sends to an agent (`Command.k` -> struct).

Commands are imperative. A `grant` is the only right to pick and print (P4); number and label
fields travel only in it. A `fence` f voids every token < f of its shipment at the agent, which
keeps it even for a shipment it never saw.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from protocols import limits
from protocols.messages import EpochId, HashHex, Id, Millis, Text, Token

Sku = Annotated[str, Meta(min_length=1, max_length=limits.SKU_CHARS_MAX)]
Quantity = Annotated[int, Meta(ge=1, le=limits.QUANTITY_MAX)]
Barcode = Annotated[str, Meta(min_length=1, max_length=limits.CODE_CHARS_MAX)]
Priority = Annotated[int, Meta(ge=-1_000_000, le=1_000_000)]


class OfferLine(Struct, frozen=True):
    """What is asked for: `quantity` units of `sku`."""

    sku: Sku
    quantity: Quantity


OfferLines = Annotated[list[OfferLine], Meta(min_length=1, max_length=limits.LINES_MAX)]


class Offer(Struct, frozen=True, omit_defaults=True):
    """`offer`: will you send this shipment? Gives no right to pick or print."""

    shipment: Id
    token: Token
    order: Id
    channel: Id
    native_id: Text
    lines: OfferLines
    ship_by_ms: Millis
    priority: Priority = 0


class Try(Struct, frozen=True, omit_defaults=True):
    """`try`: a broadcast claim goes to several agents; the first `yes` in commit order wins."""

    shipment: Id
    token: Token
    order: Id
    lines: OfferLines
    ship_by_ms: Millis


class TaskLine(Struct, frozen=True, omit_defaults=True):
    """One line to pick and verify; `location` is the shelf in this warehouse."""

    sku: Sku
    quantity: Quantity
    name: Text = ""
    barcodes: Annotated[list[Barcode], Meta(max_length=limits.BARCODES_MAX)] = []
    location: Text = ""
    serial: bool = False
    gift: bool = False


class LabelText(Struct, frozen=True, omit_defaults=True):
    """The fields of a waybill label, already masked (P12); purged some hours after hand-over."""

    carrier_name: Text
    receiver_name: Text
    receiver_phone: Text
    receiver_address: Text
    sender_name: Text = ""
    sender_phone: Text = ""
    sender_address: Text = ""
    sort_code: Text = ""
    bag_name: Text = ""
    track_url: Text = ""
    remark: Text = ""
    weight_g: Annotated[int, Meta(ge=0, le=1_000_000)] = 0


class Grant(Struct, frozen=True, omit_defaults=True):
    """`grant`: the shipment is yours under `token`; pick, print `waybill`, pack, hand over.

    `reissue`: sent again after the agent opened a new epoch; whether its label came out before is
    not known, so it starts as `unknown`.
    """

    shipment: Id
    token: Token
    order: Id
    channel: Id
    native_id: Text
    waybill: Annotated[str, Meta(min_length=4, max_length=40)]
    carrier: Id
    label: LabelText
    lines: Annotated[list[TaskLine], Meta(min_length=1, max_length=limits.LINES_MAX)]
    ship_by_ms: Millis
    print_on: Annotated[str, Meta(pattern=r"^(grant|pack)$(?!\n)")] = "grant"
    priority: Priority = 0
    tags: Annotated[list[Text], Meta(max_length=16)] = []
    reissue: bool = False
    gift: Annotated[str, Meta(max_length=limits.ID_CHARS_MAX)] = ""
    """The number of the gift child (`...GIFT`) whose goods ride in this parcel: the box may not be
    closed before its gift lines were scanned, each by its barcode or by this number."""


class Cancel(Struct, frozen=True, omit_defaults=True):
    """`cancel`: tokens < `fence` of the shipment are void; work in hand stops and is put back.

    `answer`: the core waits for the bench's `task.stopped` (the shipment was granted). `reason` is
    `address_changed` when the shipment comes again under a new token and a new waybill number;
    `text` is what the red screen says then, "" for the bench's own words.
    """

    shipment: Id
    fence: Token
    reason: Annotated[str, Meta(max_length=32)]
    order: Annotated[str, Meta(max_length=limits.ID_CHARS_MAX)] = ""
    answer: bool = False
    text: Text = ""


class Fence(Struct, frozen=True):
    """One shipment and the lowest token that is still good there."""

    shipment: Id
    fence: Token


class Fences(Struct, frozen=True):
    """`fences`: many fences at once (resynchronisation)."""

    fences: Annotated[list[Fence], Meta(max_length=limits.FENCES_MAX)]


class ResyncDone(Struct, frozen=True):
    """`resync_done`: with the commands it `needs`, this floor epoch is whole again.

    An agent that misses one of them does not confirm this command, so that it comes again.
    """

    epoch: EpochId
    needs: Annotated[list[Id], Meta(max_length=limits.RESYNC_COMMANDS_MAX)] = []


class Reprint(Struct, frozen=True):
    """`reprint`: a person asks for one more label; marked 补打 and audited."""

    shipment: Id
    token: Token
    operator: Text
    reason: Text


class Notice(Struct, frozen=True, omit_defaults=True):
    """`notice`: the bench must see this and confirm before the parcel closes."""

    shipment: Id
    code: Id
    text: Text


class Purge(Struct, frozen=True):
    """`purge`: forget the label fields of these shipments and return tickets now (P12)."""

    shipments: Annotated[list[Id], Meta(max_length=limits.FENCES_MAX)]


class PrintBlob(Struct, frozen=True, omit_defaults=True):
    """`print_blob`: print ready-made bytes or a picture that travelled in chunks."""

    job: Id
    kind: Annotated[str, Meta(pattern=r"^(raw|png)$(?!\n)")]
    digest: HashHex
    printer: Annotated[str, Meta(max_length=48)] = ""
    shipment: Annotated[str, Meta(max_length=limits.ID_CHARS_MAX)] = ""
    token: Token | None = None


TicketId = Annotated[str, Meta(pattern=r"^RET-[0-9A-Z]{8,32}$(?!\n)")]
Serial = Annotated[str, Meta(min_length=1, max_length=limits.CODE_CHARS_MAX)]


class ReturnLine(Struct, frozen=True, omit_defaults=True):
    """Goods that come back: `serials` are those the buyer was sent, as far as they are known."""

    sku: Sku
    quantity: Quantity
    name: Text = ""
    barcodes: Annotated[list[Barcode], Meta(max_length=limits.BARCODES_MAX)] = []
    location: Text = ""
    serials: Annotated[list[Serial], Meta(max_length=limits.LINES_MAX)] = []
    serial: bool = False


ReturnLines = Annotated[list[ReturnLine], Meta(min_length=1, max_length=limits.LINES_MAX)]


class ReturnTicket(Struct, frozen=True, omit_defaults=True):
    """`return_ticket`: goods will come back; print the ticket, accept and inspect what comes.

    `ticket` is also its barcode. Name and phone are masked (P12) and purged like label fields.
    `inspect_s` counts from the scan that accepts. `reissue`: sent again to a new epoch; the ticket
    was printed before, so it is not printed by itself.
    """

    ticket: TicketId
    order: Id
    channel: Id
    native_id: Text
    lines: ReturnLines
    inspect_s: Annotated[int, Meta(ge=60, le=30 * 86_400)]
    window_from_ms: Millis = 0
    window_to_ms: Millis = 0
    name: Text = ""
    phone: Text = ""
    reason: Text = ""
    waybill: Annotated[str, Meta(max_length=40)] = ""
    reissue: bool = False


class ReturnVoid(Struct, frozen=True, omit_defaults=True):
    """`return_void`: the goods do not come; a ticket that was accepted before stays open."""

    ticket: TicketId
    reason: Text = ""


COMMANDS: dict[str, type[Struct]] = {
    "offer": Offer,
    "try": Try,
    "grant": Grant,
    "cancel": Cancel,
    "fences": Fences,
    "resync_done": ResyncDone,
    "reprint": Reprint,
    "notice": Notice,
    "purge": Purge,
    "print_blob": PrintBlob,
    "return_ticket": ReturnTicket,
    "return_void": ReturnVoid,
}
