"""The people of a virtual warehouse: packers and a loader, who only scan, look and carry.

They read the bench's screen, scan codes with a wired scanner as a person would, take papers from
the printer and carry boxes. What they were told "ok" for is written down, to be held against what
the core knows at the end. They must not know the agent's journal or the core.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from virtual_warehouse.printer import PrintedLabel, VirtualPrinter
from virtual_warehouse.scanner import VirtualScanner
from virtual_warehouse.screen import Screen, Told, answer_on, label_job, task_on, tasks_of

ANSWER_S = 2.0
PAPER_S = 4.0
IDLE_S = 0.05
SERIAL_NEXT = "serial"
"""Stands for the event of a scan that only makes the bench ask for the unit's serial number."""

Task = dict[str, Any]


@dataclass(slots=True)
class Record:
    """What people did and were told; the physical truth of one warehouse.

    `told_ok`: (shipment, event type) -> how often the bench said ok. `gone`: waybill -> units by
    SKU that left on the truck. `refusals`: sentences of the error tone with their count.
    """

    told_ok: Counter[tuple[str, str]] = field(default_factory=Counter)
    gone: dict[str, dict[str, int]] = field(default_factory=dict)
    put_back: set[str] = field(default_factory=set)
    refusals: Counter[str] = field(default_factory=Counter)
    scans: int = 0
    unanswered: int = 0
    reprints: int = 0


def _set_event() -> asyncio.Event:
    event = asyncio.Event()
    event.set()
    return event


@dataclass(slots=True)
class Crew:
    """What the people of one warehouse share: screen, goods, papers, conveyor and record.

    `goods` gives the barcode that stands on a thing. `paper_first`: labels come out with the
    grant and work begins with a paper in the hand. `repeat_s`: a code again sooner is a bounce.
    `think_s` passes before every scan. `before_scan` is called before each scan (tests and the demo
    distract people there). While `dock_clear` is not set, boxes pile up before the truck.
    """

    name: str
    screen: Screen
    printer: VirtualPrinter
    goods: Mapping[str, str]
    paper_first: bool
    repeat_s: float
    think_s: float = 0.0
    record: Record = field(default_factory=Record)
    taken: set[str] = field(default_factory=set)
    conveyor: asyncio.Queue[tuple[PrintedLabel, Task]] = field(default_factory=asyncio.Queue)
    before_scan: Callable[[str, Task, str], Awaitable[None]] | None = None
    dock_clear: asyncio.Event = field(default_factory=_set_event)

    def paper(self, waybill: str) -> PrintedLabel | None:
        """The paper that carries this number, if it came out."""
        return next((p for p in self.printer.printed if p.waybill == waybill), None)


class Hand:
    """One scanner at one station and the person who holds it."""

    def __init__(self, crew: Crew, station: str, scanner: VirtualScanner) -> None:
        self.crew = crew
        self.station = station
        self.scanner = scanner
        self._last_code = ""
        self._last_at = 0.0
        self._last: Told | None = None

    async def scan(self, code: str) -> Told | None:
        """Pull the trigger and look at the screen; None when no answer comes."""
        if self.crew.think_s > 0:
            await asyncio.sleep(self.crew.think_s)
        pause = self._last_at + self.crew.repeat_s - time.monotonic()
        if code == self._last_code and pause > 0:
            await asyncio.sleep(pause)
        screen, record = self.crew.screen, self.crew.record
        since_ms = time.time_ns() // 1_000_000
        self._last_code, self._last_at = code, time.monotonic()
        record.scans += 1
        try:
            self.scanner.scan(code)
        except OSError:
            return None
        shown = (code, f"({len(code)})")
        told = await screen.wait(
            lambda status: answer_on(status, self.station, since_ms, shown), ANSWER_S
        )
        if told is None:
            record.unanswered += 1
        elif told.tone == "error":
            record.refusals[told.text] += 1
        return told

    async def task_now(self, shipment: str) -> Task | None:
        """The task as the screen shows it from now on."""
        return task_on(await self.crew.screen.fresh(), shipment)


