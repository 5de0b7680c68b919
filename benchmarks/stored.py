"""Events from four agents, durable at the agent, stored by the core and acknowledged back.

The clock runs from the first commit of the first agent to the last acknowledgement at the last
one: writing the journals counts. Telemetry-type events: stored, no effect on orders.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

from benchmarks import wire_bed
from benchmarks.figures import Figure, Target
from benchmarks.machine import disk

AGENTS = 4
TARGET = Target(60_000)
EXTRA = 50
"""What the agents have to say of their own, such as a printer that was found."""
STORED = """SELECT COUNT(*) FROM event JOIN stream ON stream.id = event.stream_id
    WHERE event.type IN ('scan.refused', 'printer.changed')"""


def measure(folder: Path, quick: bool) -> Sequence[Figure]:
    """Five runs a broker, everything new each time but the processes."""
    runs, events = (1, 5_000) if quick else (5, 40_000)
    figures = []
    for broker in wire_bed.BROKERS:
        if not wire_bed.available(broker):
            print(f"stored: skipped {broker}: it is not installed", flush=True)
            continue
        speed = disk(folder)
        rates, spent = asyncio.run(_rates(folder / broker, broker, runs, events))
        target = TARGET if broker == "mosquitto" else Target()
        how = (
            f"{wire_bed.DURABILITY}; {AGENTS} agent processes, {events:,} events each, "
            "100 a commit and a batch, QoS 1, window 8, TCP_NODELAY; journal writing included; "
            f"{spent}"
        )
        name = f"events stored and acknowledged over {broker}"
        figures.append(Figure("stored", name, "events/s", rates, target, how, speed))
    return figures


async def _rates(folder: Path, broker: str, runs: int, events: int) -> tuple[list[float], str]:
    rates = []
    async with wire_bed.running(folder, broker, AGENTS) as world:
        before, spent = world.core.count(STORED), world.cpu()
        for number in range(1, runs + 1):
            answers = await world.all("telemetry", events=events)
            took = max(a["end"] for a in answers) - min(a["start"] for a in answers)
            rates.append(AGENTS * events / took)
            stored = world.core.count(STORED) - before
            expected = AGENTS * events * number
            assert expected <= stored <= expected + EXTRA, (stored, expected)
            assert all(a["batches"] >= events // 100 for a in answers), answers
            written = max(a["written"] for a in answers) - min(a["start"] for a in answers)
            rewinds = sum(a["rewinds"] for a in answers)
            print(f"    journals {AGENTS * events / written:,.0f}/s, rewinds {rewinds}", flush=True)
        return rates, world.cpu().since(spent, AGENTS * events * runs)
