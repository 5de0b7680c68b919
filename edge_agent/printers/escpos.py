"""ESC/POS, the language of receipt printers: a picture into strips, real-time answers into status.

Last step before the printer. Only pictures travel, in strips low enough for cheap firmware, and no
dots may spell a real-time command, which such a printer obeys even inside a picture. Pure; knows
no socket. Facts from Epson's ESC/POS command reference: GS v 0, GS V, DLE EOT, GS ( H function 48
(process id, sent back when the printing is completed; clones often ignore it).
"""

from __future__ import annotations

import binascii
import re
from typing import TYPE_CHECKING

from edge_agent.domain.printed_picture import black_rows, check_copies, check_picture, check_tag
from edge_agent.domain.printer_status import PrinterLevel, PrinterStatus, StatusProbe
from protocols.errors import Rejected

if TYPE_CHECKING:
    from PIL.Image import Image

MAX_STRIP_ROWS = 128
RESET = b"\x1b@"
CUT = b"\x1dVB\x00"
QUERY = b"\x10\x04\x01\x10\x04\x02\x10\x04\x03\x10\x04\x04"
QUERY_PAPER = b"\x10\x04\x04"
_ECHO_HEAD = b"\x1d(H\x06\x00\x30\x30"
_ECHO_ANSWER = re.compile(rb"\x37\x22[\x20-\x7e]{4}\x00")
_DIGITS = bytes(range(33, 127))


def frame(
    image: Image,
    width_mm: int,
    height_mm: int,
    *,
    copies: int = 1,
    strip_rows: int = MAX_STRIP_ROWS,
    cut: bool = True,
    echo: bool = True,
    job_tag: str = "",
) -> bytes:
    """One paper as ESC/POS bytes: reset, strips of at most `strip_rows`, feed, cut, process id.

    `image` is 1-bit (0 = black) at the printer's own dots, at most 2560 x 9600. `job_tag` chooses
    the process id that `echo_of` finds again. Without a cutter (`cut=False`) paper is fed out.
    Raises `Rejected`.
    """
    check_picture(image, width_mm, height_mm)
    check_copies(copies)
    check_tag(job_tag)
    if not 8 <= strip_rows <= MAX_STRIP_ROWS:
        raise Rejected("print_strip", "条带高度超限", "bad strip height", field="strip_rows")
    width, height = image.size
    row_bytes = (width + 7) // 8
    raster = defused(black_rows(image))
    parts: list[bytes] = []
    for top in range(0, height, strip_rows):
        rows = min(strip_rows, height - top)
        size = row_bytes.to_bytes(2, "little") + rows.to_bytes(2, "little")
        parts += (b"\x1dv0\x00", size, raster[top * row_bytes : (top + rows) * row_bytes])
    parts.append(CUT if cut else b"\x1bd\x04")
    paper = RESET + b"".join(parts)
    return paper * copies + (_ECHO_HEAD + _process_id(job_tag) if echo else b"")


def defused(raster: bytes) -> bytes:
    """Dots that spell DLE EOT, DLE ENQ or DLE DC4 gain one: those work inside a picture too.

    0x10 is a single lone dot, so bars of 3 dots and QR modules of 2 never spell it.
    """
    for second in (b"\x04", b"\x05", b"\x14"):
        raster = raster.replace(b"\x10" + second, b"\x18" + second)
    return raster


def _process_id(job_tag: str) -> bytes:
    """Four printable bytes that follow from the tag."""
    number = binascii.crc32(job_tag.encode("ascii"))
    digits = bytearray()
    for _place in range(4):
        number, digit = divmod(number, len(_DIGITS))
        digits.append(_DIGITS[digit])
    return bytes(digits)


def echo_of(data: bytes) -> bytes:
    """What the printer says when it has finished this framed paper; b"" if it was not asked to."""
    tail = data[-len(_ECHO_HEAD) - 4 :]
    return b"\x37\x22" + tail[-4:] + b"\x00" if tail.startswith(_ECHO_HEAD) else b""


_GARBAGE = PrinterStatus(PrinterLevel.UNKNOWN, "garbage", "打印机应答无法识别")


def _is_answer(byte: int) -> bool:
    """Every DLE EOT answer is 0xx1xx10; the bytes of an automatic status are not."""
    return byte & 0x93 == 0x12


def parse(answer: bytes) -> PrinterStatus | None:
    """Four bytes, the answers to DLE EOT 1 to 4. None = not all there; stray bytes = garbage."""
    answer = _ECHO_ANSWER.sub(b"", answer)
    if any(not _is_answer(byte) for byte in answer):
        # The start of a process id that is still coming in is not garbage yet.
        return None if _echo_may_follow(answer) else _GARBAGE
    if len(answer) < 4:
        return None
    if len(answer) > 4:
        return _GARBAGE
    printer, offline, error, paper = answer
    faults = (
        (paper & 0x60 or offline & 0x20, "paper_out", "缺纸"),
        (offline & 0x04, "cover_open", "上盖未合上"),
        (error & 0x08, "cutter_jam", "切刀卡住"),
        (error & 0x60 or offline & 0x40, "printer_error", "打印机报错"),
        (printer & 0x08, "paused", "打印机已脱机"),
    )
    for flag, code, reason in faults:
        if flag:
            return PrinterStatus(PrinterLevel.ERROR, code, reason)
    return _paper(paper)


def parse_paper(answer: bytes) -> PrinterStatus | None:
    """One byte, the answer to DLE EOT 4: for clones that know only the paper sensor."""
    answer = _ECHO_ANSWER.sub(b"", answer)
    if not answer:
        return None
    if len(answer) > 1 or not _is_answer(answer[0]):
        return None if _echo_may_follow(answer) else _GARBAGE
    if answer[0] & 0x60:
        return PrinterStatus(PrinterLevel.ERROR, "paper_out", "缺纸")
    return _paper(answer[0])


def _paper(sensor: int) -> PrinterStatus:
    if sensor & 0x0C:
        return PrinterStatus(PrinterLevel.WARN, "paper_low", "纸快用完")
    return PrinterStatus(PrinterLevel.OK)


def _echo_may_follow(answer: bytes) -> bool:
    start = answer.find(b"\x37")
    rest = answer[start:]
    return start >= 0 and len(rest) < 7 and b"\x37\x22"[: len(rest)] == rest[:2]


PROBE = StatusProbe(QUERY, parse, shows_end=False, echo=echo_of)
PROBE_PAPER = StatusProbe(QUERY_PAPER, parse_paper, shows_end=False, echo=echo_of)
