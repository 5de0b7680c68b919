"""`kill -9` of agents, core and broker in a busy shift, on both brokers: nothing lost or doubled.

First at the worst moments, which a line frozen in one direction holds still, then while the
programs start, then at random. Each kill says what was acknowledged and at risk at that moment;
the campaign must have risked something of every kind, or it would have proved nothing.
"""

from __future__ import annotations

import asyncio
import random
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.books import CoreBooks, everything_wrong
from tests.support.plant import BrokerKind, Plant
from virtual_warehouse.broker import MosquittoBroker
from virtual_warehouse.demo.places import PLACES, Warehouse

SEED = 20_261_122
AGENTS = tuple(place.agent for place in PLACES)
VICTIMS = (*AGENTS, AGENTS[1], "core", "broker", "broker")
KILLS = 6 + 4 + len(VICTIMS)
DOUBLES = 0.3
DOWN_S_MOST = 0.6
WAITING = 5
UNPAID, AT_ONCE = 300, 10
BEHIND = 3 * UNPAID
"""Answered orders that wait: some are left when the core is dead a moment later."""
RUSHES = 4
LABEL_BYTES = 5_000

TAMPERED = {
    "a scan is lost": "DELETE FROM event WHERE (stream_id, seq) = "
    "(SELECT stream_id, seq FROM event WHERE type = 'item.picked' LIMIT 1)",
    "an order is lost": "DELETE FROM orders WHERE id = (SELECT MIN(id) FROM orders)",
    "a pick counts twice": "INSERT INTO movement (at_ms, warehouse, sku, d_shelf, d_picked, d_held,"
    " reason, ref) SELECT at_ms, warehouse, sku, d_shelf, d_picked, d_held, reason, ref "
    "FROM movement WHERE reason = 'pick' LIMIT 1",
    "a unit is gone": "UPDATE stock SET shelf = shelf - 1 WHERE sku = 'SKU-001'",
    "a row was changed": "UPDATE event SET row = CAST(REPLACE(CAST(row AS TEXT), '\"q\":7,', "
    "'\"q\":8,') AS BLOB) WHERE seq = 7",
    "a row came twice": "INSERT INTO event SELECT stream_id, seq + 1000000, hash, type, row, "
    "at_ms, result FROM event WHERE type = 'parcel.packed' LIMIT 1",
}  # fmt: skip

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]


class Executioner:
    """Kills, tells what was at risk, and sees to it that work goes on."""

    def __init__(self, plant: Plant, say: Callable[[str], None]) -> None:
        self.plant = plant
        self._say = say
        self._start = time.monotonic()

    def say(self, text: str) -> None:
        self._say(f"  {time.monotonic() - self._start:5.1f} s  {text}")

    def kill(self, moment: str, victim: str) -> None:
        """One kill and its line."""
        risk = self.plant.kill(victim)
        self.say(f"kill {self.plant.kills:2} {victim:7} {moment:34} at risk: {risk}")

    async def strike(self, moment: str, *victims: str) -> None:
        """Kill together, leave them down for a moment, revive in any order, watch work go on."""
        plant = self.plant
        for victim in victims:
            self.kill(moment, victim)
        await plant.stay_down(DOWN_S_MOST)
        back = list(victims)
        plant.rng.shuffle(back)
        for line in plant.lines:
            line.heal()
        for victim in back:
            await plant.revive(victim)
        await plant.progress(WAITING)

    async def answered_and_not_processed(self) -> None:
        """The shop has its answer, its orders are stored and not yet looked into."""
        rush = await self._rush()
        for _ in range(RUSHES):
            if self.plant.orders_wait(BEHIND):
                break
            await rush
            rush = await self._rush()
        await self.strike("answered, not processed", "core")
        await rush

    async def _rush(self) -> asyncio.Task[None]:
        """Many orders at once; as soon as some are answered and wait, or all are done."""
        plant = self.plant
        rush = asyncio.create_task(plant.till.reserve(UNPAID, AT_ONCE))
        await plant.catch(lambda: rush.done() or plant.orders_wait(BEHIND))
        return rush

    async def beeped_and_not_sent(self) -> None:
        """Rows are durable at the agent, and the core has never seen them."""
        one = self.plant.warehouses[AGENTS[0]]
        await self.plant.busy(AGENTS[0], 2)
        one.line.freeze(up=True, down=False)
        await self.plant.until(lambda: self.plant.behind(WAITING), 20, "scans to pile up")
        await self.strike("beeped, never sent", AGENTS[0])

    async def applied_and_not_acked(self, victim: str) -> None:
        """The core has committed, its ack never arrives: everything is sent once more."""
        plant = self.plant
        line = plant.core_line if victim == "core" else plant.warehouses[victim].line
        up = victim == "core"
        await plant.busy(AGENTS[0] if up else victim, 2)
        line.freeze(up=up, down=not up)
        await plant.progress(WAITING, 20, "" if up else victim)
        await self.strike("applied, ack never came", victim)

    async def puback_and_not_delivered(self) -> None:
        """The broker has taken batches and forgets them: a PUBACK proves nothing."""
        await self.plant.busy(AGENTS[1], 2)
        self.plant.core_line.freeze(up=False, down=True)
        await self.plant.until(lambda: self.plant.behind(WAITING), 20, "scans at the broker")
        await self.strike("taken by the broker, not delivered", "broker")

    async def label_half_sent(self, victim: str) -> None:
        """Byte one of a label has left and no paper came: in doubt for good, a person decides."""
        plant, one = self.plant, self.plant.warehouses[victim]
        before = one.printer.bytes_swallowed
        one.printer.faults.lose_label_after_bytes = LABEL_BYTES

        async def label_is_lost() -> bool:
            return one.printer.bytes_swallowed - before > LABEL_BYTES

        async def let_go() -> bool:
            return not one.printer.in_use

        await plant.busy(victim, 1)
        await plant.until(label_is_lost, 20, "a label on its way")
        self.kill("its label half sent", victim)
        await plant.until(let_go, 10, "the printer to notice")
        one.printer.faults.clear()
        await plant.revive(victim)
        await plant.until(lambda: asked_again(one), 90, "a person to ask for the label again")
        await plant.progress(WAITING)

    async def while_starting(self, victim: str) -> None:
        """Killed, started, and killed again before it is up."""
        self.kill("first time", victim)
        await self.plant.half_start(victim)
        await self.strike("again while it starts", victim)

    def sum_up(self) -> None:
        """One line over all of it."""
        plant = self.plant
        reprints = sum(one.crew.record.reprints for one in plant.warehouses.values())
        self.say(
            f"{plant.kills} kills, at risk in all: {plant.risked}; {len(plant.answered)} orders,"
            f" {plant.books.events()} events, {reprints} labels asked for again"
        )


