"""The power-loss campaign in small; `make crash` runs it in earnest."""

from __future__ import annotations

import pytest

from tests.crash.faults import Failed, every_io_error
from tests.crash.run import campaign

pytestmark = pytest.mark.simulation


def test_no_answer_is_lost_and_both_controls_lose() -> None:
    verdict = campaign(80, 7, lambda line: None, faults=False)
    assert verdict.tally.violations == []
    assert verdict.tally.crashes == 80
    assert verdict.normal.violations
    assert verdict.lying.violations


def test_a_sync_or_an_opening_that_fails_anywhere_costs_no_answer() -> None:
    found = Failed()
    every_io_error(found, ("sync", "open"))
    assert found.violations == []
    assert found.io_errors > 20
