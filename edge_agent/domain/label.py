"""What a paper says: the values a template may name, and the check that hides persons.

Five kinds: waybill, return ticket, box label, notice (pairing card, status slip), and a finished
picture or byte string from a platform. Persons arrive masked; nothing here is ever clear text
(P12). Knows no layout, font or printer.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass, replace
from typing import ClassVar

from protocols.errors import Rejected

MAX_TEXT_CHARS = 300
MAX_LINES = 200
MIN_HIDDEN_DIGITS = 6
MAX_VISIBLE_DIGITS = 7
_MASK = "*"
_FREE_TEXTS = frozenset(("shipped_note", "note", "reason", "destination", "title", "qr_note"))
_MOBILE = re.compile(r"(?<!\d)1\d{10}(?!\d)")
_NATIONAL_ID = re.compile(r"(?<!\d)\d{17}[\dXx](?!\d)")


@dataclass(frozen=True, slots=True)
class LabelLine:
    """One kind of goods in the parcel; `qty` is a count >= 1, `serials` the SNs if flagged."""

    sku: str
    name: str
    qty: int
    serials: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class LabelFields:
    """Everything printed on one waybill. Receiver fields arrive masked; times are local text.

    `copy_mark` is "" on the original ("补打 1 · 10:32 · 台1" on a reprint); `weight` carries its
    unit ("1.25 kg"); `tracking_url` goes into the QR code.
    """

    waybill: str
    carrier_name: str
    sort_code: str
    bag_name: str
    receiver_name_masked: str
    receiver_phone_masked: str
    receiver_address_masked: str
    sender_name: str
    sender_phone: str
    sender_address: str
    order_id: str
    native_order_id: str
    lines: tuple[LabelLine, ...]
    created: str
    warehouse: str
    station: str
    tracking_url: str
    weight: str = ""
    shipped_note: str = ""
    copy_mark: str = ""
    kind: ClassVar[str] = "waybill"


@dataclass(frozen=True, slots=True)
class ReturnTicketFields:
    """A return ticket: `ticket` is its own number and barcode, `window` the chosen time as text.

    `contact_*` is the buyer, masked; `accept_by` is the local time by which it must be accepted.
    """

    ticket: str
    order_id: str
    native_order_id: str
    contact_name_masked: str
    contact_phone_masked: str
    window: str
    lines: tuple[LabelLine, ...]
    created: str
    warehouse: str
    station: str = ""
    reason: str = ""
    accept_by: str = ""
    waybill: str = ""
    note: str = ""
    copy_mark: str = ""
    kind: ClassVar[str] = "return_ticket"


@dataclass(frozen=True, slots=True)
class BoxLabelFields:
    """What stands on a box or tote: `box` is its number and barcode, `place` "2/3"."""

    box: str
    title: str
    lines: tuple[LabelLine, ...]
    created: str
    warehouse: str
    station: str = ""
    place: str = ""
    order_id: str = ""
    waybill: str = ""
    destination: str = ""
    weight: str = ""
    note: str = ""
    copy_mark: str = ""
    kind: ClassVar[str] = "box_label"


@dataclass(frozen=True, slots=True)
class NoticeFields:
    """A slip for people: a title, lines of text, perhaps a Code 128 (`code`) or a QR code (`qr`).

    Pairing cards, status slips, test prints. Lines that find no room are counted on the paper.
    """

    title: str
    lines: tuple[str, ...]
    created: str
    warehouse: str
    station: str = ""
    code: str = ""
    qr: str = ""
    qr_note: str = ""
    copy_mark: str = ""
    kind: ClassVar[str] = "notice"


@dataclass(frozen=True, slots=True)
class PictureFields:
    """A finished label of a platform as a PNG file; drawn as it is, never scaled."""

    png: bytes
    kind: ClassVar[str] = "picture"


@dataclass(frozen=True, slots=True)
class RawFields:
    """A finished label of a platform in a printer's own `language`; passed on byte for byte."""

    language: str
    data: bytes
    kind: ClassVar[str] = "raw"


