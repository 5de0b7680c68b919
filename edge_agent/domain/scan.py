"""What a scanner delivers, and the filter for mechanical repeats.

First step of the bench's journey (scanner / PDA -> station). Knows no device.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

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
    "incomplete": "条码没有收完整, 请重扫",
    "dropped": "扫描数据丢失, 请重扫",
    "alt_code": "扫描枪发来的组合键无法识别",
}


class RepeatFilter:
    """Same source, same code, within 1.5 s = the trigger bounced; remembers 256 sources."""

    def __init__(self, window_ms: int = REPEAT_WINDOW_MS) -> None:
        self._window_ms = window_ms
        self._last: OrderedDict[str, tuple[str, int]] = OrderedDict()

    def is_repeat(self, source: str, code: str, now_ms: int) -> bool:
        """True if this scan is a bounce. The window runs from the last scan that counted."""
        last = self._last.get(source)
        if last is not None and last[0] == code and 0 <= now_ms - last[1] < self._window_ms:
            return True
        self._last[source] = (code, now_ms)
        self._last.move_to_end(source)
        if len(self._last) > MAX_REMEMBERED:
            self._last.popitem(last=False)
        return False


def refuse_code(code: str) -> str:
    """Why this text cannot be a code (a key of `REFUSED_ZH`), or "". GS (0x1D) is data of GS1."""
    if len(code) > MAX_CODE_CHARS:
        return "too_long"
    if any((ord(char) < 32 and char != "\x1d") or 0x7F <= ord(char) < 0xA0 for char in code):
        return "control_character"
    return ""
