"""One warehouse agent as a machine of the simulation: card, clocks, printer, shelf, people's view.

Boots the real `Agent` over the real journal on the forgetful card; kills it, cuts its power, wipes
or swaps its card. What a dead process still tries reaches neither disk, broker nor printer.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import Counter
from collections.abc import Awaitable, Callable
from random import Random
from typing import TypeVar

import apsw

from edge_agent import ports as edge_ports
from edge_agent.agent import Agent
from edge_agent.agent.clock import FlooredClock
from edge_agent.agent.parts import Ports
from edge_agent.domain import moment
from edge_agent.domain.answer import Answer
from edge_agent.domain.floor_plan import FloorPlan
from edge_agent.domain.label import LabelFields, assert_masked
from edge_agent.domain.moment import ClockFloor
from edge_agent.domain.print_job import PrintState
from edge_agent.domain.printer_status import PrinterStatus, SendOutcome
from edge_agent.journal import clock as journal_clock
from edge_agent.journal import fences, jobs
from edge_agent.journal.core import JournalCore
from edge_agent.journal.tx import Tx
from edge_agent.journal.writer import InlineJournal
from edge_agent.ports import Clock, Connection
from protocols.events import Count, StockCounted
from protocols.messages import Token
from tests.simulation.broker import FakeBroker, Rights
from tests.simulation.clocks import EdgeClock, SeededIds
from tests.simulation.disk import CrashVfs, Disk
from tests.simulation.links import SimLink
from tests.simulation.plan import START_WALL_MS
from tests.simulation.printers import SimPrinter
from tests.simulation.process import CrashPoint, Process, ProcessGone
from tests.simulation.sqlite_shim import Connection as Shim
from tests.simulation.sqlite_shim import abandon
from tests.simulation.truth import Paper, Truth, Violation

T = TypeVar("T")


class Labels:
    """Stands for drawing: the fields that matter, as bytes."""

    def framed(self, fields: LabelFields, job_tag: str = "") -> bytes:
        assert_masked(fields)
        return json.dumps(
            {
                "waybill": fields.waybill,
                "order": fields.order_id,
                "mark": fields.copy_mark,
                "name": fields.receiver_name_masked,
                "phone": fields.receiver_phone_masked,
            }
        ).encode()

    def preview_png(self, fields: LabelFields) -> bytes:
        return b""


class PrinterOfProcess:
    """The bench's printer as one life of the agent holds it."""

    def __init__(self, printer: SimPrinter, process: Process) -> None:
        self._printer = printer
        self._process = process

    async def status(self) -> PrinterStatus:
        self._process.check()
        return await self._printer.status()

    async def send(self, data: bytes, before_first_byte: Callable[[], bool]) -> SendOutcome:
        def allowed() -> bool:
            self._process.check()
            return before_first_byte()

        self._process.check()
        return await self._printer.send(data, allowed)

    async def close(self) -> None: ...


class CrashingJournal(InlineJournal):
    """The inline journal, dying before or after a commit when its crash point says so."""

    def __init__(
        self, core: JournalCore, clock: Clock, process: Process, crash: Callable[[str], bool]
    ) -> None:
        super().__init__(core, clock)
        self._process = process
        self._crash = crash

    async def write(self, work: Callable[[Tx], T]) -> T:
        self._process.check()
        if self._crash("before_commit"):
            raise ProcessGone
        result = await super().write(work)
        if self._crash("after_commit"):
            raise ProcessGone
        return result

    def read(self, work: Callable[[Connection], T]) -> T:
        self._process.check()
        return super().read(work)


