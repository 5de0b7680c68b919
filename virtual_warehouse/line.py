"""The line between a warehouse and the broker, with a knife: a TCP proxy that can be spoiled.

Agents are given its address for the broker's. It is cut, frozen, slowed and chopped while the
demo and the fault tests run; it passes bytes and must not know what they mean.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import struct
from dataclasses import dataclass

HOST = "127.0.0.1"
CHUNK_BYTES = 65_536
CONNECT_S = 5.0


@dataclass(slots=True)
class LineFaults:
    """What is wrong with the line now; set the fields at any time.

    `delay_ms` and up to `jitter_ms` more pass before each piece; `piece_bytes` > 0 chops what is
    written into pieces of 1 to so many bytes; `drop_after_bytes` cuts every connection once, after
    so many bytes in both directions. `bytes_per_s` > 0 is how much passes in each direction.
    """

    delay_ms: int = 0
    jitter_ms: int = 0
    piece_bytes: int = 0
    drop_after_bytes: int | None = None
    bytes_per_s: int = 0


class Line:
    """Listens on a port of its own and passes every connection on to `host:port`."""

    def __init__(
        self, host: str, port: int, *, listen_port: int = 0, rng: random.Random | None = None
    ) -> None:
        self.target = (host, port)
        self.port = listen_port
        self.faults = LineFaults()
        self.bytes_up = 0
        self.bytes_down = 0
        self.connections = 0
        self.refused = 0
        self._rng = rng or random.Random(0)
        self._up = True
        self._flows_up, self._flows_down = asyncio.Event(), asyncio.Event()
        self._flows_up.set()
        self._flows_down.set()
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def is_up(self) -> bool:
        """Neither cut nor frozen."""
        return self._up and self._flows

    @property
    def _flows(self) -> bool:
        return self._flows_up.is_set() and self._flows_down.is_set()

    @property
    def open_connections(self) -> int:
        """How many agents are connected through the line now."""
        return len(self._writers) // 2

    async def start(self) -> int:
        """Listen; returns the port (a free one if 0 was asked for)."""
        self._server = await asyncio.start_server(self._serve, HOST, self.port)
        self.port = self._server.sockets[0].getsockname()[1]
        return self.port

    async def stop(self) -> None:
        """Close the door and every connection."""
        if self._server is not None:
            self._server.close()
        self._reset_all()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._server is not None:
            await self._server.wait_closed()

    def cut(self) -> None:
        """Pull the cable: both ends of every connection get RST, new ones are turned away."""
        self._up = False
        self._reset_all()

    def freeze(self, *, up: bool = True, down: bool = True) -> None:
        """Half-open: connections stay and new ones are taken, but nothing passes any more.

        With one direction only, the other one still passes: what is sent arrives and its answer
        never does, or the other way round. `up` is towards the broker.
        """
        if up:
            self._flows_up.clear()
        if down:
            self._flows_down.clear()

    def heal(self, *, resume: bool = False) -> None:
        """The line works again.

        What was frozen is reset, as after a router has forgotten its table; with `resume` it goes
        on with every byte that waited.
        """
        if not self._flows and not resume:
            self._reset_all()
        self._up = True
        self._flows_up.set()
        self._flows_down.set()

    def _reset_all(self) -> None:
        for writer in list(self._writers):
            _reset(writer)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        if not self._up:
            self.refused += 1
            _reset(writer)
            return
        self._writers.add(writer)
        try:
            await self._join(reader, writer)
        except (OSError, TimeoutError, asyncio.CancelledError):
            pass
        finally:
            self._writers.discard(writer)
            _reset(writer)

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self._flows_up.wait()
        await self._flows_down.wait()
        async with asyncio.timeout(CONNECT_S):
            there_reader, there_writer = await asyncio.open_connection(*self.target)
        self.connections += 1
        self._writers.add(there_writer)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._pass(reader, there_writer, up=True))
                group.create_task(self._pass(there_reader, writer, up=False))
        except* OSError:
            pass
        finally:
            self._writers.discard(there_writer)
            _reset(there_writer)

    async def _pass(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, up: bool
    ) -> None:
        flows = self._flows_up if up else self._flows_down
        while data := await reader.read(CHUNK_BYTES):
            for piece in self._pieces(data):
                await flows.wait()
                await self._hold_back(len(piece))
                writer.write(piece)
                await writer.drain()
                self._count(len(piece), up=up)
        if writer.can_write_eof():
            with contextlib.suppress(OSError):
                writer.write_eof()

    def _pieces(self, data: bytes) -> list[bytes]:
        most = self.faults.piece_bytes
        if most <= 0:
            return [data]
        pieces, start = [], 0
        while start < len(data):
            end = start + self._rng.randint(1, most)
            pieces.append(data[start:end])
            start = end
        return pieces

    async def _hold_back(self, size: int) -> None:
        faults = self.faults
        wait_ms = faults.delay_ms + (self._rng.random() * faults.jitter_ms)
        if faults.bytes_per_s > 0:
            wait_ms += size * 1000 / faults.bytes_per_s
        if wait_ms > 0:
            await asyncio.sleep(wait_ms / 1000)

    def _count(self, size: int, *, up: bool) -> None:
        if up:
            self.bytes_up += size
        else:
            self.bytes_down += size
        limit = self.faults.drop_after_bytes
        if limit is not None and self.bytes_up + self.bytes_down >= limit:
            self.faults.drop_after_bytes = None
            self._reset_all()


def _reset(writer: asyncio.StreamWriter) -> None:
    """Close with RST: what was written and not delivered is gone."""
    if writer.is_closing():
        return
    sock = writer.get_extra_info("socket")
    if sock is not None:
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
