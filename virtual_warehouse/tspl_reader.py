"""What a TSPL printer makes of its bytes: an incremental interpreter, the test oracle of labels.

Written from the manual, not from the agent's encoder, so that a mistake there shows here. Knows
the raster subset (SIZE, GAP, CLS, BITMAP, PRINT and harmless settings) and status questions.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from virtual_warehouse.heard import Heard, Label, Nonsense, Question

if TYPE_CHECKING:
    from PIL.Image import Image

MAX_LINE_BYTES = 4_096
MAX_DOTS = 40_000_000
DOTS_PER_MM = 8
_HARMLESS = frozenset(
    ("GAP", "BLINE", "REFERENCE", "DIRECTION", "DENSITY", "SPEED", "REM", "SET", "OFFSET", "SHIFT")
)


@dataclass(slots=True)
class TsplReader:
    """Feed it bytes in any pieces; it gives back questions, labels and nonsense in order."""

    dots_per_mm: int = DOTS_PER_MM
    _buffer: bytearray = field(default_factory=bytearray)
    _paper: tuple[int, int] = (0, 0)
    _canvas: Image | None = None
    _remarks: list[str] = field(default_factory=list)

    @property
    def half_done(self) -> bool:
        """Bytes of an unfinished command are waiting."""
        return bool(self._buffer)

    def forget(self) -> None:
        """Power cycle."""
        self._buffer.clear()
        self._canvas = None
        self._remarks.clear()

    def feed(self, data: bytes) -> list[Heard]:
        self._buffer += data
        found: list[Heard] = []
        while self._step(found):
            pass
        return found

    def _step(self, found: list[Heard]) -> bool:
        buffer = self._buffer
        if buffer[:1] == b"\x1b":
            if len(buffer) < 3:
                return False
            question = bytes(buffer[1:3])
            del buffer[:3]
            known = question in (b"!?", b"!S")
            found.append(Question(question.decode()) if known else Nonsense(b"\x1b" + question))
            return True
        if buffer[:7] == b"BITMAP ":
            return self._bitmap(found)
        end = buffer.find(b"\n")
        if end < 0:
            if len(buffer) > MAX_LINE_BYTES:
                found.append(Nonsense(bytes(buffer[:80])))
                buffer.clear()
            return False
        line = bytes(buffer[:end]).strip(b"\r\n ")
        del buffer[: end + 1]
        if line:
            self._command(line, found)
        return True

    def _bitmap(self, found: list[Heard]) -> bool:
        """BITMAP x,y,width in bytes,height,mode,data: the data is exactly width x height bytes."""
        from PIL import Image

        head = bytes(self._buffer[7:64]).split(b",", 5)
        if len(head) < 6:
            if len(self._buffer) < 64:
                return False
            found.append(Nonsense(bytes(self._buffer[:80])))
            self._buffer.clear()
            return False
        x, y, row_bytes, height, mode = (int(number) for number in head[:5])
        start = 7 + sum(len(number) + 1 for number in head[:5])
        size = row_bytes * height
        if len(self._buffer) < start + size:
            return False
        raster = bytes(self._buffer[start : start + size])
        del self._buffer[: start + size]
        canvas = self._sheet(
            max(self._paper[0], x + row_bytes * 8), max(self._paper[1], y + height)
        )
        if mode != 0 or canvas is None:
            found.append(Nonsense(b"BITMAP"))
            return True
        canvas.paste(Image.frombytes("1", (row_bytes * 8, height), raster), (x, y))
        return True

    def _sheet(self, width: int, height: int) -> Image | None:
        from PIL import Image

        if width * height > MAX_DOTS:
            return None
        if self._canvas is None:
            self._canvas = Image.new("1", self._paper if all(self._paper) else (width, height), 1)
        return self._canvas

    def _command(self, line: bytes, found: list[Heard]) -> None:
        text = line.decode("ascii", "replace")
        name, _space, rest = text.partition(" ")
        if name == "SIZE":
            width, height = (int(part.removesuffix(" mm")) for part in rest.split(","))
            self._paper = (width * self.dots_per_mm, height * self.dots_per_mm)
        elif name == "CLS":
            self._canvas = None
        elif name == "PRINT":
            sets, _comma, copies = rest.partition(",")
            image = self._sheet(*self._paper)
            if image is not None:
                found.append(
                    Label(image.copy(), int(sets) * int(copies or 1), tuple(self._remarks))
                )
            self._remarks.clear()
        elif name == "REM":
            self._remarks.append(rest)
        elif name not in _HARMLESS:
            found.append(Nonsense(line))
