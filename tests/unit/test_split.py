"""Splitting an order: the fewest parcels, then the lowest price, held against brute force."""

from __future__ import annotations

from itertools import combinations, product

from hypothesis import given, settings
from hypothesis import strategies as st

from cloud_core.domain.split import LINES_MAX, STEPS_MAX, WAREHOUSES_MAX, Lines, find_split

SKUS = ("A", "B", "C", "D")
SITES = ("W1", "W2", "W3", "W4")
Stock = dict[str, dict[str, int]]


def price(warehouse: str, weight_g: int) -> int:
    """First and continued weight; each warehouse has its own."""
    n = int(warehouse[1:])
    return 300 + 50 * n + -(-max(0, weight_g - 1000) // 500) * (150 - 30 * n)


def brute(lines: Lines, stock: Stock, weights: dict[str, int], most: int) -> tuple[int, int] | None:
    """(parcels, fen) of the best answer, by trying everything."""
    for count in range(2, most + 1):
        found = []
        for chosen in combinations(SITES, count):
            held = {s: [max(0, stock[s].get(w, 0)) for w in chosen] for s, _ in lines}
            if any(sum(held[s]) < n for s, n in lines):
                continue
            for gives in product(*(ways(held[s], n, chosen) for s, n in lines)):
                loads = [
                    sum(weights[s] * g[at] for (s, _), g in zip(lines, gives, strict=True))
                    for at in range(count)
                ]
                found.append(sum(price(w, g) for w, g in zip(chosen, loads, strict=True)))
        if found:
            return count, min(found)
    return None


def ways(held: list[int], n: int, chosen: tuple[str, ...]) -> list[tuple[int, ...]]:
    whole = [at for at, units in enumerate(held) if units >= n]
    if whole:
        return [tuple(n if at == one else 0 for at in range(len(held))) for one in whole]
    give, left = [0] * len(held), n
    for at in sorted(range(len(held)), key=lambda at: (-held[at], chosen[at])):
        give[at] = min(left, held[at])
        left -= give[at]
    return [tuple(give)]


@st.composite
def orders(draw: st.DrawFn) -> tuple[Lines, Stock, dict[str, int]]:
    skus = draw(st.lists(st.sampled_from(SKUS), min_size=1, max_size=4, unique=True))
    lines = tuple((sku, draw(st.integers(1, 5))) for sku in skus)
    stock = {s: {w: draw(st.integers(-1, 5)) for w in SITES} for s in skus}
    return lines, stock, {s: draw(st.sampled_from([0, 200, 700, 1500])) for s in skus}


@settings(max_examples=400, deadline=None)
@given(orders(), st.integers(2, 4))
def test_nothing_better_exists(order: tuple[Lines, Stock, dict[str, int]], most: int) -> None:
    lines, stock, weights = order
    for w in SITES:  # the search is asked only when no warehouse has all of it
        if all(stock[s][w] >= n for s, n in lines):
            stock[lines[0][0]][w] = lines[0][1] - 1
    found = find_split(lines, SITES, stock, weights, price, most)
    best = brute(lines, stock, weights, most)
    if best is None:
        assert found is None
        return
    assert found is not None
    assert (len(found.parcels), found.fen, found.exact) == (*best, True)
    given_units: dict[str, int] = {}
    for warehouse, part in found.parcels:
        for sku, n in part:
            assert 0 < n <= stock[sku][warehouse]
            given_units[sku] = given_units.get(sku, 0) + n
    assert given_units == dict(lines)


def test_the_cheapest_of_equally_few() -> None:
    stock = {"A": {"W1": 1}, "B": {"W2": 1, "W3": 1}}
    found = find_split((("A", 1), ("B", 1)), SITES, stock, {"A": 100, "B": 100}, price, 3)
    assert found is not None
    assert [w for w, _ in found.parcels] == ["W1", "W2"]


def test_beyond_the_limits_a_greedy_answer_says_so() -> None:
    sites = tuple(f"W{n}" for n in range(1, WAREHOUSES_MAX + 2))
    lines = tuple((f"S{n}", 1) for n in range(4))
    stock = {s: dict.fromkeys(sites[n::4], 1) for n, (s, _) in enumerate(lines)}
    found = find_split(lines, sites, stock, {s: 100 for s, _ in lines}, lambda w, g: g, 5)
    assert found is not None
    assert (len(found.parcels), found.exact) == (4, False)
    many = tuple((f"S{n}", 1) for n in range(LINES_MAX + 1))
    halves = {s: {("W1" if n % 2 else "W2"): 1} for n, (s, _) in enumerate(many)}
    found = find_split(many, SITES, halves, {s: 1 for s, _ in many}, price, 3)
    assert found is not None
    assert (len(found.parcels), found.exact) == (2, False)


def test_the_search_ends_at_the_largest_size() -> None:
    sites = tuple(f"W{n}" for n in range(1, WAREHOUSES_MAX + 1))
    lines = tuple((f"S{n}", 1) for n in range(LINES_MAX))
    stock = {s: {w: 1 for at, w in enumerate(sites) if (at + n) % 3} for n, (s, _) in
             enumerate(lines)}  # fmt: skip
    weights = {s: 2 ** (n % 20) for n, (s, _) in enumerate(lines)}
    asked = 0

    def count(warehouse: str, weight_g: int) -> int:
        nonlocal asked
        asked += 1
        return price("W1", weight_g)

    found = find_split(lines, sites, stock, weights, count, 5)
    assert found is not None
    assert sum(n for _, part in found.parcels for _, n in part) == LINES_MAX
    assert not found.exact
    assert asked < 10 * STEPS_MAX