class Packer(Hand):
    """Picks, verifies and packs one task after another, and puts the boxes on the conveyor."""

    async def run(self) -> None:
        """Work until cancelled."""
        while True:
            task = self._choose()
            if task is None:
                await asyncio.sleep(IDLE_S)
                continue
            self.crew.taken.add(task["shipment"])
            await self.work_on(task)

    async def work_on(self, task: Task) -> None:
        """One task to its end: packed and on the conveyor, or stopped and put back."""
        shipment = task["shipment"]
        now: Task | None = task
        rounds = 0
        while now is not None and now["state"] != "packed":
            if now["state"] == "stopping":
                await self.put_back(now)
            else:
                await self._steps(now)
            now = await self.task_now(shipment)
            rounds += 1
            if rounds > 1:
                await asyncio.sleep(min(1.0, rounds * IDLE_S))  # think before the next try
        if now is not None and await self._label(now):
            paper = self.crew.paper(now["waybill"])
            assert paper is not None
            self.crew.conveyor.put_nowait((paper, now))

    async def put_back(self, task: Task) -> None:
        """The red screen: goods back on the shelf, label torn up, the stop confirmed."""
        await stop_at(self, task)

    def _choose(self) -> Task | None:
        """What must stop comes first on the screen; then the most urgent that can be begun."""
        for task in tasks_of(self.crew.screen.status) if self.crew.screen.lit else ():
            if task["shipment"] in self.crew.taken:
                continue
            if task["state"] == "stopping":
                return task
            if task["state"] in ("granted", "picking") and self._can_begin(task):
                return task
        return None

    def _can_begin(self, task: Task) -> bool:
        if not self.crew.paper_first or self.crew.paper(task["waybill"]) is not None:
            return True
        job = label_job(self.crew.screen.status, task["waybill"])
        return job is not None and job["state"] == "unknown"

    def _start_code(self, task: Task) -> str:
        paper = self.crew.paper(task["waybill"]) if self.crew.paper_first else None
        return paper.waybill if paper is not None else f"TASK-{task['shipment']}"

    async def _steps(self, task: Task) -> None:
        """Scan what is left to scan until something is not answered with ok."""
        shipment = task["shipment"]
        if task.get("red"):
            await self.scan(self._start_code(task))
            await self.scan("$$OK")
            return
        for code, fact in self._plan(task):
            if self.crew.before_scan is not None:
                await self.crew.before_scan(self.station, task, fact)
            told = await self.scan(code)
            if told is None or told.tone != ("warn" if fact == SERIAL_NEXT else "ok"):
                return
            if fact != SERIAL_NEXT:
                self.crew.record.told_ok[shipment, fact] += 1

    def _plan(self, task: Task) -> list[tuple[str, str]]:
        """(code, event it causes) for the rest of a task: pick all, its code again, verify all."""
        start = self._start_code(task)
        picks = self._units(task, "picked")
        begin = "task.started" if task["state"] == "granted" else ""
        plan = [(start, begin)]
        if picks:
            plan += [(code, "item.picked") for code in picks]
            plan.append((start, ""))
        plan += self._verifies(task)
        if len(plan) == 1:
            plan.append(("$$OK" if task["notice"] else "$$PACKED", "parcel.packed"))
        return plan

    def _verifies(self, task: Task) -> list[tuple[str, str]]:
        """The scans of packing: a flagged unit's barcode is followed by its serial number."""
        flagged = {
            self.crew.goods[line["sku"]]: line for line in task["lines"] if line.get("serial")
        }
        seen: Counter[str] = Counter()
        plan: list[tuple[str, str]] = []
        for code in self._units(task, "verified"):
            line = flagged.get(code)
            if line is None:
                plan.append((code, "item.verified"))
                continue
            number = line["verified"] + seen[code]
            seen[code] += 1
            serial = f"SN-{line['sku']}-{task['shipment'][-10:]}-{number}"
            plan += [(code, SERIAL_NEXT), (serial, "item.verified")]
        return plan

    def _units(self, task: Task, done: str) -> list[str]:
        """Barcodes of the units left, different things in turn so that no code comes twice."""
        left = {line["sku"]: line["quantity"] - line[done] for line in task["lines"]}
        codes: list[str] = []
        while any(count > 0 for count in left.values()):
            for sku in [sku for sku, count in left.items() if count > 0]:
                codes.append(self.crew.goods[sku])
                left[sku] -= 1
        return codes

    async def _label(self, task: Task) -> bool:
        """Wait for the paper of a packed task, solving a label in doubt; False if it is gone."""
        while self.crew.paper(task["waybill"]) is None:
            deadline = time.monotonic() + PAPER_S
            while time.monotonic() < deadline and self.crew.paper(task["waybill"]) is None:
                await asyncio.sleep(IDLE_S)
            if self.crew.paper(task["waybill"]) is not None:
                break
            now = await self.task_now(task["shipment"])
            if now is None:
                return False
            if now["state"] == "stopping":
                await self.put_back(now)
                return False
            await self._doubt(now)
        return True

    async def _doubt(self, task: Task) -> None:
        """A label in doubt and no paper in the tray: say so, and ask for one more."""
        job = label_job(self.crew.screen.status, task["waybill"])
        if job is None or job["state"] != "unknown":
            return
        await self.scan(f"TASK-{task['shipment']}")
        told = await self.scan("$$NOTOUT")
        if told is not None and told.tone != "error":
            self.crew.record.reprints += 1
            await self.scan("$$REPRINT")


