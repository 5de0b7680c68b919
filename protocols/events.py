"""Bodies of the events an agent reports (`Event.t` -> struct), past tense, never personal data.

Facts about a shipment carry the token they were done under: the core applies a current one and
records an older one as an incident with its stock effect (P4). `offer.accepted`, `label.*` and
`parcel.handed_over` also name channel, native order id and waybill, so that a core restored from
an old backup can re-attach what it forgot.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from protocols import limits
from protocols.commands import OfferLines, Quantity, Sku, TicketId
from protocols.messages import EpochId, Id, Millis, Seq, Text, Token

Waybill = Annotated[str, Meta(max_length=40)]
Amount = Annotated[int, Meta(ge=0, le=1_000_000)]


class CommandRefused(Struct, frozen=True):
    """A command that was understood and refused, with the stable code of the reason."""

    id: Id
    code: Id


class CommandReceived(Struct, frozen=True, omit_defaults=True):
    """`command.received`: these commands are durable at the agent; stop re-sending them."""

    ids: Annotated[list[Id], Meta(max_length=limits.RECEIPTS_MAX)]
    refused: Annotated[list[CommandRefused], Meta(max_length=limits.RECEIPTS_MAX)] = []


class OfferAccepted(Struct, frozen=True, omit_defaults=True):
    """`offer.accepted`: this agent will send the shipment; it waits for the grant."""

    shipment: Id
    token: Token
    order: Id
    channel: Id
    native_id: Text
    lines: OfferLines


class GrantStored(Struct, frozen=True, omit_defaults=True):
    """`grant.stored`: the grant is durable at the agent, its task is open.

    Names everything a core restored from an older backup needs to re-attach the shipment.
    """

    shipment: Id
    token: Token
    waybill: Waybill
    carrier: Id
    order: Id
    channel: Id
    native_id: Text
    lines: OfferLines
    reissue: bool = False


class Count(Struct, frozen=True):
    """`shelf` units of `sku` were counted on the shelf."""

    sku: Sku
    shelf: Amount


class OfferRejected(Struct, frozen=True, omit_defaults=True):
    """`offer.rejected`: `closed`, `no_printer`, `not_on_shelf` (with counts) or `expired`."""

    shipment: Id
    token: Token
    reason: Id
    counts: Annotated[list[Count], Meta(max_length=limits.LINES_MAX)] = []


class TryAccepted(Struct, frozen=True):
    """`try.accepted`: yes to a broadcast claim."""

    shipment: Id
    token: Token


class TaskStarted(Struct, frozen=True, omit_defaults=True):
    """`task.started`: somebody took the shipment's task at a station."""

    shipment: Id
    token: Token
    operator: Text = ""


class ItemPicked(Struct, frozen=True, omit_defaults=True):
    """`item.picked`: units moved from the shelf into the shipment's tote."""

    shipment: Id
    token: Token
    sku: Sku
    quantity: Quantity
    location: Text = ""


class PickShorted(Struct, frozen=True, omit_defaults=True):
    """`pick.shorted`: fewer units on the shelf than asked for; `found` is what is there."""

    shipment: Id
    token: Token
    sku: Sku
    wanted: Quantity
    found: Amount
    reason: Text = ""


class ItemVerified(Struct, frozen=True, omit_defaults=True):
    """`item.verified`: units were scanned at packing; `serial` of the one unit, where flagged."""

    shipment: Id
    token: Token
    sku: Sku
    quantity: Quantity
    serial: Text = ""
    gift: bool = False


class PackStarted(Struct, frozen=True, omit_defaults=True):
    """`pack.started`: the waybill was scanned at a packing station; the handling time begins."""

    shipment: Id
    token: Token
    operator: Text = ""


