"""A label printer that turns its bytes back into a picture and reads the barcode on it.

Stands where the hardware stands: demo, tests and benchmarks print to it, over TCP or a serial
line. It speaks TSPL, ZPL or ESC/POS through the readers beside it, keeps every label as a PNG named
after its waybill, and can be broken on purpose.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import socket
import struct
import tty
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from virtual_warehouse.heard import Heard, Label, Mark, Nonsense
from virtual_warehouse.voices import Condition, answer, reader_of

if TYPE_CHECKING:
    from PIL.Image import Image

READ_BYTES = 16_384
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]")


@dataclass(frozen=True, slots=True)
class PrintedLabel:
    """One piece of paper. `waybill` is its Code 128 ("" if none reads); `codes` all it carries."""

    waybill: str
    codes: tuple[str, ...]
    path: Path
    at_ms: int
    remarks: tuple[str, ...] = ()


@dataclass(slots=True)
class Faults:
    """What is wrong with the printer now. Set the fields at any time, `clear()` heals.

    `print_ms` is how long a label takes; `reset_after_bytes` cuts the connection once, after so
    many bytes; `half_open` stops reading; `stale` is sent unasked before the next answer;
    `lose_label_after_bytes` swallows the rest of a connection as a printer switched off would;
    `answer_ms` delays every answer; `read_bytes_s` is how fast it takes bytes (0 = at once);
    `silent_on_trouble` answers nothing without paper, as Zebra's manual says; `no_echo` keeps
    finished papers to itself, as clones do; `reprints` prints a label again by itself when paper
    ended under it (what came out before is `spoiled`), else that label is gone.
    """

    paper_out: bool = False
    cover_open: bool = False
    paused: bool = False
    mute: bool = False
    half_open: bool = False
    print_ms: int = 20
    reset_after_bytes: int | None = None
    lose_label_after_bytes: int | None = None
    stale: bytes = b""
    paper_low: bool = False
    answer_ms: int = 0
    read_bytes_s: int = 0
    silent_on_trouble: bool = False
    no_echo: bool = False
    reprints: bool = True

    @property
    def stopped(self) -> bool:
        """Nothing prints now."""
        return self.paper_out or self.cover_open or self.paused

    def clear(self) -> None:
        healthy = Faults(print_ms=self.print_ms)
        for name in self.__slots__:
            setattr(self, name, getattr(healthy, name))


class VirtualPrinter:
    """Serves one client at a time, as most label printers do; the next one waits.

    Labels that arrive while paper is out wait inside and come out after `faults.clear()`: that is
    what real printers do, and why an unknown label must not be sent again.
    """

    def __init__(
        self,
        folder: Path,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        language: str = "tspl",
        dots_per_mm: int = 8,
        clock_ms: Callable[[], int] | None = None,
        on_printed: Callable[[PrintedLabel], None] | None = None,
    ) -> None:
        self.folder = folder
        self.host = host
        self.port = port
        self.faults = Faults()
        self.printed: list[PrintedLabel] = []
        self.nonsense: list[bytes] = []
        self.spoiled = 0
        self.bytes_received = 0
        self.bytes_swallowed = 0
        self._language = language
        self._dots_per_mm = dots_per_mm
        self._writer: asyncio.StreamWriter | None = None
        self._clock_ms = clock_ms
        self._on_printed = on_printed
        self._server: asyncio.Server | None = None
        self._turn = asyncio.Lock()
        self._labels: asyncio.Queue[Label | Mark] = asyncio.Queue()
        self._busy = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._reader_thread = ThreadPoolExecutor(1, thread_name_prefix="virtual-printer")

    async def start(self) -> int:
        """Listen; returns the port (a free one if 0 was asked for)."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self._server = await asyncio.start_server(
            self._serve, self.host, self.port, limit=READ_BYTES
        )
        self.port = self._server.sockets[0].getsockname()[1]
        self._spawn(self._print_forever())
        return self.port

    async def stop(self) -> None:
        """Close everything; labels not yet printed are lost, as with the power cord."""
        if self._server is not None:
            self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._server is not None:
            await self._server.wait_closed()
        self._reader_thread.shutdown()

    def plug_in(self) -> str:
        """Print from a serial line too; returns the path of its far end. Call after `start`."""
        near, far = os.openpty()
        tty.setraw(far)
        self._spawn(self._serve_line(near, far))
        return os.ttyname(far)

    async def _serve_line(self, near: int, far: int) -> None:
        """`far` stays open here, so that an agent that lets go does not end the line."""
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader(limit=READ_BYTES)
        protocol = asyncio.StreamReaderProtocol(reader)
        back = os.fdopen(os.dup(near), "wb", buffering=0)
        ahead = os.fdopen(near, "rb", buffering=0)
        listening, _ = await loop.connect_read_pipe(lambda: protocol, ahead)
        talking, flow = await loop.connect_write_pipe(asyncio.streams.FlowControlMixin, back)
        try:
            await self._listen(reader, asyncio.StreamWriter(talking, flow, None, loop))
        finally:
            listening.close()
            talking.close()
            os.close(far)
            await asyncio.sleep(0.01)  # the loop closes a pipe at its next turn

    @property
    def in_use(self) -> bool:
        """Whether somebody is connected."""
        return self._turn.locked()

    def count(self, waybill: str) -> int:
        """How many papers carry this waybill."""
        return sum(label.waybill == waybill for label in self.printed)

    async def wait_printed(self, count: int, timeout_s: float = 10.0) -> None:
        """Wait until at least `count` labels came out. Raises `TimeoutError`."""
        async with asyncio.timeout(timeout_s):
            while len(self.printed) < count:
                await asyncio.sleep(0.005)

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        try:
            async with self._turn:
                await self._listen(reader, writer)
        except (ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError, asyncio.CancelledError):
                await writer.wait_closed()

    async def _listen(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        interpreter = reader_of(self._language, self._dots_per_mm)
        self._writer = writer
        received = 0
        while True:
            while self.faults.half_open:
                await asyncio.sleep(0.01)
            data = await reader.read(READ_BYTES)
            if not data:
                return
            if self.faults.read_bytes_s:
                await asyncio.sleep(len(data) / self.faults.read_bytes_s)
            limit = self.faults.lose_label_after_bytes
            kept = data if limit is None else data[: max(0, limit - received)]
            self.bytes_swallowed += len(data) - len(kept)
            received += len(data)
            self.bytes_received += len(data)
            for item in interpreter.feed(kept):
                await self._take(item, writer)
            reset_at = self.faults.reset_after_bytes
            if reset_at is not None and received >= reset_at:
                self.faults.reset_after_bytes = None
                _reset(writer)
                return

    async def _take(self, item: Heard, writer: asyncio.StreamWriter) -> None:
        faults = self.faults
        if isinstance(item, Label | Mark):
            self._busy = True
            self._labels.put_nowait(item)
        elif isinstance(item, Nonsense):
            self.nonsense.append(item.line)
        elif not faults.mute and not (faults.silent_on_trouble and faults.stopped):
            if faults.answer_ms:
                await asyncio.sleep(faults.answer_ms / 1000)
            stale, faults.stale = faults.stale, b""
            writer.write(stale + answer(item.kind, self._condition()))
            await writer.drain()

    def _condition(self) -> Condition:
        now = self.faults
        return Condition(now.paper_out, now.cover_open, now.paused, self._busy, now.paper_low)

    async def _print_forever(self) -> None:
        while True:
            item = await self._labels.get()
            if isinstance(item, Mark):
                if not self.faults.no_echo and not self.faults.mute and self._writer is not None:
                    self._writer.write(item.answer)
            else:
                await self._print(item)
            self._busy = not self._labels.empty()

    async def _print(self, label: Label) -> None:
        """Wait for paper, run the motor; a label that paper ends under is spoiled."""
        while True:
            while self.faults.stopped:
                await asyncio.sleep(0.01)
            await asyncio.sleep(self.faults.print_ms / 1000)
            if not self.faults.paper_out:
                break
            self.spoiled += 1
            if not self.faults.reprints:
                return
        loop = asyncio.get_running_loop()
        for _copy in range(label.copies):
            codes = await loop.run_in_executor(self._reader_thread, read_codes, label.image)
            await self._keep(label, codes)

    async def _keep(self, label: Label, codes: tuple[tuple[str, str], ...]) -> None:
        waybill = next((text for kind, text in codes if kind == "Code128"), "")
        number = self.count(waybill)
        name = _UNSAFE.sub("_", waybill) or "unreadable"
        path = self.folder / (f"{name}.png" if number == 0 else f"{name}-{number + 1}.png")
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._reader_thread, label.image.save, path)
        now_ms = self._clock_ms() if self._clock_ms else int(loop.time() * 1000)
        texts = tuple(text for _kind, text in codes)
        printed = PrintedLabel(waybill, texts, path, now_ms, label.remarks)
        self.printed.append(printed)
        if self._on_printed is not None:
            self._on_printed(printed)


def read_codes(image: Image) -> tuple[tuple[str, str], ...]:
    """(`Code128` or `QRCode`, text) of every barcode on a label, as a scanner would read it."""
    import zxingcpp

    found = zxingcpp.read_barcodes(
        image.convert("L"),
        formats=zxingcpp.BarcodeFormats(
            (zxingcpp.BarcodeFormat.Code128, zxingcpp.BarcodeFormat.QRCode)
        ),
        try_rotate=False,
        try_downscale=False,
        try_invert=False,
    )
    return tuple((code.format.name, code.text) for code in found)


def _reset(writer: asyncio.StreamWriter) -> None:
    """Close with RST, as a printer that lost its mind does."""
    sock = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
