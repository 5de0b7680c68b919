"""What a scanned code means at the bench. Known things first; never a guess by pattern.

Pure: what is known comes from a lookup. Digits alone prove nothing (about one in ten waybill
numbers is a valid GTIN), so an unknown code is an error tone, never a new record.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum


class CodeKind(StrEnum):
    COMMAND = "command"
    STATION = "station"
    DOCK = "dock"
    WAYBILL = "waybill"
    TASK = "task"
    ORDER = "order"
    SKU = "sku"
    SERIAL = "serial"
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

    `matches` holds every candidate of an ambiguous code: the step at hand chooses.
    """

    kind: CodeKind
    ref: str = ""
    argument: str = ""
    matches: tuple[Known, ...] = ()
    error_zh: str = ""


Lookup = Callable[[str], Sequence[Known]]


def classify(code: str, lookup: Lookup) -> Meaning:
    """Order of trust: `$$` command, `STN-` station or `LOAD-` dock card, what `lookup` knows."""
    if code.startswith("$$"):
        return _command(code)
    station = station_of_card(code)
    if station:
        return Meaning(CodeKind.STATION, station)
    dock = _DOCK.fullmatch(code)
    if dock:
        return Meaning(CodeKind.DOCK, dock.group(1))
    known = tuple(dict.fromkeys(lookup(code)))
    if len(known) == 1:
        return Meaning(known[0].kind, known[0].ref, matches=known)
    if known:
        return Meaning(CodeKind.AMBIGUOUS, matches=known, error_zh="这个条码对应多个对象")
    return Meaning(CodeKind.UNKNOWN, error_zh="不认识的条码")


def station_of_card(code: str) -> str:
    """The station a card `STN-…` names, "" when the code is no station card."""
    card = _STATION.fullmatch(code)
    return card.group(1) if card else ""


def _command(code: str) -> Meaning:
    card = _COMMAND.fullmatch(code)
    if card is None or card.group(1) not in COMMANDS:
        return Meaning(CodeKind.UNKNOWN, error_zh="不认识的命令码")
    return Meaning(CodeKind.COMMAND, card.group(1), card.group(2) or "")
