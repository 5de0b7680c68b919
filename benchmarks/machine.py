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


def load_1m() -> float:
    """The load average of the last minute: what else the machine was doing."""
    return os.getloadavg()[0]


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
