"""Reads what a GS1 symbol says of a thing: its number, its serial number, its batch. Pure.

Only behind an AIM identifier that says "this symbol is GS1" (ISO/IEC 15424): without one, about one
waybill number in ten would pass for a GS1 message. Parsing is biip's, which is imported when the
first such code is scanned; what cannot be read in one way only is not read at all.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

GS1_AIMS = frozenset(("]C1", "]e0", "]d2", "]Q3"))
"""GS1-128, GS1 DataBar, GS1 DataMatrix, GS1 QR Code."""
_AIM = re.compile(r"\][A-Za-z][0-9A-Za-z]")


@dataclass(frozen=True, slots=True)
class Gs1:
    """`gtin` as 14 digits, `sscc` as 18; "" for what the symbol does not carry."""

    gtin: str = ""
    sscc: str = ""
    serial: str = ""
    batch: str = ""

    @property
    def spellings(self) -> tuple[str, ...]:
        """Numbers to look up, the surest first: a GTIN also as EAN-13, UPC-A and EAN-8."""
        found = [self.sscc, "00" + self.sscc if self.sscc else "", self.gtin]
        for digits in (13, 12, 8):
            if self.gtin.startswith("0" * (14 - digits)):
                found.append(self.gtin[-digits:])
        found.append(self.serial)
        return tuple(one for one in found if one)


def split_aim(code: str) -> tuple[str, str]:
    """The AIM identifier a scanner put before the code ("" if none) and the code without it."""
    found = _AIM.match(code)
    return (found.group(), code[3:]) if found else ("", code)


def read(code: str) -> Gs1 | None:
    """What a GS1 symbol says; None without a GS1 AIM id, for a broken message, or without biip."""
    if split_aim(code)[0] not in GS1_AIMS:
        return None
    try:
        import biip
    except ImportError:
        return None
    try:
        message = biip.parse(code).gs1_message
    except biip.ParseError:
        return None
    if (
        message is None
        or not message.element_strings
        or any(one.gtin_error or one.sscc_error for one in message.element_strings)
    ):
        return None
    values: dict[str, str] = {}
    for one in message.element_strings:
        values.setdefault(one.ai.ai, one.value)
    gtin = values.get("01", "") or values.get("02", "")
    return Gs1(gtin, values.get("00", ""), values.get("21", ""), values.get("10", ""))
