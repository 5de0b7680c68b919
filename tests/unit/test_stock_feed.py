"""A reader of movements misses none, whatever order commits become visible in."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from cloud_core.domain.stock_feed import GAP_KEPT_MS, Window


@given(
    st.lists(st.lists(st.integers(1, 40), max_size=12), min_size=1, max_size=12),
    st.integers(0, 3),
)
def test_every_id_is_told_once_and_the_cursor_is_never_ahead(
    visible: list[list[int]], start: int
) -> None:
    window = Window(start)
    there: set[int] = set()
    told: list[int] = []
    for now_ms, batch in enumerate(visible):
        there |= set(batch)
        asked = {n for n in there if n > window.high} | {
            n for n in there for low, last, _ in window.gaps if low <= n <= last
        }
        told += window.take(asked, now_ms)
        assert {n for n in there if n > start} == set(told)
        assert all(n in there for n in range(start + 1, window.cursor + 1))
    assert len(told) == len(set(told))


def test_a_gap_nobody_fills_is_given_up_after_a_minute() -> None:
    window = Window(10)
    assert window.take([12], 0) == {12}
    assert (window.cursor, window.high) == (10, 12)
    window.take([], GAP_KEPT_MS - 1)
    assert window.cursor == 10
    window.take([], GAP_KEPT_MS)
    assert window.cursor == 12
    assert window.take([11], GAP_KEPT_MS) == set()
