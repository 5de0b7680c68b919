"""The rules every order must meet, whatever door it came through, and how a refusal is worded.

Dialects call these checks on the fields they found; each refusal names the field as the sender
wrote it. This module must not know any shop's field names, HTTP or SQL.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

from cloud_core.domain.masking import mask_detail, mask_name, mask_phone, normalise_phone
from cloud_core.domain.shop_order import Receiver, RowProblem, ShopLine
from protocols.errors import Rejected

MAX_NATIVE_ID_CHARS = 64
MAX_SKU_CHARS = 64
MAX_NAME_CHARS = 60
MAX_DETAIL_CHARS = 300
MAX_REMARK_CHARS = 500
MAX_TITLE_CHARS = 200
MAX_TOKEN_CHARS = 2_000
MAX_LINES = 100
MAX_QUANTITY = 9_999
MAX_AMOUNT_FEN = 1_000_000_000  # ten million yuan
EARLIEST_MS = 1_420_070_400_000  # 2015-01-01Z: older times are a unit mistaken for another
LATEST_MS = 4_102_444_800_000  # 2100-01-01Z

_EXCEL_TEXT_MARKS = "'`’‘"
_CLEAN_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Co", "Zl", "Zp"})


@dataclass(frozen=True, slots=True)
class ReceiverFields:
    """A receiver as a dialect found it; empty strings for what the shop does not tell.

    Masked fields come from the platform; clear ones may be masked too (they hold a `*`).
    """

    name: str = ""
    phone: str = ""
    detail: str = ""
    name_masked: str = ""
    phone_masked: str = ""
    detail_masked: str = ""
    platform_token: str = ""
    encrypted_name: str = ""
    encrypted_phone: str = ""
    encrypted_detail: str = ""


def clean_hold(name: str, *, field: str) -> str:
    """The name of a checkout hold, "" if none. Raises `Rejected("hold_invalid")`."""
    text = name.strip()
    if len(text) > MAX_NATIVE_ID_CHARS or not (not text or (text.isascii() and text.isalnum())):
        raise Rejected(
            "hold_invalid",
            "预占编号不正确",
            "this cannot be the id of a hold",
            field=field,
        )
    return text


def clean_text(text: str, max_chars: int) -> str:
    """One line of printable text, NFKC is left alone so that a rare name stays as written.

    Control, format (zero width, direction marks) and line characters go; runs of blanks become
    one; cut to `max_chars`.
    """
    if text.isprintable():
        return " ".join(text.split())[:max_chars]
    kept = [
        " " if char.isspace() else char
        for char in text
        if char.isspace() or unicodedata.category(char) not in _CLEAN_CATEGORIES
    ]
    return " ".join("".join(kept).split())[:max_chars]


def clean_native_id(text: str, *, field: str) -> str:
    """A shop's order number in one spelling, so that webhook and file name the same order.

    NFKC, without blanks, control characters and the apostrophe spreadsheets put in front.
    Raises `Rejected` `native_id_missing`, `native_id_too_long` or `native_id_mangled` (a number
    that a spreadsheet turned into 6.9E+17 has lost digits for good).
    """
    if text.isascii() and text.isalnum() and len(text) <= MAX_NATIVE_ID_CHARS:
        cleaned = text
    else:
        folded = unicodedata.normalize("NFKC", text).strip().lstrip(_EXCEL_TEXT_MARKS)
        cleaned = "".join(c for c in folded if c.isprintable() and not c.isspace())
    if not cleaned:
        raise Rejected(
            "native_id_missing", "缺少订单号", "the order number is missing", field=field
        )
    if len(cleaned) > MAX_NATIVE_ID_CHARS:
        raise Rejected(
            "native_id_too_long",
            f"订单号超过 {MAX_NATIVE_ID_CHARS} 个字符",
            f"the order number is longer than {MAX_NATIVE_ID_CHARS} characters",
            field=field,
        )
    if _is_scientific(cleaned):
        raise Rejected(
            "native_id_mangled",
            "订单号被表格软件改成了科学计数法，已丢失数字，请把该列设为文本后重新导出",
            "a spreadsheet turned the order number into scientific notation; digits are lost",
            field=field,
        )
    return cleaned


def check_line(line: ShopLine, *, sku_field: str, quantity_field: str, price_field: str) -> None:
    """Refuse a line without a SKU, or with a quantity or unit price out of bounds (`Rejected`)."""
    if not line.sku:
        raise Rejected("sku_missing", "缺少商品编码", "the SKU is missing", field=sku_field)
    if len(line.sku) > MAX_SKU_CHARS:
        raise Rejected(
            "sku_too_long",
            f"商品编码超过 {MAX_SKU_CHARS} 个字符",
            f"the SKU is longer than {MAX_SKU_CHARS} characters",
            field=sku_field,
        )
    if not 1 <= line.quantity <= MAX_QUANTITY:
        raise Rejected(
            "quantity_range",
            f"数量必须是 1 到 {MAX_QUANTITY} 的整数",
            f"the quantity must be a whole number from 1 to {MAX_QUANTITY}",
            field=quantity_field,
        )
    check_amount(line.price_fen, field=price_field)


def check_amount(amount_fen: int, *, field: str) -> None:
    """Refuse an amount of money outside 0..1,000,000,000 fen (`Rejected("amount_range")`)."""
    if not 0 <= amount_fen <= MAX_AMOUNT_FEN:
        raise Rejected(
            "amount_range",
            f"金额必须在 0 到 {MAX_AMOUNT_FEN} 分之间",
            f"the amount must be from 0 to {MAX_AMOUNT_FEN} fen",
            field=field,
        )


def check_line_count(count: int, *, field: str) -> None:
    """Refuse an order without lines or with more than a hundred (`Rejected`)."""
    if count == 0:
        raise Rejected("lines_missing", "订单没有商品行", "the order has no lines", field=field)
    if count > MAX_LINES:
        raise Rejected(
            "lines_too_many",
            f"商品行超过 {MAX_LINES} 行",
            f"the order has more than {MAX_LINES} lines",
            field=field,
        )


def check_time_ms(time_ms: int, *, field: str) -> int:
    """The time itself, if between 2015 and 2100 (`Rejected("time_range")` otherwise)."""
    if not EARLIEST_MS <= time_ms < LATEST_MS:
        raise Rejected(
            "time_range",
            "时间超出 2015 至 2099 年",
            "the time is outside 2015 to 2099",
            field=field,
        )
    return time_ms


def make_receiver(found: ReceiverFields, *, prefix: str) -> Receiver:
    """A receiver with clear fields cleaned and every masked field filled.

    A clear field that holds a `*` is a platform's masked value and is treated as one. `prefix`
    is the path of the receiver for error fields. Raises `Rejected` `name_missing`,
    `phone_missing`, `phone_invalid`, `detail_missing`, `text_too_long`.
    """
    name = _clear(found.name, MAX_NAME_CHARS, f"{prefix}name")
    detail = _clear(found.detail, MAX_DETAIL_CHARS, f"{prefix}detail")
    phone = found.phone.strip()
    number, extension = "", ""
    if phone and "*" not in phone:
        parsed = normalise_phone(phone, field=f"{prefix}phone")
        number, extension = parsed.number, parsed.extension
    receiver = Receiver(
        name=name,
        phone=number,
        phone_extension=extension,
        detail=detail,
        name_masked=mask_name(name or clean_text(found.name_masked or found.name, MAX_NAME_CHARS)),
        phone_masked=mask_phone(number or found.phone_masked or phone),
        detail_masked=mask_detail(
            detail or clean_text(found.detail_masked or found.detail, MAX_DETAIL_CHARS)
        ),
        platform_token=found.platform_token[:MAX_TOKEN_CHARS],
        encrypted_name=found.encrypted_name[:MAX_TOKEN_CHARS],
        encrypted_phone=found.encrypted_phone[:MAX_TOKEN_CHARS],
        encrypted_detail=found.encrypted_detail[:MAX_TOKEN_CHARS],
    )
    _check_reachable(receiver, prefix)
    return receiver


def problem_of(
    position: int, refused: Rejected, *, prefix: str = "", native_id: str = ""
) -> RowProblem:
    """A refusal as a row of the report; `prefix` is put before the field it names."""
    return RowProblem(
        position=position,
        code=refused.code,
        field=f"{prefix}{refused.field}",
        message_zh=refused.zh,
        message_en=refused.en,
        native_id=native_id,
    )


def total_fen(lines: Sequence[ShopLine]) -> int:
    """What the lines cost together: the amount of an order that does not state one."""
    return sum(line.quantity * line.price_fen for line in lines)


def _clear(text: str, max_chars: int, field: str) -> str:
    if "*" in text:
        return ""
    cleaned = clean_text(text, max_chars + 1)
    if len(cleaned) > max_chars:
        raise Rejected(
            "text_too_long",
            f"超过 {max_chars} 个字符",
            f"longer than {max_chars} characters",
            field=field,
        )
    return cleaned


def _check_reachable(receiver: Receiver, prefix: str) -> None:
    """Each of name, phone and address must be there: in clear, masked or behind a token."""
    if not (receiver.name_masked or receiver.encrypted_name):
        raise Rejected(
            "name_missing", "缺少收货人", "the receiver's name is missing", field=f"{prefix}name"
        )
    if not (receiver.phone_masked or receiver.encrypted_phone):
        raise Rejected(
            "phone_missing", "缺少手机号", "the phone number is missing", field=f"{prefix}phone"
        )
    if not (receiver.detail_masked or receiver.encrypted_detail):
        raise Rejected(
            "detail_missing",
            "缺少详细地址",
            "the address detail is missing",
            field=f"{prefix}detail",
        )


def _is_scientific(text: str) -> bool:
    mantissa, mark, exponent = text.upper().partition("E+")
    return bool(mark) and exponent.isdigit() and mantissa.replace(".", "", 1).isdigit()
