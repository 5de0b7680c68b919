"""Which movements a reader of changes has not seen: correct when ids become visible out of order.

Several writers draw ids before they commit, so a lower id may show itself after a higher one.
`id > last` would lose it. The window asks for what lies behind the highest id and again for every
gap below it, until a gap is so old that nobody can still be committing into it.
"""

from __future__ import annotations

from collections.abc import Iterable

GAP_KEPT_MS = 60_000
"""A gap this old was left by a commit that failed; commits end in seconds."""
GAPS_MAX = 500
"""Ranges asked for again; beyond it the oldest are given up."""

Gap = tuple[int, int, int]
"""(first id, last id, since when it is known)."""


class Window:
    """What has been seen of an id sequence, from `high` on; holds numbers, no rows."""

    def __init__(self, high: int) -> None:
        self.high = high
        self.gaps: list[Gap] = []

    @property
    def cursor(self) -> int:
        """Everything up to here has been seen or can no longer come: where a reader may resume."""
        return min((low for low, _, _ in self.gaps), default=self.high + 1) - 1

    def take(self, ids: Iterable[int], now_ms: int) -> set[int]:
        """Note ids found behind `high` or in a gap; returns those not seen before."""
        fresh: set[int] = set()
        for number in sorted(set(ids)):
            if number > self.high:
                if number > self.high + 1:
                    self.gaps.append((self.high + 1, number - 1, now_ms))
                self.high = number
                fresh.add(number)
            elif self._fill(number):
                fresh.add(number)
        kept = [gap for gap in self.gaps if now_ms - gap[2] < GAP_KEPT_MS]
        self.gaps = kept[-GAPS_MAX:]
        return fresh

    def _fill(self, number: int) -> bool:
        for position, (low, last, since) in enumerate(self.gaps):
            if low <= number <= last:
                rest = [(low, number - 1, since), (number + 1, last, since)]
                self.gaps[position : position + 1] = [gap for gap in rest if gap[0] <= gap[1]]
                return True
        return False