class Loader(Hand):
    """Stands at the dock and scans every box onto the truck."""

    def __init__(self, crew: Crew, station: str, scanner: VirtualScanner, dock: str) -> None:
        super().__init__(crew, station, scanner)
        self.dock = dock
        self._loading = False

    async def run(self) -> None:
        """Work until cancelled."""
        while True:
            paper, task = await self.crew.conveyor.get()
            await self.crew.dock_clear.wait()
            await self.load(paper, task)

    async def load(self, paper: PrintedLabel, task: Task) -> None:
        """One box: onto the truck, or back to the shelf when the order was cancelled."""
        shipment = task["shipment"]
        while True:
            if not self._loading:
                told = await self.scan(f"LOAD-{self.dock}")
                self._loading = told is not None and told.tone == "ok"
            told = await self.scan(paper.waybill) if self._loading else None
            if told is not None and told.tone == "ok":
                self.crew.record.told_ok[shipment, "parcel.handed_over"] += 1
                self._gone(paper, task)
                return
            now = await self.task_now(shipment)
            self._loading = False
            if now is None:
                if told is not None and told.tone == "warn":
                    self._gone(paper, task)
                    return
                if told is not None:
                    return
            elif now["state"] == "stopping":
                await stop_at(self, now)

    def _gone(self, paper: PrintedLabel, task: Task) -> None:
        units: Counter[str] = Counter()
        for line in task["lines"]:
            units[line["sku"]] += line["quantity"]
        self.crew.record.gone[paper.waybill] = dict(units)


async def stop_at(hand: Hand, task: Task) -> None:
    """Bring a task that must stop to this station and confirm that everything is back."""
    await hand.scan(f"TASK-{task['shipment']}")
    told = await hand.scan("$$STOPPED")
    if told is not None and told.tone == "ok":
        hand.crew.record.told_ok[task["shipment"], "task.stopped"] += 1
        hand.crew.record.put_back.add(task["shipment"])


@contextlib.asynccontextmanager
async def at_work(crews: Sequence[Crew], people: Sequence[Packer | Loader]) -> AsyncIterator[None]:
    """Screens are lit and people work until the context ends; a person's failure ends it."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(crew.screen.run()) for crew in crews]
        tasks += [group.create_task(person.run()) for person in people]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