class LabelEvent(Struct, frozen=True, omit_defaults=True):
    """`label.started|printed|unknown|failed|held`: the fate of one print job revision.

    `label.started` is durable before the first byte leaves. `evidence` says why it counts as
    printed: `printer` (its own answer), `scan` (the label was scanned), `operator`.
    """

    shipment: Id
    token: Token
    waybill: Waybill
    revision: Annotated[int, Meta(ge=1, le=99)]
    order: Id
    channel: Id
    native_id: Text
    evidence: Text = ""
    reason: Text = ""
    operator: Text = ""
    printer: Text = ""


class ParcelPacked(Struct, frozen=True, omit_defaults=True):
    """`parcel.packed`: every item verified, the box is closed; `gift` is the number of the gift
    child whose goods were scanned, too."""

    shipment: Id
    token: Token
    waybill: Waybill
    weight_g: Amount = 0
    operator: Text = ""
    gift: Annotated[str, Meta(max_length=limits.ID_CHARS_MAX)] = ""


class ParcelHandedOver(Struct, frozen=True, omit_defaults=True):
    """`parcel.handed_over`: the parcel left the warehouse with the carrier.

    `lines` are the units inside, so that the stock effect is booked even for a shipment that the
    core has forgotten or taken away. `handling_ms` is the true handling time, from the scan that
    began packing to that of the loading code, by the agent's monotonic clock; 0 when not known.
    """

    shipment: Id
    token: Token
    waybill: Waybill
    order: Id
    channel: Id
    native_id: Text
    lines: OfferLines
    operator: Text = ""
    handling_ms: Millis = 0


class PutBack(Struct, frozen=True):
    """`quantity` units of `sku` went from the tote back to the shelf."""

    sku: Sku
    quantity: Quantity


class NoticeConfirmed(Struct, frozen=True, omit_defaults=True):
    """`notice.confirmed`: somebody at the bench has read a notice and lets the shipment go on.

    `code` is the notice's; `operator` "" where nobody was signed in (the row's `s` is the station).
    """

    shipment: Id
    token: Token
    code: Id
    operator: Text = ""


class TaskStopped(Struct, frozen=True, omit_defaults=True):
    """`task.stopped`: the bench confirmed a cancel; picked units are back on the shelf.

    `label` is `none` (never printed), `pulled` (taken off and torn up) or `unknown`. `reason` is
    the cancel's, for a core that has forgotten why it asked.
    """

    shipment: Id
    token: Token
    fence: Token
    put_back: Annotated[list[PutBack], Meta(max_length=limits.LINES_MAX)] = []
    label: Id = "none"
    operator: Text = ""
    reason: Annotated[str, Meta(max_length=32)] = ""


class StockCounted(Struct, frozen=True, omit_defaults=True):
    """`stock.counted`: shelf counts of SKUs, valid as of the event's time."""

    counts: Annotated[list[Count], Meta(min_length=1, max_length=limits.LINES_MAX)]
    reason: Text = ""


class PaperEvent(Struct, frozen=True, omit_defaults=True):
    """`paper.printed|unknown|failed|held`: the fate of a paper that is no waybill label.

    `kind` says what it is (`return_ticket`, `box`), `number` which one; the rest as `LabelEvent`.
    """

    kind: Id
    number: Id
    revision: Annotated[int, Meta(ge=1, le=99)]
    evidence: Text = ""
    reason: Text = ""
    operator: Text = ""
    printer: Text = ""


class ReturnAccepted(Struct, frozen=True, omit_defaults=True):
    """`return.accepted`: the goods came, their ticket was scanned; the countdown runs.

    Names what a core restored from an older backup needs to know the return again.
    """

    ticket: TicketId
    order: Id
    channel: Id
    native_id: Text
    lines: OfferLines
    inspect_s: Annotated[int, Meta(ge=60, le=30 * 86_400)]
    operator: Text = ""


class ReturnInspected(Struct, frozen=True, omit_defaults=True):
    """`return.inspected`: units passed (back to the shelf) or failed (not sellable)."""

    ticket: TicketId
    order: Id
    sku: Sku
    quantity: Quantity
    verdict: Annotated[str, Meta(pattern=r"^(pass|fail)$(?!\n)")]
    reason: Text = ""
    serial: Text = ""
    operator: Text = ""


