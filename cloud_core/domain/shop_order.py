"""What a shop tells us, in our words: the values every channel dialect produces.

A dialect turns raw bytes into `ShopEvent`s; nothing behind it knows a shop's field names.
This module must not know HTTP, SQL or any one shop.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from enum import StrEnum


class ShopEventKind(StrEnum):
    """What happened at the shop."""

    CREATED = "created"  # placed, not paid yet
    PAID = "paid"
    CANCELLED = "cancelled"  # buyer or shop closed the order
    REFUND_REQUESTED = "refund_requested"
    REFUND_REFUSED = "refund_refused"
    REFUNDED = "refunded"
    ADDRESS_CHANGED = "address_changed"
    NATIVE_STATUS = "native_status"  # stored and mapped to a view; changes no state of ours
    UNMAPPED = "unmapped"  # a status or tag without a row in the mapping table: alarmed


@dataclass(frozen=True, slots=True)
class Receiver:
    """Who gets the parcel. Clear fields are empty when the shop keeps them encrypted.

    `platform_token` is passed back to the platform for its e-waybill (oaid, open_address_id…).
    Masked fields are never empty: the dialect masks what the shop sent in clear.
    """

    name: str
    phone: str
    phone_extension: str
    detail: str
    name_masked: str
    phone_masked: str
    detail_masked: str
    platform_token: str
    encrypted_name: str
    encrypted_phone: str
    encrypted_detail: str


@dataclass(frozen=True, slots=True)
class Division:
    """Official division codes (6 digits for district), names in Chinese.

    `flag` is empty when the address is certain, else a reason code (`division_missing`,
    `division_ambiguous`, `division_unknown`, `division_abolished`): never guessed.
    `codes` and names may be partly empty when flagged.
    """

    province_code: str
    city_code: str
    district_code: str
    province: str
    city: str
    district: str
    flag: str = ""
    candidates: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ShopLine:
    """One order line; `sku` is our SKU code, `quantity` 1..9999, `price_fen` a unit price."""

    line_no: int
    sku: str
    quantity: int
    price_fen: int
    title: str = ""
    is_gift: bool = False


@dataclass(frozen=True, slots=True)
class ShopEvent:
    """One thing a shop said about one of its orders.

    `dedupe_key` is unique per (channel): the shop's message id, else a hash of the raw bytes plus
    the position. `version` orders messages about one order (source update time, ms); an older
    version than the stored one is kept but changes nothing. Fields after `kind` may be empty for
    kinds that do not carry them (a cancel carries no lines).
    """

    channel: str
    native_id: str
    dedupe_key: str
    kind: ShopEventKind
    version: int
    occurred_at_ms: int
    native_status: str = ""
    paid_at_ms: int | None = None
    amount_fen: int = 0
    lines: tuple[ShopLine, ...] = ()
    receiver: Receiver | None = None
    division: Division | None = None
    remark: str = ""
    ship_deadline_ms: int | None = None
    refund_id: str = ""
    hold: str = ""
    """The checkout hold that the order was sold from, "" if none."""
    ignored: tuple[str, ...] = ()
    """Fields of the message that the dialect does not know, as paths: told, never a refusal."""


def fingerprint(event: ShopEvent) -> str:
    """What an event id stands for: 32 hex characters over what the shop said of its order.

    The same id with another fingerprint is refused (P8). Times and versions are left out, because a
    dialect fills them from the moment of receipt when a shop sends none.
    """
    place = event.division.district_code if event.division else ""
    where = event.receiver.detail_masked if event.receiver else ""
    lines = ",".join([f"{line.sku}*{line.quantity}*{line.price_fen}" for line in event.lines])
    text = f"{event.native_id}|{event.kind}|{event.amount_fen}|{event.refund_id}|{place}|{where}|"
    named = f"|{event.hold}" if event.hold else ""
    return hashlib.blake2b((text + lines + named).encode(), digest_size=16).hexdigest()


@dataclass(frozen=True, slots=True)
class RowProblem:
    """Why one row or message of a batch was refused; its neighbours went through.

    `position` is the 0-based index in the request or the 1-based row number of a file;
    `code` is stable, `field` names the input field, messages are Chinese and English.
    """

    position: int
    code: str
    field: str
    message_zh: str
    message_en: str
    native_id: str = ""


@dataclass(frozen=True, slots=True)
class Parsed:
    """The outcome of parsing one request or file: what goes on and what was refused."""

    events: tuple[ShopEvent, ...]
    problems: tuple[RowProblem, ...]
