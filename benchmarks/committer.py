"""Paid orders through the write queue alone: routed, held, owned, outbox, idempotency, trail.

Orders arrive as the worker hands them over after parsing and sealing, 500 a command; the clock
runs from the first hand-over to the last commit.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks import core_bed, sample
from benchmarks.figures import Figure, Target
from benchmarks.machine import disk
from cloud_core import bootstrap
from cloud_core.committer import Committer

ORDERS_A_COMMAND = 500
TARGET = Target(8_000)


def measure(folder: Path, quick: bool) -> Sequence[Figure]:
    """Five runs of 10,000 orders, each on a new database."""
    runs, commands = (1, 6) if quick else (5, 20)
    speed = disk(folder)
    rates = [
        asyncio.run(_run(folder / f"committer-{number}", commands, number))
        for number in range(runs)
    ]
    how = (
        f"{core_bed.DURABILITY}; {commands * ORDERS_A_COMMAND:,} orders of 1-3 lines, 1,000 SKUs, "
        "500 a command, real thread; parsing and sealing excluded"
    )
    return [
        Figure(
            "committer", "paid orders owned, through the committer", "orders/s", rates, TARGET,
            how, speed,
        )
    ]  # fmt: skip


async def _run(folder: Path, commands: int, seed: int) -> float:
    bed = core_bed.prepare(folder, present_s=3_600)
    wired = bootstrap.build(bed.settings, inline=True)
    prepared = sample.commands(wired.ingest, commands, ORDERS_A_COMMAND, seed)
    bootstrap.calm_collector()  # as `serve` does
    committer = Committer(wired.commit_core, lambda done: None)
    committer.start()
    try:
        start = time.perf_counter()
        applied = await asyncio.gather(*(committer.post(command) for command in prepared))
        took = time.perf_counter() - start
    finally:
        await asyncio.to_thread(committer.stop)
        wired.engine.dispose()
    orders = commands * ORDERS_A_COMMAND
    assert all(result == "created" for done in applied for result in done.results)
    check_owned(bed, orders)
    return orders / took


def check_owned(bed: core_bed.CoreBed, orders: int) -> None:
    """Every order was routed, held, owned and offered, with its key and its trail."""
    for sql in (
        "SELECT COUNT(*) FROM shipment WHERE state = 'offered' AND warehouse <> ''",
        "SELECT COUNT(*) FROM hold WHERE state = 'held'",
        "SELECT COUNT(*) FROM outbox WHERE kind = 'offer'",
        "SELECT COUNT(*) FROM seen_key",
        "SELECT COUNT(*) FROM contact WHERE sealed IS NOT NULL",
        "SELECT COUNT(DISTINCT subject) FROM trail WHERE change = 'routed>offered'",
    ):
        found = bed.count(sql)
        assert found == orders, (sql, found, orders)
