"""Pickers, packers and loaders at their own speed: double scans, wrong items, red screens ignored.

A person sees the screen of the station and the papers in the printer's tray, hears the tone, and
keeps the goods honest: what the screen counts as picked lies in the tote. Each ok tone that was
heard goes into the ledger of the world (P1), each parcel that left too (P4).
"""

from __future__ import annotations

import asyncio
from collections import Counter
from random import Random
from typing import TYPE_CHECKING

from edge_agent.domain.print_job import PrintState
from edge_agent.domain.task import Task, TaskState
from edge_agent.flows import print_label
from edge_agent.journal import jobs, tasks
from tests.simulation.plan import DAY_S, HOUR_S, Plan
from tests.simulation.shops import SKUS, barcode
from tests.simulation.truth import Left, Truth, Violation

if TYPE_CHECKING:
    from edge_agent.domain.answer import Answer
    from tests.simulation.edge_node import EdgeNode

SHIFT_HOURS = 10.0
WORK = (TaskState.GRANTED, TaskState.PICKING, TaskState.PACKED)
PATIENCE_S = 240.0
NOISE = (
    "6999999999999",
    "tel:10000008765",
    "x" * 10_000,
    "\x1b[A\x00",
    "测甲乙丙丁",
    "$$NOPE",
    "LOAD-",
    "10000004321",
)
"""Codes that mean nothing here; some hold a person's data, which must go no further (P12)."""


