"""What the agent is made of: its ports and the little state that is not in the journal."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from typing import Any

from msgspec import Struct

from edge_agent.domain.answer import Answer
from edge_agent.domain.floor_plan import FloorPlan
from edge_agent.domain.moment import ServerOffset
from edge_agent.domain.printer_status import SILENT, PrinterStatus
from edge_agent.domain.scanner_roster import ScannerRoster
from edge_agent.domain.sender import Sender
from edge_agent.flows import upload
from edge_agent.flows.bench import Bench
from edge_agent.journal.writer import Journal
from edge_agent.ports import Clock, Ids, LabelMaker, Link, Printer, RunBlocking
from protocols import limits
from protocols.errors import Unavailable
from protocols.topics import STREAMS

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Ports:
    """Everything the agent touches the world with.

    `journals` has one entry a stream; `makers` and `printers` one a printer of the plan.
    `feedback` shows an answer at a station (light, tone); it must not block.
    """

    clock: Clock
    ids: Ids
    link: Link
    journals: Mapping[str, Journal]
    printers: Mapping[str, Printer]
    makers: Mapping[str, LabelMaker]
    run_blocking: RunBlocking
    boot_id: str = ""
    feedback: Callable[[str, Answer], None] = lambda station, answer: None
    told_time: Callable[[int, int], None] = lambda core_ms, mono_ms: None
    """The core's time (ms UTC) and CLOCK_BOOTTIME then: raises the clock's floor."""
    health: Callable[[], Mapping[str, Any]] = dict
    """What bootstrap knows of the box (safe mode, drivers, clock, wear), for page and metrics."""


@dataclass(slots=True)
class Counters:
    """What `/metrics` tells; counted since the start."""

    scans: dict[str, int] = field(default_factory=dict)
    commands: int = 0
    commands_refused: int = 0
    batches: int = 0
    acks: int = 0
    rewinds: int = 0
    connects: int = 0
    messages_bad: int = 0
    labels: dict[str, int] = field(default_factory=dict)
    handhelds_refused: dict[str, int] = field(default_factory=dict)

    def scan(self, tone: str) -> None:
        self.scans[tone] = self.scans.get(tone, 0) + 1

    def label(self, state: str) -> None:
        self.labels[state] = self.labels.get(state, 0) + 1

    def refused_handheld(self, code: str) -> None:
        self.handhelds_refused[code] = self.handhelds_refused.get(code, 0) + 1


class Live:
    """State of this run, owned by the loop. A crash forgets it and nothing is lost."""

    def __init__(self, plan: FloorPlan, ports: Ports) -> None:
        self.plan = plan
        self.ports = ports
        self.connected = False
        self.welcomed = False
        self.core_seen = False
        self.leaving = False
        self.inc = 0
        self.inc_noted = 0
        """The connection number up to which upkeep has set numbers aside."""
        self.offset: ServerOffset | None = None
        self.batch_max = limits.BATCH_EVENTS_MAX
        self.acked: dict[tuple[str, int], int] = {}
        self.printing: set[str] = set()
        self.core: tuple[int, int] | None = None
        self.senders: dict[str, Sender] = {stream: Sender() for stream in STREAMS}
        self.printer_status: dict[str, PrinterStatus] = dict.fromkeys(plan.printers, SILENT)
        self.wake_upload = {stream: asyncio.Event() for stream in STREAMS}
        self.wake_printer = {name: asyncio.Event() for name in plan.printers}
        self.scanners = ScannerRoster()
        self.count = Counters()
        self.group: asyncio.TaskGroup | None = None

    @property
    def bench(self) -> Bench:
        """The bench as flows see it now."""
        return Bench(self.plan, self.offset)

    @property
    def floor(self) -> Journal:
        return self.ports.journals["floor"]

    @property
    def telemetry(self) -> Journal:
        return self.ports.journals["telemetry"]

    async def write(self, work: Callable[[Any], Any]) -> Any:
        """One commit on the floor journal; then the sender has something to look at."""
        result = await self.floor.write(work)
        self.wake_upload["floor"].set()
        return result

    def queued(self, stream: str) -> int:
        """Rows of the current epoch that the core is not known to hold."""
        journal, sender = self.ports.journals[stream], self.senders[stream]
        if sender.leg is not None and sender.leg.epoch == journal.position.epoch:
            return max(0, journal.position.last - sender.acked)
        return journal.read(upload.queued)

    def oldest_ms(self, stream: str) -> int:
        """Wall time of the oldest such row, 0 if there is none."""
        journal, sender = self.ports.journals[stream], self.senders[stream]
        leg = sender.leg
        if leg is None or leg.epoch != journal.position.epoch:
            return journal.read(upload.oldest_ms)
        return journal.read(lambda db: upload.wall_ms_of(db, leg.epoch_no, sender.acked + 1))

    async def report(self, type_: str, body: Struct, station: str = "") -> None:
        """Say something on the telemetry stream; when its file is full or broken, go on without."""
        try:
            await self.telemetry.write(lambda tx: tx.append(type_, body, station=station))
        except Unavailable as error:
            log.warning("telemetry.lost type=%s code=%s", type_, error.code)
        self.wake_upload["telemetry"].set()

    def ring_printers(self) -> None:
        """Labels may have been queued."""
        for event in self.wake_printer.values():
            event.set()

    def later(self, work: Coroutine[Any, Any, Any]) -> None:
        """Run something whose outcome nobody waits for; its failure still ends the agent."""
        assert self.group is not None
        self.group.create_task(work)


async def wait(event: asyncio.Event, seconds: float) -> bool:
    """Wait until `event` is set, at most so long; clears it. True if it was set."""
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return False
    event.clear()
    return True
