"""What every stock bench stands on: folder, servers, sizes, and how it makes figures and noise."""

from __future__ import annotations

import itertools
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks import stock_bed
from benchmarks.figures import Figure, Target
from benchmarks.machine import Disk
from benchmarks.stock_bed import DURABLE, StockBed
from benchmarks.stock_crew import Crew
from benchmarks.stock_servers import Databases, RedisServer

NO_TARGET = Target()
BARE = "bare hold: the write queue or statement alone, no HTTP"
PAID = "whole paid flow: order, contact, route, hold, owner, offer, trail, idempotency key"


@dataclass(slots=True)
class Ground:
    """One run's folder and servers; `skipped` says what could not be measured and why."""

    folder: Path
    quick: bool
    disk: Disk
    databases: Databases | None
    redis: RedisServer | None
    skipped: list[str] = field(default_factory=list)
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    @property
    def engines(self) -> list[str]:
        """The engines that can be had here."""
        return ["sqlite", *(["postgresql"] if self.databases else [])]

    def runs(self, full: int = 5) -> int:
        """How often a figure is measured."""
        return 1 if self.quick else full

    @contextmanager
    def bed(self, engine: str, *, warehouses: int = 1, units: int = 0) -> Iterator[StockBed]:
        """A new prepared database, removed afterwards."""
        url = ""
        if engine == "postgresql":
            assert self.databases is not None
            url = self.databases.new()
        chosen = {"units": units} if units else {}
        folder = self.new_folder()
        try:
            yield stock_bed.prepare(folder, url, warehouses=warehouses, **chosen)
        finally:
            if self.databases is not None and url:
                self.databases.drop(url)
            shutil.rmtree(folder, ignore_errors=True)

    def new_folder(self) -> Path:
        """A folder nobody else uses."""
        folder = self.folder / f"n{next(self._numbers)}"
        folder.mkdir(parents=True)
        return folder

    def ours(self, bed: StockBed, processes: int = 1) -> Crew:
        """Processes of ours on a bed."""
        log = bed.settings.data_path / "crew.log"
        return Crew("benchmarks.stock_core", processes, [str(bed.write_config())], log)

    def rivals(self, way: str, place: str, processes: int = 1) -> Crew:
        """Processes that do it the usual way."""
        log = self.new_folder() / "crew.log"
        return Crew("benchmarks.stock_rivals", processes, [way, place], log)

    def figure(
        self, name: str, unit: str, runs: Sequence[float], how: str, target: Target = NO_TARGET
    ) -> Figure:
        """A figure of this run."""
        return Figure(
            "stock", name, unit, tuple(runs), target, how, self.disk,
            command=f"python -m benchmarks.stock --only {name.partition(' ')[0]}",
        )  # fmt: skip


def durable(engine: str) -> str:
    """What is on the disk before an answer, in words."""
    return DURABLE[engine]


def say(text: str) -> None:
    """Progress, beside the figures."""
    print(text, file=sys.stderr, flush=True)
