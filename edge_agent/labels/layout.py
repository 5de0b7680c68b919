"""Breaks text into lines and chooses its size, before a single glyph is drawn.

Pure: widths come from a callable in em (negative = no such glyph), positions go out in dots.
Chinese may break anywhere except before closing punctuation; a Latin word or number stays whole
while it fits a line.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

SIZES = (
    *range(12, 25, 2),
    *range(28, 65, 4),
    *range(72, 129, 8),
    *range(144, 481, 16),
)
"""The only em heights (dots) ever drawn: a short ladder keeps few font faces open."""

LEADING = 1.16
MISSING_EM = 1.7
_NOT_FIRST = frozenset("，。、；：！？）》」』】〕％·,.;:!?)]}%…")
Advance = Callable[[str], float]


@dataclass(frozen=True, slots=True)
class Line:
    """Characters with the x of each in dots, from 0, and the width of the whole."""

    chars: tuple[tuple[str, float], ...]
    width: float


@dataclass(frozen=True, slots=True)
class Block:
    """Text ready to draw: em height in dots and its lines."""

    size: int
    lines: tuple[Line, ...]

    @property
    def line_height(self) -> float:
        return self.size * LEADING

    @property
    def height(self) -> float:
        """From the top of the first em box to the bottom of the last."""
        return self.size + (len(self.lines) - 1) * self.line_height if self.lines else 0.0


def fit(
    text: str,
    width: float,
    height: float,
    *,
    size: float,
    least: float,
    max_lines: int,
    advance: Advance,
    spacing_em: float = 0.0,
) -> Block:
    """The largest size of `SIZES` between `least` and `size` (dots) at which `text` fits.

    If none does, the smallest is used and the last line ends with "…".
    """
    ladder = [step for step in reversed(SIZES) if least <= step <= size] or [
        max((step for step in SIZES if step <= size), default=SIZES[0])
    ]
    for step in ladder:
        block = Block(step, _wrap(text, width, step, advance, spacing_em))
        if len(block.lines) <= max_lines and block.height <= height + 1:
            return block
    step = ladder[-1]
    rows = max(1, min(max_lines, int((height + 1 - step) // (step * LEADING)) + 1))
    lines = _wrap(text, width, step, advance, spacing_em)
    if len(lines) > rows:
        lines = (*lines[: rows - 1], _ellipsis(lines[rows - 1], width, step, advance, spacing_em))
    return Block(step, lines)


def _em(char: str, advance: Advance) -> float:
    width = advance(char)
    return MISSING_EM if width < 0 else width


def _set(text: str, size: int, advance: Advance, spacing_em: float) -> Line:
    x = 0.0
    chars: list[tuple[str, float]] = []
    for char in text:
        chars.append((char, x))
        x += (_em(char, advance) + spacing_em) * size
    return Line(tuple(chars), max(0.0, x - spacing_em * size))


def _wrap(
    text: str, width: float, size: int, advance: Advance, spacing_em: float
) -> tuple[Line, ...]:
    lines: list[str] = []
    row, used = "", 0.0
    for word in _words(text):
        word_width = sum(_em(char, advance) + spacing_em for char in word) * size
        if row and used + word_width - spacing_em * size > width:
            if word[0] in _NOT_FIRST and len(row) > 1:
                word = row[-1] + word
                row = row[:-1]
            lines.append(row.rstrip())
            row, used = "", 0.0
        for char in word if word.strip() or row else "":
            char_width = (_em(char, advance) + spacing_em) * size
            if row and used + char_width - spacing_em * size > width:
                lines.append(row)
                row, used = "", 0.0
            row, used = row + char, used + char_width
    if row.strip():
        lines.append(row.rstrip())
    return tuple(_set(line, size, advance, spacing_em) for line in lines)


def _words(text: str) -> list[str]:
    """Runs of Latin letters and digits stay together; every other character stands alone."""
    words: list[str] = []
    for char in text:
        joins = char.isascii() and char != " "
        if words and joins and words[-1][-1].isascii() and words[-1] != " ":
            words[-1] += char
        else:
            words.append(char)
    return words


def _ellipsis(line: Line, width: float, size: int, advance: Advance, spacing_em: float) -> Line:
    text = "".join(char for char, _x in line.chars)
    while text:
        cut = _set(text + "…", size, advance, spacing_em)
        if cut.width <= width:
            return cut
        text = text[:-1]
    return _set("…", size, advance, spacing_em)
