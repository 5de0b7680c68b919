"""The line between warehouses and core goes bad in every way a TCP line can; work goes on.

Real programs on both brokers behind a fault proxy: bytes come chopped and late, connections drop
in the middle of a packet, cables are pulled, half-open lines swallow everything in one or both
directions. After healing the books of both sides agree row by row.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from edge_agent.link import CONNECT_S, BrokerAddress, MqttLink
from tests.support.books import everything_wrong
from tests.support.plant import BrokerKind, Plant
from virtual_warehouse.broker import MosquittoBroker
from virtual_warehouse.line import LineFaults

SEED = 7_001
DROPS = 12
NOTICE_S = 40.0
"""A dead line must be noticed by keep-alives alone; they come every 5 s in these settings."""

pytestmark = [pytest.mark.slow, pytest.mark.timeout(170)]


async def test_a_bad_line_loses_nothing_and_does_nothing_twice(
    broker_kind: BrokerKind, tmp_path: Path, say: Callable[[str], None]
) -> None:
    seed = SEED + (broker_kind is MosquittoBroker)
    async with Plant.running(tmp_path, broker_kind, seed) as plant:
        await plant.progress(10)
        await chopped_and_late(plant)
        await dropped_in_the_middle_of_packets(plant)
        await cables_pulled_while_people_work(plant)
        await swallowed_in_one_direction(plant)
        await half_open_until_noticed(plant)
        await frozen_and_thawed(plant)
        await plant.drain()
        assert await plant.stop_in_order() == [0, 0, 0]
        lost = sum(line.connections for line in plant.lines)
        say(f"\n{broker_kind.name}: {lost} connections, {len(plant.answered)} orders, "
            f"{plant.books.events()} events over bad lines, seed {seed}")  # fmt: skip
        wrong = everything_wrong(plant.books, plant.benches, plant.answered, plant.opening)
        assert wrong == []


async def test_a_door_that_shuts_at_once_is_tried_again_at_once() -> None:
    """A proxy before a dead broker takes connections and drops them: no answer to wait for."""
    visits: list[float] = []
    three = asyncio.Event()

    async def shut(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        visits.append(time.monotonic())
        writer.close()
        if len(visits) == 3:
            three.set()

    server = await asyncio.start_server(shut, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    link = MqttLink(BrokerAddress("127.0.0.1", port, "nobody"))
    await link.start(lambda: ("v1/hz01/nobody/up/st", b"{}"))
    try:
        async with asyncio.timeout(2 * CONNECT_S):
            await three.wait()
    finally:
        await link.stop()
        server.close()
        await server.wait_closed()
    assert visits[2] - visits[0] < CONNECT_S


async def chopped_and_late(plant: Plant) -> None:
    """Pieces of 1 to 40 bytes, each up to 3 ms late: MQTT packets arrive in crumbs."""
    before = [line.connections for line in plant.lines]
    for line in plant.lines:
        line.faults = LineFaults(delay_ms=1, jitter_ms=2, piece_bytes=40)
    await plant.progress(40)
    for line in plant.lines:
        line.faults = LineFaults()
    assert [line.connections for line in plant.lines] == before


async def dropped_in_the_middle_of_packets(plant: Plant) -> None:
    """Every connection of a line is reset after a random number of bytes, again and again."""
    for _ in range(DROPS):
        line = plant.rng.choice(plant.lines)
        before = line.connections
        passed = line.bytes_up + line.bytes_down
        line.faults.piece_bytes = plant.rng.choice((0, 7, 200))
        line.faults.drop_after_bytes = passed + plant.rng.randint(50, 3_000)

        async def again() -> bool:
            return line.faults.drop_after_bytes is None and line.connections > before  # noqa: B023

        await plant.until(again, 30, "the line cut and connected again")
    for line in plant.lines:
        line.faults = LineFaults()
    await plant.until(plant.linked, 30, "both agents linked")
    await plant.progress(10)


async def cables_pulled_while_people_work(plant: Plant) -> None:
    """All agents off: what is granted is worked off, and waits in the journal."""
    for agent in plant.warehouses:
        await plant.busy(agent, 6)
    for one in plant.warehouses.values():
        one.line.cut()
    held = plant.books.events()
    await plant.until(lambda: plant.behind(10), 20, "scans to pile up behind cut cables")
    assert plant.books.events() <= held + 20
    heal(plant)
    await plant.until(plant.caught_up, 40, "the core to catch up")


async def swallowed_in_one_direction(plant: Plant) -> None:
    """First what the agents say, then what they are told, vanishes on an open connection."""
    for up in (True, False):
        for agent in plant.warehouses:
            await plant.busy(agent, 6)
        await plant.until(plant.linked, 30, "both agents linked")
        for one in plant.warehouses.values():
            one.line.freeze(up=up, down=not up)
        if up:
            await plant.until(lambda: plant.behind(5), 20, "scans that nobody hears of")
        else:
            await plant.progress(5, 20)
        heal(plant)
        await plant.until(plant.caught_up, 40, "the core to catch up")


async def half_open_until_noticed(plant: Plant) -> None:
    """Every line is dead and nobody says so: both sides find out by their keep-alives."""
    for agent in plant.warehouses:
        await plant.busy(agent, 6)
    for line in plant.lines:
        line.freeze()
    await plant.until(lambda: plant.behind(1), 20, "scans that nobody hears of")

    async def noticed() -> bool:
        return not any(
            one.crew.screen.status["link"]["connected"] for one in plant.warehouses.values()
        )

    await plant.until(noticed, NOTICE_S, "the agents to notice a dead line")
    assert await plant.behind(1), plant.report()
    heal(plant)
    await plant.until(plant.caught_up, 60, "the core to catch up")


async def frozen_and_thawed(plant: Plant) -> None:
    """What stood in the line arrives late, all of it, after the answers were given up."""
    await plant.busy(next(iter(plant.warehouses)), 6)
    for line in plant.lines:
        line.freeze()
    await plant.until(lambda: plant.behind(5), 20, "scans to pile up")
    for line in plant.lines:
        line.heal(resume=True)
    await plant.until(plant.caught_up, 40, "the core to catch up")


def heal(plant: Plant) -> None:
    for line in plant.lines:
        line.heal()