class EdgeNode:
    """The Pi, its card, its printer, its stations and the shelf its people pick from."""

    def __init__(
        self,
        name: str,
        site: str,
        warehouse: str,
        broker: FakeBroker,
        vfs: CrashVfs,
        truth: Truth,
        seed: int,
        shelf: Counter[str],
        card: str = "",
    ) -> None:
        loop = asyncio.get_running_loop()
        self.name, self.site, self.warehouse = name, site, warehouse
        self.broker, self.vfs, self.truth = broker, vfs, truth
        self.card = card or name
        self.rng = Random(f"edge-{seed}-{self.card}")
        self.crash_point = CrashPoint(Random(f"edge-crash-{seed}-{self.card}"))
        self.clock = EdgeClock(loop)
        self.floored = FlooredClock(self.clock, ClockFloor(), START_WALL_MS)
        self.disk = vfs.disks[self.card] = Disk()
        self.printer = SimPrinter(Random(f"printer-{seed}-{self.card}"), self._came_out)
        self.printer.first_byte = self._first_byte
        self.shelf = shelf
        self.totes: dict[str, Counter[str]] = {}
        self.busy: set[str] = set()
        self.gone: set[str] = set()
        """Shipments whose parcel left this bench, whatever a new card believes."""
        self.papers: dict[str, list[str]] = {}
        self.on_crash: Callable[[str], None] = lambda point: None
        self.boots = 0
        self.scanning = 0
        self.process: Process | None = None
        self.agent: Agent | None = None
        self.link: SimLink | None = None
        self._journals: dict[str, CrashingJournal] = {}
        self._open: list[apsw.Connection] = []
        rights = (f"v1/{site}/{name}/up/#",), (f"v1/{site}/{name}/dn/#", "v1/core/st")
        self._rights = Rights(*rights)

    @property
    def up(self) -> bool:
        return self.process is not None and self.process.alive

    # --- life and death -----------------------------------------------------------------------

    def boot(self, *, machine: bool) -> None:
        """Start the agent; `machine`: the whole Pi, with a new boot clock."""
        if machine:
            self.clock.boot()
        self.boots += 1
        process = self.process = Process()
        self.floored = FlooredClock(self.clock, ClockFloor(), START_WALL_MS)
        ids = SeededIds(self.rng)
        self._journals = {
            stream: self._journal(stream, process, ids) for stream in ("floor", "telemetry")
        }
        self.link = SimLink(self.broker, self.name, self._rights, edge_ports, self.rng)
        self.agent = Agent(self._plan(), self._ports(process, ids))
        process.spawn(self._run(self.agent))

    async def _run(self, agent: Agent) -> None:
        loop = asyncio.get_running_loop()
        loop.call_later(1.0, self._look_at_held)
        await agent.run()

    def _look_at_held(self) -> None:
        """A queued label that this boot kept back until the core was heard."""
        if self.up and any(
            placed.job.reason == "boot_without_core"
            for placed in self.read(lambda db: jobs.in_states(db, (PrintState.HELD,)))
        ):
            self.truth.reached("label_held_by_boot")

    def _plan(self) -> FloorPlan:
        return FloorPlan(
            site=self.site,
            agent=self.name,
            warehouse_name=f"演示仓{self.warehouse}",
            stations={f"{self.name}-1": "p1"},
            printers=("p1",),
            print_ttl_s=3600,
        )

    def _ports(self, process: Process, ids: SeededIds) -> Ports:
        assert self.link is not None
        return Ports(
            clock=self.floored,
            ids=ids,
            link=self.link,
            journals=self._journals,
            printers={"p1": PrinterOfProcess(self.printer, process)},
            makers={"p1": Labels()},
            run_blocking=_at_once,
            boot_id=f"boot-{self.boots}",
            told_time=self.floored.told,
        )

    def _journal(self, stream: str, process: Process, ids: SeededIds) -> CrashingJournal:
        core = JournalCore(lambda: self._connect(stream), self.name, stream, ids.epoch)
        number = Random(f"boot-{self.card}-{self.boots}").getrandbits(40)
        core.open(self.clock.now(), "first", number)
        self._raise_floor(core)
        return CrashingJournal(core, self.floored, process, self._crash)

    def _raise_floor(self, core: JournalCore) -> None:
        """What this card knows to be over, as bootstrap finds it before the agent starts."""
        now = self.clock.now()
        found = moment.first_floor(
            built_ms=START_WALL_MS,
            core_ms=journal_clock.core_ms(core.db),
            event_ms=journal_clock.newest_event_ms(core.db),
            mono_ms=now.mono_ms,
        )
        known = self.floored.floor
        self.floored.floor = max(known, found, key=lambda floor: floor.at(now.mono_ms))

    def _connect(self, stream: str) -> Shim:
        path = self.vfs.path(self.card, f"{stream}.db")
        raw = apsw.Connection(path, vfs=self.vfs.vfs_name)
        raw.execute("PRAGMA locking_mode=EXCLUSIVE").fetchall()
        self._open.append(raw)
        return Shim(raw)

    def kill(self) -> None:
        """The process alone: what it wrote is in the page cache."""
        self._end(self.disk.kill)

    def cut_power(self) -> None:
        """The machine: what was not synced is gone, or torn."""
        self._end(lambda: self.disk.cut_power(self.rng))

    def _end(self, disk_event: Callable[[], None]) -> None:
        if self.process is None or not self.process.alive:
            disk_event()
            return
        self.process.end()
        assert self.link is not None
        self.link.die()
        disk_event()
        for raw in self._open:
            abandon(raw)
        self._open.clear()

    def _crash(self, point: str) -> bool:
        if not self.crash_point.now(point):
            return False
        self.on_crash(point)
        if self.rng.random() < 0.5:
            self.cut_power()
        else:
            self.kill()
        return True

    # --- people's view ------------------------------------------------------------------------

    def read(self, work: Callable[[Connection], T]) -> T:
        """The station's screen."""
        return self._journals["floor"].read(work)

    async def scan(self, station: str, code: str) -> Answer | None:
        """A scan; None when no tone came because the agent is not there (any more)."""
        process = self.process
        if process is None or not process.alive or self.agent is None:
            return None
        if not self.agent.ready.is_set():
            return None
        self.scanning += 1
        try:
            answer = await self.agent.scan(station, code, station)
        except ProcessGone:
            return None
        finally:
            self.scanning -= 1
        return answer if process.alive else None

    async def count(self, station: str, sku: str, shelf: int) -> None:
        """Somebody counted a shelf; nothing comes of it when the agent is not there."""
        process, agent = self.process, self.agent
        if process is None or not process.alive or agent is None or not agent.ready.is_set():
            return
        body = StockCounted([Count(sku, shelf)])
        with contextlib.suppress(ProcessGone):
            await agent.live.write(lambda tx: tx.append("stock.counted", body, station=station))

    def tray_has(self, waybill: str) -> bool:
        return bool(self.papers.get(waybill))

    def bin_papers(self, waybill: str) -> None:
        self.papers.pop(waybill, None)

    def repair_printers(self) -> None:
        self.printer.repair()

    # --- the printer --------------------------------------------------------------------------

    def _first_byte(self, data: bytes) -> None:
        """P4 at the moment that counts: granted here, and under no token below the fence."""
        label = json.loads(data)
        waybill = label["waybill"]
        grants = [
            g
            for g in self.truth.grants.get(waybill, [])
            if g.agent == self.name and g.order == label["order"]
        ]
        if not grants:
            seen = f"{self.name} prints {waybill}, which it was never granted"
            self.truth.broken(Violation("P4", seen))
            return
        shipment = grants[0].shipment
        told = self.truth.fences.get((self.name, shipment), (0, 0))
        fence = max(self.read(lambda db: fences.of(db, shipment)), Token(*told))
        token = max(Token(*grant.token) for grant in grants)
        if token < fence:
            seen = f"{self.name} prints {waybill} of {shipment} under {token} below {fence}"
            self.truth.broken(Violation("P4", seen))

    def _came_out(self, data: bytes) -> None:
        label = json.loads(data)
        now_s = asyncio.get_running_loop().time()
        self.papers.setdefault(label["waybill"], []).append(label["mark"])
        paper = Paper(self.name, label["waybill"], label["order"], label["mark"], now_s)
        self.truth.papers.append(paper)


def _at_once(work: Callable[[], bytes]) -> Awaitable[bytes]:
    future: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
    try:
        future.set_result(work())
    except Exception as error:
        future.set_exception(error)
    return future
