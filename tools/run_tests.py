"""`make test`: run the stages one after the other, then say what passed and what was skipped, why.

Every stage runs even when an earlier one failed, so that one run shows all. The status is 0 only
when every stage passed. A stage whose tests mostly wait for processes has more workers than cores.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
REPORTS = ROOT / "out" / "test"
SETUP_SUMMARY = ROOT / ".venv" / "setup-summary.txt"


@dataclass(frozen=True, slots=True)
class Stage:
    """One row of the run: a name, folders under `tests/`, pytest workers (0 = one process).

    A stage without a test fails: silence is no proof. `spread` deals the tests out to
    the workers one by one, for stages whose tests are long and share nothing.
    """

    name: str
    folders: tuple[str, ...]
    workers: int
    spread: bool = False


STAGES = (
    Stage("unit, flows and house", ("unit", "flows", "crash", "house"), 3),
    Stage("simulation: 5 seeds and the planted bugs", ("simulation",), 2, spread=True),
    Stage("integration", ("integration",), 3, spread=True),
    Stage("browser", ("browser",), 2, spread=True),
)

BY_FILE = ("--dist", "loadfile")
SPREAD = ("--dist", "load", "--maxschedchunk", "1")


@dataclass(slots=True)
class Outcome:
    """What a stage gave: counts by kind, reasons of skipped tests with their number, seconds."""

    name: str
    ok: bool
    seconds: float
    counts: Counter[str] = field(default_factory=Counter)
    skipped: Counter[str] = field(default_factory=Counter)


def run_stage(stage: Stage, flags: list[str]) -> Outcome:
    """Run one stage under pytest and read what it reported."""
    folders = [f"tests/{name}" for name in stage.folders if (ROOT / "tests" / name).is_dir()]
    print(f"\n== {stage.name}", flush=True)
    if not folders:
        missing = Counter({"no tests here": 1})
        return Outcome(stage.name, ok=False, seconds=0.0, skipped=missing)
    report = REPORTS / f"{folders[0].replace('/', '-')}.xml"
    report.unlink(missing_ok=True)
    command = [sys.executable, "-m", "pytest", "-q", "-m", "not hardware", f"--junitxml={report}"]
    if stage.workers:
        command += ["-n", str(stage.workers), *(SPREAD if stage.spread else BY_FILE)]
    start = time.monotonic()
    done = subprocess.run([*command, *flags, *folders], cwd=ROOT, env=surroundings(), check=False)
    outcome = Outcome(stage.name, done.returncode == 0, time.monotonic() - start)
    if report.exists():
        read_report(report, outcome)
    return outcome


def surroundings() -> dict[str, str]:
    """A stage's environment: its many processes find their modules compiled, as installed ones do.

    Hundreds of programs are started; each would spend a second of processor on compiling them.
    """
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return {"PYTHONPYCACHEPREFIX": str(ROOT / "out" / "compiled"), **kept}


def read_report(report: Path, outcome: Outcome) -> None:
    """Count the cases of a JUnit file that pytest wrote."""
    for case in ET.parse(report).getroot().iter("testcase"):
        kinds = {child.tag: child.get("message", "") for child in case}
        if "skipped" in kinds:
            outcome.counts["skipped"] += 1
            outcome.skipped[kinds["skipped"] or "no reason given"] += 1
        elif "failure" in kinds or "error" in kinds:
            outcome.counts["failed"] += 1
        else:
            outcome.counts["passed"] += 1


def print_summary(outcomes: list[Outcome]) -> None:
    """The last thing on the screen: a line a stage, then what did not run and why."""
    print("\n== summary")
    for outcome in outcomes:
        counts = ", ".join(f"{number} {kind}" for kind, number in sorted(outcome.counts.items()))
        verdict = "ok    " if outcome.ok else "FAILED"
        print(f"{verdict} {outcome.name}: {counts or 'nothing ran'} in {outcome.seconds:.0f} s")
    print("skipped, and why:")
    for outcome in outcomes:
        for reason, number in outcome.skipped.most_common():
            print(f"- {outcome.name}: {number} x {reason}")
    print("- hardware stage: needs devices or a virtual machine; not part of this command")
    if SETUP_SUMMARY.exists():
        print(SETUP_SUMMARY.read_text(encoding="utf-8").rstrip())


def main(flags: list[str]) -> int:
    REPORTS.mkdir(parents=True, exist_ok=True)
    outcomes = [run_stage(stage, flags) for stage in STAGES]
    print_summary(outcomes)
    return 0 if all(outcome.ok for outcome in outcomes) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
