"""B4: 100,000 paid orders arrive at once through the door of a running core.

The whole way: signed requests of 500 orders, raw message durable before its answer, parsed, sealed,
routed over 20 warehouses, held, owned, offered. The clock runs from the first byte of the first
request until the last order is owned; then the core's peak memory is read (VmHWM, proc(5)).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

from benchmarks import sample, serve_core
from benchmarks.figures import Figure, Target
from benchmarks.http import ORDERS_A_REQUEST, send
from benchmarks.stock_bed import StockBed
from benchmarks.stock_ground import PAID, Ground, durable, say

ORDERS, QUICK_ORDERS = 100_000, 3_000
WAREHOUSES = 20
TARGET = Target(35, at_least=False)
WAIT_S = 600
_LEFT = "SELECT count(*) FROM raw_message WHERE processed_ms IS NULL"
_OWNED = "SELECT count(*) FROM shipment WHERE state = 'offered' AND warehouse <> ''"
_HELD = "SELECT count(*) FROM hold WHERE state = 'held'"
_OFFERS = "SELECT count(*) FROM outbox WHERE kind = 'offer'"


def backlog(ground: Ground) -> Iterator[Figure]:
    """Seconds and peak memory on each engine."""
    orders = QUICK_ORDERS if ground.quick else ORDERS
    for engine in ground.engines:
        taken, peaks = [], []
        for number in range(ground.runs()):
            with ground.bed(engine, warehouses=WAREHOUSES) as bed:
                bed.settle()
                seconds, peak = asyncio.run(_run(bed, orders, number))
            taken.append(seconds)
            peaks.append(peak)
            say(f"  {engine}: {seconds:.1f} s, peak {peak:.0f} MiB")
        what = (
            f"{PAID}, from HTTP on; {durable(engine)}; raw message durable before the answer; "
            f"{orders:,} orders of 1-3 lines, {ORDERS_A_REQUEST} a request, 2 connections, sender "
            f"on the same machine, {WAREHOUSES} warehouses x 4 carriers, "
            "1 process; opening stock settled before the clock"
        )
        name = f"B4 backlog of {orders:,} paid orders, {engine}"
        say(f"  {name}: {median(taken):.1f} s")
        target = Target() if ground.quick else TARGET
        yield ground.figure(name, "s", taken, what, target)
        yield ground.figure(f"{name}: peak memory of the core", "MiB", peaks, what)


async def _run(bed: StockBed, orders: int, seed: int) -> tuple[float, float]:
    bodies = list(sample.bodies(orders // ORDERS_A_REQUEST, ORDERS_A_REQUEST, seed))
    program, url = await serve_core.started(bed.core)
    try:
        begin = time.perf_counter()
        await asyncio.to_thread(send, url, bed.core.secret, bodies)
        await _until_applied(bed)
        took = time.perf_counter() - begin
        assert program.pid is not None
        peak = _peak_mib(program.pid)
    finally:
        await program.stop()
    for sql in (_OWNED, _HELD, _OFFERS):
        assert bed.count(sql) == orders, (sql, bed.count(sql), orders)
    assert bed.drifts() == 0
    return took, peak


async def _until_applied(bed: StockBed) -> None:
    deadline = time.monotonic() + WAIT_S
    engine = bed.open()
    try:
        while True:
            with engine.connect() as connection:
                if not connection.exec_driver_sql(_LEFT).scalar():
                    return
            assert time.monotonic() < deadline, "orders are not applied"
            await asyncio.sleep(0.05)
    finally:
        engine.dispose()


def _peak_mib(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    raise AssertionError("no VmHWM")
