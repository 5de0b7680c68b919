"""What the simulated printer says when asked, by language; from the manuals, not from the agent."""

from __future__ import annotations

from dataclasses import dataclass

from virtual_warehouse.escpos_reader import EscposReader
from virtual_warehouse.tspl_reader import TsplReader
from virtual_warehouse.zpl_reader import ZplReader

Reader = TsplReader | ZplReader | EscposReader


@dataclass(frozen=True, slots=True)
class Condition:
    """How the printer is at this moment."""

    paper_out: bool = False
    cover_open: bool = False
    paused: bool = False
    busy: bool = False
    paper_low: bool = False


def reader_of(language: str, dots_per_mm: int) -> Reader:
    """A fresh interpreter: `tspl`, `zpl` or `escpos`."""
    if language == "zpl":
        return ZplReader()
    return EscposReader() if language == "escpos" else TsplReader(dots_per_mm)


def answer(kind: str, now: Condition) -> bytes:
    """The answer to one question (`heard.Question.kind`)."""
    if kind == "HI":
        return b"\x02ZD-SIM,V1.0,8,8192KB\x03\r\n"
    if kind == "HS":
        return _zpl(now)
    return _escpos(kind, now) if kind in "1234" else _tspl(kind, now)


def _tspl(kind: str, now: Condition) -> bytes:
    if kind == "!?":
        bits = 0x04 * now.paper_out | 0x01 * now.cover_open | 0x10 * now.paused
        return bytes((bits | 0x20 * (now.busy and bits == 0),))
    media = 0x40 | 0x01 * now.paper_out | 0x20 * now.cover_open
    message = 0x60 if now.paused else 0x45 if media > 0x40 else 0x50 if now.busy else 0x40
    return bytes((2, message, 0x40, 0x40, media, 3, 13, 10))


def _zpl(now: Condition) -> bytes:
    one = f"030,{now.paper_out:d},{now.paused:d},1200,{now.busy:03d},0,0,0,000,0,0,0"
    two = f"000,0,{now.cover_open:d},0,0,2,6,0,{now.busy:08d},1,000"
    return "".join(f"\x02{text}\x03\r\n" for text in (one, two, "1234,0")).encode("ascii")


def _escpos(kind: str, now: Condition) -> bytes:
    """Fixed bits of every DLE EOT answer: 0xx1xx10."""
    bits = {
        "1": 0x08 * (now.paused or now.paper_out or now.cover_open),
        "2": 0x04 * now.cover_open | 0x20 * now.paper_out,
        "3": 0,
        "4": 0x60 * now.paper_out | 0x0C * (now.paper_low or now.paper_out),
    }[kind]
    return bytes((0x12 | bits,))
