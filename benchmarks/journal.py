"""Bytes an agent's journal writes to its disk per event, 100 events a commit.

Counted by the kernel: `write_bytes` of /proc/self/io over the run, which holds the WAL, the
checkpoints and the database file, each as often as it was written. `wchar` (bytes handed to
write calls) is printed beside it as a check.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.figures import Figure, Target
from benchmarks.machine import disk
from edge_agent import bootstrap
from edge_agent.domain.moment import Now
from edge_agent.journal.core import JournalCore
from edge_agent.journal.tx import Tx
from protocols.events import ItemPicked
from protocols.messages import Token

EVENTS_A_COMMIT = 100
EPOCH = "00000000000000be"
DURABILITY = "agent: journal SQLite WAL, synchronous=FULL"


@dataclass(frozen=True, slots=True)
class Written:
    """What one run cost, per event."""

    disk_kb: float
    calls_kb: float
    row_bytes: float
    events_a_second: float


def measure(folder: Path, quick: bool) -> Sequence[Figure]:
    """Three runs of 50,000 events, each into a new floor journal."""
    runs, commits = (1, 50) if quick else (3, 500)
    speed = disk(folder)
    found = [_run(folder / f"journal-{number}.sqlite", commits) for number in range(runs)]
    one = found[0]
    how = (
        f"{DURABILITY}; `item.picked` rows of {one.row_bytes:.0f} bytes + hash, "
        f"{commits * EVENTS_A_COMMIT:,} events, checkpoints included; /proc/self/io write_bytes "
        f"(write calls: {one.calls_kb:.2f} KB)"
    )
    rate = f"{DURABILITY}; one writer, 100 events a commit"
    return [
        Figure(
            "journal", "journal bytes written per event, 100 a commit", "KB",
            [run.disk_kb for run in found], Target(1.0, at_least=False), how, speed,
        ),
        Figure(
            "journal", "events written to one journal", "events/s",
            [run.events_a_second for run in found], Target(), rate, speed,
        ),
    ]  # fmt: skip


def _run(file: Path, commits: int) -> Written:
    core = JournalCore(bootstrap.connector(file), "bench-1", "floor", lambda: EPOCH)
    core.open(Now(1_795_226_400_000, 1_000))
    assert core.db.execute("PRAGMA synchronous").fetchone()[0] == 2
    before, start = _io(), time.perf_counter()
    for number in range(commits):
        now = Now(1_795_226_400_000 + number, 1_000 + number)
        works = [(_picked(number * EVENTS_A_COMMIT + at), now) for at in range(EVENTS_A_COMMIT)]
        for _value, error in core.commit(works):
            assert error is None, error
    took = time.perf_counter() - start
    events = commits * EVENTS_A_COMMIT
    size = core.db.execute("SELECT SUM(LENGTH(row)) FROM row").fetchone()[0]
    core.close()  # the last checkpoint counts as well
    after = _io()
    return Written(
        (after["write_bytes"] - before["write_bytes"]) / events / 1000,
        (after["wchar"] - before["wchar"]) / events / 1000,
        size / events,
        events / took,
    )


def _picked(number: int) -> Callable[[Tx], int]:
    body = ItemPicked(
        shipment=f"DB2026{number:08d}-1", token=Token(1, 1), sku=f"SKU-{number % 1000:04d}",
        quantity=1, location="A-01-02",
    )  # fmt: skip
    return lambda tx: tx.append("item.picked", body, station="pack-1")


def _io() -> dict[str, int]:
    """This process's counters: proc(5), /proc/pid/io."""
    lines = Path("/proc/self/io").read_text(encoding="ascii").splitlines()
    return {name: int(value) for name, value in (line.split(": ") for line in lines)}
