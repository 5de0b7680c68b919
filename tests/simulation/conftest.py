"""The process that runs histories for the tests of one worker."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.simulation.serve import Simulator


@pytest.fixture(scope="session")
def simulator() -> Iterator[Simulator]:
    """Started by the first test that asks for a history, ended with the last."""
    asked = Simulator()
    yield asked
    asked.close()
