"""One worker a printer, its only user: draw, commit, send, book what became of it."""

from __future__ import annotations

import asyncio
import logging
import re
from dataclasses import replace

from edge_agent.agent.parts import Live, wait
from edge_agent.domain.print_job import PrintJob, PrintKey, PrintState
from edge_agent.domain.printer_status import PrinterLevel, PrinterStatus, SendOutcome
from edge_agent.flows import label_text, print_label
from protocols.errors import Rejected, Unavailable
from protocols.events import PrinterChanged

log = logging.getLogger(__name__)

POLL_S = 5.0
_NOT_IN_TAG = re.compile(r"[^A-Za-z0-9_-]")
"""A tag is a remark beside the picture; what it cannot carry must not keep a label from paper."""


class PrintWorker:
    """Takes queued labels of one printer in order; asks the printer how it is in between."""

    def __init__(self, live: Live, name: str) -> None:
        self._live = live
        self._name = name
        self._printer = live.ports.printers[name]
        self._maker = live.ports.makers[name]
        self._unproved: tuple[PrintKey, SendOutcome] | None = None

    async def run(self) -> None:
        """Print what is queued; look after the printer every few seconds, however busy it is."""
        loop = asyncio.get_running_loop()
        look_s = loop.time() + POLL_S
        while True:
            try:
                while await self._print_next():
                    pass
                await wait(self._live.wake_printer[self._name], max(0.0, look_s - loop.time()))
                if loop.time() >= look_s:
                    look_s = loop.time() + POLL_S
                    await self._look_after()
            except Unavailable as error:
                # Nothing was sent: the step before it could not be made durable. Later, then.
                log.error("label.postponed code=%s", error.code)
                await asyncio.sleep(POLL_S)

    async def _print_next(self) -> bool:
        """One label from the queue; False when there is none that may go now."""
        live = self._live
        epoch = live.floor.position.epoch
        if live.leaving:
            return False
        placed = live.floor.read(lambda db: print_label.next_now(db, self._name, epoch))
        if placed is None:
            return False
        key = placed.job.key
        data = await self._drawn(key)
        if data is None:
            return True
        size, status, seen = len(data), live.printer_status[self._name], live.core_seen
        job = await live.write(
            lambda tx: print_label.begin(tx, key, size, status, core_seen=seen, printer=self._name)
        )
        if job.state is PrintState.SENDING:
            await self._send(key, data)
        elif job.state is PrintState.HELD:
            await self._fail_over()
        return job.state is not PrintState.QUEUED

    async def _drawn(self, key: PrintKey) -> bytes | None:
        live = self._live
        try:
            fields = live.floor.read(lambda db: label_text.fields_of(db, key, live.plan))
            tag = f"{_NOT_IN_TAG.sub('_', key.number)[-36:]}-{key.revision}"
            return await live.ports.run_blocking(lambda: self._maker.framed(fields, tag))
        except Rejected as error:
            reason = error.code
        except Exception:
            log.exception("label.not_drawn number=%s", key.number)
            reason = "draw_failed"
        await live.write(lambda tx: print_label.cannot_draw(tx, key, reason))
        return None

    async def _send(self, key: PrintKey, data: bytes) -> None:
        """From here on the outcome is booked or, if we die, unknown for good."""
        live = self._live
        live.printing.add(self._name)
        try:
            outcome = await self._printer.send(
                data, lambda: live.floor.read(lambda db: print_label.may_start(db, key))
            )
            job = await self._book(key, outcome)
        finally:
            live.printing.discard(self._name)
        in_doubt = job.state in (PrintState.SENT, PrintState.UNKNOWN)
        self._unproved = (key, outcome) if in_doubt else None
        live.count.label(job.state.value)
        log.info("label.settled number=%s revision=%d state=%s bytes=%d reason=%s",
                 key.number, key.revision, job.state, job.bytes_sent, job.reason)  # fmt: skip
        await self._note(outcome.status_after)
        if job.state in (PrintState.HELD, PrintState.FAILED):
            await self._fail_over()

    async def _fail_over(self) -> None:
        """Not a byte left us and the printer is not well: its spare takes what waits, if it is."""
        live, spare = self._live, self._live.plan.spares.get(self._name, "")
        if not spare or self._is_well(self._name) or not self._is_well(spare):
            return
        if not live.floor.read(lambda db: print_label.may_fail_over(db, self._name)):
            return
        moved = await live.write(lambda tx: print_label.fail_over(tx, self._name, spare))
        log.warning("label.moved from=%s to=%s labels=%d", self._name, spare, moved)
        live.wake_printer[spare].set()

    def _is_well(self, printer: str) -> bool:
        state = self._live.printer_status.get(printer)
        return state is not None and state.level in (PrinterLevel.OK, PrinterLevel.WARN)

    async def _book(self, key: PrintKey, outcome: SendOutcome) -> PrintJob:
        """The outcome must not be lost because the disk is full for a while."""
        while True:
            try:
                job: PrintJob = await self._live.write(
                    lambda tx: print_label.finish(tx, key, outcome)
                )
            except Unavailable as error:
                log.error("label.not_booked number=%s code=%s", key.number, error.code)
                await asyncio.sleep(POLL_S)
            else:
                return job

    async def _look_after(self) -> None:
        """Ask the printer; when it is well, what waited for it queues again."""
        status = await self._printer.status()
        if status.proved and self._unproved is not None:
            # Paper was put in, and the printer says that the label came out after all.
            key, outcome = self._unproved
            self._unproved = None
            await self._book(key, replace(outcome, printed=True))
        await self._note(status)
        if not self._is_well(self._name):
            await self._fail_over()
            return
        waiting = self._live.floor.read(lambda db: print_label.waits_for(db, self._name))
        if waiting:
            await self._live.write(lambda tx: print_label.printer_ready(tx, self._name))
            self._live.wake_printer[self._name].set()

    async def _note(self, status: PrinterStatus) -> None:
        before = self._live.printer_status[self._name]
        self._live.printer_status[self._name] = status
        if (before.level, before.code) != (status.level, status.code):
            body = PrinterChanged(printer=self._name, status=status.level.value, reason=status.code)
            log.info("printer.changed printer=%s status=%s reason=%s",
                     self._name, status.level, status.code)  # fmt: skip
            await self._live.report("printer.changed", body)