class ReturnResult(Struct, frozen=True):
    """What became of one SKU of a return; the rest of its units did not come."""

    sku: Sku
    passed: Amount
    failed: Amount


class ReturnClosed(Struct, frozen=True, omit_defaults=True):
    """`return.closed`: inspection is over; `outcome` `passed`, `failed` or `partial`."""

    ticket: TicketId
    order: Id
    channel: Id
    native_id: Text
    outcome: Annotated[str, Meta(pattern=r"^(passed|failed|partial)$(?!\n)")]
    results: Annotated[list[ReturnResult], Meta(min_length=1, max_length=limits.LINES_MAX)]
    operator: Text = ""


class EpochOpened(Struct, frozen=True, omit_defaults=True):
    """`epoch.opened`: why this stream epoch began: `first`, `wiped`, `fork`, `salvaged`."""

    previous: Annotated[str, Meta(max_length=16)]
    reason: Id
    carried: Amount = 0


class EpochGap(Struct, frozen=True):
    """`epoch.gap`: rows that could not be carried over; named, never silent (P2)."""

    epoch: EpochId
    first: Seq
    last: Seq


class PersonalPurged(Struct, frozen=True):
    """`personal.purged`: the label fields of these shipments are gone from the agent."""

    shipments: Annotated[list[Id], Meta(max_length=limits.FENCES_MAX)]


class ScanRefused(Struct, frozen=True, omit_defaults=True):
    """`scan.refused` (telemetry): an error tone; the code itself is not reported."""

    reason: Id
    length: Amount = 0
    source: Text = ""


class PrinterChanged(Struct, frozen=True, omit_defaults=True):
    """`printer.changed` (telemetry): a printer's four-valued status, with the reason."""

    printer: Text
    status: Annotated[str, Meta(pattern=r"^(ok|warn|error|unknown)$(?!\n)")]
    reason: Text = ""


class AgentStarted(Struct, frozen=True, omit_defaults=True):
    """`agent.started` (telemetry): a process start, with version and boot id."""

    sw: Text
    boot_id: Text
    jobs_unknown: Amount = 0
    jobs_held: Amount = 0


FLOOR_EVENTS: dict[str, type[Struct]] = {
    "command.received": CommandReceived,
    "offer.accepted": OfferAccepted,
    "offer.rejected": OfferRejected,
    "grant.stored": GrantStored,
    "try.accepted": TryAccepted,
    "task.started": TaskStarted,
    "item.picked": ItemPicked,
    "pick.shorted": PickShorted,
    "item.verified": ItemVerified,
    "label.started": LabelEvent,
    "label.printed": LabelEvent,
    "label.unknown": LabelEvent,
    "label.failed": LabelEvent,
    "label.held": LabelEvent,
    "parcel.packed": ParcelPacked,
    "parcel.handed_over": ParcelHandedOver,
    "task.stopped": TaskStopped,
    "stock.counted": StockCounted,
    "epoch.opened": EpochOpened,
    "epoch.gap": EpochGap,
    "personal.purged": PersonalPurged,
    "pack.started": PackStarted,
    "paper.printed": PaperEvent,
    "paper.unknown": PaperEvent,
    "paper.failed": PaperEvent,
    "paper.held": PaperEvent,
    "return.accepted": ReturnAccepted,
    "return.inspected": ReturnInspected,
    "return.closed": ReturnClosed,
    "notice.confirmed": NoticeConfirmed,
}

TELEMETRY_EVENTS: dict[str, type[Struct]] = {
    "epoch.opened": EpochOpened,
    "epoch.gap": EpochGap,
    "scan.refused": ScanRefused,
    "printer.changed": PrinterChanged,
    "agent.started": AgentStarted,
}

EVENTS: dict[str, dict[str, type[Struct]]] = {
    "floor": FLOOR_EVENTS,
    "telemetry": TELEMETRY_EVENTS,
}
