"""`make sim`: run seeds, judge them, end with one JSON line.

`python -m tests.simulation.run --seeds N [--seed S]`. Seeds 1..N, or the one given. The first seed
is run twice and must come to the same hash. A campaign of 20 seeds or more must reach every point
of `POINTS`. Exit status 1 on a broken promise, a missed point or a seed that did not repeat.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import logging
import os
import sys
import time
import traceback
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor

import structlog

from tests.simulation.campaign import run_seed
from tests.simulation.plan import DAYS
from tests.simulation.points import JUDGED_FROM_SEEDS, POINTS
from tests.simulation.scenery import SITES
from tests.simulation.world import Outcome

YEAR_DAYS = 365.0


def quiet() -> None:
    """Nothing but results: the programs' logs of a week are not for reading."""
    structlog.configure(logger_factory=structlog.ReturnLoggerFactory())
    logging.disable(logging.CRITICAL)


def one(seed: int, days: int) -> tuple[Outcome, str]:
    """One seed in a process of its own: the outcome and the trace of a crash."""
    quiet()
    outcome = run_seed(seed, days)
    cause = outcome.violation.__cause__ if outcome.violation else None
    return outcome, "".join(traceback.format_exception(cause)) if cause else ""


def campaign(
    seeds: Sequence[int], days: int, jobs: int, *, once: bool = False, silent: bool = False
) -> int:
    """Run the seeds and print the verdict; the exit status. `once` leaves the repeat out."""
    wanted = [*seeds] if once else [*seeds, seeds[0]]
    outcomes: list[Outcome] = []
    started = time.monotonic()
    with ProcessPoolExecutor(jobs) as pool:
        for outcome, trace in pool.map(one, wanted, [days] * len(wanted)):
            outcomes.append(outcome)
            if not silent:
                _tell(outcome, trace, repeat=len(outcomes) > len(seeds))
    first, again = outcomes[0], outcomes[-1] if once else outcomes.pop()
    repeats = once or first.hash == again.hash
    if not repeats:
        print(f"seed {first.seed} did not repeat itself: make sim SEED={first.seed}")
    reached = {point for outcome in outcomes for point in outcome.sometimes}
    judged = len(outcomes) >= JUDGED_FROM_SEEDS
    missed = sorted(set(POINTS) - reached) if judged else []
    violations = sum(outcome.violation is not None for outcome in outcomes)
    print(json.dumps(_verdict(outcomes, missed, violations, time.monotonic() - started)))
    return 0 if repeats and not missed and not violations else 1


def _verdict(
    outcomes: Sequence[Outcome], missed: list[str], violations: int, seconds: float
) -> dict[str, object]:
    days = sum(outcome.days for outcome in outcomes)
    together = "".join(outcome.hash for outcome in outcomes)
    return {
        "seeds": len(outcomes),
        "warehouse_years": round(days * len(SITES) / YEAR_DAYS, 2),
        "orders": sum(outcome.orders for outcome in outcomes),
        "faults": sum(outcome.faults for outcome in outcomes),
        "sometimes_missed": missed,
        "violations": violations,
        "hash": hashlib.sha256(together.encode()).hexdigest()[:16],
        "seconds": round(seconds, 1),
    }


def _tell(outcome: Outcome, trace: str, *, repeat: bool) -> None:
    if outcome.violation is None:
        told = "again " if repeat else ""
        print(
            f"seed {outcome.seed:>4} {told}ok: {outcome.orders} orders, {outcome.faults} faults, "
            f"{outcome.days:.1f} days, {outcome.hash[:12]}",
            flush=True,
        )
        return
    print(f"seed {outcome.seed:>4} BROKEN {outcome.violation} (day {outcome.days:.2f})")
    if trace:
        print(trace)
    print(f"     make sim SEED={outcome.seed}", flush=True)


def main() -> int:
    """Read the arguments; begin again with a fixed hash seed if the interpreter has none."""
    if os.environ.get("PYTHONHASHSEED") != "0":
        os.environ["PYTHONHASHSEED"] = "0"
        os.execv(sys.executable, [sys.executable, "-m", "tests.simulation.run", *sys.argv[1:]])
    parser = argparse.ArgumentParser(prog="tests.simulation.run")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--seed", type=int)
    parser.add_argument("--days", type=int, default=DAYS)
    parser.add_argument("--jobs", type=int, default=min(2, os.cpu_count() or 1))
    parser.add_argument("--once", action="store_true", help="do not run the first seed twice")
    parser.add_argument("--json", action="store_true", help="only the last line")
    given = parser.parse_args()
    seeds = [given.seed] if given.seed is not None else list(range(1, given.seeds + 1))
    return campaign(seeds, given.days, given.jobs, once=given.once, silent=given.json)


if __name__ == "__main__":
    sys.exit(main())
