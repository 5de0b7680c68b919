"""A label printer on virtual time: paper ends, lines die, labels come out though nobody says so.

Implements the agent's `Printer` port. What physically comes out goes into the ledger of the
world, also when the agent that sent it has died since. Knows no job and no database.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from random import Random

from edge_agent.domain.printer_status import (
    OFFLINE,
    READY,
    SILENT,
    PrinterLevel,
    PrinterStatus,
    SendOutcome,
)

PAPER_OUT = PrinterStatus(PrinterLevel.ERROR, "paper_out", "缺纸")


class SimPrinter:
    """One device on a bench; survives the agent's crashes. `came_out` is called for each label."""

    def __init__(self, rng: Random, came_out: Callable[[bytes], None]) -> None:
        self.rng = rng
        self.came_out = came_out
        self.first_byte: Callable[[bytes], None] = lambda data: None
        self.paper = True
        self.mute = False
        self.offline = False
        self.next_reset = False
        self.next_line_dies = False
        self._swallowed: list[bytes] = []

    async def status(self) -> PrinterStatus:
        """What it says now."""
        await asyncio.sleep(0.05)
        return self._status()

    def _status(self) -> PrinterStatus:
        if self.offline:
            return OFFLINE
        if self.mute:
            return SILENT
        return READY if self.paper else PAPER_OUT

    async def send(self, data: bytes, before_first_byte: Callable[[], bool]) -> SendOutcome:
        """Print one label, or not, and say so, or not."""
        await asyncio.sleep(self.rng.uniform(0.02, 0.2))
        status, total = self._status(), len(data)
        if status is not READY:
            error = {"offline": "offline", "no_answer": "no_answer"}.get(status.code, "not_ready")
            return SendOutcome(0, total, status, error=error)
        if not before_first_byte():
            return SendOutcome(0, total, READY, error="not_allowed")
        self.first_byte(data)
        return await self._print(data, total)

    async def _print(self, data: bytes, total: int) -> SendOutcome:
        loop = asyncio.get_running_loop()
        takes_s = self.rng.uniform(0.5, 2.0)
        if self.next_reset:
            self.next_reset = False
            await asyncio.sleep(takes_s / 2)
            return SendOutcome(self.rng.randrange(1, total), total, SILENT, error="broken")
        if self.next_line_dies:
            self.next_line_dies = False
            loop.call_later(takes_s, self.came_out, data)
            await asyncio.sleep(takes_s / 2)
            return SendOutcome(total, total, SILENT)
        loop.call_later(takes_s, self._finish, data)
        await asyncio.sleep(takes_s + 0.01)
        status = self._status()
        return SendOutcome(total, total, status, printed=status is READY)

    def _finish(self, data: bytes) -> None:
        """The label is in the machine: it comes out, now or when paper is put in again."""
        if self.paper:
            self.came_out(data)
        else:
            self._swallowed.append(data)

    def put_paper_in(self) -> None:
        self.paper = True
        for data in self._swallowed:
            self.came_out(data)
        self._swallowed.clear()

    def repair(self) -> None:
        """Everything works again."""
        self.mute = self.offline = self.next_reset = self.next_line_dies = False
        self.put_paper_in()

    async def close(self) -> None: ...