DrawnFields = LabelFields | ReturnTicketFields | BoxLabelFields | NoticeFields
"""Papers that a template lays out."""
PaperFields = DrawnFields | PictureFields | RawFields

COMPUTED_FIELDS = ("line_count", "total_qty")
_DRAWN: tuple[type[DrawnFields], ...] = (
    LabelFields, ReturnTicketFields, BoxLabelFields, NoticeFields,
)  # fmt: skip
TEXT_FIELDS_OF = {
    made.kind: tuple(name for name in made.__slots__ if name != "lines") for made in _DRAWN
}
"""Kind of paper -> the fields its template may name."""
TEXT_FIELDS = TEXT_FIELDS_OF["waybill"]


def text_values(fields: DrawnFields) -> dict[str, str]:
    """Field name -> clean text: no control or format characters, at most 300 characters each.

    Adds `line_count` and `total_qty`. Raises `Rejected` naming a field that is too long.
    """
    found: dict[str, str] = {}
    for name in TEXT_FIELDS_OF[fields.kind]:
        text = clean(getattr(fields, name))
        if len(text) > MAX_TEXT_CHARS:
            raise Rejected("label_text_long", "面单文字超过 300 字", "text too long", field=name)
        found[name] = text
    if len(fields.lines) > MAX_LINES:
        raise Rejected("label_lines", "面单商品行超过 200 行", "too many lines", field="lines")
    found["line_count"] = str(len(fields.lines))
    goods = [line.qty for line in fields.lines if isinstance(line, LabelLine)]
    found["total_qty"] = str(sum(goods))
    return found


def rows(fields: DrawnFields) -> tuple[LabelLine, ...]:
    """The table of a paper: a row for each kind of goods, serial number or text line."""
    found: list[LabelLine] = []
    for line in fields.lines:
        if isinstance(line, str):
            found.append(LabelLine("", line, 0))
        elif len(line.serials) > 1:
            found += [replace(line, qty=1, serials=(serial,)) for serial in line.serials]
            if line.qty > len(line.serials):
                found.append(replace(line, qty=line.qty - len(line.serials), serials=()))
        else:
            found.append(line)
    return tuple(found)


def clean(text: str) -> str:
    """One line of printable text: control characters become spaces, invisible ones vanish."""
    kept: list[str] = []
    for char in unicodedata.normalize("NFC", text):
        kind = unicodedata.category(char)
        if kind in ("Cc", "Zl", "Zp"):
            kept.append(" ")
        elif kind != "Cf" and not "\ufe00" <= char <= "\ufe0f":
            kept.append(char)
    return " ".join("".join(kept).split())


def assert_masked(fields: DrawnFields) -> None:
    """Refuse to draw a person who is not hidden (P12). Raises `Rejected` naming the field.

    A phone hides at least 6 digits and shows at most 7, a name hides at least one character;
    an empty one shows nothing and passes. Masked fields, notes and text lines must not carry a
    whole mobile or identity number.
    """
    for field in TEXT_FIELDS_OF[fields.kind]:
        text = getattr(fields, field)
        if field.endswith("phone_masked"):
            _assert_phone(field, text)
        elif field.endswith("name_masked") and text.strip() and _MASK not in text:
            raise _bare(field, "姓名至少要隐藏一个字")
        if field.endswith(("name_masked", "address_masked")) or field in _FREE_TEXTS:
            _assert_no_number(field, text)
    for line in fields.lines:
        if isinstance(line, str):
            _assert_no_number("lines", line)


def _assert_phone(field: str, phone: str) -> None:
    shown = sum(char.isdigit() for char in phone)
    if shown and (phone.count(_MASK) < MIN_HIDDEN_DIGITS or shown > MAX_VISIBLE_DIGITS):
        raise _bare(field, "电话至少要隐藏 6 位数字")


def _assert_no_number(field: str, text: str) -> None:
    plain = unicodedata.normalize("NFKC", text)
    if _MOBILE.search(plain) or _NATIONAL_ID.search(plain):
        raise _bare(field, "面单文字里含有未隐藏的电话或证件号码")


def _bare(field: str, zh: str) -> Rejected:
    return Rejected("label_not_masked", zh, "personal data is not masked", field=field)
