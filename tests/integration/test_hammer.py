"""The PostgreSQL hammer: four core processes, 64 clients, `kill -9` and cut connections at random.

What a client was told is true in the end: every acknowledged hold is there, nothing is oversold,
nothing drifts, one idempotency key has one answer, and no caller sees anything of the harm. The
same judge must convict cores with planted faults, or its verdict would mean nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.hammer import CLIENTS, CORES, Hammer
from tests.support.hammer_plants import PLANTS

SEED = 20_261_122
HARMS, ANSWERS = 8, 400
AT_MOST_S = 30.0
CONTROL_AT_MOST_S = 60.0
SHOWS_AT_THE_END = "answered before the commit"
CONTROLS = {
    "guard before the lock": "oversold",
    "key outside the transaction": "one key, two answers",
    "answered before the commit": "acknowledged",
}

pytestmark = [
    pytest.mark.slow, pytest.mark.timeout(110), pytest.mark.usefixtures("on_postgresql"),
]  # fmt: skip


def test_what_was_acknowledged_is_true_whatever_was_killed_or_cut(
    tmp_path: Path, say: Callable[[str], None]
) -> None:
    hammer = hammered(tmp_path, risked_enough, AT_MOST_S)
    heard = hammer.heard
    say(
        f"hammer: {CORES} cores, {CLIENTS} clients, {len(heard.answers):,} keys answered, "
        f"{heard.refused:,} refused, {heard.doubles:,} asked of two cores at once; "
        f"{hammer.kills} kills with {hammer.at_risk} requests on their way, {hammer.cuts} "
        f"connections cut, {heard.asked_again} requests sent again"
    )
    assert hammer.wrong() == []
    assert min(hammer.kills, hammer.cuts, hammer.at_risk, heard.asked_again) > 0
    assert min(heard.refused, heard.doubles, len(heard.states)) > 0


@pytest.mark.parametrize("plant", sorted(PLANTS))
def test_the_judge_convicts_a_core_with_a_fault(tmp_path: Path, plant: str) -> None:
    caught = risked_enough if plant == SHOWS_AT_THE_END else seems_guilty
    hammer = hammered(tmp_path, caught, CONTROL_AT_MOST_S, plant)
    found = hammer.wrong()
    assert any(text.startswith(CONTROLS[plant]) for text in found), found[:5]


def risked_enough(hammer: Hammer) -> bool:
    """Every kind of harm was done, and clients met it."""
    heard = hammer.heard
    harmed = min(hammer.kills, hammer.cuts) >= HARMS and hammer.at_risk > 0
    return harmed and len(heard.answers) >= ANSWERS and heard.refused > 0


def seems_guilty(hammer: Hammer) -> bool:
    """The fault shows while it runs."""
    return bool(hammer.heard.several or hammer.was_oversold)


def hammered(
    folder: Path, enough: Callable[[Hammer], bool], at_most_s: float, plant: str = ""
) -> Hammer:
    async def run() -> Hammer:
        hammer = Hammer(folder, SEED, plant)
        await hammer.run(enough, at_most_s)
        return hammer

    return asyncio.run(run())
