"""Baskets of the same two SKUs in opposite order, on four core processes: nobody waits in a circle.

Rows are locked in the order of their keys, whatever order a basket names them in. Cores that lock
them as they come meet head-on: PostgreSQL ends one of the two, and without a second try its caller
hears of it. The second try alone is not what keeps callers from seeing anything.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.support.hammer import Hammer

SEED = 20_261_122
ANSWERS = 800
AT_MOST_S = 30.0
pytestmark = [pytest.mark.timeout(110), pytest.mark.usefixtures("on_postgresql")]


@pytest.mark.parametrize("plant", ["", "no second try"])
def test_baskets_in_opposite_order_never_stand_in_each_other_s_way(
    tmp_path: Path, plant: str
) -> None:
    hammer = crossed(tmp_path, plant)
    assert hammer.wrong() == []
    assert len(hammer.heard.answers) >= ANSWERS
    assert len(hammer.heard.states) == len(hammer.heard.answers)


def test_cores_that_lock_rows_as_they_come_are_convicted(tmp_path: Path) -> None:
    found = crossed(tmp_path, "unsorted locks").wrong()
    assert "a caller saw database" in found, found[:5]


def crossed(folder: Path, plant: str) -> Hammer:
    async def run() -> Hammer:
        hammer = Hammer(folder, SEED, plant, pairs=True)
        await hammer.run(enough, AT_MOST_S)
        return hammer

    return asyncio.run(run())


def enough(hammer: Hammer) -> bool:
    """A caller saw something, or so many were answered well."""
    return bool(hammer.heard.faults) or len(hammer.heard.answers) >= ANSWERS
