"""The line to a printer behind TCP port 9100. Moves bytes, decides nothing.

The send buffer is small on purpose: a socket nobody reads would else swallow dozens of labels
before the first sign of trouble.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable
from fcntl import ioctl

from edge_agent.domain.printer_status import PrinterStatus

SEND_BUFFER_BYTES = 16_384
READ_BYTES = 4_096
SIOCOUTQ = 0x5411  # linux/sockios.h: bytes the peer has not acknowledged yet (= TIOCOUTQ)
Opener = Callable[[], socket.socket]


class TcpWire:
    """Implements `ports.PrinterWire`. `opener` (blocking, run in a thread) replaces our connect."""

    def __init__(self, host: str, port: int, opener: Opener | None = None) -> None:
        self._address = (host, port)
        self._opener = opener
        self._socket: socket.socket | None = None

    async def open(self) -> bool:
        """See `ports.PrinterWire.open`; every address of the name is tried."""
        try:
            if self._opener is not None:
                self._socket = await _opened(self._opener)
            else:
                self._socket = await self._connect()
        except OSError:
            return False
        if self._socket is not None:
            _tune(self._socket)
        return self._socket is not None

    async def _connect(self) -> socket.socket | None:
        loop = asyncio.get_running_loop()
        infos = await loop.getaddrinfo(*self._address, type=socket.SOCK_STREAM)
        for family, kind, proto, _name, address in infos:
            sock = socket.socket(family, kind, proto)
            _tune(sock)
            try:
                await loop.sock_connect(sock, address)
            except OSError:
                sock.close()
                continue
            except asyncio.CancelledError:
                sock.close()
                raise
            return sock
        return None

    def is_open(self) -> bool:
        """False once the printer has closed its end."""
        if self._socket is None:
            return False
        try:
            return self._socket.recv(1, socket.MSG_PEEK) != b""
        except BlockingIOError:
            return True
        except OSError:
            return False

    def fileno(self) -> int:
        """The socket's number; only while open."""
        return self._now().fileno()

    def write(self, data: memoryview) -> int:
        """See `ports.PrinterWire.write`."""
        return self._now().send(data)

    def read(self) -> bytes:
        """See `ports.PrinterWire.read`."""
        piece = self._now().recv(READ_BYTES)
        if not piece:
            raise ConnectionResetError("printer closed the connection")
        return piece

    def unsent(self) -> int:
        """Bytes the printer has not acknowledged."""
        try:
            return int(struct.unpack("i", ioctl(self.fileno(), SIOCOUTQ, b"\0\0\0\0"))[0])
        except OSError:
            return 0

    async def port_status(self) -> PrinterStatus | None:
        """A network line knows nothing of paper."""
        return None

    def close(self, *, clean: bool = True) -> None:
        """A closed connection ends half a label by itself."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _now(self) -> socket.socket:
        if self._socket is None:
            raise ConnectionResetError("not connected")
        return self._socket


async def _opened(opener: Opener) -> socket.socket:
    """Run a blocking opener in a thread; what it brings after we gave up is closed again."""
    opening = asyncio.ensure_future(asyncio.to_thread(opener))
    try:
        return await asyncio.shield(opening)
    except asyncio.CancelledError:
        opening.add_done_callback(_close_late)
        raise


def _tune(sock: socket.socket) -> None:
    sock.setblocking(False)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
    # A half-open connection locks a one-client printer until somebody switches it off and on.
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 15)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 5)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3)


def _close_late(opening: asyncio.Future[socket.socket]) -> None:
    if opening.exception() is None:
        opening.result().close()
