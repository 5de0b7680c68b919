"""One bench under harder terms: drawing, processor at a steady pace, a busy loop, little memory.

The agent runs as in `station`: its own process, real broker and core, a scanner on a pty, a
printer on TCP, its page open.
"""

from __future__ import annotations

import asyncio
import contextlib
import queue
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from benchmarks import station
from benchmarks.figures import Figure, Target
from benchmarks.machine import cpu_s, disk, family, percentile
from edge_agent import labels
from edge_agent.bootstrap import printers
from edge_agent.settings import PrinterSetting

PACE = 10
PACE_S = 60
DRAWN = 200
BLOCKED_SCANS = 20
CGROUP = Path("/sys/fs/cgroup/packline-bench")
CGROUP_BYTES = 96 * 1024 * 1024
CGROUP_SHIPMENTS = 100


def measure(folder: Path, quick: bool) -> Sequence[Figure]:
    """Drawing in this process; the rest with an agent each. The memory limit needs root."""
    speed = disk(folder)
    figures = [
        Figure("station_load", "a label drawn and framed, p50", "ms",
               [percentile(_drawn(20 if quick else DRAWN), 50) for _ in range(1 if quick else 5)],
               Target(15, at_least=False), "100×150 mm at 203 dpi, another text each", speed),
    ]  # fmt: skip
    seconds = 5 if quick else PACE_S
    share = asyncio.run(_paced(folder / "paced", seconds))
    figures.append(
        Figure("station_load", f"processor at {PACE} scans a second", "% of a core", [share],
               Target(5, at_least=False),
               f"all processes of the agent, {seconds} s, a label every 50 scans, page open", speed)
    )  # fmt: skip
    heard = asyncio.run(_blocked(folder / "blocked"))
    figures.append(
        Figure("station_load", f"scans answered of {BLOCKED_SCANS} while the loop is blocked",
               "scans", [heard], Target(BLOCKED_SCANS),
               "the loop sleeps 30 ms in each turn; a scan every 20 ms", speed)
    )  # fmt: skip
    with _little_memory() as group:
        if group is None:
            print("station_load: SKIPPED memory limit: no writable memory cgroup", flush=True)
            return figures
        shipments = 4 if quick else CGROUP_SHIPMENTS
        done = asyncio.run(_limited(folder / "limited", shipments, group))
        figures.append(
            Figure("station_load", "scans worked off within 96 MB", "scans", [done],
                   Target(shipments * station.SCANS_A_SHIPMENT),
                   "memory.max 96 MiB, no swap; ended by the kernel otherwise", speed)
        )  # fmt: skip
    return figures


def _drawn(count: int) -> list[float]:
    press = printers.press_of(PrinterSetting(name="paper", host="127.0.0.1"), labels.load())
    press.warm()
    took = []
    for number in range(count):
        fields = replace(labels.SAMPLE, waybill=f"DM{number:012d}")
        start = time.perf_counter()
        press.framed(fields, f"T{number}")
        took.append((time.perf_counter() - start) * 1000)
    return took


async def _paced(folder: Path, seconds: int) -> float:
    shipments = -(-seconds * PACE // station.SCANS_A_SHIPMENT) + 1
    async with station.house(folder, shipments, 1) as bench:
        with bench.agent() as agent:
            agent.until_accepted()
            tasks = await asyncio.to_thread(agent.wait_granted, shipments)
            return await asyncio.to_thread(_at_a_pace, agent, tasks, seconds)


def _at_a_pace(agent: station.RunningAgent, tasks: Sequence[str], seconds: int) -> float:
    codes = (code for task in tasks for code in station.scans_of(task))
    start, before = time.monotonic(), _cpu_s(agent.pid)
    for number in range(seconds * PACE):
        time.sleep(max(0.0, start + number / PACE - time.monotonic()))
        agent.scan(next(codes))
        agent.answer()
    return 100 * (_cpu_s(agent.pid) - before) / (time.monotonic() - start)


async def _blocked(folder: Path) -> float:
    async with station.house(folder, 1, 2) as bench:
        with bench.agent(PACKLINE_BENCH_BLOCK_MS="30") as agent:
            agent.until_accepted()
            return await asyncio.to_thread(_while_blocked, agent)


def _while_blocked(agent: station.RunningAgent) -> float:
    """Codes that nobody knows, so that none is a repeat: each has an answer of its own."""
    for number in range(BLOCKED_SCANS):
        agent.scan(f"NOBODY-{number:04d}")
        time.sleep(0.02)
    heard = 0
    with contextlib.suppress(TimeoutError):
        while heard < BLOCKED_SCANS:
            agent.answer(5)
            heard += 1
    return heard


async def _limited(folder: Path, shipments: int, group: Path) -> float:
    found = station.Measured()
    async with station.house(folder, shipments, 3) as bench:
        with bench.agent() as agent:
            for pid in family(agent.pid):
                (group / "cgroup.procs").write_text(str(pid))
            agent.until_accepted()
            tasks = await asyncio.to_thread(agent.wait_granted, shipments)
            agent.screen.open()
            with contextlib.suppress(AssertionError, TimeoutError, queue.Empty):
                await asyncio.to_thread(station.work, agent, bench.paper, tasks, found)
    return len(found.to_answer_ms)


@contextlib.contextmanager
def _little_memory() -> Iterator[Path | None]:
    """A cgroup (v2) of 96 MiB without swap, None where none can be made."""
    try:
        CGROUP.mkdir(exist_ok=True)
        (CGROUP / "memory.max").write_text(str(CGROUP_BYTES))
        with contextlib.suppress(OSError):
            (CGROUP / "memory.swap.max").write_text("0")
    except OSError:
        with contextlib.suppress(OSError):
            CGROUP.rmdir()
        yield None
        return
    try:
        yield CGROUP
    finally:
        with contextlib.suppress(OSError):
            CGROUP.rmdir()


def _cpu_s(pid: int) -> float:
    return sum(cpu_s(one) for one in family(pid))
