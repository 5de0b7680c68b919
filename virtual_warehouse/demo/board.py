"""What the person in front of the demo sees: one line that keeps changing, and remarks above it.

Everything goes to standard error, in Chinese; standard output is left to the result.
"""

from __future__ import annotations

import shutil
import sys
import time
import unicodedata
from collections.abc import Sequence
from typing import TextIO

QUIET_S = 5.0
SPINNER = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"


class Board:
    """`show` replaces the line, `say` writes a remark above it.

    On something that is not a terminal the line is written anew at most every 5 s.
    """

    def __init__(self, out: TextIO | None = None) -> None:
        self._out = out or sys.stderr
        self._live = self._out.isatty()
        self._start = time.monotonic()
        self._line = ""
        self._said_at = 0.0
        self._turn = 0

    @property
    def seconds(self) -> float:
        """Since the board was put up."""
        return time.monotonic() - self._start

    def say(self, text: str) -> None:
        """One remark that stays."""
        self._wipe()
        self._out.write(f"[{self.seconds:5.1f}s] {text}\n")
        self._draw()

    def show(self, line: str) -> None:
        """The line as it is now."""
        self._line = line
        if self._live:
            self._turn += 1
            self._wipe()
            self._draw()
        elif self.seconds - self._said_at >= QUIET_S:
            self._said_at = self.seconds
            self._out.write(f"[{self.seconds:5.1f}s] {line}\n")
            self._out.flush()

    def end(self) -> None:
        """Take the line away."""
        self._wipe()
        self._line = ""
        self._out.flush()

    def _wipe(self) -> None:
        if self._live and self._line:
            self._out.write("\r\x1b[2K")

    def _draw(self) -> None:
        if self._live and self._line:
            mark = SPINNER[self._turn % len(SPINNER)]
            self._out.write(f"{mark} {_fitted(self._line, shutil.get_terminal_size().columns - 3)}")
        self._out.flush()


def bar(done: int, total: int, width: int = 20) -> str:
    """A bar of `width` cells."""
    filled = width * done // max(1, total)
    return "█" * filled + "░" * (width - filled)


def table(rows: Sequence[tuple[str, str]], title: str) -> str:
    """Two columns in a frame; Chinese characters count as two cells."""
    left = max(cells(name) for name, _ in rows)
    right = max(cells(value) for _, value in rows)
    inner = max(left + right + 3, cells(title))
    right = inner - left - 3
    lines = [f"┌{'─' * (inner + 2)}┐", f"│ {_padded(title, inner)} │", f"├{'─' * (inner + 2)}┤"]
    lines += [f"│ {_padded(name, left)}   {_padded(value, right)} │" for name, value in rows]
    return "\n".join([*lines, f"└{'─' * (inner + 2)}┘"])


def cells(text: str) -> int:
    """How many terminal cells a text takes."""
    return sum(2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text)


def _fitted(text: str, width: int) -> str:
    """As much of a line as one row of the terminal takes."""
    while cells(text) > max(10, width):
        text = text[:-1]
    return text


def _padded(text: str, width: int) -> str:
    return text + " " * (width - cells(text))
