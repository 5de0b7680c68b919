"""From the text of one cell to a value, refusing what a person would not have meant.

This module must not know which column a cell stands in.
"""

from __future__ import annotations

import re
import unicodedata
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

from cloud_core.domain.intake import check_time_ms
from cloud_core.domain.sheet import MAX_CELL_CHARS, is_formula
from protocols.errors import Rejected

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MONEY_MARKS = re.compile(r"[¥￥元,\s]")
_MONEY = re.compile(r"[+-]?[0-9]{1,12}(?:\.[0-9]{1,2}0*)?")
_WHOLE = re.compile(r"[+-]?[0-9]{1,12}(?:\.0+)?")
_CHINESE_DATE = re.compile(r"年|月|/|\.(?=\d{1,2}\b)")
_LOOSE_TIME = re.compile(
    r"(\d{4})-(\d{1,2})-(\d{1,2})(?:[T ]+(\d{1,2}):(\d{2})(?::(\d{2})(?:\.\d+)?)?)?"
    r"(Z|[+-]\d{2}:?\d{2})?"
)
_YES = frozenset({"是", "y", "yes", "true", "1", "√", "赠品"})
_NO = frozenset({"", "否", "n", "no", "false", "0", "×"})
_PHONE_WITH_PLUS = re.compile(r"\+\d")


def check_text(text: str, *, formula: bool, header: str, phone: bool = False) -> str:
    """The text itself. Raises `Rejected` `formula_cell` or `cell_too_long`."""
    looks_like_one = is_formula(text) and not (phone and _PHONE_WITH_PLUS.match(text))
    if formula or looks_like_one:
        raise Rejected(
            "formula_cell",
            "单元格是公式，或以 = + - @ 开头，拒绝导入",
            "the cell is a formula or begins with = + - @",
            field=header,
        )
    if len(text) > MAX_CELL_CHARS:
        raise Rejected(
            "cell_too_long",
            f"单元格超过 {MAX_CELL_CHARS} 个字符",
            f"the cell is longer than {MAX_CELL_CHARS} characters",
            field=header,
        )
    return text


def check_value(text: str, *, formula: bool, header: str) -> str:
    """As `check_text`, for numbers and times: a sign is allowed here."""
    signed = text[:1] in ("+", "-") and text[1:2].isdigit()
    check_text(text[1:] if signed else text, formula=formula, header=header)
    return text


def whole_number(text: str, *, header: str) -> int:
    """`2`, `２` or `2.0`. Raises `Rejected("number_broken")`."""
    folded = unicodedata.normalize("NFKC", text).replace(",", "").strip()
    if not _WHOLE.fullmatch(folded):
        raise Rejected("number_broken", "不是整数", "this is not a whole number", field=header)
    return int(folded.partition(".")[0])


def fen_of_yuan(text: str, *, header: str) -> int:
    """`¥1,299.90` → 129990; at most two decimals. Raises `Rejected("number_broken")`."""
    folded = _MONEY_MARKS.sub("", unicodedata.normalize("NFKC", text))
    if _MONEY.fullmatch(folded):
        return int(Decimal(folded) * 100)
    raise Rejected(
        "number_broken",
        "不是金额（元，最多两位小数）",
        "this is not an amount in yuan with at most two decimals",
        field=header,
    )


def time_ms(text: str, *, header: str, zone_minutes: int) -> int:
    """`2026/11/21 10:00`, `2026年11月21日 10:00:00`, ISO with a zone; else the channel's zone.

    Raises `Rejected` `time_broken` or `time_range`.
    """
    folded = _CHINESE_DATE.sub("-", unicodedata.normalize("NFKC", text).replace("日", " ").strip())
    match = _LOOSE_TIME.fullmatch(folded.strip())
    if match is not None:
        try:
            parts = [int(part or 0) for part in match.groups()[:6]]
            zone = _zone(match[7], zone_minutes)
            at = datetime(parts[0], parts[1], parts[2], parts[3], parts[4], parts[5], tzinfo=zone)
            return check_time_ms((at - _EPOCH) // timedelta(milliseconds=1), field=header)
        except ValueError:
            pass
    raise Rejected(
        "time_broken",
        "时间格式不正确，例如 2026-11-21 10:00:00",
        "this is not a time such as 2026-11-21 10:00:00",
        field=header,
    )


def yes_or_no(text: str, *, header: str) -> bool:
    """是/否, yes/no, 1/0; empty means no. Raises `Rejected("yes_no_broken")`."""
    word = text.strip().lower()
    if word in _YES:
        return True
    if word in _NO:
        return False
    raise Rejected("yes_no_broken", "请填 是 或 否", "say yes or no", field=header)


def _zone(text: str | None, zone_minutes: int) -> timezone:
    if text is None:
        return timezone(timedelta(minutes=zone_minutes))
    if text == "Z":
        return UTC
    sign = -1 if text[0] == "-" else 1
    digits = text[1:].replace(":", "")
    return timezone(sign * timedelta(hours=int(digits[:2]), minutes=int(digits[2:])))
