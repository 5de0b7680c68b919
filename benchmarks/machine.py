"""The machine a figure was measured on: processor, kernel, and what a commit costs its disk.

Read beside every figure; knows nothing of what is measured.
"""

from __future__ import annotations

import os
import platform
import sqlite3
import time
from dataclasses import dataclass
from pathlib import Path

SYNC_WRITES = 400
SYNC_BYTES = 4_096


@dataclass(frozen=True, slots=True)
class Machine:
    """Where the figures come from."""

    processor: str
    cores: int
    memory_gb: float
    kernel: str
    python: str
    sqlite: str

    def __str__(self) -> str:
        return (
            f"{self.processor}, {self.cores} cores, {self.memory_gb:.0f} GB, Linux {self.kernel}, "
            f"Python {self.python}, SQLite {self.sqlite}"
        )


@dataclass(frozen=True, slots=True)
class Disk:
    """What one small durable write costs in a folder, in ms."""

    p50_ms: float
    p99_ms: float

    def __str__(self) -> str:
        return f"p50 {self.p50_ms:.2f} / p99 {self.p99_ms:.2f} ms"


def machine() -> Machine:
    """This machine."""
    return Machine(
        _processor(), os.cpu_count() or 1,
        os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30,
        platform.release(), platform.python_version(), sqlite3.sqlite_version,
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Work:
    """Processor seconds so far: of the whole machine, and of this process with its children."""

    machine_s: float
    own_s: float
    at_s: float

    def others_since(self, before: Work) -> float:
        """How many cores other programs have used meanwhile, on average."""
        foreign = (self.machine_s - before.machine_s) - (self.own_s - before.own_s)
        return max(0.0, foreign / (self.at_s - before.at_s))


def work() -> Work:
    """Count now. Children count once they have ended (proc(5), /proc/stat; times(2))."""
    ticks = os.sysconf("SC_CLK_TCK")
    fields = [
        int(text) for text in Path("/proc/stat").read_text("ascii").split("\n")[0].split()[1:]
    ]
    user, nice, system, _idle, _wait, irq, softirq, steal = fields[:8]
    own = os.times()
    own_s = own.user + own.system + own.children_user + own.children_system
    busy = user + nice + system + irq + softirq + steal
    return Work(busy / ticks, own_s, time.monotonic())


def wait_until_quiet(cores: float, patience_s: float) -> bool:
    """Wait until other programs use less than `cores` for 3 s; False when they never did."""
    deadline = time.monotonic() + patience_s
    while True:
        before = work()
        time.sleep(3)
        if work().others_since(before) < cores:
            return True
        if time.monotonic() > deadline:
            return False


def disk(folder: Path) -> Disk:
    """Append 4 KB and fsync, 400 times, in the folder a benchmark is about to use."""
    path = folder / "fsync.probe"
    taken: list[float] = []
    block = os.urandom(SYNC_BYTES)
    descriptor = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    try:
        for _ in range(SYNC_WRITES):
            os.write(descriptor, block)
            start = time.perf_counter()
            os.fsync(descriptor)
            taken.append((time.perf_counter() - start) * 1000)
    finally:
        os.close(descriptor)
        path.unlink()
    return Disk(percentile(taken, 50), percentile(taken, 99))


def percentile(values: list[float], share: float) -> float:
    """The value that `share` per cent of `values` do not exceed (nearest rank)."""
    ordered = sorted(values)
    rank = max(1, -(-len(ordered) * share // 100))
    return ordered[int(rank) - 1]


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith(("model name", "Model")):
            return line.split(":", 1)[1].strip()
    return platform.machine()


def cpu_s(pid: int) -> float:
    """Processor seconds a process has used so far, all its threads (proc(5), utime + stime)."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def family(pid: int) -> list[int]:
    """A process and all its descendants (proc(5), task/children)."""
    found = [pid]
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in path.read_text().split():
            found += family(int(child))
    return found


def memory_mib(pid: int, name: str) -> float:
    """`Pss` or `Rss` of one process (proc(5), smaps_rollup)."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) / 1024
    raise AssertionError(f"no {name} in smaps_rollup")
