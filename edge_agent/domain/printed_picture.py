"""What any printer language may be handed: a 1-bit picture of sane size and a harmless tag.

Shared bounds of the languages in `edge_agent.printers`, which do not know one another. Pure.
"""

from __future__ import annotations

import re
from typing import Protocol

from protocols.errors import Rejected

MAX_WIDTH_DOTS = 2_560
MAX_HEIGHT_DOTS = 9_600
MAX_WIDTH_MM = 320
MAX_HEIGHT_MM = 1_200
MAX_COPIES = 5
MAX_GAP_MM = 25
_TAG = re.compile(r"[A-Za-z0-9_-]{1,40}")


class Picture(Protocol):
    """The part of a Pillow image that framing needs; mode "1", 0 = black."""

    @property
    def mode(self) -> str: ...

    @property
    def size(self) -> tuple[int, int]: ...

    def tobytes(self) -> bytes: ...


def check_picture(image: Picture, width_mm: int, height_mm: int) -> None:
    """At most 2560 x 9600 dots on 1..320 x 1..1200 mm, 1-bit. Raises `Rejected` naming it."""
    width, height = image.size
    if image.mode != "1":
        raise Rejected(
            "print_image_mode", "标签图必须是 1 位图", "image must be 1-bit", field="image"
        )
    if not (0 < width <= MAX_WIDTH_DOTS and 0 < height <= MAX_HEIGHT_DOTS):
        raise Rejected("print_image_size", "标签图尺寸超限", "image too large", field="image")
    if not (0 < width_mm <= MAX_WIDTH_MM and 0 < height_mm <= MAX_HEIGHT_MM):
        raise Rejected("print_paper_size", "标签纸尺寸超限", "bad paper size", field="width_mm")


def check_copies(copies: int) -> None:
    """1 to 5 copies; raises `Rejected`."""
    if not 1 <= copies <= MAX_COPIES:
        raise Rejected("print_copies", "打印份数超限", "copies out of range", field="copies")


def check_tag(tag: str) -> None:
    """ "" or `[A-Za-z0-9_-]{1,40}`: the only text of ours that ever stands beside a picture."""
    if tag and not _TAG.fullmatch(tag):
        raise Rejected("print_tag", "打印任务标签含有非法字符", "bad job tag", field="job_tag")


def black_rows(image: Picture) -> bytes:
    """The rows as whole bytes with 1 = black and the padding white, as ZPL and ESC/POS burn."""
    width, _height = image.size
    row_bytes = (width + 7) // 8
    spare = row_bytes * 8 - width
    rows = bytearray(image.tobytes().translate(_INVERTED))
    if spare:
        keep = 0xFF << spare & 0xFF
        for last in range(row_bytes - 1, len(rows), row_bytes):
            rows[last] &= keep
    return bytes(rows)


_INVERTED = bytes(255 - value for value in range(256))
