"""Five whole histories of both programs keep every promise, and a seed is one history.

Each runs in a process of its own with a fixed hash seed, as `make sim` does.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.simulation.serve import Simulator

pytestmark = [pytest.mark.simulation, pytest.mark.slow, pytest.mark.timeout(400)]


def run(simulator: Simulator, *arguments: str) -> tuple[int, dict[str, Any], str]:
    """Exit status, the JSON line and everything printed of one campaign."""
    status, told = simulator.ask("run", *arguments)
    return status, json.loads(told.splitlines()[-1]), told


@pytest.mark.parametrize("seed", [2, 3, 4, 5])
def test_a_week_of_faults_breaks_no_promise(simulator: Simulator, seed: int) -> None:
    status, verdict, told = run(simulator, "--seed", str(seed), "--once", "--jobs", "1")
    assert status == 0, told
    assert verdict["violations"] == 0
    assert verdict["orders"] >= 300
    assert verdict["faults"] >= 200
    assert verdict["warehouse_years"] >= 0.05  # three warehouses, seven days


def test_one_seed_is_one_history(simulator: Simulator) -> None:
    status, verdict, told = run(simulator, "--seed", "1", "--jobs", "2")
    assert status == 0, told
    assert verdict["seeds"] == 1
    assert verdict["sometimes_missed"] == []  # judged from twenty seeds on
