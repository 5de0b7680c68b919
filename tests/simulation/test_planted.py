"""The simulation finds bugs: each planted one breaks a public promise with an ordinary seed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.simulation.planted import BANK

ROOT = Path(__file__).parents[2]
pytestmark = [pytest.mark.simulation, pytest.mark.timeout(400)]


def test_the_bank_holds_at_least_a_dozen_bugs() -> None:
    assert len(BANK) >= 12


@pytest.mark.parametrize("name", sorted(BANK))
def test_a_planted_bug_breaks_a_promise(name: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.simulation.planted", "--one", name],
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": "0"},
        capture_output=True,
        text=True,
        check=True,
    )
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["broken"] in BANK[name].breaks, found
