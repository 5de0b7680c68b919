"""What an ESC/POS printer makes of its bytes: an incremental interpreter, the test oracle.

Written from Epson's command reference, not from the agent's encoder. Knows the raster subset
(GS v 0, feeds, cuts), the process id of GS ( H, and the real-time DLE EOT, which it obeys the
moment it arrives, also in the middle of a picture, as real printers do.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from virtual_warehouse.heard import Heard, Label, Mark, Nonsense, Question

if TYPE_CHECKING:
    from PIL.Image import Image

MAX_STRIP_ROWS = 255
MAX_ROWS = 20_000
FEED_ENDS_PAPER = 4
_REALTIME = (b"\x10\x04", b"\x10\x05", b"\x10\x14")


@dataclass(slots=True)
class EscposReader:
    """Feed it bytes in any pieces; it gives back questions, papers, marks and nonsense in order.

    Strips higher than 255 rows are nonsense, as to cheap firmware.
    """

    _buffer: bytearray = field(default_factory=bytearray)
    _strips: list[tuple[int, bytes]] = field(default_factory=list)
    _tail: bytes = b""

    @property
    def half_done(self) -> bool:
        """Bytes of an unfinished command, or dots that no cut has ended, are waiting."""
        return bool(self._buffer or self._strips)

    def forget(self) -> None:
        """Power cycle."""
        self._buffer.clear()
        self._strips.clear()
        self._tail = b""

    def feed(self, data: bytes) -> list[Heard]:
        found: list[Heard] = list(self._realtime(data))
        self._buffer += data
        while self._step(found):
            pass
        return found

    def _realtime(self, data: bytes) -> list[Heard]:
        """DLE EOT n wherever it stands; other real-time commands are never wanted."""
        text = self._tail + data
        found: list[Heard] = []
        place = 0
        while place + 3 <= len(text):
            head = text[place : place + 2]
            if head == b"\x10\x04" and 1 <= text[place + 2] <= 4:
                found.append(Question(str(text[place + 2])))
                place += 3
                continue
            if head in _REALTIME[1:]:
                found.append(Nonsense(text[place : place + 3]))
            place += 1
        self._tail = text[place:]
        return found

    def _step(self, found: list[Heard]) -> bool:
        buffer = self._buffer
        for known, size in _SIZES.items():
            if buffer[: len(known)] == known:
                if len(buffer) < size:
                    return False
                return self._command(bytes(known), size, found)
            if known.startswith(bytes(buffer[: len(known)])):
                return False  # its beginning, or nothing at all
        found.append(Nonsense(bytes(buffer[:16])))
        del buffer[:1]
        return True

    def _command(self, name: bytes, size: int, found: list[Heard]) -> bool:
        head = bytes(self._buffer[:size])
        if name == b"\x1dv0":
            return self._strip(head, found)
        del self._buffer[:size]
        if name == b"\x1b@":
            self._strips.clear()
        elif name == b"\x1d(H":
            found.append(Mark(b"\x37\x22" + head[7:11] + b"\x00"))
        elif name == b"\x1dV" or (name == b"\x1bd" and head[2] >= FEED_ENDS_PAPER):
            image = self._paper()
            if image is not None:
                found.append(Label(image, 1, ()))
        return True

    def _strip(self, head: bytes, found: list[Heard]) -> bool:
        """GS v 0 m xL xH yL yH: rows of x bytes, 1 burns."""
        row_bytes = int.from_bytes(head[4:6], "little")
        rows = int.from_bytes(head[6:8], "little")
        size = row_bytes * rows
        if len(self._buffer) < 8 + size:
            return False
        data = bytes(self._buffer[8 : 8 + size])
        del self._buffer[: 8 + size]
        if rows > MAX_STRIP_ROWS or head[3] not in (0, 48):
            found.append(Nonsense(head))
        elif sum(len(strip) // width for width, strip in self._strips) < MAX_ROWS:
            self._strips.append((row_bytes, data))
        return True

    def _paper(self) -> Image | None:
        from PIL import Image

        if not self._strips:
            return None
        width = max(row_bytes for row_bytes, _data in self._strips) * 8
        height = sum(len(data) // row_bytes for row_bytes, data in self._strips)
        sheet = Image.new("1", (width, height), 1)
        top = 0
        for row_bytes, data in self._strips:
            rows = len(data) // row_bytes
            dots = data.translate(_INVERTED)
            sheet.paste(Image.frombytes("1", (row_bytes * 8, rows), dots), (0, top))
            top += rows
        self._strips.clear()
        return sheet


_INVERTED = bytes(255 - value for value in range(256))
_SIZES = {
    b"\x1b@": 2,
    b"\x1bd": 3,
    b"\x1dv0": 8,
    b"\x1dV": 4,
    b"\x1d(H": 11,
    b"\x10\x04": 3,
    b"\n": 1,
}
"""Command -> bytes of it that must be there before it can be judged."""
