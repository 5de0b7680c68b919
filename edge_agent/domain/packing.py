"""What the packer still has to scan before the box may close, and how long it took.

Stands between pick and hand over: walking order, gift, serial numbers, handling time. Pure; knows
no scanner and no journal.
"""

from __future__ import annotations

import re

from edge_agent.domain.scan_gs1 import split_aim
from edge_agent.domain.task import Line, Task, find_sku
from protocols.errors import Rejected

SERIAL_CHARS_MAX = 64


def handling_ms(task: Task, *, boot: int, wall_ms: int, mono_ms: int) -> int:
    """From the scan that began packing until now; 0 when that is not known.

    CLOCK_BOOTTIME within one boot, the wall clock across a restart.
    """
    start = task.packing
    if start is None:
        return 0
    passed = mono_ms - start.mono_ms if boot == start.boot else wall_ms - start.wall_ms
    return max(0, passed)


def pick_list(task: Task) -> tuple[Line, ...]:
    """The lines in the order a picker walks: by shelf, numbers in a shelf's name as numbers."""
    return tuple(sorted(task.lines, key=lambda line: (*shelf_order(line.location), line.sku)))


def shelf_order(location: str) -> tuple[bool, tuple[tuple[int, int, str], ...]]:
    """Sort key of a shelf: A-2-1 comes before A-10-1, goods without a shelf come last."""
    parts = re.findall(r"\d+|\D+", location)
    return location == "", tuple(
        (0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts
    )


def gift_missing(task: Task) -> int:
    """Units of the gift that still have to be scanned when all else was; 0 before that."""
    rest = sum(max(0, line.quantity - line.verified) for line in task.lines if not line.gift)
    return 0 if rest else sum(line.quantity - line.verified for line in task.lines if line.gift)


def gift_zh(task: Task) -> str:
    """What the packer reads while the gift is missing."""
    for line in task.lines:
        if line.gift and line.verified < line.quantity:
            return f"还差赠品 {line.name or line.sku} ×{line.quantity - line.verified}, 请扫赠品码"
    return "赠品已齐"


def is_gift_code(task: Task, code: str) -> bool:
    """Whether the code is the number of the parcel's gift child."""
    return bool(task.gift) and code == task.gift


def next_gift(task: Task, *, picked: bool) -> str:
    """The SKU of the next gift unit to take (`picked`) or to scan; the last one when all are."""
    gifts = [line for line in task.lines if line.gift]
    for line in gifts:
        if (line.picked if picked else line.verified) < line.quantity:
            return line.sku
    return gifts[-1].sku if gifts else ""


def check_serial(task: Task, serial: str) -> str:
    """A serial number fit to be kept. Raises `Rejected` for anything that is another code."""
    text = split_aim(serial)[1].strip()
    if not 1 <= len(text) <= SERIAL_CHARS_MAX or not text.isprintable():
        raise Rejected(
            "serial_invalid",
            f"序列号要 1 到 {SERIAL_CHARS_MAX} 个字符",
            "bad serial number",
            field="serial",
        )
    known = {task.shipment, task.waybill, task.order, task.gift}
    if text in known or find_sku(task, text):
        raise Rejected(
            "serial_wanted", "请扫序列号, 不是商品条码", "a serial is wanted", field="serial"
        )
    return text
