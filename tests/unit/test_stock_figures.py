"""The stock figures cannot be kinder than what was measured: faults show, nobody waits for ever."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks import sample, stock, stock_crew, stock_routing
from benchmarks.figures import Figure, Target
from benchmarks.machine import Disk
from benchmarks.stock_crew import Crew, together
from benchmarks.stock_ground import Ground
from benchmarks.stock_rivals import Callers

SPEED = Disk(0.1, 0.2)


def _figure(runs: list[float], target: Target) -> Figure:
    return Figure("stock", "B0 made up", "orders", runs, target, "nothing", SPEED)


def test_one_faulty_run_is_a_miss_where_none_is_allowed() -> None:
    figure = _figure([0, 0, 3, 0, 0], Target(0, at_least=False))
    assert figure.verdict == "MISSED"
    assert "**3.00 orders (worst run)** | 0.00 0.00 3.00 0.00 0.00 |" in figure.row()
    assert "≤ 0.00 orders in every run" in figure.row()


@pytest.mark.parametrize("target", [Target(5, at_least=False), Target(5)], ids=["most", "least"])
def test_every_other_target_is_held_against_the_median(target: Target) -> None:
    figure = _figure([1, 5, 9], target)
    assert figure.verdict == "met"
    assert "**5.00 orders** | 1.00 5.00 9.00 |" in figure.row()


def test_orders_of_two_seeds_have_no_number_in_common(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sample, "BODIES_A_SEED", 4)
    numbers = [
        event["order"]["native_id"]
        for seed in (7, 8)
        for body in sample.bodies(4, 2, seed)
        for event in json.loads(body)["events"]
    ]
    assert len(set(numbers)) == len(numbers) == 16
    with pytest.raises(AssertionError, match="next seed"):
        next(sample.bodies(5, 2, 7))


def test_a_silent_child_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stock_crew, "ANSWER_S", 0.2)
    mute = Crew("timeit", 1, ["-n1", "-r1", "import time; time.sleep(600)"], tmp_path / "log")
    with pytest.raises(AssertionError, match="timeit was silent"):
        mute.__enter__()


def test_faults_of_rival_threads_are_counted_and_nobody_answered_is_no_figure() -> None:
    def broken(_basket: Any) -> bool:
        raise ValueError("made up")

    job = {"do": "sql", "callers": 2, "orders": 4, "sku": "A", "begin": time.time()}
    answer = together([Callers(lambda: broken).do(job)])
    assert answer["errors"] == ["ValueError('made up')"] * 2  # a thread ends with the first
    assert (answer["done"], answer["rate"]) == (0, 0)
    assert _figure([answer["p99"]], Target(30, at_least=False)).verdict == "MISSED"


def test_rows_measured_before_a_failure_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def half(_ground: Ground) -> Iterator[Figure]:
        yield _figure([1], Target())
        raise AssertionError("sold 10000 of 20000")

    monkeypatch.setattr(stock_routing, "half", half, raising=False)
    monkeypatch.setitem(stock.BENCHES, "HALF", ("stock_routing", "half", "breaks in the middle"))
    ground = Ground(tmp_path, True, SPEED, None, None)
    figures, failure = stock._run("HALF", ground, 0)
    assert [figure.name for figure in figures] == ["B0 made up"]
    assert "sold 10000 of 20000" in failure
