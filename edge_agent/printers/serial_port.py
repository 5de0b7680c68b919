"""The line to a printer on a serial port (RS-232 or a USB adapter). Moves bytes only.

A label of 120 KB takes 11 s at 115,200 baud and minutes at 9,600: profiles of serial printers
carry long deadlines. Hardware flow control is on, because small printers have small buffers.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import struct
import termios
from collections.abc import Callable
from fcntl import ioctl
from typing import Any

from edge_agent.domain.printer_status import PrinterStatus

READ_BYTES = 4_096
_GONE = select.POLLHUP | select.POLLNVAL


def open_port(path: str, baud: int) -> Any:
    """A `serial.Serial`, exclusive, 8N1, RTS/CTS, never blocking. Raises `OSError`."""
    import serial

    return serial.Serial(
        path, baudrate=baud, timeout=0, write_timeout=0, rtscts=True, exclusive=True
    )


class SerialWire:
    """Implements `ports.PrinterWire`. `opener` (blocking, run in a thread) opens the port."""

    def __init__(self, path: str, baud: int, opener: Callable[[str, int], Any] = open_port) -> None:
        self._path = path
        self._baud = baud
        self._opener = opener
        self._port: Any = None

    async def open(self) -> bool:
        """See `ports.PrinterWire.open`."""
        try:
            self._port = await self._opened()
            _wait_for_one(self._port.fileno())
        except (OSError, ValueError, termios.error):
            self.close()
            return False
        return True

    async def _opened(self) -> Any:
        """Open in a thread; a port that comes after we gave up is closed again."""
        opening = asyncio.ensure_future(asyncio.to_thread(self._opener, self._path, self._baud))
        try:
            return await asyncio.shield(opening)
        except asyncio.CancelledError:
            opening.add_done_callback(_close_late)
            raise

    def is_open(self) -> bool:
        """False once the adapter was unplugged: the kernel then reports a hang-up."""
        if self._port is None:
            return False
        looker = select.poll()
        looker.register(self._port.fileno(), 0)
        return not any(event & _GONE for _number, event in looker.poll(0))

    def fileno(self) -> int:
        """The port's number; only while open."""
        if self._port is None:
            raise ConnectionResetError("not open")
        return int(self._port.fileno())

    def write(self, data: memoryview) -> int:
        """See `ports.PrinterWire.write`."""
        return os.write(self.fileno(), data)

    def read(self) -> bytes:
        """See `ports.PrinterWire.read`."""
        piece = os.read(self.fileno(), READ_BYTES)
        if not piece:
            raise ConnectionResetError("serial port is gone")
        return piece

    def unsent(self) -> int:
        """Bytes still in the port's queue."""
        try:
            return int(struct.unpack("i", ioctl(self.fileno(), termios.TIOCOUTQ, b"\0\0\0\0"))[0])
        except OSError:
            return 0

    async def port_status(self) -> PrinterStatus | None:
        """A serial line knows nothing of paper."""
        return None

    def close(self, *, clean: bool = True) -> None:
        """Let go; not `clean` drops what the port has not sent yet."""
        if self._port is None:
            return
        with contextlib.suppress(OSError, termios.error):
            if not clean:
                termios.tcflush(self.fileno(), termios.TCOFLUSH)
            self._port.close()
        self._port = None


def _wait_for_one(number: int) -> None:
    """Let "nothing there" and "line is gone" be told apart: pyserial asks for no byte at least."""
    asked = termios.tcgetattr(number)
    asked[6][termios.VMIN] = 1
    termios.tcsetattr(number, termios.TCSANOW, asked)
    os.set_blocking(number, False)


def _close_late(opening: asyncio.Future[Any]) -> None:
    if opening.exception() is None:
        opening.result().close()
