"""The kinds of cells master data is made of: each reads a text or refuses it by field.

Used by `master_tables`, one small function a kind. This module must not know tables.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from cloud_core.domain import master_data as md
from cloud_core.domain.intake import clean_text
from cloud_core.domain.masking import normalise_phone
from protocols.errors import Rejected

Read = Callable[[str, str], object]
"""(text of the cell, header for the refusal) -> value. Raises `Rejected`."""

# GB/T 2260, first level. Short names are what people write in time tables.
PROVINCES = {
    "北京": "110000", "天津": "120000", "河北": "130000", "山西": "140000", "内蒙古": "150000",
    "辽宁": "210000", "吉林": "220000", "黑龙江": "230000", "上海": "310000", "江苏": "320000",
    "浙江": "330000", "安徽": "340000", "福建": "350000", "江西": "360000", "山东": "370000",
    "河南": "410000", "湖北": "420000", "湖南": "430000", "广东": "440000", "广西": "450000",
    "海南": "460000", "重庆": "500000", "四川": "510000", "贵州": "520000", "云南": "530000",
    "西藏": "540000", "陕西": "610000", "甘肃": "620000", "青海": "630000", "宁夏": "640000",
    "新疆": "650000", "台湾": "710000", "香港": "810000", "澳门": "820000",
}  # fmt: skip
_YES = frozenset({"是", "y", "yes", "true", "1", "√", "启用"})
_NO = frozenset({"否", "n", "no", "false", "0", "×", "停用"})


@dataclass(frozen=True, slots=True)
class Field:
    """One column: our name, the headers it goes by, how a cell is read, whether it must be."""

    name: str
    headers: tuple[str, ...]
    read: Read
    required: bool = False


def code(cell: str, header: str) -> str:
    """An id a person chose. Raises `Rejected("code_invalid")`."""
    if not md.is_code(cell):
        raise Rejected(
            "code_invalid",
            f"编码只能用字母、数字和 . _ -，最多 {md.MAX_ID_CHARS} 个字符",
            f"a code has 1 to {md.MAX_ID_CHARS} letters, digits, '.', '_', '-'",
            field=header,
        )
    return cell


def site(cell: str, header: str) -> str:
    """An id that stands in a topic. Raises `Rejected("wire_id_invalid")`."""
    if not md.is_wire_id(cell):
        raise Rejected(
            "wire_id_invalid",
            f"只能用小写字母、数字和 -，最多 {md.MAX_WIRE_ID_CHARS} 个字符，且不能是 core",
            f"1 to {md.MAX_WIRE_ID_CHARS} of a-z, 0-9, '-'; not 'core'",
            field=header,
        )
    return cell


def text(max_chars: int = md.MAX_NAME_CHARS) -> Read:
    """Free text up to `max_chars`. Raises `Rejected("text_too_long")`."""

    def read(cell: str, header: str) -> str:
        cleaned = clean_text(cell, max_chars + 1)
        if len(cleaned) > max_chars:
            raise Rejected(
                "text_too_long",
                f"超过 {max_chars} 个字符",
                f"longer than {max_chars} characters",
                field=header,
            )
        return cleaned

    return read


def number(low: int, high: int) -> Read:
    """A whole number from `low` to `high`. Raises `Rejected` `number_broken`, `number_range`."""

    def read(cell: str, header: str) -> int:
        whole = cell.partition(".")
        sign = whole[0][1:] if whole[0][:1] in "+-" else whole[0]
        if not sign.isascii() or not sign.isdigit() or whole[2].strip("0") or len(sign) > 12:
            raise Rejected("number_broken", "不是整数", "not a whole number", field=header)
        value = int(whole[0])
        if not low <= value <= high:
            raise Rejected(
                "number_range",
                f"必须在 {low} 到 {high} 之间",
                f"must be from {low} to {high}",
                field=header,
            )
        return value

    return read


def yes(cell: str, header: str) -> bool:
    """是/否, yes/no, 1/0. Raises `Rejected("yes_no_broken")`."""
    word = cell.lower()
    if word not in _YES and word not in _NO:
        raise Rejected("yes_no_broken", "请填 是 或 否", "say yes or no", field=header)
    return word in _YES


def one_of(words: Sequence[str]) -> Read:
    """One of a few words. Raises `Rejected("word_unknown")`."""

    def read(cell: str, header: str) -> str:
        if cell not in words:
            raise Rejected(
                "word_unknown",
                f"只能是：{'、'.join(words)}",
                f"one of {', '.join(words)}",
                field=header,
            )
        return cell

    return read


def barcodes(cell: str, header: str) -> tuple[str, ...]:
    """Several separated by `|`, `;`, `,` or blanks. Raises `Rejected("barcode_invalid")`."""
    codes = _words(cell)
    for barcode in codes:
        fits = barcode.isascii() and barcode.isprintable() and len(barcode) <= md.MAX_BARCODE_CHARS
        if not fits or "E+" in barcode.upper():
            raise Rejected(
                "barcode_invalid",
                "条码只能是可打印的字母数字；若变成科学计数法请把该列设为文本",
                "a barcode is printable ASCII; scientific notation has lost digits",
                field=header,
            )
    if len(codes) > md.MAX_BARCODES:
        raise Rejected(
            "barcodes_too_many",
            f"条码超过 {md.MAX_BARCODES} 个",
            f"more than {md.MAX_BARCODES} barcodes",
            field=header,
        )
    return codes


def hours(cell: str, header: str) -> str:
    """`09:00-18:00`, also `9:00 ~ 18:00`. Raises `Rejected("hours_invalid")`."""
    parts = [p.strip() for p in cell.replace("：", ":").replace("~", "-").split("-")]
    padded = "-".join(part.zfill(5) for part in parts)
    if not md.is_hours(padded):
        raise Rejected(
            "hours_invalid", "格式为 09:00-18:00", "write it as 09:00-18:00", field=header
        )
    return padded


def phone(cell: str, header: str) -> str:
    """The sender's phone as it is printed. Raises `Rejected("phone_invalid")`."""
    parsed = normalise_phone(cell, field=header)
    return f"{parsed.number}-{parsed.extension}" if parsed.extension else parsed.number


