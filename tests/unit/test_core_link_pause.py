"""The core comes back to its broker soon, never within a second, and not in step with others."""

from __future__ import annotations

import random

from cloud_core.link import pause_s

NATS_HOLDS_A_CLIENT_ID_S = 1.0


def pauses(seed: int, tries: int = 30) -> list[float]:
    rng = random.Random(seed)
    return [pause_s(attempt, rng.random()) for attempt in range(tries)]


def test_the_pause_grows_to_a_bound_and_is_never_too_short() -> None:
    for share in (0.0, 0.5, 1.0):
        grown = [pause_s(attempt, share) for attempt in range(100)]
        assert grown == sorted(grown)
        assert grown[0] > NATS_HOLDS_A_CLIENT_ID_S
        assert grown[-1] <= 7.5


def test_two_that_lost_the_broker_together_come_back_apart() -> None:
    one, other = pauses(1), pauses(2)
    assert one == pauses(1)
    apart = [abs(a - b) for a, b in zip(one, other, strict=True)]
    assert sum(gap > 0.01 for gap in apart) >= 25
    assert max(apart) > 0.5