async def asked_again(one: Warehouse) -> bool:
    """Whether a person has said that a label did not come out."""
    return one.crew.record.reprints > 0


def rounds(rng: random.Random) -> Iterator[list[str]]:
    """Every victim of the random part in random order; some die together with the next."""
    queue = list(VICTIMS)
    rng.shuffle(queue)
    while queue:
        together = [queue.pop()]
        if queue and rng.random() < DOUBLES and queue[-1] not in together:
            together.append(queue.pop())
        yield together


async def test_a_shift_under_kill_9_loses_nothing_and_does_nothing_twice(
    broker_kind: BrokerKind, tmp_path: Path, say: Callable[[str], None]
) -> None:
    seed = SEED + (broker_kind is MosquittoBroker)
    async with Plant.running(tmp_path, broker_kind, seed) as plant:
        say(f"\n{broker_kind.name}: {KILLS} kills, seed {seed}")
        await plant.progress(20)
        killing = Executioner(plant, say)
        await killing.answered_and_not_processed()
        await killing.beeped_and_not_sent()
        await killing.applied_and_not_acked(AGENTS[1])
        await killing.applied_and_not_acked("core")
        await killing.puback_and_not_delivered()
        await killing.label_half_sent(AGENTS[1])
        await killing.while_starting(AGENTS[0])
        await killing.while_starting("core")
        for victims in rounds(plant.rng):
            await killing.strike(await plant.moment(), *victims)
        await plant.drain()
        assert await plant.stop_in_order() == [0, 0, 0]
        killing.sum_up()
        answered, opening = plant.answered, plant.opening
        assert everything_wrong(plant.books, plant.benches, answered, opening) == []
        assert plant.kills == KILLS
        assert min(plant.risked.orders, plant.risked.scans, plant.risked.commands) > 0
        the_books_would_tell(plant, tmp_path)


def the_books_would_tell(plant: Plant, folder: Path) -> None:
    """The control: the same checks over books that were tampered with must find it."""
    answered, opening = plant.answered, plant.opening
    for name, sql in TAMPERED.items():
        copy = folder / "tampered.sqlite"
        copy.unlink(missing_ok=True)
        with closing(sqlite3.connect(plant.books.path)) as db, closing(sqlite3.connect(copy)) as to:
            db.backup(to)
        with closing(sqlite3.connect(copy)) as db, db:
            assert db.execute(sql).rowcount > 0, name
        assert everything_wrong(CoreBooks(copy), plant.benches, answered, opening), name
    first, *others = plant.benches
    twice = replace(first, papers=[*first.papers, first.papers[0]])
    assert everything_wrong(plant.books, [twice, *others], answered, opening)
    assert everything_wrong(plant.books, plant.benches, [*answered, "NEVER-SEEN"], opening)
