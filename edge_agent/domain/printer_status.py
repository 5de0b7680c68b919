"""What a label printer says about itself, and what became of one sending.

Stands beside the last step of the journey (print -> printer). Knows no printer language and no
transport: `edge_agent.printers` turns bytes into these values, `print_job` decides on them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum


class PrinterLevel(StrEnum):
    """Silence is a value of its own: it means neither "ok" nor "no paper"."""

    OK = "ok"
    WARN = "warn"
    ERROR = "error"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class PrinterStatus:
    """One answer of a printer (or its absence, `UNKNOWN`).

    `code` is stable and meant for machines (`paper_out`, `cover_open`, `offline`, ...; "" when
    nothing is wrong); `reason_zh` is what a packer reads; `busy` = a label is being printed;
    `proved` = the printer has said by now, late, that the last label sent is finished.
    """

    level: PrinterLevel
    code: str = ""
    reason_zh: str = ""
    busy: bool = False
    proved: bool = False


READY = PrinterStatus(PrinterLevel.OK)
SILENT = PrinterStatus(PrinterLevel.UNKNOWN, "no_answer", "打印机没有应答")
OFFLINE = PrinterStatus(PrinterLevel.UNKNOWN, "offline", "连不上打印机")


@dataclass(frozen=True, slots=True)
class StatusProbe:
    """How to ask one printer language for its status.

    `parse` takes every byte received since the question and returns None while the answer is
    incomplete; garbage becomes an `UNKNOWN` status, never a guess. `shows_end`: an idle answer
    after the last byte proves that the label is finished. `echo` gives the bytes the printer sends
    by itself when it has finished a framed label (b"" = none asked for): the better proof.
    """

    query: bytes
    parse: Callable[[bytes], PrinterStatus | None]
    shows_end: bool = True
    echo: Callable[[bytes], bytes] | None = None


@dataclass(frozen=True, slots=True)
class SendOutcome:
    """What is known after one attempt to send `total` bytes.

    `bytes_sent` counts what the kernel accepted, which proves nothing about paper. `error` is ""
    or a stable code: `offline`, `not_ready`, `no_answer`, `not_allowed` (the last check before
    byte one said no), `stalled`, `broken`. `status_after` is the printer's last word.
    `printed` is True only when the printer itself showed that it finished this label.
    """

    bytes_sent: int
    total: int
    status_after: PrinterStatus
    error: str = ""
    printed: bool = False
