"""What may be shown of a person: on labels, tracking pages, lists and in exports.

Rule (GB/T 41833 express e-waybill, as briefed by SAMR): hide at least one character of the name,
at least six digits of the phone, and building and room of the address. The habitual 138****5678
hides four digits only, so it is masked again here. Masking what is masked already is harmless.
This module must not know where a value came from or where it is shown.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

from protocols.errors import Rejected

HIDDEN_PHONE_DIGITS = 6
MAX_PHONE_DIGITS = 15  # ITU-T E.164
MAX_EXTENSION_DIGITS = 6
MIN_PHONE_DIGITS = 7
MIN_DASHED_DIGITS = 10  # area code and seven digits

_DIGITS = re.compile(r"[0-9*]+")
_EXTENSION = re.compile(r"^(.*?\d)\s*(-|转|轉|#|,|;|x|ext\.?)\s*(\d{1,6})$", re.IGNORECASE)
_MOBILE = re.compile(r"1\d{10}")
_LANDLINE = re.compile(r"(0\d{2,3})-?(\d{7,8})(?:-(\d{1,6}))?")
_SERVICE = re.compile(r"([48]00)-?(\d{3})-?(\d{4})")
_COUNTRY = re.compile(r"^(?:\+|00)86-?|^86-(?=1)|^86(?=1\d{10}$)")
_FOREIGN = re.compile(r"\+?\d{7,15}")
_NUMBER_IN_WORDS = re.compile(
    r"[零〇一二三四五六七八九十百两0-9A-Za-z*-]+(?=号楼|号院|号|幢|栋|座|单元|室|层|楼|弄|户|房|门)"
)
_ANY_NUMBER = re.compile(r"[0-9]+(?:[-/][0-9A-Za-z]+)*|[A-Za-z]+[0-9]+")


@dataclass(frozen=True, slots=True)
class Phone:
    """A number as digits only, and the extension of a virtual number ("" if none)."""

    number: str
    extension: str


def mask_name(name: str) -> str:
    """王小明 → 王*明, 王明 → 王*, 欧阳小明 → 欧**明, 王 → *; "" stays "".

    At least one character is hidden; a long name shows its first and last character only.
    """
    plain = "".join(name.split())
    if len(plain) <= 1:
        return "*" * len(plain)
    if len(plain) == 2:
        return plain[0] + "*"
    return plain[0] + "*" * min(len(plain) - 2, 3) + plain[-1]


def mask_phone(phone: str) -> str:
    """10000001178 → 100******78; at least six digits are hidden, or all of a shorter number.

    Digits and `*` count alike, so 100****5678 becomes 100******78. An extension is not shown.
    """
    digits = "".join(_DIGITS.findall(_to_ascii(split_extension(phone)[0])))
    shown_end = 2 if len(digits) >= HIDDEN_PHONE_DIGITS + 2 else 0
    shown_start = min(3, max(0, len(digits) - shown_end - HIDDEN_PHONE_DIGITS))
    hidden = len(digits) - shown_start - shown_end
    return digits[:shown_start] + "*" * hidden + digits[len(digits) - shown_end :]


def mask_detail(detail: str) -> str:
    """文三路100号3幢2单元501室 → 文三路*号*幢*单元*室: street kept, building and room hidden.

    No digit of the input is left, in any script's digits; numbers written in words are hidden
    where a building or room word follows.
    """
    text = _to_ascii(detail).strip()
    return _ANY_NUMBER.sub("*", _NUMBER_IN_WORDS.sub("*", text))


def split_extension(phone: str) -> tuple[str, str]:
    """10012345678-1234 → (10012345678, 1234), also 转, #, ext; a landline's dash is kept.

    Platforms' virtual numbers carry an extension of up to six digits that must be dialled.
    """
    text = _COUNTRY.sub("", _to_ascii(phone).strip().replace(" ", ""))
    match = _EXTENSION.match(text)
    if match is None:
        return text, ""
    # A dash also groups digits (100-0000-0001): it begins an extension only after a whole number.
    whole = MIN_DASHED_DIGITS if match[2] == "-" else MIN_PHONE_DIGITS
    if len(_only_digits(match[1])) < whole:
        return text, ""
    return match[1], match[3]


def normalise_phone(phone: str, *, field: str = "phone") -> Phone:
    """A dialable number without country code, spaces and dashes, its extension apart.

    Accepts mobile numbers, landlines (0571-…), 400/800 numbers and foreign ones of 7 to 15
    digits. Raises `Rejected` `phone_missing` or `phone_invalid`.
    """
    text, extension = split_extension(phone)
    if not text:
        raise Rejected("phone_missing", "缺少手机号", "the phone number is missing", field=field)
    bare = text.replace("(", "").replace(")", "-" if text.startswith("(0") else "")
    landline = _LANDLINE.fullmatch(bare)
    if landline:
        return Phone(landline[1] + landline[2], extension or landline[3] or "")
    digits = bare.replace("-", "")
    known = _MOBILE.fullmatch(digits) or _SERVICE.fullmatch(bare) or _FOREIGN.fullmatch(digits)
    if not known:
        raise Rejected(
            "phone_invalid", "手机号格式不正确", "this is not a phone number", field=field
        )
    return Phone(digits.removeprefix("+"), extension)


def _to_ascii(text: str) -> str:
    """Full-width and other scripts' digits as ASCII digits, so that none slips past a pattern."""
    folded = unicodedata.normalize("NFKC", text)
    if folded.isascii():
        return folded
    return "".join(
        str(unicodedata.digit(char)) if not char.isascii() and char.isdigit() else char
        for char in folded
    )


def _only_digits(text: str) -> str:
    return "".join(char for char in text if char.isdigit())
