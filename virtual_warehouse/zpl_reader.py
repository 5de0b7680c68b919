"""What a ZPL printer makes of its bytes: an incremental interpreter, the test oracle of labels.

Written from Zebra's programming guide, not from the agent's encoder. Knows the raster subset
(^GFA as hex, ACS or Z64, ^FO, ^PQ and harmless settings), remarks and `~HS`.
"""

from __future__ import annotations

import base64
import binascii
import re
import zlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from virtual_warehouse.heard import Heard, Label, Nonsense, Question

if TYPE_CHECKING:
    from PIL.Image import Image

MAX_FORMAT_BYTES = 4_000_000
MAX_DOTS = 40_000_000
_HARMLESS = frozenset(("XA", "LH", "LS", "PO", "FS", "MN", "MT", "MM", "PR", "LT", "CI", "JZ"))
_COMMAND = re.compile(rb"\^([A-Z][A-Z0-9])([^^~]*)")


@dataclass(slots=True)
class ZplReader:
    """Feed it bytes in any pieces; it gives back questions, labels and nonsense in order."""

    _buffer: bytearray = field(default_factory=bytearray)

    @property
    def half_done(self) -> bool:
        """Bytes of an unfinished format are waiting."""
        return bool(self._buffer)

    def forget(self) -> None:
        """Power cycle."""
        self._buffer.clear()

    def feed(self, data: bytes) -> list[Heard]:
        self._buffer += data
        found: list[Heard] = []
        while self._step(found):
            pass
        return found

    def _step(self, found: list[Heard]) -> bool:
        buffer = self._buffer
        while bytes(buffer[:1]) in (b"\r", b"\n"):
            del buffer[:1]
        if not buffer:
            return False
        if buffer[:1] == b"~":
            if len(buffer) < 3:
                return False
            name = bytes(buffer[:3])
            known = name in (b"~HS", b"~HI")
            found.append(Question(name[1:].decode()) if known else Nonsense(name))
            del buffer[:3]
            return True
        if buffer[:3] == b"^XA":
            end = buffer.find(b"^XZ")
            if end < 0:
                if len(buffer) > MAX_FORMAT_BYTES:
                    buffer.clear()
                return False
            body = bytes(buffer[:end])
            del buffer[: end + 3]
            self._format(body, found)
            return True
        if b"^XA".startswith(bytes(buffer[:3])):
            return False
        starts = [place for place in (buffer.find(b"^XA"), buffer.find(b"~")) if place > 0]
        cut = min(starts, default=len(buffer))
        found.append(Nonsense(bytes(buffer[:cut][:80])))
        del buffer[:cut]
        return True

    def _format(self, body: bytes, found: list[Heard]) -> None:
        sheet = _Sheet()
        for name, rest in _COMMAND.findall(body):
            try:
                sheet.command(name.decode(), rest)
            except (ValueError, IndexError, zlib.error, binascii.Error):
                found.append(Nonsense((b"^" + name + rest)[:80]))
                return
        image = sheet.image()
        if image is not None:
            found.append(Label(image, sheet.copies, tuple(sheet.remarks)))


@dataclass(slots=True)
class _Sheet:
    width: int = 0
    height: int = 0
    copies: int = 1
    origin: tuple[int, int] = (0, 0)
    remarks: list[str] = field(default_factory=list)
    parts: list[tuple[int, int, Image]] = field(default_factory=list)

    def command(self, name: str, rest: bytes) -> None:
        if name == "PW":
            self.width = int(rest)
        elif name == "LL":
            self.height = int(rest)
        elif name == "FO":
            x, y = rest.split(b",")[:2]
            self.origin = int(x), int(y)
        elif name == "PQ":
            self.copies = int(rest.split(b",")[0])
        elif name == "FX":
            self.remarks.append(rest.decode("ascii").strip())
        elif name == "GF":
            self.parts.append((*self.origin, _graphic(rest)))
        elif name not in _HARMLESS:
            raise ValueError(name)

    def image(self) -> Image | None:
        from PIL import Image

        if not 0 < self.width * self.height <= MAX_DOTS or not self.parts:
            return None
        sheet = Image.new("1", (self.width, self.height), 1)
        for x, y, part in self.parts:
            sheet.paste(part, (x, y))
        return sheet


def _graphic(rest: bytes) -> Image:
    """^GF a,b,c,d,data: a = A (text), c = bytes of the picture, d = bytes of a row; 1 burns."""
    from PIL import Image

    kind, _sent, total, row, data = rest.split(b",", 4)
    if kind != b"A":
        raise ValueError(kind)
    size, row_bytes = int(total), int(row)
    raster = _unpacked(data, row_bytes, size)
    if len(raster) != size or size % row_bytes:
        raise ValueError("wrong amount of graphic data")
    inverted = raster.translate(bytes(255 - value for value in range(256)))
    return Image.frombytes("1", (row_bytes * 8, size // row_bytes), inverted)


def _unpacked(data: bytes, row_bytes: int, size: int) -> bytes:
    if data.startswith(b":Z64:"):
        text, _colon, check = data[5:].partition(b":")
        if binascii.crc_hqx(text, 0) != int(check, 16):
            raise ValueError("CRC of the picture is wrong")
        return zlib.decompress(base64.b64decode(text))
    return bytes.fromhex(_rows(data.decode("ascii"), row_bytes * 2, size // row_bytes))


def _rows(text: str, digits: int, count: int) -> str:
    """Alternative compression: G..Y repeat 1..19, g..z 20..400, then a digit; `,` `!` `:`."""
    rows: list[str] = []
    row, repeat = "", 0
    for sign in text:
        if "G" <= sign <= "Y":
            repeat += ord(sign) - ord("F")
        elif "g" <= sign <= "z":
            repeat += (ord(sign) - ord("f")) * 20
        elif sign in ",!":
            row += ("0" if sign == "," else "F") * (digits - len(row))
        elif sign == ":":
            rows.append(rows[-1] if rows else "0" * digits)
            continue
        else:
            row += sign * (repeat or 1)
            repeat = 0
        if len(row) >= digits:
            rows.append(row[:digits])
            row = row[digits:]
    return "".join(rows[:count])
