"""The judge of the owner race (B7) convicts what it was made for: it must be able to say no."""

from __future__ import annotations

import pytest

from benchmarks.stock_owner import Owner, verdict

HERE: Owner = ("hz-a", 1, 2)
THERE: Owner = ("sz-a", 1, 3)
OWNED = {"S-1": THERE, "S-2": HERE}
FAIR = [("S-1", THERE), ("S-2", HERE)]


def test_a_fair_race_has_no_faults_however_often_a_grant_was_sent() -> None:
    assert verdict([*FAIR, *FAIR], OWNED, FAIR) == (0, 0)


@pytest.mark.parametrize(
    ("grants", "begun", "found"),
    [
        ([*FAIR, ("S-1", HERE)], FAIR, (1, 0)),
        (FAIR, [("S-1", HERE), ("S-2", HERE)], (0, 1)),
        (FAIR, [*FAIR, ("S-2", HERE)], (0, 1)),
        (FAIR, [*FAIR, ("S-3", HERE)], (0, 1)),
    ],
    ids=["two warehouses granted", "label under a stale token", "label twice", "nobody's label"],
)
def test_a_planted_fault_is_counted(
    grants: list[tuple[str, Owner]], begun: list[tuple[str, Owner]], found: tuple[int, int]
) -> None:
    assert verdict(grants, OWNED, begun) == found
