"""A label printer behind TCP port 9100: connect, ask, send with a byte counter, watch it finish.

The transport below the print step. Knows no printer language (a `StatusProbe` is given to it) and
no job. Two facts shape it: an accepted write is not a printed label (a socket nobody reads swallows
megabytes unless the send buffer is small), and most printers serve one client only, so one object
owns one connection and every use of it is serialised.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass
from fcntl import ioctl

from edge_agent.domain.printer_status import (
    OFFLINE,
    READY,
    SILENT,
    PrinterLevel,
    PrinterStatus,
    SendOutcome,
    StatusProbe,
)

SEND_BUFFER_BYTES = 16_384
CHUNK_BYTES = 8_192
MAX_JOB_BYTES = 4 * 1024 * 1024
MAX_ANSWER_BYTES = 4_096
SIOCOUTQ = 0x5411  # linux/sockios.h: bytes the peer has not acknowledged yet (= TIOCOUTQ)


@dataclass(frozen=True, slots=True)
class TcpTimes:
    """Every wait of this transport, in seconds.

    `settle_s`: how long an idle answer must last after the last byte before it counts as finished
    when the printer was never seen busy. `finish_s`: how long to watch one label.
    """

    connect_s: float = 3.0
    stall_s: float = 10.0
    answer_s: float = 2.0
    finish_s: float = 10.0
    settle_s: float = 0.3
    poll_s: float = 0.05
    quiet_s: float = 0.05


class TcpPrinter:
    """Implements `ports.Printer`. `probe=None` = a printer that never answers status questions."""

    def __init__(
        self, host: str, port: int, probe: StatusProbe | None, times: TcpTimes | None = None
    ) -> None:
        self._address = (host, port)
        self._probe = probe
        self._times = times or TcpTimes()
        self._socket: socket.socket | None = None
        self._owner = asyncio.Lock()

    async def status(self) -> PrinterStatus:
        """The printer's word now; `OFFLINE` or `SILENT` when there is none."""
        async with self._owner:
            return await self._ready_status()

    async def send(self, data: bytes, before_first_byte: Callable[[], bool]) -> SendOutcome:
        """See `ports.Printer.send`. `data` is one framed label, 1 byte to 4 MiB."""
        assert 0 < len(data) <= MAX_JOB_BYTES, len(data)
        async with self._owner:
            try:
                return await self._send(data, before_first_byte)
            except asyncio.CancelledError:
                self._drop()
                raise

    async def close(self) -> None:
        """Close the connection; the next use opens a new one."""
        async with self._owner:
            self._drop()

    async def _send(self, data: bytes, before_first_byte: Callable[[], bool]) -> SendOutcome:
        total = len(data)
        ready = await self._ready_status()
        if self._socket is None:
            return SendOutcome(0, total, ready, error="offline")
        if ready.level is PrinterLevel.ERROR:
            return SendOutcome(0, total, ready, error="not_ready")
        if ready.level is PrinterLevel.UNKNOWN:
            return SendOutcome(0, total, ready, error="no_answer")
        if not before_first_byte():
            return SendOutcome(0, total, ready, error="not_allowed")
        sent, error = await self._write(self._socket, data)
        if error:
            # The printer may keep half a label in its buffer; a fresh connection must not add
            # bytes to it unseen, so the connection goes and a person looks.
            self._drop()
            return SendOutcome(sent, total, SILENT, error=error)
        after, printed = await self._watch_finish(self._socket)
        if after.level is PrinterLevel.UNKNOWN:
            self._drop()
        return SendOutcome(sent, total, after, printed=printed)

    async def _ready_status(self) -> PrinterStatus:
        """Open if needed and ask; a kept connection that died is replaced once."""
        for _attempt in range(2):
            kept = self._socket is not None
            if not await self._open():
                return OFFLINE
            assert self._socket is not None
            answer = await self._ask(self._socket)
            if answer is not SILENT or not kept:
                if answer is SILENT:
                    self._drop_if_dead()
                return answer
            self._drop()
        return SILENT

    async def _open(self) -> bool:
        if self._socket is not None and not _peer_gone(self._socket):
            return True
        self._drop()
        loop = asyncio.get_running_loop()
        try:
            infos = await loop.getaddrinfo(*self._address, type=socket.SOCK_STREAM)
        except OSError:
            return False
        for family, kind, proto, _name, address in infos:
            sock = socket.socket(family, kind, proto)
            _tune(sock)
            try:
                async with asyncio.timeout(self._times.connect_s):
                    await loop.sock_connect(sock, address)
            except (OSError, TimeoutError):
                sock.close()
                continue
            except asyncio.CancelledError:
                sock.close()
                raise
            self._socket = sock
            return True
        return False

    async def _ask(self, sock: socket.socket) -> PrinterStatus:
        """One validated answer within `answer_s`. Old bytes are thrown away before asking."""
        if self._probe is None:
            return READY
        try:
            async with asyncio.timeout(self._times.answer_s):
                while True:
                    _drain(sock)
                    answer = await self._question(sock, self._probe)
                    if answer.code != "garbage":
                        return answer
                    # Something unasked came in between: wait until the line is quiet, ask again.
                    await asyncio.sleep(self._times.quiet_s)
        except (OSError, TimeoutError):
            return SILENT

    async def _question(self, sock: socket.socket, probe: StatusProbe) -> PrinterStatus:
        loop = asyncio.get_running_loop()
        await loop.sock_sendall(sock, probe.query)
        answer = b""
        while True:
            status = probe.parse(answer)
            if status is not None:
                return status
            piece = await loop.sock_recv(sock, MAX_ANSWER_BYTES)
            if not piece:
                raise ConnectionResetError("printer closed the connection")
            answer += piece

    async def _write(self, sock: socket.socket, data: bytes) -> tuple[int, str]:
        """(bytes the kernel took, "" or `stalled` or `broken`)."""
        view = memoryview(data)
        sent = 0
        while sent < len(data):
            try:
                sent += sock.send(view[sent : sent + CHUNK_BYTES])
            except BlockingIOError:
                if not await _writable(sock, self._times.stall_s):
                    return sent, "stalled"
            except OSError:
                return sent, "broken"
        return sent, await self._flushed(sock)

    async def _flushed(self, sock: socket.socket) -> str:
        """Wait until the peer acknowledged every byte: "" or `stalled` (`stall_s` without any)."""
        left = _unacknowledged(sock)
        idle_s = 0.0
        step_s = 0.001
        while left:
            await asyncio.sleep(step_s)
            if _peer_gone(sock):
                return "broken"
            now_left = _unacknowledged(sock)
            idle_s = 0.0 if now_left < left else idle_s + step_s
            left = now_left
            step_s = min(step_s * 2, self._times.poll_s)
            if idle_s > self._times.stall_s:
                return "stalled"
        return ""

    async def _watch_finish(self, sock: socket.socket) -> tuple[PrinterStatus, bool]:
        """Ask until the printer is done: (last status, whether it showed that it finished)."""
        if self._probe is None:
            return READY, False
        loop = asyncio.get_running_loop()
        start_s = loop.time()
        was_busy = False
        while True:
            status = await self._ask(sock)
            if status.level in (PrinterLevel.UNKNOWN, PrinterLevel.ERROR):
                return status, False
            was_busy = was_busy or status.busy
            spent_s = loop.time() - start_s
            if not status.busy and (was_busy or spent_s >= self._times.settle_s):
                return status, True
            if spent_s >= self._times.finish_s:
                return status, False
            await asyncio.sleep(self._times.poll_s)

    def _drop_if_dead(self) -> None:
        if self._socket is not None and _peer_gone(self._socket):
            self._drop()

    def _drop(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None


def _tune(sock: socket.socket) -> None:
    sock.setblocking(False)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
    # A half-open connection locks a one-client printer until somebody switches it off and on.
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 15)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 5)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3)


def _drain(sock: socket.socket) -> None:
    """Throw away everything that was not asked for. Raises `ConnectionResetError` at the end."""
    while True:
        try:
            piece = sock.recv(MAX_ANSWER_BYTES)
        except BlockingIOError:
            return
        if not piece:
            raise ConnectionResetError("printer closed the connection")


def _peer_gone(sock: socket.socket) -> bool:
    try:
        return sock.recv(1, socket.MSG_PEEK) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True


def _unacknowledged(sock: socket.socket) -> int:
    try:
        return int(struct.unpack("i", ioctl(sock.fileno(), SIOCOUTQ, b"\0\0\0\0"))[0])
    except OSError:
        return 0


async def _writable(sock: socket.socket, timeout_s: float) -> bool:
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()

    def wake() -> None:
        if not ready.done():
            ready.set_result(None)

    loop.add_writer(sock.fileno(), wake)
    try:
        async with asyncio.timeout(timeout_s):
            await ready
    except TimeoutError:
        return False
    finally:
        loop.remove_writer(sock.fileno())
    return True
