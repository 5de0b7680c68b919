"""The line to a USB printer behind `/dev/usb/lp*` (kernel driver `usblp`). Moves bytes only.

The kernel lets one program open it, which is the rule we want. Even a printer that answers nothing
tells paper-out here: the port status of the USB printer class. Source: USB "Printing Devices"
class definition 1.1 (GET_PORT_STATUS, SOFT_RESET) as the kernel's `usblp` offers it.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import select
from collections.abc import Callable
from fcntl import ioctl
from pathlib import Path

from edge_agent.domain.printer_status import OFFLINE, READY, PrinterLevel, PrinterStatus

LPGETSTATUS = 0x060B
SOFT_RESET = 0x5007  # _IO('P', 7) of usblp: forget what is in the printer's buffer
READ_BYTES = 4_096
_NOT_ERROR, _SELECTED, _PAPER_EMPTY = 0x08, 0x10, 0x20
_FULL = (errno.ENOSPC, errno.EAGAIN)
_ABSENT = (errno.ENODEV, errno.ENXIO)
_GONE = select.POLLHUP | select.POLLNVAL


class DeviceWire:
    """Implements `ports.PrinterWire`. `place` gives the device's path anew for each opening."""

    def __init__(self, place: Callable[[], str]) -> None:
        self._place = place
        self._number = -1

    async def open(self) -> bool:
        """Open for both directions, or for writing where the port only listens."""
        for mode in (os.O_RDWR, os.O_WRONLY):
            try:
                flags = mode | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
                self._number = os.open(self._place(), flags)
            except OSError:
                continue
            return True
        return False

    def is_open(self) -> bool:
        """False once it was unplugged: the kernel then reports a hang-up."""
        if self._number < 0:
            return False
        looker = select.poll()
        looker.register(self._number, 0)
        return not any(event & _GONE for _number, event in looker.poll(0))

    def fileno(self) -> int:
        """The device's number; only while open."""
        return self._now()

    def write(self, data: memoryview) -> int:
        """See `ports.PrinterWire.write`. Without paper the driver says "no space": wait, too."""
        try:
            return os.write(self._now(), data)
        except OSError as error:
            if error.errno in _FULL:
                raise BlockingIOError(error.errno, "printer takes nothing now") from error
            raise

    def read(self) -> bytes:
        """See `ports.PrinterWire.read`. An empty USB packet is not the end of the line."""
        try:
            piece = os.read(self._now(), READ_BYTES)
        except OSError as error:
            if error.errno == errno.EBADF:  # opened for writing only
                raise BlockingIOError(error.errno, "port has no way back") from error
            raise
        if not piece:
            raise BlockingIOError(errno.EAGAIN, "empty packet")
        return piece

    def unsent(self) -> int:
        """The driver keeps one write under way and does not say how much of it is left."""
        return 0

    async def port_status(self) -> PrinterStatus | None:
        """Paper and error as the port tells them; None where the driver knows no such call."""
        status = bytearray(4)
        try:
            # In a thread: the driver waits up to 5 s for a printer that is not well.
            await asyncio.to_thread(ioctl, self._now(), LPGETSTATUS, status)
        except OSError as error:
            return OFFLINE if error.errno in _ABSENT else None
        return port_status_of(int.from_bytes(status, "little"))

    def close(self, *, clean: bool = True) -> None:
        """Let go; not `clean` empties the printer's buffer of half a label first."""
        if self._number < 0:
            return
        if not clean:
            with contextlib.suppress(OSError):
                ioctl(self._number, SOFT_RESET)
        os.close(self._number)
        self._number = -1

    def _now(self) -> int:
        if self._number < 0:
            raise ConnectionResetError("not open")
        return self._number


def port_status_of(bits: int) -> PrinterStatus:
    """The port status byte: bit 5 paper empty, bit 4 selected, bit 3 no error."""
    if bits & _PAPER_EMPTY:
        return PrinterStatus(PrinterLevel.ERROR, "paper_out", "缺纸")
    if not bits & _NOT_ERROR:
        return PrinterStatus(PrinterLevel.ERROR, "printer_error", "打印机报错")
    if not bits & _SELECTED:
        return PrinterStatus(PrinterLevel.ERROR, "paused", "打印机已脱机")
    return READY


def port_of(setting: str, sys_root: Path = Path("/sys")) -> str:
    """A device path as it is; `usb:1-1.2` is looked up: the printer in that socket, whatever its

    number is today. Raises `FileNotFoundError` when nothing is plugged in there.
    """
    if not setting.startswith("usb:"):
        return setting
    wanted = setting.removeprefix("usb:")
    for found in usb_printers(sys_root):
        if found[1] == wanted:
            return found[0]
    raise FileNotFoundError(f"no printer in USB socket {wanted}")


def usb_printers(sys_root: Path = Path("/sys")) -> list[tuple[str, str, str]]:
    """(device, USB socket such as `1-1.2`, what it says of itself) of every USB printer."""
    found: list[tuple[str, str, str]] = []
    for place in sorted(sys_root.glob("class/usbmisc/lp*")):
        interface = (place / "device").resolve()
        told = interface / "ieee1284_id"
        try:
            text = told.read_text(encoding="utf-8", errors="replace").strip()
        except OSError:
            text = ""
        found.append((f"/dev/usb/{place.name}", interface.name.split(":")[0], text))
    return found
