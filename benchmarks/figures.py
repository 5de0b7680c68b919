"""One measured figure, how it is printed, and the table of RESULTS.md it is kept in.

Every figure says what was durable on each side, what a sync cost on that disk, how busy other
programs kept the machine, and whether its target was met. A missed target stays in the table.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.machine import Disk, Machine

RESULTS = Path(__file__).with_name("RESULTS.md")
BEGIN = "<!-- figures: written by `make bench`, one row a figure -->"
END = "<!-- end of figures -->"
HEAD = (
    "| figure | median | runs | target | | fsync p99 | others' cores "
    "| durability, how measured | command |"
)
RULE = "|---|---|---|---|---|---|---|---|---|"


@dataclass(frozen=True, slots=True)
class Target:
    """What the figure has to reach; None as a limit is a figure for information."""

    limit: float | None = None
    at_least: bool = True

    def met(self, value: float) -> bool:
        if self.limit is None:
            return True
        return value >= self.limit if self.at_least else value <= self.limit


@dataclass(frozen=True, slots=True)
class Figure:
    """One result: the values of its runs in `unit`, and what is needed to judge them."""

    bench: str
    name: str
    unit: str
    runs: Sequence[float]
    target: Target
    durability: str
    disk: Disk
    others: float = 0.0
    """Cores that other programs used while the bench ran."""
    command: str = ""
    """What measures it again; empty is `python -m benchmarks` and the name of the bench."""

    @property
    def median(self) -> float:
        return statistics.median(self.runs)

    @property
    def by_worst(self) -> bool:
        """Whether the worst run counts: where none is allowed, one run with a fault is a fault."""
        return self.target.limit == 0 and not self.target.at_least

    @property
    def judged(self) -> float:
        """What is held against the target: the median, or the worst run."""
        return max(self.runs) if self.by_worst else self.median

    @property
    def verdict(self) -> str:
        if self.target.limit is None:
            return "no target"
        return "met" if self.target.met(self.judged) else "MISSED"

    @property
    def target_text(self) -> str:
        if self.target.limit is None:
            return "-"
        sign = "≥" if self.target.at_least else "≤"
        runs = " in every run" if self.by_worst else ""
        return f"{sign} {number(self.target.limit)} {self.unit}{runs}"

    @property
    def said(self) -> str:
        """The value that is judged, and when it is not the median, that."""
        return f"{number(self.judged)} {self.unit}{' (worst run)' if self.by_worst else ''}"

    def line(self) -> str:
        """For the terminal."""
        runs = " ".join(number(value) for value in self.runs)
        return (
            f"{self.bench}: {self.name}: {self.said}"
            f"  [{self.verdict}, target {self.target_text}]"
            f"\n    runs {runs} | fsync p99 {self.disk.p99_ms:.2f} ms "
            f"| other programs used {self.others:.2f} cores"
            f"\n    {self.durability}"
        )

    def row(self) -> str:
        """For RESULTS.md."""
        runs = " ".join(number(value) for value in self.runs)
        cells = (
            self.name, f"**{self.said}**", runs, self.target_text,
            self.verdict, f"{self.disk.p99_ms:.2f} ms", f"{self.others:.2f}",
            self.durability.replace("|", "/"),
            f"`{self.command or f'python -m benchmarks {self.bench}'}`",
        )  # fmt: skip
        return "| " + " | ".join(cells) + " |"


def number(value: float) -> str:
    """Three or more significant digits, thousands apart."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def write(figures: Sequence[Figure], machine: Machine, day: str, path: Path = RESULTS) -> None:
    """Replace the rows of these figures in the table, keep all others and the text around it."""
    text = path.read_text(encoding="utf-8") if path.exists() else f"# Results\n\n{BEGIN}\n{END}\n"
    before, _, rest = text.partition(BEGIN)
    middle, _, after = rest.partition(END)
    rows = {_name(line): line for line in middle.splitlines() if _is_row(line)}
    rows |= {figure.name: figure.row() for figure in figures}
    table = "\n".join((HEAD, RULE, *rows.values()))
    where = f"Last run {day} on {machine}."
    path.write_text(f"{before}{BEGIN}\n{where}\n\n{table}\n{END}{after}", encoding="utf-8")


def _is_row(line: str) -> bool:
    return line.startswith("| ") and line != HEAD


def _name(line: str) -> str:
    return line.split("|")[1].strip()