def province(cell: str, header: str) -> str:
    """A province's official code from its name, short name or code.

    Raises `Rejected("province_unknown")`.
    """
    if cell in PROVINCES.values():
        return cell
    found = {value for name, value in PROVINCES.items() if cell.startswith(name)}
    if len(found) != 1:
        raise Rejected("province_unknown", "不认识的省份", "unknown province", field=header)
    return found.pop()


def pattern(cell: str, header: str) -> str:
    """What a carrier's numbers look like. Raises `Rejected("pattern_invalid")`."""
    if not md.is_waybill_pattern(cell):
        raise Rejected(
            "pattern_invalid",
            r"单号规则只能由字母、数字、\d、[A-Z] 与 {n} 组成",
            r"a pattern is made of letters, digits, \d, [A-Z] and {n}",
            field=header,
        )
    return cell


def waybill_number(cell: str, header: str) -> str:
    """One number of a pool. Raises `Rejected("waybill_invalid")`."""
    if not md.is_waybill_number(cell):
        raise Rejected(
            "waybill_invalid",
            f"运单号只能用大写字母、数字和 -，最多 {md.MAX_WAYBILL_CHARS} 位",
            f"a waybill number has 1 to {md.MAX_WAYBILL_CHARS} of A-Z, 0-9, '-'",
            field=header,
        )
    return cell


def cut_off(cell: str, header: str) -> str:
    """`16:00`, also `9:30`. Raises `Rejected("cut_off_invalid")`."""
    padded = cell.replace("：", ":").zfill(5)
    if not md.is_cut_off(padded):
        raise Rejected("cut_off_invalid", "格式为 16:00", "write it as 16:00", field=header)
    return padded


