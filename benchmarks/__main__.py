"""`python -m benchmarks [NAME ...] [--quick]`: measure, print, keep in RESULTS.md.

--quick takes small sizes and one run, to see that everything works; its figures are printed and
not kept. Status 0 also when a target is missed: these are measurements, not tests.
"""

from __future__ import annotations

import argparse
import importlib
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from benchmarks.figures import RESULTS, Figure, write
from benchmarks.machine import machine, wait_until_quiet, work

BENCHES = {
    "committer": "orders owned by the write queue alone",
    "http": "orders owned through the signed HTTP door of a running core",
    "journal": "bytes an agent writes per event",
    "stored": "events from four agents stored and acknowledged over mosquitto and NATS",
    "applied": "events from four agents applied to orders",
    "routing": "warehouse and carrier chosen by rules, without a database",
    "station": "a scan's way to the printer, an agent's memory and start",
    "station_load": "drawing, processor at 10 scans/s, a busy loop, 96 MB of memory",
    "backlog": "200,000 events of 72 h drained, over loopback and 1 Mbit/s; kill -9",
    "edge_peer": "our agent beside thingsboard-gateway: kills, an outage, memory",
}
QUIET_CORES = 0.2
Bench = Callable[[Path, bool], Sequence[Figure]]


def main() -> int:
    """Run the benches asked for, all without a name."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    listed = ", ".join(f"{name} ({what})" for name, what in BENCHES.items())
    parser.add_argument("names", nargs="*", metavar="NAME", help=listed)
    parser.add_argument("--quick", action="store_true", help="small sizes, nothing is kept")
    parser.add_argument("--no-write", action="store_true", help="leave RESULTS.md alone")
    parser.add_argument("--folder", type=Path, help="where to work (default: a temporary folder)")
    parser.add_argument(
        "--patience", type=float, default=0, metavar="S",
        help="wait up to S seconds before each bench for other programs to be quiet",
    )  # fmt: skip
    options = parser.parse_args()
    unknown = [name for name in options.names if name not in BENCHES]
    if unknown:
        parser.error(f"no bench {unknown[0]}; there are {', '.join(BENCHES)}")
    here = machine()
    print(f"machine: {here}", flush=True)
    failed = []
    for name in options.names or BENCHES:
        try:
            with tempfile.TemporaryDirectory(dir=options.folder, prefix="bench-") as folder:
                figures = _run(name, Path(folder), options.quick, options.patience)
        except Exception as error:
            failed.append(name)
            print(f"{name}: FAILED: {error!r}", file=sys.stderr, flush=True)
            if len(options.names) == 1:
                raise
            continue
        if not (options.quick or options.no_write):
            write(figures, here, datetime.now().date().isoformat())
            print(f"kept in {RESULTS}", flush=True)
    return 1 if failed else 0


def _run(name: str, folder: Path, quick: bool, patience_s: float) -> Sequence[Figure]:
    print(f"\n== {name}: {BENCHES[name]}", flush=True)
    if patience_s and not wait_until_quiet(QUIET_CORES, patience_s):
        print("   other programs are busy; measured all the same", flush=True)
    measure: Bench = importlib.import_module(f"benchmarks.{name}").measure
    started, before = time.perf_counter(), work()
    measured = measure(folder, quick)
    others = work().others_since(before)
    figures = [replace(figure, others=others) for figure in measured]
    for figure in figures:
        print(figure.line(), flush=True)
    print(f"   ({time.perf_counter() - started:.0f} s)", flush=True)
    return figures


if __name__ == "__main__":
    sys.exit(main())
