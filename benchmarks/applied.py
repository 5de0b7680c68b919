"""Events from four agents, stored by the core and applied to orders, until handed over.

Prepared for real first: orders enter by HTTP, are offered over the broker, accepted by the agents
and granted with a waybill number. Then every bench reports its whole work; the clock runs from the
first commit at an agent to the last acknowledgement.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks import http, sample, wire_bed
from benchmarks.figures import Figure, Target
from benchmarks.machine import disk

AGENTS = 4
TARGET = Target(10_000)
GRANT_S = 300.0
GRANTED = "SELECT COUNT(*) FROM shipment WHERE state = 'granted'"
GONE = "SELECT COUNT(*) FROM shipment WHERE state = 'handed_over'"


def measure(folder: Path, quick: bool) -> Sequence[Figure]:
    """Three runs of 4,000 shipments on one running system."""
    runs, requests = (1, 1) if quick else (3, 8)
    figures = []
    for broker in wire_bed.BROKERS:
        if not wire_bed.available(broker):
            print(f"applied: skipped {broker}: it is not installed", flush=True)
            continue
        speed = disk(folder)
        rates, granted, events, spent = asyncio.run(_rates(folder / broker, broker, runs, requests))
        how = (
            f"{wire_bed.DURABILITY}; {AGENTS} agent processes, {events:,} events a run: started, "
            "picked, verified, packed, label, handed over; 100 a commit and a batch; "
            f"journal writing included; {spent}"
        )
        target = TARGET if broker == "mosquitto" else Target()
        name = f"events stored and applied to orders over {broker}"
        figures.append(Figure("applied", name, "events/s", rates, target, how, speed))
        name = f"orders from HTTP to a grant at the agent over {broker}"
        figures.append(
            Figure("applied", name, "orders/s", granted, Target(), wire_bed.DURABILITY, speed)
        )
    return figures


async def _rates(
    folder: Path, broker: str, runs: int, requests: int
) -> tuple[list[float], list[float], int, str]:
    rates, granted, events, spent = [], [], 0, ""
    orders = requests * http.ORDERS_A_REQUEST
    async with wire_bed.running(folder, broker, AGENTS, waybills=(runs + 1) * orders) as world:
        for number in range(1, runs + 1):
            granted.append(orders / await _grant(world, requests, number))
            before = world.cpu()
            answers = await world.all("floor")
            took = max(a["end"] for a in answers) - min(a["start"] for a in answers)
            events = sum(a["events"] for a in answers)
            rates.append(events / took)
            spent = world.cpu().since(before, events)
            gone = world.core.count(GONE)
            assert gone == number * orders, (gone, number * orders)
            assert world.core.count("SELECT COUNT(*) FROM event WHERE result <> ''") == 0
    return rates, granted, events, spent


async def _grant(world: wire_bed.WireBed, requests: int, seed: int) -> float:
    """Send new orders and wait until all of them are tasks at the benches; seconds it took."""
    orders = requests * http.ORDERS_A_REQUEST
    bodies = list(sample.bodies(requests, http.ORDERS_A_REQUEST, seed))
    start = time.perf_counter()
    await asyncio.to_thread(http.send, world.url, world.core.secret, bodies)
    deadline = time.monotonic() + GRANT_S
    while world.core.count(GRANTED) < orders:
        assert time.monotonic() < deadline, (world.core.count(GRANTED), orders)
        await asyncio.sleep(0.05)
    while sum(a["granted"] for a in await world.all("granted")) < orders:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)
    return time.perf_counter() - start
