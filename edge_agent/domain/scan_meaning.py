"""What a scanned code means at the bench. Known things first; never a guess by pattern.

Pure: what is known comes from a lookup. Digits alone prove nothing (about one in ten waybill
numbers is a valid GTIN), so an unknown code is an error tone, never a new record.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from edge_agent.domain import scan_gs1
from edge_agent.domain.scan_patterns import CodePattern, hint_zh


class CodeKind(StrEnum):
    COMMAND = "command"
    STATION = "station"
    DOCK = "dock"
    WAYBILL = "waybill"
    TASK = "task"
    ORDER = "order"
    SKU = "sku"
    SERIAL = "serial"
    RETURN = "return"
    AMBIGUOUS = "ambiguous"
    UNKNOWN = "unknown"


COMMANDS: dict[str, str] = {
    "OK": "确认",
    "CANCEL": "放下当前任务",
    "SHORT": "缺货",
    "PACKED": "已打包",
    "PRINT": "打印面单",
    "REPRINT": "补打面单",
    "OUT": "面单出来了",
    "NOTOUT": "面单没出来",
    "STOPPED": "已停止并放回",
    "COUNT": "盘点",
    "N": "数量",
    "PASS": "质检合格",
    "FAIL": "质检不合格",
    "DONE": "质检结束",
}
"""Command cards (`$$NAME` or `$$NAME:argument`) and what they are called at the bench."""

_COMMAND = re.compile(r"\$\$([A-Z]{1,16})(?::([A-Za-z0-9._-]{1,64}))?")
_STATION = re.compile(r"STN-([A-Za-z0-9_-]{1,32})")
_DOCK = re.compile(r"LOAD-([A-Za-z0-9_-]{1,32})")


@dataclass(frozen=True, slots=True)
class Known:
    """One thing the journal knows under a code; `ref` is its id there (task id, SKU, ...)."""

    kind: CodeKind
    ref: str


@dataclass(frozen=True, slots=True)
class Meaning:
    """`ref`: command name, station, dock or known thing's id; `argument` only of a command.

    `matches` holds every candidate of an ambiguous code: the step at hand chooses. `serial` is the
    serial number a GS1 symbol carries beside the item's number; `hint_zh` says what an unknown code
    looks like, if anything.
    """

    kind: CodeKind
    ref: str = ""
    argument: str = ""
    matches: tuple[Known, ...] = ()
    error_zh: str = ""
    serial: str = ""
    hint_zh: str = ""


Lookup = Callable[[str], Sequence[Known]]


def classify(code: str, lookup: Lookup, patterns: Sequence[CodePattern] = ()) -> Meaning:
    """Order of trust: `$$` command, `STN-` station or `LOAD-` dock card, what `lookup` knows.

    Then a GS1 symbol's numbers, each of them only if `lookup` knows it. `patterns` say no more than
    what an unknown code looks like.
    """
    aim, bare = scan_gs1.split_aim(code)
    if bare.startswith("$$"):
        return _command(bare)
    station = station_of_card(code)
    if station:
        return Meaning(CodeKind.STATION, station)
    dock = _DOCK.fullmatch(bare)
    if dock:
        return Meaning(CodeKind.DOCK, dock.group(1))
    known = lookup(code) or (lookup(bare) if aim else ())
    if known:
        return _known(known)
    gs1 = scan_gs1.read(code)
    for number in gs1.spellings if gs1 else ():
        known = lookup(number)
        if known:
            assert gs1 is not None
            return _known(known, gs1.serial)
    return Meaning(
        CodeKind.UNKNOWN,
        error_zh="不认识的条码",
        serial=gs1.serial if gs1 else "",
        hint_zh=hint_zh(code, patterns),
    )


def _known(found: Sequence[Known], serial: str = "") -> Meaning:
    known = tuple(dict.fromkeys(found))
    if len(known) == 1:
        return Meaning(known[0].kind, known[0].ref, matches=known, serial=serial)
    return Meaning(
        CodeKind.AMBIGUOUS, matches=known, error_zh="这个条码对应多个对象", serial=serial
    )


def station_of_card(code: str) -> str:
    """The station a card `STN-…` names, "" when the code is no station card."""
    card = _STATION.fullmatch(scan_gs1.split_aim(code)[1])
    return card.group(1) if card else ""


def _command(code: str) -> Meaning:
    card = _COMMAND.fullmatch(code)
    if card is None or card.group(1) not in COMMANDS:
        return Meaning(CodeKind.UNKNOWN, error_zh="不认识的命令码")
    return Meaning(CodeKind.COMMAND, card.group(1), card.group(2) or "")
