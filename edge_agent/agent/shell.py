"""The agent itself: recover, then run every loop until asked to stop or until one of them fails.

Constructed by bootstrap with real ports and by the simulation with virtual ones. A failure that is
not a known error family ends `run`; the service manager starts the program again, and `recover`
makes of the journal what the journal can prove.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any, TypeVar

from edge_agent.agent import station_view, view
from edge_agent.agent.board import Board
from edge_agent.agent.parts import Live, Ports
from edge_agent.agent.printing import PrintWorker
from edge_agent.agent.scanning import ScannerDoor
from edge_agent.agent.session import Session
from edge_agent.agent.upkeep import Upkeep
from edge_agent.agent.uploading import Uploader
from edge_agent.domain.answer import Answer, mind
from edge_agent.domain.floor_plan import FloorPlan
from edge_agent.domain.scan import RepeatFilter
from edge_agent.flows import print_label, work
from edge_agent.flows.bench import Bench
from edge_agent.journal.tx import Tx
from edge_agent.ports import Connection
from protocols.errors import PacklineError
from protocols.events import AgentStarted, ScanRefused
from protocols.topics import STREAMS

log = logging.getLogger(__name__)

FAREWELL_S = 10.0
T = TypeVar("T")
Act = Callable[[Tx, Bench], Answer]
Step = Callable[[Tx, str, str, Bench], Answer]


class Agent:
    """One warehouse agent. The journals of `ports` are open before it is constructed."""

    def __init__(self, plan: FloorPlan, ports: Ports) -> None:
        self.live = Live(plan, ports)
        self.board = Board()
        self.session = Session(self.live)
        self._repeats = RepeatFilter(plan.repeat_ms)
        self._waiting: set[tuple[str, str]] = set()
        self.scanners = ScannerDoor(self.live, self.scan, self.refuse_scan, self._show)
        self._stop = asyncio.Event()
        self.ready = asyncio.Event()

    async def run(self) -> None:
        """Recover, then work until `stop`. Raises what a loop raised (in an exception group)."""
        live = self.live
        bench = live.bench
        self.scanners.recall()
        recovered = await live.write(lambda tx: print_label.recover(tx, bench))
        started = AgentStarted(
            sw=live.plan.version,
            boot_id=live.ports.boot_id,
            jobs_unknown=recovered.unknown,
            jobs_held=recovered.held,
        )
        await live.report("agent.started", started)
        log.info("agent.started boot=%d unknown=%d held=%d",
                 live.floor.boot, recovered.unknown, recovered.held)  # fmt: skip
        try:
            async with asyncio.TaskGroup() as group:
                live.group = group
                await live.ports.link.start(self.session.will)
                tasks = [group.create_task(loop) for loop in self._loops()]
                self.ready.set()
                await self._stop.wait()
                await self._farewell()
                for task in tasks:
                    task.cancel()
        finally:
            self.ready.clear()
            live.group = None
            await live.ports.link.stop()
            for printer in live.ports.printers.values():
                await printer.close()

    def stop(self) -> None:
        """Ask `run` to end: labels being sent are waited for, up to 10 s."""
        self._stop.set()

    async def scan(
        self, station: str, code: str, source: str, numbered: Step | None = None
    ) -> Answer:
        """One scan. The answer is given when it is durable, or is an error (P1).

        The same code at the same station before that answer is impatience with a slow disk, not
        a second item. A source that numbers its scans brings a step that knows a repeat itself.
        """
        live = self.live
        now = live.ports.clock.now()
        waiting = (station, code) in self._waiting
        if numbered is not None:
            answer = await self._answer(lambda tx, at: numbered(tx, station, code, at))
        elif waiting or self._repeats.is_repeat(station, source, code, now.mono_ms):
            answer = mind("repeat", "重复扫码, 已忽略")
        else:
            self._waiting.add((station, code))
            try:
                answer = await self._answer(lambda tx, at: _scan(tx, station, code, at))
            finally:
                self._waiting.discard((station, code))
            if answer.tone == "error":
                self._repeats.forget(station, code)
        self._show(station, answer)
        live.count.scan(answer.tone)
        if answer.refused:
            body = ScanRefused(reason=answer.refused, length=len(code), source=source[:64])
            live.later(live.report("scan.refused", body, station))
        return answer

    async def refuse_scan(self, station: str, reason: str, source: str) -> Answer:
        """A scan that the scanner's own reader could not make a code of."""
        answer = work.unreadable(reason)
        self._show(station, answer)
        self.live.count.scan(answer.tone)
        body = ScanRefused(reason=reason, source=source[:64])
        await self.live.report("scan.refused", body, station)
        return answer

    async def adopt_scanner(self, port: str, station: str) -> Answer:
        """Use the scanner at a port of `unknown_scanners` for a station; "" gives it back."""
        return await self.scanners.bind(port, station)

    async def act(self, act: Act, station: str = "") -> Answer:
        """Something a person pressed on a page, as durable as a scan; shown where it was."""
        answer = await self._answer(act)
        if station:
            self._show(station, answer)
        return answer

    def refused_handheld(self, code: str) -> None:
        """A handheld's request, or its whole connection, was refused: counted by the reason."""
        self.live.count.refused_handheld(code)

    async def write(self, work: Callable[[Tx], T]) -> T:
        """One commit for a page that is no answer of a bench. Raises what `work` raises."""
        value: T = await self.live.write(work)
        return value

    def read(self, work: Callable[[Connection], T]) -> T:
        """A short read on committed data."""
        return self.live.floor.read(work)

    def now_ms(self) -> int:
        """This machine's wall clock."""
        return self.live.ports.clock.now().wall_ms

    def clock_text(self, wall_ms: int) -> str:
        """Local "HH:MM" of a moment."""
        return self.live.plan.clock_text(wall_ms)

    def at_station(self, station: str) -> dict[str, Any]:
        """What a station's screen or handheld shows; no personal data beyond its parcel."""
        return station_view.of(self.live, self.board, station)

    def station_mark(self, station: str) -> object:
        """Changes whenever `at_station` may have; costs no look into the journal."""
        return station_view.mark(self.live, self.board, station)

    def status(self) -> dict[str, Any]:
        """Everything the status page and `/status.json` show; no personal data."""
        return view.status(self.live)

    async def _answer(self, act: Act) -> Answer:
        bench = self.live.bench
        try:
            answer: Answer = await self.live.write(lambda tx: act(tx, bench))
        except PacklineError as error:
            return Answer("error", "red", error.code, error.zh, refused=error.code)
        self.live.ring_printers()
        return answer

    def _show(self, station: str, answer: Answer) -> None:
        self.live.ports.feedback(station, answer)
        self.board.show(station, answer, self.now_ms())

    def _loops(self) -> list[Any]:
        live = self.live
        return [
            self.session.listen(),
            self.session.keep_greeting(),
            Upkeep(live, self.session).run(),
            *(Uploader(live, stream).run() for stream in STREAMS),
            *(PrintWorker(live, name).run() for name in live.plan.printers),
        ]

    async def _farewell(self) -> None:
        """Let a label that is on its way arrive, begin no other, and tell the core we leave."""
        self.live.leaving = True
        if self.live.connected:
            self.session.say_state(on=False)
        try:
            async with asyncio.timeout(FAREWELL_S):
                while self.live.printing:
                    await asyncio.sleep(0.05)
        except TimeoutError:
            log.warning("agent.left_label_unfinished")


def _scan(tx: Tx, station: str, code: str, at: Bench) -> Answer:
    """A full journal takes no scan at all, also none that would not be an event."""
    tx.check_room()
    return work.scan(tx, station, code, at)
