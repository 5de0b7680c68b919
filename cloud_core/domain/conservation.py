"""Whether stock is conserved: every counter must be what the movements and the holds add up to.

A row that is not is named with its counter: what it should be and what it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

Key = tuple[str, str]
"""(warehouse, SKU)."""
Counters = tuple[int, int, int]
"""(shelf, picked, held)."""
NAMES = ("shelf", "picked", "held")
NOTHING: Counters = (0, 0, 0)


@dataclass(frozen=True, slots=True)
class Drift:
    """One counter that is not what it should be; `holds` is `held` against the live holds."""

    warehouse: str
    sku: str
    counter: str
    expected: int
    found: int

    @property
    def key(self) -> str:
        """The name of its alarm."""
        return f"{self.warehouse}/{self.sku}/{self.counter}"


def compare(
    stock: Mapping[Key, Counters], moved: Mapping[Key, Counters], holds: Mapping[Key, int]
) -> list[Drift]:
    """Every drift, by (warehouse, SKU); a missing row counts as zeros."""
    found: list[Drift] = []
    for key in sorted({*stock, *moved, *holds}):
        now, should = stock.get(key, NOTHING), moved.get(key, NOTHING)
        for name, value, expected in zip(NAMES, now, should, strict=True):
            if value != expected:
                found.append(Drift(*key, name, expected, value))
        if now[2] != holds.get(key, 0):
            found.append(Drift(*key, "holds", holds.get(key, 0), now[2]))
    return found


def add(one: Counters, other: Counters) -> Counters:
    """Counter by counter."""
    return one[0] + other[0], one[1] + other[1], one[2] + other[2]


def summed(rows: Iterable[tuple[Key, Counters]]) -> dict[Key, Counters]:
    """Movements added up by row."""
    found: dict[Key, Counters] = {}
    for key, counters in rows:
        found[key] = add(found.get(key, NOTHING), counters)
    return found