def tags(cell: str, header: str) -> str:
    """Words separated by `|`, `;`, `,` or blanks as `甲|乙`. Raises `Rejected("tag_invalid")`."""
    words = _words(cell)
    if len(words) > md.MAX_BARCODES or any(len(word) > md.MAX_ID_CHARS for word in words):
        raise Rejected(
            "tag_invalid",
            f"标签最多 {md.MAX_BARCODES} 个，每个最多 {md.MAX_ID_CHARS} 字",
            f"at most {md.MAX_BARCODES} tags of {md.MAX_ID_CHARS} characters",
            field=header,
        )
    return "|".join(words)


def region(cell: str, header: str) -> str:
    """A division prefix from a code or a province's name; 全国 or `*` is "", everywhere.

    Raises `Rejected("region_unknown")`.
    """
    if cell in ("全国", "*"):
        return ""
    if cell.isascii() and cell.isdigit() and len(cell) in (2, 4, 6):
        prefix = division_prefix(cell)
        if f"{prefix[:2]}0000" in PROVINCES.values():
            return prefix
    found = {value for name, value in PROVINCES.items() if cell.startswith(name)}
    if len(found) != 1:
        raise Rejected(
            "region_unknown",
            f"不认识的地区“{cell[:20]}”，请填省份名称、区划代码或“全国”",
            "unknown region: a province, a division code or *",
            field=header,
        )
    return division_prefix(found.pop())


def regions(cell: str, header: str) -> str:
    """Several regions as `31|3301`. Raises `Rejected` `region_unknown`, `regions_too_many`."""
    found = sorted({region(word, header) for word in _words(cell)})
    if "" in found:
        return ""
    if len(found) > md.MAX_REGIONS:
        raise Rejected(
            "regions_too_many",
            f"地区超过 {md.MAX_REGIONS} 个",
            f"more than {md.MAX_REGIONS} regions",
            field=header,
        )
    return "|".join(found)


def division_prefix(code: str) -> str:
    """The digits of a division code that all places in it begin with: 653100 is 6531."""
    while len(code) > 2 and code.endswith("00"):
        code = code[:-2]
    return code


def grams(low: int, high: int) -> Read:
    """A weight in whole grams; a header that says kg or 公斤 has kilograms, up to 3 decimals.

    Raises `Rejected` `number_broken`, `number_range`.
    """
    return _scaled(low, high, 3, ("kg", "公斤", "千克"))


def fen(low: int, high: int) -> Read:
    """Money in fen; a header that does not say 分 or fen has yuan, up to 2 decimals.

    Raises `Rejected` `number_broken`, `number_range`.
    """
    whole = number(low, high)
    yuan = _scaled(low, high, 2, ("",))

    def read(cell: str, header: str) -> object:
        says_fen = "分" in header or "fen" in header.lower()
        return (whole if says_fen else yuan)(cell, header)

    return read


def _scaled(low: int, high: int, decimals: int, units: Sequence[str]) -> Read:
    whole = number(low, high)

    def read(cell: str, header: str) -> object:
        if not any(unit in header.lower() for unit in units):
            return whole(cell, header)
        digits, _, rest = cell.partition(".")
        rest = rest.rstrip("0")
        good = digits.isascii() and digits.isdigit() and len(digits) <= 9
        if not good or len(rest) > decimals or (rest and not (rest.isascii() and rest.isdigit())):
            raise Rejected(
                "number_broken",
                f"不是数字，或小数超过 {decimals} 位",
                f"not a number with at most {decimals} decimals",
                field=header,
            )
        return whole(digits + rest.ljust(decimals, "0"), header)

    return read


def _words(cell: str) -> tuple[str, ...]:
    """The words of a cell, separated by blanks or marks, each once."""
    for separator in ("；", "，", ";", ",", "|", "、"):
        cell = cell.replace(separator, " ")
    return tuple(dict.fromkeys(cell.split()))
