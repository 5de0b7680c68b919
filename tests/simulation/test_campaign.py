"""What a campaign makes of its seeds: one that breaks a promise or misses a point has failed.

The histories are made up; the processes, the verdict and the exit status are the campaign's own.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from tests.simulation import run
from tests.simulation.points import JUDGED_FROM_SEEDS, POINTS
from tests.simulation.truth import Violation
from tests.simulation.world import Outcome

EVERYTHING = frozenset(POINTS)


def good(seed: int, _days: int = 7) -> Outcome:
    """A history in which all that must happen sometimes happened."""
    return Outcome(
        seed=seed, days=7.0, orders=300, faults=200, steps=1, hash=f"{seed:064x}",
        sometimes=EVERYTHING, violation=None, detail={},
    )  # fmt: skip


def broken(seed: int, days: int) -> Outcome:
    violation = Violation("P3", "made up") if seed == 2 else None
    return replace(good(seed, days), violation=violation)


def without_one_point(seed: int, days: int) -> Outcome:
    return replace(good(seed, days), sometimes=EVERYTHING - {min(EVERYTHING)})


def seen_once(seed: int, days: int) -> Outcome:
    """Every point is reached by one seed only, and not by the same."""
    mine = [point for place, point in enumerate(sorted(EVERYTHING)) if place % 20 == seed - 1]
    return replace(good(seed, days), sometimes=frozenset(mine))


class _Fickle:
    """The first seed comes to another hash the second time."""

    def __init__(self) -> None:
        self.runs = 0

    def __call__(self, seed: int, days: int) -> Outcome:
        self.runs += 1
        return replace(good(seed, days), hash=f"{self.runs:064x}")


def judged(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    history: Callable[[int, int], Outcome], seeds: int, *, once: bool = False,
) -> tuple[int, dict[str, Any], str]:  # fmt: skip
    """Exit status, the JSON line and all that was printed."""
    monkeypatch.setattr(run, "run_seed", history)
    status = run.campaign(range(1, seeds + 1), 7, 1, once=once)
    told = capsys.readouterr().out
    return status, json.loads(told.splitlines()[-1]), told


def test_a_clean_campaign_ends_with_status_0_and_its_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    status, verdict, _ = judged(monkeypatch, capsys, good, JUDGED_FROM_SEEDS)
    assert status == 0
    assert (verdict["seeds"], verdict["orders"], verdict["faults"]) == (20, 6_000, 4_000)
    assert (verdict["sometimes_missed"], verdict["violations"]) == ([], 0)


def test_points_may_be_reached_by_different_seeds(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    status, verdict, _ = judged(monkeypatch, capsys, seen_once, JUDGED_FROM_SEEDS)
    assert (status, verdict["sometimes_missed"]) == (0, [])


def test_a_broken_promise_fails_the_campaign_and_names_its_seed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    status, verdict, told = judged(monkeypatch, capsys, broken, 3)
    assert (status, verdict["violations"]) == (1, 1)
    assert "seed    2 BROKEN P3: made up" in told
    assert "make sim SEED=2" in told


@pytest.mark.parametrize(("seeds", "status"), [(JUDGED_FROM_SEEDS, 1), (JUDGED_FROM_SEEDS - 1, 0)])
def test_a_missed_point_fails_a_campaign_of_twenty_seeds_and_no_smaller_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], seeds: int, status: int
) -> None:
    found = judged(monkeypatch, capsys, without_one_point, seeds)
    missed = [min(EVERYTHING)] if status else []
    assert (found[0], found[1]["sometimes_missed"]) == (status, missed)


def test_a_seed_that_does_not_repeat_itself_fails_the_campaign(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert judged(monkeypatch, capsys, _Fickle(), 1, once=True)[0] == 0
    status, verdict, told = judged(monkeypatch, capsys, _Fickle(), 2)
    assert (status, verdict["violations"], verdict["seeds"]) == (1, 0, 2)
    assert "seed 1 did not repeat itself" in told
