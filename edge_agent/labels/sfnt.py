"""Reads two facts from a font file without a font library: does a glyph exist, how wide is it.

Used to lay text out before any glyph is drawn and to find missing characters (rare names). The
file is mapped, never read whole: a Chinese font is 16 MB and the agent has a memory budget.
Source: OpenType specification, tables `cmap` (formats 4 and 12), `head`, `hhea`, `hmtx`.
"""

from __future__ import annotations

import mmap
import struct
from functools import lru_cache
from pathlib import Path

from protocols.errors import Corrupt


class FontMetrics:
    """One face of a font file. `index` picks the face of a collection (.ttc)."""

    def __init__(self, path: Path, index: int = 0) -> None:
        self.path = path
        self.index = index
        with path.open("rb") as file:
            self._data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        try:
            self._read_tables()
        except (struct.error, KeyError, IndexError) as broken:
            raise Corrupt(
                "font_broken", f"字体文件损坏: {path.name}", "font file is broken", field="font"
            ) from broken
        self.advance = lru_cache(maxsize=8192)(self._advance)

    def _read_tables(self) -> None:
        data = self._data
        start = 0
        if data[:4] == b"ttcf":
            start = struct.unpack_from(">I", data, 12 + 4 * self.index)[0]
        count = struct.unpack_from(">H", data, start + 4)[0]
        tables: dict[bytes, int] = {}
        for place in range(count):
            tag, _sum, offset, _size = struct.unpack_from(">4sIII", data, start + 12 + 16 * place)
            tables[tag] = offset
        self._units_per_em: int = struct.unpack_from(">H", data, tables[b"head"] + 18)[0]
        self._metric_count: int = struct.unpack_from(">H", data, tables[b"hhea"] + 34)[0]
        self._hmtx = tables[b"hmtx"]
        self._subtable, self._format = self._choose_cmap(tables[b"cmap"])

    def _choose_cmap(self, cmap: int) -> tuple[int, int]:
        found: dict[int, int] = {}
        for place in range(struct.unpack_from(">H", self._data, cmap + 2)[0]):
            record = cmap + 4 + 8 * place
            platform, encoding, offset = struct.unpack_from(">HHI", self._data, record)
            if (platform == 0 and encoding < 5) or (platform == 3 and encoding in (1, 10)):
                kind = struct.unpack_from(">H", self._data, cmap + offset)[0]
                found[kind] = cmap + offset
        for kind in (12, 4):
            if kind in found:
                return found[kind], kind
        raise KeyError("cmap")

    def glyph(self, char: str) -> int:
        """Glyph number of one character, 0 if the font has none."""
        code = ord(char)
        return self._glyph_12(code) if self._format == 12 else self._glyph_4(code)

    def _glyph_12(self, code: int) -> int:
        base = self._subtable
        low, high = 0, struct.unpack_from(">I", self._data, base + 12)[0]
        while low < high:
            middle = (low + high) // 2
            first, last, glyph = struct.unpack_from(">III", self._data, base + 16 + 12 * middle)
            if code < first:
                high = middle
            elif code > last:
                low = middle + 1
            else:
                return int(glyph + code - first)
        return 0

    def _glyph_4(self, code: int) -> int:
        if code > 0xFFFF:
            return 0
        base, data = self._subtable, self._data
        double = struct.unpack_from(">H", data, base + 6)[0]
        for place in range(0, double, 2):
            if code > struct.unpack_from(">H", data, base + 14 + place)[0]:
                continue
            first = struct.unpack_from(">H", data, base + 16 + double + place)[0]
            if code < first:
                return 0
            delta = struct.unpack_from(">H", data, base + 16 + 2 * double + place)[0]
            where = base + 16 + 3 * double + place
            reach = struct.unpack_from(">H", data, where)[0]
            if reach == 0:
                return int(code + delta) & 0xFFFF
            glyph = struct.unpack_from(">H", data, where + reach + 2 * (code - first))[0]
            return int(glyph + delta) & 0xFFFF if glyph else 0
        return 0

    def _advance(self, char: str) -> float:
        """Width of one character in em; -1.0 if the font has no glyph for it."""
        glyph = self.glyph(char)
        if glyph == 0:
            return -1.0
        place = min(glyph, self._metric_count - 1)
        units = struct.unpack_from(">H", self._data, self._hmtx + 4 * place)[0]
        return float(units) / self._units_per_em
