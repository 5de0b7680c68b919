"""Who gives way when a count finds less than was promised: a pure choice (P3).

Unpaid checkout holds first, the newest first: a paid order outranks every basket. Then paid
shipments that nobody has begun to pick, the lowest priority first, then the newest. Those no bench
has been granted come before granted ones, whose goods only their bench can give back. What is
picked, and a paid basket whose order has not come, never gives way.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

UNPAID, UNGRANTED, GRANTED = 0, 1, 2


@dataclass(frozen=True, slots=True)
class Claim:
    """One hold on the SKU that is short: `rank` is UNPAID, UNGRANTED or GRANTED."""

    hold_id: str
    rank: int
    priority: int
    since_ms: int
    quantity: int


def choose(short: int, claims: Iterable[Claim]) -> list[Claim]:
    """The claims that give way for `short` units, in the order they are chosen.

    Together they free at least `short`, or they are all there are; none of them could be spared.
    """
    chosen: list[Claim] = []
    freed = 0
    for claim in sorted(claims, key=_gives_way_first):
        if freed >= short:
            break
        if claim.quantity > 0:
            chosen.append(claim)
            freed += claim.quantity
    for claim in reversed(list(chosen)):  # the strongest claims are spared first
        if freed - claim.quantity >= short:
            chosen.remove(claim)
            freed -= claim.quantity
    return chosen


def _gives_way_first(claim: Claim) -> tuple[int, int, int, str]:
    priority = 0 if claim.rank == UNPAID else claim.priority
    return claim.rank, priority, -claim.since_ms, claim.hold_id
