"""One printer whose driver may be broken: whatever it does, it is this printer's state, no more.

A profile that cannot be read, a template with a fault, a library that raises: the other printers,
the scanners and the floor go on, and the page shows which device it is and why.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TypeVar

from edge_agent.domain.label import PaperFields
from edge_agent.domain.printer_status import PrinterLevel, PrinterStatus, SendOutcome
from edge_agent.ports import LabelMaker, Printer
from protocols.errors import PacklineError

T = TypeVar("T")
REASON_CHARS_MAX = 120
log = logging.getLogger(__name__)


def driver_broken(reason_zh: str) -> PrinterStatus:
    """The status of a printer whose driver cannot be used: labels for it are held, not lost."""
    return PrinterStatus(PrinterLevel.ERROR, "driver", reason_zh[:REASON_CHARS_MAX])


def told_zh(error: Exception) -> str:
    """What a person reads of an exception."""
    return error.zh if isinstance(error, PacklineError) else f"{type(error).__name__}: {error}"


def attempt(name: str, make: Callable[[], T]) -> T | str:
    """What `make` gives, or why it could not; `name` is the device's, for the log."""
    try:
        return make()
    except Exception as error:
        log.exception("driver.not_loaded device=%s", name)
        return told_zh(error)


class OffPrinter:
    """Stands in the place of a printer without a usable driver (broken, or off in safe mode)."""

    def __init__(self, reason_zh: str) -> None:
        self.reason_zh = reason_zh
        self._status = driver_broken(reason_zh)

    async def status(self) -> PrinterStatus:
        """See `ports.Printer`."""
        return self._status

    async def send(self, data: bytes, before_first_byte: Callable[[], bool]) -> SendOutcome:
        """See `ports.Printer`; nothing leaves."""
        return SendOutcome(0, len(data), self._status, error="not_ready")

    async def close(self) -> None:
        """See `ports.Printer`."""


class GuardedPrinter:
    """A driver with a fence around it: an exception becomes the printer's state."""

    def __init__(self, name: str, inner: Printer) -> None:
        self._name = name
        self._inner = inner

    async def status(self) -> PrinterStatus:
        """See `ports.Printer`."""
        try:
            return await self._inner.status()
        except Exception as error:
            log.exception("driver.failed device=%s call=status", self._name)
            return driver_broken(f"驱动出错：{told_zh(error)}")

    async def send(self, data: bytes, before_first_byte: Callable[[], bool]) -> SendOutcome:
        """See `ports.Printer`. After byte one nobody knows what came out: a person is asked."""
        allowed = False

        def before() -> bool:
            nonlocal allowed
            allowed = before_first_byte()
            return allowed

        try:
            return await self._inner.send(data, before)
        except Exception as error:
            log.exception("driver.failed device=%s call=send", self._name)
            status = driver_broken(f"驱动出错：{told_zh(error)}")
            left = len(data) if allowed else 0
            return SendOutcome(left, len(data), status, error="broken" if allowed else "not_ready")

    async def close(self) -> None:
        """See `ports.Printer`."""
        try:
            await self._inner.close()
        except Exception:
            log.exception("driver.failed device=%s call=close", self._name)


class OffMaker:
    """Draws nothing: its printer's state holds every label before it would be sent."""

    def framed(self, fields: PaperFields, job_tag: str = "") -> bytes:
        """See `ports.LabelMaker`; never reaches a printer."""
        return b"-"

    def preview_png(self, fields: PaperFields) -> bytes:
        """See `ports.LabelMaker`."""
        return b""


Pair = tuple[Printer, LabelMaker]


def off(reason_zh: str) -> Pair:
    """A printer that is not used, with the reason that is shown as its state."""
    return OffPrinter(reason_zh), OffMaker()


def guarded(name: str, make: Callable[[], Pair]) -> Pair:
    """A printer with its label maker, fenced; a stand-in that says why when it cannot be made."""
    found = attempt(name, make)
    if isinstance(found, str):
        return off(f"驱动或机型文件有误：{found}")
    return GuardedPrinter(name, found[0]), found[1]
