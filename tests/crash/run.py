"""`make crash CYCLES=5000`: the campaign with its controls; the last line is one JSON object.

`python -m tests.crash.run --cycles N [--seed S]`. Exit status 1 when an answer was lost, or when a
control that must lose does not: a campaign that cannot fail proves nothing.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from tests.crash.faults import Failed, every_full_disk, every_io_error
from tests.crash.history import History, Tally
from tests.crash.medium import Medium

CYCLES_A_CARD = 40
CONTROL_SHARE = 10
CONTROL_CYCLES_MIN = 40
CHECKPOINTS = (5, 20, 100, 1000)
SHOWN_MAX = 5


@dataclass
class Verdict:
    """Everything the last line tells."""

    tally: Tally = field(default_factory=Tally)
    failed: Failed = field(default_factory=Failed)
    normal: Tally = field(default_factory=Tally)
    lying: Tally = field(default_factory=Tally)

    @property
    def violations(self) -> list[str]:
        return self.tally.violations + self.failed.violations

    @property
    def good(self) -> bool:
        return not self.violations and bool(self.normal.violations and self.lying.violations)


def campaign(cycles: int, seed: int, say: Callable[[str], None], *, faults: bool = True) -> Verdict:
    """Cut the power `cycles` times on honest cards, and a tenth as often on each control."""
    verdict = Verdict()
    fewer = max(CONTROL_CYCLES_MIN, cycles // CONTROL_SHARE)
    _cards(cycles, seed, verdict.tally, say, synchronous="FULL", lies=False)
    _cards(fewer, seed + 1, verdict.normal, say, synchronous="NORMAL", lies=False)
    _cards(fewer, seed + 2, verdict.lying, say, synchronous="FULL", lies=True)
    if faults:
        every_io_error(verdict.failed)
        every_full_disk(verdict.failed)
    say(f"faults: {verdict.failed.io_errors} I/O errors, {verdict.failed.full_disks} full disks")
    return verdict


def _cards(
    cycles: int,
    seed: int,
    tally: Tally,
    say: Callable[[str], None],
    *,
    synchronous: str,
    lies: bool,
) -> None:
    card = 0
    told_s = time.monotonic()
    while tally.crashes < cycles:
        card += 1
        checkpoint = CHECKPOINTS[card % len(CHECKPOINTS)]
        medium = Medium(synchronous=synchronous, lies=lies, checkpoint=checkpoint)
        history = History(seed * 1_000_003 + card, tally, medium)
        for _ in range(min(CYCLES_A_CARD, cycles - tally.crashes)):
            history.cycle()
            if history.spoilt:
                break
        medium.close()
        if time.monotonic() - told_s > 5 or tally.crashes >= cycles:
            told_s = time.monotonic()
            name = "lying" if lies else synchronous
            say(f"{name}: {tally.crashes}/{cycles} cuts, {tally.commits} commits,"
                f" {len(tally.violations)} violations")  # fmt: skip


def main(given: Sequence[str] | None = None) -> int:
    """Run it; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cycles", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args(given)
    began_s = time.monotonic()
    verdict = campaign(asked.cycles, asked.seed, lambda line: print(line, flush=True))
    for line in verdict.violations[:SHOWN_MAX]:
        print(f"VIOLATION {line}")
    last = {
        "crashes": verdict.tally.crashes,
        "commits": verdict.tally.commits,
        "violations": len(verdict.violations),
        "control_violations": {
            "normal": len(verdict.normal.violations),
            "lying_disk": len(verdict.lying.violations),
        },
        "io_errors": verdict.failed.io_errors,
        "full_disks": verdict.failed.full_disks,
        "seed": asked.seed,
        "seconds": round(time.monotonic() - began_s, 1),
    }
    print(json.dumps(last))
    return 0 if verdict.good else 1


if __name__ == "__main__":
    sys.exit(main())
