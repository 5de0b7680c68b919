"""What a printer hears in the bytes it is sent, whatever its language."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.Image import Image


@dataclass(frozen=True, slots=True)
class Question:
    """A status question: `!?` or `!S` (TSPL), `HS` or `HI` (ZPL), `1` to `4` (ESC/POS)."""

    kind: str


@dataclass(frozen=True, slots=True)
class Label:
    """A finished label: the picture as burnt (mode "1", 0 = black), copies and remarks."""

    image: Image
    copies: int
    remarks: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Mark:
    """Bytes to send back when everything before them is printed (ESC/POS process id)."""

    answer: bytes


@dataclass(frozen=True, slots=True)
class Nonsense:
    """A line no printer understands; real ones beep or print garbage."""

    line: bytes


Heard = Question | Label | Mark | Nonsense
