"""What a waybill label says: the values a template may name, and the check that hides persons.

Filled from the grant (already masked by the core); nothing here is ever clear text (P12). Knows no
layout, font or printer.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

from protocols.commands import Grant
from protocols.errors import Rejected

MAX_TEXT_CHARS = 300
MAX_LINES = 200
MIN_HIDDEN_DIGITS = 6
MAX_VISIBLE_DIGITS = 7
_MASK = "*"
_MOBILE = re.compile(r"(?<!\d)1\d{10}(?!\d)")
_NATIONAL_ID = re.compile(r"(?<!\d)\d{17}[\dXx](?!\d)")


@dataclass(frozen=True, slots=True)
class LabelLine:
    """One kind of goods in the parcel; `qty` is a count >= 1."""

    sku: str
    name: str
    qty: int


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


TEXT_FIELDS = tuple(name for name in LabelFields.__slots__ if name != "lines")
COMPUTED_FIELDS = ("line_count", "total_qty")


def label_fields(
    grant: Grant, *, created: str, warehouse: str, station: str, copy_mark: str = ""
) -> LabelFields:
    """What the label of a grant says. `created` is local text such as "2026-01-02 10:32"."""
    label = grant.label
    return LabelFields(
        waybill=grant.waybill,
        carrier_name=label.carrier_name,
        sort_code=label.sort_code,
        bag_name=label.bag_name,
        receiver_name_masked=label.receiver_name,
        receiver_phone_masked=label.receiver_phone,
        receiver_address_masked=label.receiver_address,
        sender_name=label.sender_name,
        sender_phone=label.sender_phone,
        sender_address=label.sender_address,
        order_id=grant.order,
        native_order_id=grant.native_id,
        lines=tuple(LabelLine(line.sku, line.name, line.quantity) for line in grant.lines),
        created=created,
        warehouse=warehouse,
        station=station,
        tracking_url=label.track_url,
        weight=f"{label.weight_g / 1000:.2f} kg" if label.weight_g else "",
        shipped_note=label.remark,
        copy_mark=copy_mark,
    )


def text_values(fields: LabelFields) -> dict[str, str]:
    """Field name -> clean text: no control or format characters, at most 300 characters each.

    Adds `line_count` and `total_qty`. Raises `Rejected` naming a field that is too long.
    """
    found: dict[str, str] = {}
    for name in TEXT_FIELDS:
        text = clean(getattr(fields, name))
        if len(text) > MAX_TEXT_CHARS:
            raise Rejected("label_text_long", "面单文字超过 300 字", "text too long", field=name)
        found[name] = text
    if len(fields.lines) > MAX_LINES:
        raise Rejected("label_lines", "面单商品行超过 200 行", "too many lines", field="lines")
    found["line_count"] = str(len(fields.lines))
    found["total_qty"] = str(sum(line.qty for line in fields.lines))
    return found


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


def assert_masked(fields: LabelFields) -> None:
    """Refuse to draw a receiver who is not hidden (P12). Raises `Rejected` naming the field.

    A phone hides at least 6 digits and shows at most 7, a name hides at least one character;
    an empty one shows nothing and passes. Address and note must not carry a whole mobile or
    identity number.
    """
    phone = fields.receiver_phone_masked
    shown = sum(char.isdigit() for char in phone)
    if shown and (phone.count(_MASK) < MIN_HIDDEN_DIGITS or shown > MAX_VISIBLE_DIGITS):
        raise _bare("receiver_phone_masked", "收件人电话至少要隐藏 6 位数字")
    name = fields.receiver_name_masked.strip()
    if name and _MASK not in name:
        raise _bare("receiver_name_masked", "收件人姓名至少要隐藏一个字")
    for field in ("receiver_name_masked", "receiver_address_masked", "shipped_note"):
        text = unicodedata.normalize("NFKC", getattr(fields, field))
        if _MOBILE.search(text) or _NATIONAL_ID.search(text):
            raise _bare(field, "面单文字里含有未隐藏的电话或证件号码")


def _bare(field: str, zh: str) -> Rejected:
    return Rejected("label_not_masked", zh, "personal data is not masked", field=field)
