"""Who gives way: enough, no more than needed, unpaid before paid, low priority before high."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from cloud_core.domain.victims import GRANTED, UNGRANTED, UNPAID, Claim, choose

claims = st.lists(
    st.builds(
        Claim,
        hold_id=st.text("abcdef", min_size=3, max_size=6),
        rank=st.sampled_from((UNPAID, UNGRANTED, GRANTED)),
        priority=st.integers(0, 3),
        since_ms=st.integers(0, 50),
        quantity=st.integers(1, 9),
    ),
    max_size=12,
    unique_by=lambda claim: claim.hold_id,
)


@given(st.integers(1, 40), claims)
def test_enough_gives_way_and_nobody_in_vain(short: int, found: list[Claim]) -> None:
    chosen = choose(short, found)
    freed = sum(claim.quantity for claim in chosen)
    assert freed >= short or len(chosen) == len(found)
    if freed >= short:
        assert all(freed - claim.quantity < short for claim in chosen)


@given(st.integers(1, 40), claims)
def test_a_paid_one_gives_way_only_when_every_basket_together_is_too_little(
    short: int, found: list[Claim]
) -> None:
    chosen = choose(short, found)
    unpaid = sum(claim.quantity for claim in found if claim.rank == UNPAID)
    if unpaid >= short:
        assert all(claim.rank == UNPAID for claim in chosen)
    ungranted = unpaid + sum(claim.quantity for claim in found if claim.rank == UNGRANTED)
    if ungranted >= short:
        assert all(claim.rank != GRANTED for claim in chosen)


def test_the_lowest_priority_then_the_newest_gives_way_first() -> None:
    found = [
        Claim("old", UNGRANTED, 0, 1, 2),
        Claim("new", UNGRANTED, 0, 9, 2),
        Claim("vip", UNGRANTED, 5, 9, 2),
    ]
    assert [claim.hold_id for claim in choose(1, found)] == ["new"]
    assert [claim.hold_id for claim in choose(3, found)] == ["new", "old"]
    assert [claim.hold_id for claim in choose(5, found)] == ["new", "old", "vip"]


def test_a_claim_that_is_not_needed_in_the_end_is_spared() -> None:
    found = [Claim("small", UNPAID, 0, 9, 1), Claim("large", UNPAID, 0, 1, 5)]
    assert [claim.hold_id for claim in choose(5, found)] == ["large"]
