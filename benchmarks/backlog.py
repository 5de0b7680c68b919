"""A warehouse cut off for 72 hours: how long its backlog takes, and a killed agent's return.

200,000 events wait in one agent's journal while its line is cut; the clock runs from the line's
return to the core's acknowledgement of the last one. Once over loopback, once through a line of
1 Mbit/s, whose arithmetic (bytes up / 125,000) stands beside it. Then `kill -9` on that journal.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks import wire_bed
from benchmarks.figures import Figure, Target
from benchmarks.machine import disk
from benchmarks.wire_bed import WireBed
from virtual_warehouse.line import Line

EVENTS = 200_000
MBIT_BYTES_S = 125_000
KILLS = 5
LOOPBACK = Target(120.0, at_least=False)
RETURN = Target(5.0, at_least=False)


def measure(folder: Path, quick: bool) -> Sequence[Figure]:
    """One run of each: the slow line alone takes a minute or more."""
    events, kills = (5_000, 1) if quick else (EVENTS, KILLS)
    broker = "mosquitto" if wire_bed.available("mosquitto") else "NATS"
    speed = disk(folder)
    fast_s, slow_s, size, returns = asyncio.run(_runs(folder, broker, events, kills))
    each = size / events
    arithmetic = size / MBIT_BYTES_S
    how = (
        f"{wire_bed.DURABILITY}; one agent, {events:,} events of telemetry type (stored, no effect "
        f"on orders; 8 random signs each, as a shipment's number has) written while the line was "
        "cut, batches of ≤ 500 or 128 KB, zlib, QoS 1 over "
        f"{broker}; until the core's acknowledgement of the last"
    )
    shaped = f"{how}; {each:.1f} bytes an event went up, arithmetic {arithmetic:.0f} s"
    back = (
        f"{wire_bed.DURABILITY}; the agent's process killed while it writes, on a journal of "
        f"{2 * events:,} rows; from the new process's start to the core's welcome"
    )
    return [
        Figure("backlog", "72 h backlog of 200,000 events drained, loopback", "s", [fast_s],
               LOOPBACK, how, speed),
        Figure("backlog", "72 h backlog of 200,000 events drained, 1 Mbit/s", "s", [slow_s],
               Target(), shaped, speed),
        Figure("backlog", "recovery of an agent after kill -9", "s", returns, RETURN, back, speed),
    ]  # fmt: skip


async def _runs(
    folder: Path, broker: str, events: int, kills: int
) -> tuple[float, float, int, list[float]]:
    lines: list[Line] = []

    async def through(port: int) -> int:
        lines.append(Line("127.0.0.1", port))
        return await lines[0].start()

    async with wire_bed.running(folder / "bed", broker, 1, through=through) as world:
        fast_s, _ = await _drain(world, lines[0], events, 0)
        slow_s, size = await _drain(world, lines[0], events, MBIT_BYTES_S)
        lines[0].faults.bytes_per_s = 0
        returns = [await _killed(world, folder / "bed") for _ in range(kills)]
        await lines[0].stop()
    return fast_s, slow_s, size, returns


async def _drain(world: WireBed, line: Line, events: int, bytes_per_s: int) -> tuple[float, int]:
    """Seconds from the line's return to the last acknowledgement, and bytes that went up."""
    agent = world.agents[0]
    line.cut()
    stored = await agent.do("store", events=events)
    assert stored["queued"] >= events, stored
    print(f"    {events:,} events written in {stored['seconds']:.1f} s, "
          f"journal {stored['used_bytes'] / 1e6:.0f} MB", flush=True)  # fmt: skip
    before = line.bytes_up
    line.faults.bytes_per_s = bytes_per_s
    began = time.monotonic()
    line.heal()
    await agent.do("drained")
    return time.monotonic() - began, line.bytes_up - before


async def _killed(world: WireBed, folder: Path) -> float:
    """Kill the agent while it writes; seconds from its next start to the welcome."""
    account = world.accounts[0]
    agent = world.agents[0]
    await agent.tell("paced", first=0, rate=0, seconds=30)
    for _ in range(50):
        await agent.hear()
    await agent.kill()
    began = time.monotonic()
    again = await wire_bed.start_agent(folder / account.agent, account, world.near)
    answer = await again.do("welcomed")
    assert answer["resynced"]
    world.agents[0] = again
    return time.monotonic() - began
