"""The one owner of a printer's line: ask, send with a byte counter, watch it finish.

Between the print step and a wire (`tcp`, `device`, `serial_port`); it is given a language's
`StatusProbe` and knows neither language, wire nor job. Two facts shape it: an accepted write is
not a printed label (a socket nobody reads swallows megabytes), and most printers serve one client
only, so one object owns the line, one label is in flight, and every use is serialised.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from edge_agent.domain.printer_status import (
    OFFLINE,
    READY,
    SILENT,
    PrinterLevel,
    PrinterStatus,
    SendOutcome,
    StatusProbe,
)
from edge_agent.ports import PrinterWire

CHUNK_BYTES = 8_192
MAX_JOB_BYTES = 4 * 1024 * 1024
MAX_HEARD_BYTES = 4_096


@dataclass(frozen=True, slots=True)
class SendTimes:
    """Every wait of one printer, in seconds.

    `settle_s`: how long an idle answer must last after the last byte before it counts as finished
    when the printer was never seen busy. `finish_s`: how long to watch one label. `pace_s`: rest
    after each piece of 8 KiB, for firmware that loses bytes when they come too fast.
    """

    connect_s: float = 3.0
    stall_s: float = 10.0
    answer_s: float = 2.0
    finish_s: float = 10.0
    settle_s: float = 0.3
    poll_s: float = 0.05
    quiet_s: float = 0.05
    pace_s: float = 0.0


class PrinterOwner:
    """Implements `ports.Printer`. `probe=None` = a printer that never answers status questions."""

    def __init__(
        self, wire: PrinterWire, probe: StatusProbe | None, times: SendTimes | None = None
    ) -> None:
        self._wire = wire
        self._probe = probe
        self._times = times or SendTimes()
        self._turn = asyncio.Lock()
        self._heard = bytearray()
        self._unproved = b""
        self._owed = False

    async def status(self) -> PrinterStatus:
        """The printer's word now; `OFFLINE` or `SILENT` when there is none.

        `proved` is told once, when the word that the last label is finished has come in since.
        """
        async with self._turn:
            status = await self._ready_status()
            if not self._unproved or self._unproved not in self._heard:
                return status
            self._unproved = b""
            return replace(status, proved=True)

    async def send(self, data: bytes, before_first_byte: Callable[[], bool]) -> SendOutcome:
        """See `ports.Printer.send`. `data` is one framed label, 1 byte to 4 MiB."""
        assert 0 < len(data) <= MAX_JOB_BYTES, len(data)
        async with self._turn:
            try:
                return await self._send(data, before_first_byte)
            except asyncio.CancelledError:
                self._drop(clean=False)
                raise

    async def close(self) -> None:
        """Close the line; the next use opens a new one."""
        async with self._turn:
            self._drop()

    async def _send(self, data: bytes, before_first_byte: Callable[[], bool]) -> SendOutcome:
        total = len(data)
        ready = await self._ready_status()
        if ready.level is PrinterLevel.ERROR:
            return SendOutcome(0, total, ready, error="not_ready")
        if not self._wire.is_open():
            return SendOutcome(0, total, OFFLINE, error="offline")
        if ready.level is PrinterLevel.UNKNOWN:
            return SendOutcome(0, total, ready, error="no_answer")
        if not before_first_byte():
            return SendOutcome(0, total, ready, error="not_allowed")
        self._heard.clear()
        self._unproved = b""
        sent, error = await self._write(data)
        if error:
            # The printer may keep half a label in its buffer; a fresh line must not add bytes to
            # it unseen, so this one goes and a person looks.
            after = await self._wire.port_status() or SILENT
            self._drop(clean=sent == 0)
            return SendOutcome(sent, total, after, error=error)
        after, printed = await self._watch_finish(data)
        if after.level is PrinterLevel.UNKNOWN:
            self._drop()
        return SendOutcome(sent, total, after, printed=printed)

    async def _ready_status(self) -> PrinterStatus:
        """Open if needed and ask; a kept line that died is replaced once."""
        for _attempt in range(2):
            kept = self._wire.is_open()
            if not kept and not await self._open():
                return OFFLINE
            answer = await self._ask()
            if answer is not SILENT or not kept:
                return answer
            self._drop()
        return SILENT

    async def _open(self) -> bool:
        self._wire.close()
        try:
            async with asyncio.timeout(self._times.connect_s):
                return await self._wire.open()
        except (TimeoutError, asyncio.CancelledError) as late:
            self._wire.close()
            if isinstance(late, TimeoutError):
                return False
            raise

    async def _ask(self) -> PrinterStatus:
        """The port's own word if it is bad, else one validated answer within `answer_s`.

        Old bytes are thrown away before asking.
        """
        told = await self._wire.port_status()
        if told is OFFLINE:
            self._drop()
        if told is OFFLINE or (told is not None and told.level is PrinterLevel.ERROR):
            return told
        if self._probe is None:
            return READY
        try:
            async with asyncio.timeout(self._times.answer_s):
                return await self._answer(self._probe)
        except TimeoutError:
            self._owed = True
        except OSError:
            pass
        return SILENT

    async def _answer(self, probe: StatusProbe) -> PrinterStatus:
        if self._owed:
            # The last question got no answer in time: it may still be on its way.
            await asyncio.sleep(self._times.quiet_s)
        while True:
            self._drain()
            answer = await self._question(probe)
            if answer.code != "garbage":
                self._owed = False
                return answer
            # Something unasked came in between: wait until the line is quiet, ask again.
            await asyncio.sleep(self._times.quiet_s)

    async def _question(self, probe: StatusProbe) -> PrinterStatus:
        view = memoryview(probe.query)
        while view:
            try:
                view = view[self._wire.write(view) :]
            except BlockingIOError:
                await self._until(writable=True)
        answer = b""
        while True:
            status = probe.parse(answer)
            if status is not None:
                return status
            answer += await self._read()

    async def _read(self) -> bytes:
        while True:
            try:
                piece = self._wire.read()
            except BlockingIOError:
                await self._until(writable=False)
            else:
                self._note(piece)
                return piece

    def _drain(self) -> None:
        """Throw away everything that was not asked for. Raises `OSError` at the line's end."""
        while True:
            try:
                self._note(self._wire.read())
            except BlockingIOError:
                return

    def _note(self, piece: bytes) -> None:
        """Keep what was heard since the last label: the word that it is finished may be in it."""
        self._heard += piece
        del self._heard[:-MAX_HEARD_BYTES]

    async def _write(self, data: bytes) -> tuple[int, str]:
        """(bytes the kernel took, "" or `stalled` or `broken`)."""
        view = memoryview(data)
        sent = 0
        while sent < len(data):
            try:
                sent += self._wire.write(view[sent : sent + CHUNK_BYTES])
            except BlockingIOError:
                try:
                    async with asyncio.timeout(self._times.stall_s):
                        await self._until(writable=True)
                except TimeoutError:
                    return sent, "stalled"
            except OSError:
                return sent, "broken"
            else:
                if self._times.pace_s:
                    await asyncio.sleep(self._times.pace_s)
        return sent, await self._flushed()

    async def _flushed(self) -> str:
        """Wait until the printer has every byte: "" or `stalled` (`stall_s` without any)."""
        left = self._wire.unsent()
        idle_s = 0.0
        step_s = 0.001
        while left:
            await asyncio.sleep(step_s)
            if not self._wire.is_open():
                return "broken"
            now_left = self._wire.unsent()
            idle_s = 0.0 if now_left < left else idle_s + step_s
            left = now_left
            step_s = min(step_s * 2, self._times.poll_s)
            if idle_s > self._times.stall_s:
                return "stalled"
        return ""

    async def _watch_finish(self, data: bytes) -> tuple[PrinterStatus, bool]:
        """Ask until the printer is done: (last status, whether it showed that it finished)."""
        probe = self._probe
        if probe is None:
            return await self._wire.port_status() or READY, False
        proof = self._unproved = probe.echo(data) if probe.echo else b""
        loop = asyncio.get_running_loop()
        start_s = loop.time()
        was_busy = False
        while True:
            status = await self._ask()
            if proof and proof in self._heard:
                self._unproved = b""
                return status, True
            if status.level in (PrinterLevel.UNKNOWN, PrinterLevel.ERROR):
                return status, False
            was_busy = was_busy or status.busy
            spent_s = loop.time() - start_s
            settled = not status.busy and (was_busy or spent_s >= self._times.settle_s)
            if settled and not proof:
                return status, probe.shows_end
            if spent_s >= self._times.finish_s:
                return status, False
            await asyncio.sleep(self._times.poll_s)

    async def _until(self, *, writable: bool) -> None:
        """Wait until the line can be read or written."""
        loop = asyncio.get_running_loop()
        ready: asyncio.Future[None] = loop.create_future()

        def wake() -> None:
            if not ready.done():
                ready.set_result(None)

        number = self._wire.fileno()
        add: Any = loop.add_writer if writable else loop.add_reader
        add(number, wake)
        try:
            await ready
        finally:
            (loop.remove_writer if writable else loop.remove_reader)(number)

    def _drop(self, *, clean: bool = True) -> None:
        self._wire.close(clean=clean)
