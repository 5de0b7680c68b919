"""ZPL II, the language of Zebra and its clones: a picture into bytes, `~HS` into a status.

Last step before the printer. Only a picture travels (`^GFA`), as text of digits and letters, so
nothing an order says can become a command. Pure; knows no socket. Facts from Zebra's "ZPL II
Programming Guide": ^GF (in its ACS and Z64 forms), ^FX, ^PQ, ^PW, ^LL, ~HS, ~HI. Zebra says a
printer without paper, with its head open or too hot does not answer ~HS at all: silence of such a
printer is trouble, never health, and stays `UNKNOWN`.
"""

from __future__ import annotations

import base64
import binascii
import re
import zlib
from itertools import groupby
from typing import TYPE_CHECKING

from edge_agent.domain.printed_picture import black_rows, check_copies, check_picture, check_tag
from edge_agent.domain.printer_status import PrinterLevel, PrinterStatus, StatusProbe
from protocols.errors import Rejected

if TYPE_CHECKING:
    from PIL.Image import Image

ENCODINGS = ("z64", "acs", "hex")
QUERY = b"~HS"
MAX_ANSWER_BYTES = 200


def frame(
    image: Image,
    width_mm: int,
    height_mm: int,
    *,
    copies: int = 1,
    encoding: str = "z64",
    job_tag: str = "",
) -> bytes:
    """One label as ZPL bytes. `image` is 1-bit (0 = black) at the printer's own dots.

    `encoding`: `z64` (zlib, a sixth of the size), `acs` (run lengths, for older firmware), `hex`.
    `job_tag` (`[A-Za-z0-9_-]{1,40}`) travels as a comment. Bounds: 2560 x 9600 dots, 1..5 copies.
    Raises `Rejected`.
    """
    check_picture(image, width_mm, height_mm)
    check_copies(copies)
    check_tag(job_tag)
    if encoding not in ENCODINGS:
        raise Rejected("print_encoding", "不支持的图像编码", "bad encoding", field="encoding")
    width, height = image.size
    row_bytes = (width + 7) // 8
    raster = black_rows(image)
    packed = {"z64": _z64, "acs": _acs, "hex": _hex}[encoding](raster, row_bytes)
    remark = f"^FX {job_tag}^FS" if job_tag else ""
    total = len(raster)
    head = f"^XA{remark}^PW{width}^LL{height}^LH0,0^LS0^PON^FO0,0^GFA,{total},{total},{row_bytes},"
    return b"".join((head.encode("ascii"), packed, f"^FS^PQ{copies}^XZ\r\n".encode("ascii")))


def _z64(raster: bytes, _row_bytes: int) -> bytes:
    """`:Z64:` + base64 of zlib + `:` + CRC-16 (CCITT, start 0) of the base64 text."""
    text = base64.b64encode(zlib.compress(raster, 6))
    return b":Z64:%s:%04X" % (text, binascii.crc_hqx(text, 0))


def _hex(raster: bytes, _row_bytes: int) -> bytes:
    return raster.hex().upper().encode("ascii")


def _acs(raster: bytes, row_bytes: int) -> bytes:
    """Alternative compression: `,` zeros and `!` ones to the row's end, `:` repeats a row."""
    rows: list[str] = []
    before = b""
    for start in range(0, len(raster), row_bytes):
        row = raster[start : start + row_bytes]
        rows.append(":" if row == before else _acs_row(row.hex().upper()))
        before = row
    return "".join(rows).encode("ascii")


def _acs_row(digits: str) -> str:
    body, ending = digits, ""
    for digit, sign in (("0", ","), ("F", "!")):
        bare = digits.rstrip(digit)
        if len(bare) < len(digits):
            body, ending = bare, sign
            break
    return "".join(_run(digit, len(list(same))) for digit, same in groupby(body)) + ending


def _run(digit: str, count: int) -> str:
    """`z` = 400 digits, `g`..`y` = 20..380, `G`..`Y` = 1..19, then the digit; one or two plain."""
    if count <= 2:
        return digit * count
    tens, ones = divmod(count % 400, 20)
    text = "z" * (count // 400)
    text += chr(ord("f") + tens) if tens else ""
    text += chr(ord("F") + ones) if ones else ""
    return text + digit


_STRINGS = re.compile(
    rb"\x02(?P<one>[0-9,]{20,60})\x03\r\n\x02(?P<two>[0-9,]{20,60})\x03\r\n\x02[0-9A-Za-z]{4},[0-9]\x03\r\n"
)
_GARBAGE = PrinterStatus(PrinterLevel.UNKNOWN, "garbage", "打印机应答无法识别")


def parse(answer: bytes) -> PrinterStatus | None:
    """The three strings of `~HS`. None = not whole yet; anything else than them = garbage."""
    if not answer:
        return None
    found = _STRINGS.fullmatch(answer)
    if found is None:
        whole = answer.count(b"\x03\r\n") >= 3 or len(answer) > MAX_ANSWER_BYTES
        return _GARBAGE if whole or answer[:1] != b"\x02" else None
    one, two = found["one"].split(b","), found["two"].split(b",")
    if len(one) != 12 or len(two) != 11:
        return _GARBAGE
    return _status(one, two)


def _status(one: list[bytes], two: list[bytes]) -> PrinterStatus:
    """Fields by the manual: one = a,b(paper),c(pause),d,e(formats),f(full),g,h(partial),i,j,k,l;

    two = m,n,o(head up),p(ribbon),q,r,s,t(label waiting),u(labels left),v,w.
    """
    busy = int(one[4]) > 0 or int(two[8]) > 0 or one[7] == b"1"
    faults = (
        (one[1], "paper_out", "缺纸"),
        (two[2], "cover_open", "打印头未合上"),
        (two[3], "ribbon_out", "碳带用完"),
        (one[11], "head_hot", "打印头过热"),
        (one[9], "printer_error", "打印机设置丢失"),
        (one[2], "paused", "打印机已暂停"),
    )
    for flag, code, reason in faults:
        if flag == b"1":
            return PrinterStatus(PrinterLevel.ERROR, code, reason, busy=busy)
    if two[7] == b"1":
        return PrinterStatus(PrinterLevel.WARN, "label_waiting", "请取走标签", busy=busy)
    if one[5] == b"1":
        return PrinterStatus(PrinterLevel.WARN, "buffer_full", "打印机缓存已满", busy=True)
    if one[10] == b"1":
        return PrinterStatus(PrinterLevel.WARN, "head_cold", "打印头温度过低", busy=busy)
    return PrinterStatus(PrinterLevel.OK, busy=busy)


PROBE = StatusProbe(QUERY, parse)
IDENTITY_QUERY = b"~HI"
DPI_OF = {"8": 203, "12": 300, "24": 600}
"""Dots per millimetre in the answer to `~HI` -> dpi."""
_IDENTITY = re.compile(rb"\x02([^,\x03]{1,60}),([^,\x03]*),([0-9]{1,2}),[^\x03]*\x03\r\n")


def parse_identity(answer: bytes) -> PrinterStatus | None:
    """The answer to `~HI`: model in `reason_zh`, dots per millimetre in `code`; for probing."""
    found = _IDENTITY.fullmatch(answer)
    if found is None:
        return _GARBAGE if len(answer) > MAX_ANSWER_BYTES or answer[:1] not in b"\x02" else None
    model = found[1].decode("ascii", "replace")
    return PrinterStatus(PrinterLevel.OK, found[3].decode("ascii"), model)


IDENTITY = StatusProbe(IDENTITY_QUERY, parse_identity)