class Person:
    """One worker at one station of one agent."""

    def __init__(self, node: EdgeNode, station: str, plan: Plan, truth: Truth) -> None:
        self.node = node
        self.station = station
        self.plan = plan
        self.truth = truth
        self.rng = Random(f"person-{plan.seed}-{node.name}-{station}")
        self.overtime = False
        """Healing time: works round the clock until nothing is left."""
        self.away_until_s = 0.0
        self._recounts: list[str] = []

    async def work(self) -> None:
        """The whole history of this person."""
        while True:
            await asyncio.sleep(await self._pause())
            if not self.node.up:
                continue
            self._clear_bench()
            if self.node.warehouse == self.plan.counted and self.rng.random() < self.plan.counts:
                await self._count()
            task = self._choose()
            if task is not None:
                await self._do(task)

    async def _count(self) -> None:
        """Somebody counts a shelf; a wrong count is put right by the next one."""
        if self._recounts:
            sku, wrong = self._recounts.pop(), False
        else:
            sku, wrong = self.rng.choice(SKUS), not self.overtime and self.rng.random() < 0.7
        there = max(0, self.node.shelf[sku])
        if wrong:
            self._recounts.append(sku)
            there = self.rng.choice((0, 0, 1, 3, there // 2, there + 2))
        await self.node.count(self.station, sku, there)

    def _clear_bench(self) -> None:
        """Boxes whose last tone nobody heard: the screen says what became of them."""
        for shipment in sorted(set(self.node.totes) - self.node.busy):
            task = self._screen(shipment)
            if task is not None and task.state is TaskState.HANDED_OVER:
                self._leaves(task, beeped=False)
            elif task is not None and task.state is TaskState.STOPPED:
                self._back_to_shelf(task)

    async def _pause(self) -> float:
        now_s = asyncio.get_running_loop().time()
        if not self.overtime and now_s < self.away_until_s:
            return self.away_until_s - now_s
        if not self.overtime and now_s % DAY_S > SHIFT_HOURS * HOUR_S:
            return DAY_S - now_s % DAY_S + self.rng.uniform(0, 600)
        return self.rng.uniform(30, 700)

    def _choose(self) -> Task | None:
        """What the screen shows first: stops, then the most urgent work nobody else has."""
        if not self.node.up:  # it died while a shelf was counted
            return None
        stopping = self.node.read(lambda db: tasks.by_state(db, (TaskState.STOPPING,), 20))
        if stopping:
            return stopping[0]
        open_ = self.node.read(lambda db: tasks.by_state(db, WORK, 20))
        mine = [t for t in open_ if t.shipment not in self.node.busy]
        return mine[self.rng.randrange(min(3, len(mine)))] if mine else None

    async def _do(self, task: Task) -> None:
        self.node.busy.add(task.shipment)
        try:
            await self._one_task(task.shipment)
        finally:
            self.node.busy.discard(task.shipment)

    async def _one_task(self, shipment: str) -> None:
        """Carry one shipment as far as it goes now; come back to it later if something is off."""
        for _ in range(60):
            task = self._screen(shipment)
            if task is None or not self.node.up:
                return
            if task.state is TaskState.STOPPING:
                await self._put_back(task)
                return
            if task.state not in WORK:
                return
            if task.state is TaskState.PACKED:
                await self._label_and_load(task)
                return
            if not await self._step(task):
                return

    def _screen(self, shipment: str) -> Task | None:
        if not self.node.up:
            return None
        known = self.node.read(lambda db: tasks.all_of(db, shipment))
        stopping = [t for t in known if t.state is TaskState.STOPPING]
        return (stopping or known or [None])[-1]

    async def _step(self, task: Task) -> bool:
        """Pick what is missing, then verify; True to look at the screen again."""
        answer = await self._scan(f"TASK-{task.shipment}")
        if answer is None or answer.tone != "ok":
            return answer is not None and answer.code == "stop"
        verifying = answer.code == "packing"
        for line in task.lines:
            count = line.verified if verifying else line.picked
            while count < line.quantity:
                await self._distractions(task)
                if not verifying and await self._misses(line.sku):
                    return False
                if not verifying:
                    self._take(task, line.sku, count + 1)
                answer = await self._item(task, line.sku)
                if answer is None:
                    return True
                if answer.code == "stop":
                    return self.rng.random() > self.plan.ignores_screen or bool(
                        await self._item(task, line.sku)
                    )
                if answer.tone != "ok" and answer.code != "line_complete":
                    return True
                count += 1
        return True

    async def _misses(self, sku: str) -> bool:
        """The picker does not see the goods and says so; they are found again later."""
        here = self.node.warehouse == self.plan.counted and not self.overtime
        if not here or self.rng.random() > 0.02:
            return False
        await self._scan("$$SHORT")
        self._recounts.append(sku)
        return True

    def _take(self, task: Task, sku: str, wanted: int) -> None:
        """Have `wanted` units of `sku` in the tote; goods an older card forgot lie there still."""
        if task.shipment in self.node.gone:
            return
        tote = self.node.totes.setdefault(task.shipment, Counter())
        while tote[sku] < wanted:
            tote[sku] += 1
            self.node.shelf[sku] -= 1

    async def _item(self, task: Task, sku: str) -> Answer | None:
        """One item under the scanner; a trigger that bounces is no second try."""
        fact = (self.node.name, task.shipment, sku)
        self.truth.tries[fact] += 1
        answer = await self._scan(barcode(sku))
        if answer is not None and answer.tone == "ok":
            self.truth.ok_tone(fact)
        if self.rng.random() < self.plan.double_scan:
            await asyncio.sleep(self.rng.uniform(0.05, 0.3))
            again = await self._raw_scan(barcode(sku))
            if again is not None and again.tone == "ok":
                self.truth.ok_tone(fact)
        return answer

    async def _distractions(self, task: Task) -> None:
        """What must never count: another item, a code nobody knows."""
        if self.rng.random() < self.plan.wrong_item:
            others = [sku for sku in SKUS if all(sku != line.sku for line in task.lines)]
            answer = await self._scan(barcode(self.rng.choice(others)))
            if answer is not None and answer.tone == "ok":
                self._broken(f"an item of another order beeped ok: {answer}")
        if self.rng.random() < self.plan.unknown_code:
            answer = await self._scan(self.rng.choice(NOISE))
            if answer is not None and answer.tone == "ok":
                self._broken(f"an unknown code beeped ok: {answer}")

    def _broken(self, seen: str) -> None:
        self.truth.broken(Violation("P11", seen))

    # --- paper and van ------------------------------------------------------------------------

    async def _label_and_load(self, task: Task) -> None:
        paper = await self._paper(task)
        if not paper:
            return
        answer = await self._scan(task.waybill)
        if answer is None or answer.code != "packed":
            return
        answer = await self._scan("LOAD-A1")
        heard = answer is not None and answer.code == "handed_over"
        if answer is None:
            await self._wait_for_agent()
            seen = self._screen(task.shipment)
            heard = seen is not None and seen.state is TaskState.HANDED_OVER
        if heard:
            self._leaves(task, beeped=answer is not None)

    def _leaves(self, task: Task, *, beeped: bool) -> None:
        if task.shipment in self.node.gone:
            return
        now_s = asyncio.get_running_loop().time()
        self.node.totes.pop(task.shipment, None)
        self.node.gone.add(task.shipment)
        left = Left(self.node.warehouse, self.node.name, task.shipment, task.waybill, now_s, beeped)
        self.truth.left.append(left)

    async def _paper(self, task: Task) -> bool:
        """The paper for this box: from the tray, or by asking the screen what became of it."""
        waited_s = 0.0
        while True:
            if self.node.tray_has(task.waybill):
                return True
            if not self.node.up or self._state_of(task) is not TaskState.PACKED:
                return False
            if waited_s > PATIENCE_S:
                return await self._chase(task)
            await asyncio.sleep(30.0)
            waited_s += 30.0

    def _state_of(self, task: Task) -> TaskState | None:
        seen = self._screen(task.shipment)
        return None if seen is None else seen.state

    async def _chase(self, task: Task) -> bool:
        """No paper after minutes: repair the printer, press print, or ask for a marked copy."""
        self.node.repair_printers()
        placed = self.node.read(lambda db: jobs.newest(db, print_label.WAYBILL, task.waybill))
        if placed is None:
            return False
        answer = await self._scan(f"TASK-{task.shipment}")
        if answer is None:
            return False
        state = placed.job.state
        if state in (PrintState.HELD, PrintState.FAILED):
            await self._scan("$$PRINT")
        elif state in (PrintState.UNKNOWN, PrintState.SENT, PrintState.CONFIRMED):
            if state is not PrintState.CONFIRMED:
                await self._scan("$$NOTOUT")
            self.truth.reprints_asked[task.waybill] += 1
            await self._scan("$$REPRINT")
        return False

    async def _put_back(self, task: Task) -> None:
        """The red screen: goods to the shelf, label into the bin, then say so."""
        answer = await self._scan(f"TASK-{task.shipment}")
        if answer is None or answer.code != "stop":
            return
        await asyncio.sleep(self.rng.uniform(5, 60))
        answer = await self._scan("$$STOPPED")
        done = answer is not None and answer.code == "stopped"
        if answer is None:
            await self._wait_for_agent()
            seen = self._screen(task.shipment)
            done = seen is not None and seen.state is TaskState.STOPPED
        if done:
            self._back_to_shelf(task)

    def _back_to_shelf(self, task: Task) -> None:
        for sku, units in self.node.totes.pop(task.shipment, Counter()).items():
            self.node.shelf[sku] += units
        self.node.bin_papers(task.waybill)

    # --- scanner ------------------------------------------------------------------------------

    async def _scan(self, code: str) -> Answer | None:
        """One scan at human speed; None when no tone came."""
        await asyncio.sleep(self.rng.uniform(2.0, 7.0))
        return await self._raw_scan(code)

    async def _raw_scan(self, code: str) -> Answer | None:
        return await self.node.scan(self.station, code)

    async def _wait_for_agent(self) -> None:
        while not self.node.up:
            await asyncio.sleep(20.0)
