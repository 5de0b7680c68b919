"""B6: 50,000 holds end within one second while their payments arrive.

Every fifth is paid for, in random order, evenly from 1.5 s before the end to 1.5 s after; the sweep
runs as in a serving core. On PostgreSQL confirms and sweep come from two processes, on SQLite from
one. Wrong is a confirm whose answer is not what the row says, or that was accepted after the hold's
end.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from statistics import median
from typing import Any

from benchmarks.figures import Figure, Target
from benchmarks.stock_bed import StockBed
from benchmarks.stock_crew import Answer, together
from benchmarks.stock_ground import BARE, Ground, durable, say

HOLDS, QUICK_HOLDS = 50_000, 3_000
CALLERS = 64
PLACE_S, QUICK_PLACE_S = 15.0, 6.0
"""From the first hold placed to their end; placing takes a third of it on a busy machine."""
AHEAD_S = 1.5
"""The confirms begin this long before the holds end, and end this long after."""
PAID_SHARE = 5
SWEEP_S = 4.0
NOTHING = Target(0, at_least=False)


def expiry(ground: Ground) -> Iterator[Figure]:
    """B6 on each engine."""
    holds = QUICK_HOLDS if ground.quick else HOLDS
    for engine in ground.engines:
        runs = [_run(ground, engine, holds) for _ in range(ground.runs())]
        confirmed, expired = runs[-1][2], runs[-1][3]
        processes = 2 if engine == "postgresql" else 1
        what = (
            f"{BARE}; {durable(engine)}; {holds:,} holds, {holds // PAID_SHARE:,} paid, "
            f"{CALLERS} callers, "
            f"{processes} process{'es' if processes > 1 else ''}; in the last run {confirmed:,} "
            f"confirmed in time and {expired:,} ended; a confirm's time from when it was due"
        )
        name = f"B6 {holds:,} holds expire while confirms arrive, {engine}"
        say(f"  {engine}: wrong {[r[0] for r in runs]}, p99 {median(r[1] for r in runs):.1f} ms")
        wrong, waits = [r[0] for r in runs], [r[1] for r in runs]
        yield ground.figure(f"{name}: wrong confirms and drifts", "wrong", wrong, what, NOTHING)
        yield ground.figure(f"{name}: p99 of the confirms", "ms", waits, what)


def _run(ground: Ground, engine: str, holds: int) -> tuple[int, float, int, int]:
    """(wrong, p99 ms of the confirms, confirmed, expired)."""
    two = engine == "postgresql"
    with ground.bed(engine) as bed:
        with ground.ours(bed) as payer, ground.ours(bed) as sweeper:
            at_ms = round((time.time() + (QUICK_PLACE_S if ground.quick else PLACE_S)) * 1000)
            (placed,) = payer.all(do="place_storm", orders=holds, at_ms=at_ms)
            assert time.time() < at_ms / 1000 - AHEAD_S, "placed too late to confirm any in time"
            ids = placed["ids"]
            ids = random.sample(ids, len(ids) // PAID_SHARE)
            time.sleep(max(0.0, at_ms / 1000 - AHEAD_S - time.time()))
            until_ms = at_ms + SWEEP_S * 1000
            job: dict[str, Any] = {
                "until_ms": until_ms, "ids": ids, "callers": CALLERS, "span_s": 2 * AHEAD_S,
            }  # fmt: skip
            with ThreadPoolExecutor(2) as pool:
                sweep = pool.submit(sweeper.all, do="expire", until_ms=until_ms) if two else None
                (answer,) = payer.all(do="confirm", expire_too=not two, **job)
                if sweep is not None:
                    sweep.result()
        return _judge(bed, answer)


def _judge(bed: StockBed, answer: Answer) -> tuple[int, float, int, int]:
    rows = {row[0]: row for row in bed.rows("SELECT id, state, resolved_ms, expires_ms FROM hold")}
    wrong = 0
    for hold, code in answer["answers"].items():
        _, state, resolved, expires = rows[hold]
        paid = not code
        wrong += paid != (state == "confirmed") or (paid and resolved > expires)
        wrong += not paid and (code != "hold_expired" or state != "expired")
    wrong += sum(1 for row in rows.values() if row[1] == "held")  # ended, and nobody noticed
    wrong += bed.drifts()
    states = [row[1] for row in rows.values()]
    return wrong, together([answer])["p99"], states.count("confirmed"), states.count("expired")
