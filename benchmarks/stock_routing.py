"""Decisions a second, asked with the stock figures: the rows of `benchmarks.routing`, no others."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks import routing
from benchmarks.figures import Figure
from benchmarks.stock_ground import Ground


def routed(ground: Ground) -> Iterator[Figure]:
    """20 warehouses x 12 carriers x 50 rules with its target, then one size changed at a time."""
    yield from routing.measure(ground.folder, ground.quick)
