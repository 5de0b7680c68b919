"""`make bench-stock`: is the one stock truth right under any race, and how fast is it?

`python -m benchmarks.stock [--quick] [--only B1,B3]`. Ours and the usual ways run in one go on the
same disk, synced before every answer, storing the same rows. Each row says whether it is the bare
hold or the whole paid flow. Progress goes to standard error; the last line is one JSON object.
--quick takes small sizes and one run and keeps nothing. Status 1 when a bench failed; a missed
target is a measurement.
"""

from __future__ import annotations

import argparse
import importlib
import json
import math
import os
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from benchmarks.figures import RESULTS, Figure, write
from benchmarks.machine import disk, machine, wait_until_quiet, work
from benchmarks.stock_ground import Ground, say
from benchmarks.stock_servers import Databases, RedisServer, Skipped, postgres_server, redis_server

BENCHES = {
    "B1": ("stock_race", "oversell", "oversell race"),
    "B2": ("stock_race", "opposite", "baskets in opposite key order"),
    "B3": ("stock_pace", "throughput", "holds and paid orders a second"),
    "OPEN": ("stock_pace", "open_loop", "1,000 arrivals a second"),
    "B4": ("stock_backlog", "backlog", "a backlog of paid orders"),
    "B5": ("stock_kill", "killed", "kill -9 under load"),
    "B6": ("stock_expiry", "expiry", "holds expire while confirms arrive"),
    "ROUTING": ("stock_routing", "routed", "warehouse and carrier chosen by rules, no database"),
    "B7": ("stock_owner", "owners", "four warehouses say yes at once"),
}
QUIET_CORES = 0.2


def main() -> int:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.stock", description=__doc__)
    listed = ", ".join(f"{name} ({what})" for name, (_, _, what) in BENCHES.items())
    parser.add_argument("--only", default="", metavar="B1,B3", help=listed)
    parser.add_argument("--quick", action="store_true", help="small sizes, nothing is kept")
    parser.add_argument("--no-write", action="store_true", help="leave RESULTS.md alone")
    parser.add_argument("--folder", type=Path, help="where to work (default: a temporary folder)")
    parser.add_argument("--patience", type=float, default=0, metavar="S",
                        help="wait up to S seconds before each bench for quiet")  # fmt: skip
    options = parser.parse_args()
    names = [name.strip().upper() for name in options.only.split(",") if name.strip()]
    unknown = [name for name in names if name not in BENCHES]
    if unknown:
        parser.error(f"no bench {unknown[0]}; there are {', '.join(BENCHES)}")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # the servers end with us
    here = machine()
    figures: list[Figure] = []
    failed: list[str] = []
    with ExitStack() as stack:
        ground = _ground(stack, options.folder, options.quick)
        print(f"machine: {here}; fsync of 4 KB {ground.disk}", flush=True)
        for name in names or BENCHES:
            measured, failure = _run(name, ground, options.patience)
            if failure:
                failed.append(failure)
            figures += measured
            if measured and not (options.quick or options.no_write):
                write(measured, here, datetime.now().date().isoformat())
                say(f"kept in {RESULTS}")
    for reason in ground.skipped:
        say(f"SKIPPED: {reason}")
    print(json.dumps(_summary(figures, ground, str(here), failed), ensure_ascii=False), flush=True)
    return 1 if failed else 0


def _ground(stack: ExitStack, folder: Path | None, quick: bool) -> Ground:
    place = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=folder, prefix="bench-")))
    # An installed core finds its bytecode at each start; ours finds it in this folder.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    os.environ["PYTHONPYCACHEPREFIX"] = str(place / "bytecode")
    skipped: list[str] = []
    databases: Databases | None = None
    redis: RedisServer | None = None
    try:
        databases = stack.enter_context(postgres_server())
    except Skipped as why:
        skipped.append(f"everything on PostgreSQL: {why}")
    try:
        redis = stack.enter_context(redis_server())
    except Skipped as why:
        skipped.append(f"Redis: {why}")
    return Ground(place, quick, disk(place), databases, redis, skipped)


def _run(name: str, ground: Ground, patience_s: float) -> tuple[list[Figure], str]:
    """Its figures, those before a failure too, and the failure ("" is none)."""
    module, function, what = BENCHES[name]
    say(f"== {name}: {what}")
    if patience_s and not wait_until_quiet(QUIET_CORES, patience_s):
        say("   other programs are busy; measured all the same")
    ground.disk = disk(ground.folder)
    started, before, served = time.perf_counter(), work(), _servers_s(ground)
    measured: list[Figure] = []
    failure = ""
    try:
        bench = getattr(importlib.import_module(f"benchmarks.{module}"), function)
        for figure in bench(ground):
            measured.append(figure)
    except Exception as error:
        failure = f"{name}: {error!r}"[:500]
        say(f"{name}: FAILED after {len(measured)} figures\n{traceback.format_exc()}")
    after = work()
    others = after.others_since(before)
    others = max(0.0, others - (_servers_s(ground) - served) / (after.at_s - before.at_s))
    figures = [replace(figure, others=others) for figure in measured]
    for figure in figures:
        print(figure.line(), flush=True)
    say(f"   ({time.perf_counter() - started:.0f} s)")
    return figures, failure


def _servers_s(ground: Ground) -> float:
    """Processor seconds of the servers, which are not children of ours."""
    return (ground.databases.cpu_s if ground.databases else 0.0) + (
        ground.redis.cpu_s if ground.redis else 0.0
    )


def _summary(
    figures: Sequence[Figure], ground: Ground, here: str, failed: Sequence[str]
) -> dict[str, object]:
    return {
        "bench": "stock", "quick": ground.quick, "machine": here,
        "fsync_p99_ms": round(ground.disk.p99_ms, 3),
        "figures": {
            f.name: {"judged": round(f.judged, 3) if math.isfinite(f.judged) else None,
                     "by": "worst run" if f.by_worst else "median", "unit": f.unit,
                     "target": f.target_text, "verdict": f.verdict} for f in figures
        },
        "missed": [f.name for f in figures if f.verdict == "MISSED"],
        "skipped": ground.skipped, "failed": list(failed),
    }  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
