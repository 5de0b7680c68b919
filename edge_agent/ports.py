"""The few seams of the agent that have two or more real implementations.

Flows speak to these; bootstrap decides which class stands behind each. No I/O here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from edge_agent.domain.label import LabelFields
from edge_agent.domain.printer_status import PrinterStatus, SendOutcome


class Printer(Protocol):
    """One label printer with one exclusive owner. Real: TCP 9100; simulated: virtual time."""

    async def status(self) -> PrinterStatus:
        """Ask now. Silence or a dead line is an `UNKNOWN` status, never an exception."""
        ...

    async def send(self, data: bytes, before_first_byte: Callable[[], bool]) -> SendOutcome:
        """Send one framed label. Never raises for printer trouble; the outcome tells.

        `before_first_byte` is called synchronously, at most once, right before byte one; False
        aborts with zero bytes. Cancelling the call mid-way leaves the outcome unknown.
        """
        ...

    async def close(self) -> None: ...


class LabelMaker(Protocol):
    """Fields into the bytes of one printer. Real: drawing and a printer language; simulated: none.

    Both calls are CPU work of about 10 ms and belong to the printer's worker.
    """

    def framed(self, fields: LabelFields, job_tag: str = "") -> bytes:
        """One whole label in the printer's language. Raises `Rejected` naming a bad field."""
        ...

    def preview_png(self, fields: LabelFields) -> bytes:
        """The same picture as a PNG file."""
        ...


class Scanner(Protocol):
    """One scanner with a reader thread of its own; its callbacks run in that thread."""

    def start(self) -> None: ...

    def stop(self) -> None: ...

    @property
    def connected(self) -> bool: ...
