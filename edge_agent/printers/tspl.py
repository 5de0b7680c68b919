"""TSPL, the language of most 100 mm label printers: a picture into bytes, answer bytes into status.

Last step before the printer. Only rasters are sent: no order text ever becomes part of a command,
so no name or address can be executed. Pure; knows no socket. Facts from the "TSPL/TSPL2
Programming Language" manual of TSC (commands SIZE, GAP, CLS, BITMAP, PRINT, REM; `<ESC>!?` and
`<ESC>!S` on the status pages).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_agent.domain.printed_picture import MAX_GAP_MM, check_copies, check_picture, check_tag
from edge_agent.domain.printer_status import PrinterLevel, PrinterStatus, StatusProbe
from protocols.errors import Rejected

if TYPE_CHECKING:
    from PIL.Image import Image

QUERY_BYTE = b"\x1b!?"
QUERY_FULL = b"\x1b!S"


def frame(
    image: Image,
    width_mm: int,
    height_mm: int,
    *,
    copies: int = 1,
    gap_mm: int = 2,
    job_tag: str = "",
) -> bytes:
    """One label as TSPL bytes. `image` is 1-bit (0 = black) at the printer's own dots.

    BITMAP burns where a bit is 0, as Pillow stores black, so the rows go out as they are; bits
    that pad a row to whole bytes are set to 1 (white). Bounds: 2560 x 9600 dots, 1..5 copies,
    1..320 mm. `job_tag` (`[A-Za-z0-9_-]{1,40}`) travels as a REM comment. Raises `Rejected`.
    """
    width, height = image.size
    check_picture(image, width_mm, height_mm)
    check_copies(copies)
    check_tag(job_tag)
    if not 0 <= gap_mm <= MAX_GAP_MM:
        raise Rejected("print_paper_size", "标签间隙超限", "bad gap", field="gap_mm")
    row_bytes = (width + 7) // 8
    raster = defused(_padded(image.tobytes(), row_bytes, width))
    remark = f"REM {job_tag}\r\n" if job_tag else ""
    # The first line end closes whatever a clone kept of a question it did not understand.
    head = (
        f"\r\n{remark}SIZE {width_mm} mm,{height_mm} mm\r\nGAP {gap_mm} mm,0 mm\r\n"
        f"REFERENCE 0,0\r\nDIRECTION 0\r\nCLS\r\nBITMAP 0,0,{row_bytes},{height},0,"
    )
    return b"".join((head.encode("ascii"), raster, f"\r\nPRINT 1,{copies}\r\n".encode("ascii")))


def defused(raster: bytes) -> bytes:
    """Dots that spell `<ESC>!` lose one: a printer may obey an immediate command anywhere.

    0x1B holds a single lone dot, so bars of 3 dots and QR modules of 2 never spell it.
    """
    return raster.replace(b"\x1b!", b"\x1b#")


def _padded(raster: bytes, row_bytes: int, width: int) -> bytes:
    spare = row_bytes * 8 - width
    if spare == 0:
        return raster
    rows = bytearray(raster)
    mask = (1 << spare) - 1
    for last in range(row_bytes - 1, len(rows), row_bytes):
        rows[last] |= mask
    return bytes(rows)


_BYTE_ERRORS: tuple[tuple[int, str, str], ...] = (
    (0x04, "paper_out", "缺纸"),
    (0x01, "cover_open", "打印头未合上"),
    (0x02, "paper_jam", "卡纸"),
    (0x08, "ribbon_out", "碳带用完"),
    (0x80, "printer_error", "打印机报错"),
)
_GARBAGE = PrinterStatus(PrinterLevel.UNKNOWN, "garbage", "打印机应答无法识别")
_PAUSED = PrinterStatus(PrinterLevel.ERROR, "paused", "打印机已暂停")


def parse_byte(answer: bytes) -> PrinterStatus | None:
    """The one-byte answer to `<ESC>!?`. None = nothing yet; more than one byte = garbage."""
    if not answer:
        return None
    if len(answer) > 1 or answer[0] & 0x40:
        return _GARBAGE
    bits = answer[0]
    for mask, code, reason in _BYTE_ERRORS:
        if bits & mask:
            return PrinterStatus(PrinterLevel.ERROR, code, reason, busy=bool(bits & 0x20))
    if bits & 0x10:
        return _PAUSED
    return PrinterStatus(PrinterLevel.OK, busy=bool(bits & 0x20))


_MEDIA_ERRORS: tuple[tuple[int, str, str], ...] = (
    (0x01, "paper_out", "缺纸"),
    (0x20, "cover_open", "打印头未合上"),
    (0x02, "paper_jam", "卡纸"),
    (0x04, "ribbon_out", "碳带用完"),
    (0x08, "ribbon_jam", "碳带卡住"),
)
_HEAD_ERRORS: tuple[tuple[int, str, str], ...] = (
    (0x01, "head_hot", "打印头过热"),
    (0x02, "motor_hot", "电机过热"),
    (0x08, "cutter_jam", "切刀卡住"),
    (0x10, "memory_full", "打印机内存不足"),
)
_MESSAGES_BUSY = frozenset(b"PWFC")


def parse_full(answer: bytes) -> PrinterStatus | None:
    """The eight-byte answer to `<ESC>!S`: STX, message, warning, head, media, ETX, CR, LF."""
    if len(answer) < 8:
        return None if answer[:1] in (b"", b"\x02") else _GARBAGE
    if len(answer) > 8 or answer[0] != 2 or answer[5:] != b"\x03\r\n":
        return _GARBAGE
    message, warning, head, media = answer[1:5]
    if any(not 0x40 <= byte <= 0x7F for byte in (message, warning, head, media)):
        return _GARBAGE
    busy = message in _MESSAGES_BUSY
    for bits, table in ((media, _MEDIA_ERRORS), (head, _HEAD_ERRORS)):
        for mask, code, reason in table:
            if bits & mask:
                return PrinterStatus(PrinterLevel.ERROR, code, reason, busy=busy)
    if message == 0x60:
        return _PAUSED
    if message == 0x45 or head & 0x3F or media & 0x3F:
        return PrinterStatus(PrinterLevel.ERROR, "printer_error", "打印机报错", busy=busy)
    if message == 0x4C:
        return PrinterStatus(PrinterLevel.WARN, "label_waiting", "请取走标签", busy=busy)
    if message == 0x4B:
        return PrinterStatus(PrinterLevel.WARN, "key_waiting", "请按打印机上的按键", busy=busy)
    if warning & 0x08:
        return PrinterStatus(PrinterLevel.WARN, "buffer_full", "打印机缓存已满", busy=True)
    return PrinterStatus(PrinterLevel.OK, busy=busy)


PROBE_BYTE = StatusProbe(QUERY_BYTE, parse_byte)
PROBE_FULL = StatusProbe(QUERY_FULL, parse_full)
