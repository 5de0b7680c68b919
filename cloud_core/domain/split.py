"""In how few parcels an order can be sent when no warehouse has all of it, and how cheaply.

Exact within its limits: at most `LINES_MAX` lines, `WAREHOUSES_MAX` warehouses, `max_parcels`
parcels and `STEPS_MAX` steps of search. Beyond them a greedy answer is given and says so.
A line is torn between warehouses only when none of those chosen has all of it; then the one with
most of it gives first (ties by id). Pure; weights are grams, prices fen.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

LINES_MAX = 50
WAREHOUSES_MAX = 20
STEPS_MAX = 100_000
"""Combinations and partial loads looked at for one order: about a tenth of a second."""
Lines = tuple[tuple[str, int], ...]
Price = Callable[[str, int], int]
"""(warehouse, weight) -> fen."""


@dataclass(frozen=True, slots=True)
class Split:
    """Parcels by warehouse id; not `exact` when a limit was met and better ones may exist."""

    parcels: tuple[tuple[str, Lines], ...]
    fen: int
    exact: bool


@dataclass(slots=True)
class _Search:
    lines: Lines
    available: Mapping[str, Mapping[str, int]]
    weights: Mapping[str, int]
    price: Price
    steps: int = 0

    def at(self, warehouse: str, sku: str) -> int:
        return max(0, self.available[sku].get(warehouse, 0))


def find_split(
    lines: Lines,
    warehouses: Sequence[str],
    available: Mapping[str, Mapping[str, int]],
    weights: Mapping[str, int],
    price: Price,
    max_parcels: int,
) -> Split | None:
    """The fewest parcels (2..`max_parcels`), then the lowest total price, then ids in order.

    `available[sku][warehouse]` are units, `weights[sku]` grams a unit. None when the goods are not
    there, or not within so many parcels.
    """
    search = _Search(lines, available, weights, price)
    useful = sorted(w for w in set(warehouses) if any(search.at(w, sku) for sku, _ in lines))
    if any(sum(search.at(w, sku) for w in useful) < n for sku, n in lines):
        return None
    if len(lines) > LINES_MAX or len(useful) > WAREHOUSES_MAX:
        return _greedy(search, useful, max_parcels)
    for count in range(2, min(max_parcels, len(useful)) + 1):
        found = _of_count(search, useful, count)
        if search.steps > STEPS_MAX:
            return found or _greedy(search, useful, max_parcels)
        if found is not None:
            return found
    return None


def _of_count(search: _Search, useful: Sequence[str], count: int) -> Split | None:
    """The cheapest cover with exactly so many warehouses; ids in order break ties."""
    needed = _must_have(search, useful)
    if len(needed) > count:
        return None
    others = [w for w in useful if w not in needed]
    best: tuple[int, tuple[str, ...], tuple[tuple[str, Lines], ...]] | None = None
    for rest in combinations(others, count - len(needed)):
        search.steps += 1
        chosen = tuple(sorted((*needed, *rest)))
        if not _covers(search, chosen):
            continue
        loaded = _cheapest_load(search, chosen)
        if loaded is not None and (best is None or (loaded[0], chosen) < best[:2]):
            best = (loaded[0], chosen, loaded[1])
        if search.steps > STEPS_MAX:
            break
    if best is None:
        return None
    return Split(best[2], best[0], search.steps <= STEPS_MAX)


def _must_have(search: _Search, useful: Sequence[str]) -> tuple[str, ...]:
    """Warehouses without which a line cannot be filled: in every cover, so tried first."""
    found: set[str] = set()
    for sku, quantity in search.lines:
        total = sum(search.at(w, sku) for w in useful)
        found.update(w for w in useful if total - search.at(w, sku) < quantity)
    return tuple(sorted(found))


def _covers(search: _Search, chosen: Sequence[str]) -> bool:
    return all(sum(search.at(w, sku) for w in chosen) >= n for sku, n in search.lines)


def _cheapest_load(
    search: _Search, chosen: tuple[str, ...]
) -> tuple[int, tuple[tuple[str, Lines], ...]] | None:
    """Who gives what at the lowest price: exact over all weights the parcels can have.

    Price depends on the weights alone, so of two partial loads with the same weights one is kept.
    """
    states: dict[tuple[int, ...], tuple[tuple[int, ...], ...]] = {(0,) * len(chosen): ()}
    for sku, quantity in search.lines:
        ways = _ways(search, chosen, sku, quantity)
        weight = search.weights.get(sku, 0)
        grown: dict[tuple[int, ...], tuple[tuple[int, ...], ...]] = {}
        for loads, gives in states.items():
            search.steps += len(ways)
            for way in ways:
                heavier = tuple(load + weight * n for load, n in zip(loads, way, strict=True))
                kept = grown.get(heavier)
                if kept is None or (*gives, way) > kept:
                    grown[heavier] = (*gives, way)
            if search.steps > STEPS_MAX:
                break
        if search.steps > STEPS_MAX and len(grown) > 1:
            grown = dict([min(grown.items(), key=lambda item: _fen(search, chosen, item[0]))])
        states = grown
    loads, gives = min(
        states.items(),
        key=lambda item: (_fen(search, chosen, item[0]), [-n for n in _flat(item[1])]),
    )
    parcels = tuple(
        (w, tuple((sku, give[at]) for (sku, _), give in zip(search.lines, gives, strict=True)
                  if give[at]))
        for at, w in enumerate(chosen)
    )  # fmt: skip
    return _fen(search, chosen, loads), tuple(parcel for parcel in parcels if parcel[1])


def _flat(gives: tuple[tuple[int, ...], ...]) -> list[int]:
    return [n for give in gives for n in give]


def _ways(search: _Search, chosen: Sequence[str], sku: str, quantity: int) -> list[tuple[int, ...]]:
    """The ways a line can be given: whole by any that has it, torn only when none has."""
    whole = [at for at, w in enumerate(chosen) if search.at(w, sku) >= quantity]
    if whole:
        return [tuple(quantity if at == one else 0 for at in range(len(chosen))) for one in whole]
    give = [0] * len(chosen)
    left = quantity
    for at in sorted(range(len(chosen)), key=lambda at: (-search.at(chosen[at], sku), chosen[at])):
        give[at] = min(left, search.at(chosen[at], sku))
        left -= give[at]
    return [tuple(give)]


def _fen(search: _Search, chosen: Sequence[str], loads: Sequence[int]) -> int:
    return sum(search.price(w, load) for w, load in zip(chosen, loads, strict=True))


def _greedy(search: _Search, useful: Sequence[str], max_parcels: int) -> Split | None:
    """Again and again the warehouse that has most of the units still missing."""
    missing = dict(search.lines)
    parcels: list[tuple[str, Lines]] = []
    left = list(useful)
    while missing and left and len(parcels) < max_parcels:
        best = max(
            left,
            key=lambda w: (
                sum(min(n, search.at(w, sku)) for sku, n in missing.items()),
                [-ord(char) for char in w],
            ),
        )
        gives = tuple((s, min(n, search.at(best, s))) for s, n in missing.items())
        gives = tuple((s, n) for s, n in gives if n)
        left.remove(best)
        if not gives:
            break
        parcels.append((best, gives))
        for sku, n in gives:
            missing[sku] -= n
        missing = {sku: n for sku, n in missing.items() if n}
    if missing:
        return None
    weights = [sum(search.weights.get(s, 0) * n for s, n in gives) for _, gives in parcels]
    fen = sum(search.price(w, g) for (w, _), g in zip(parcels, weights, strict=True))
    return Split(tuple(sorted(parcels)), fen, exact=False)
