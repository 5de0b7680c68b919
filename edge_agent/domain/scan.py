"""What a scanner delivers, and the filter for mechanical repeats.

First step of the bench's journey (scanner / PDA -> station). Knows no device.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import TypeVar

_K = TypeVar("_K")
_V = TypeVar("_V")
MAX_CODE_CHARS = 256
REPEAT_WINDOW_MS = 1_500
MAX_REMEMBERED = 256


@dataclass(frozen=True, slots=True)
class ScanEvent:
    """One whole code. `source` is the port or PDA it came from; `at_ms` a monotonic clock."""

    source: str
    code: str
    at_ms: int


@dataclass(frozen=True, slots=True)
class ScanRefused:
    """A scan that must not count: the packer hears the error tone and scans again.

    `reason`: `too_long`, `control_character`, `encoding`, `incomplete`, `dropped`, `alt_code`.
    """

    source: str
    reason: str
    at_ms: int


REFUSED_ZH: dict[str, str] = {
    "too_long": f"条码超过 {MAX_CODE_CHARS} 个字符",
    "control_character": "条码里有控制字符",
    "encoding": "条码编码无法识别",
    "incomplete": "条码没有收完整, 请重扫; 每次都这样, 请扫设置页恢复扫描枪",
    "dropped": "扫描数据丢失, 请重扫",
    "alt_code": "扫描枪发来的组合键无法识别",
}


class RepeatFilter:
    """The same code at the same station within 1.5 s is one scan: the trigger bounced.

    Two equal items are two scans at least that far apart; sooner, the second is answered with the
    "repeat" tone and not counted, and the packer scans it again. Counting one item twice would send
    a parcel with one too few, so time decides here, never what the step still needs. A code is also
    taken at once when its scanner has read another one since. The window runs from the scan that
    counted, so that holding a code before the scanner for long counts it again; an error does not
    count (`forget`), so that the same scan gets the same error, never a milder one.
    """

    def __init__(self, window_ms: int = REPEAT_WINDOW_MS) -> None:
        self._window_ms = window_ms
        self._seen: OrderedDict[tuple[str, str], int] = OrderedDict()
        self._last: OrderedDict[str, str] = OrderedDict()

    def is_repeat(self, station: str, source: str, code: str, now_ms: int) -> bool:
        """True if this scan is a bounce; else it counts from now on. Remembers 256 of each."""
        at_ms = self._seen.get((station, code))
        other_since = self._last.get(source, code) != code
        soon = at_ms is not None and 0 <= now_ms - at_ms < self._window_ms
        if soon and not other_since:
            return True
        _remember(self._seen, (station, code), now_ms)
        _remember(self._last, source, code)
        return False

    def forget(self, station: str, code: str) -> None:
        """The scan was answered with an error: it did not count."""
        self._seen.pop((station, code), None)


def _remember(memory: OrderedDict[_K, _V], key: _K, value: _V) -> None:
    memory[key] = value
    memory.move_to_end(key)
    if len(memory) > MAX_REMEMBERED:
        memory.popitem(last=False)


def refuse_code(code: str) -> str:
    """Why this text cannot be a code (a key of `REFUSED_ZH`), or "". GS (0x1D) is data of GS1."""
    if len(code) > MAX_CODE_CHARS:
        return "too_long"
    if any((ord(char) < 32 and char != "\x1d") or 0x7F <= ord(char) < 0xA0 for char in code):
        return "control_character"
    return ""
