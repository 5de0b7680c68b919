"""B1 and B2: who sells more than there is, and who is hurt by baskets in opposite order.

B1: 5 units of a SKU, 200 orders of one by 32 callers at once, a new SKU each round. Right is: 5
sold, 195 refused, nothing drifted. B2: baskets of two of ten SKUs, either way round, plenty there;
right is that no caller sees a deadlock, a conflict or any other fault.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from benchmarks.core_bed import SHELF_UNITS, SKUS
from benchmarks.figures import Figure, Target
from benchmarks.stock_bed import StockBed
from benchmarks.stock_crew import Answer, Crew, together
from benchmarks.stock_ground import BARE, Ground, durable, say
from benchmarks.stock_redis import RedisStock
from benchmarks.stock_rivals import SUM_INDEX

UNITS, ORDERS, CALLERS, PROCESSES, ROUNDS = 5, 200, 32, 4, 200
PAIR_SKUS = 10
NOTHING = Target(0, at_least=False)
HELD = "SELECT coalesce(sum(held), 0) FROM stock WHERE sku = :sku"
_AWRY = (
    "SELECT count(*) FROM stock s WHERE s.held <> (SELECT coalesce(sum(m.d_held), 0) FROM "
    "movement m WHERE m.warehouse = s.warehouse AND m.sku = s.sku) OR s.held > s.shelf"
)
_DEADLOCKS = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"


def oversell(ground: Ground) -> list[Figure]:
    """B1, ours on both engines, then the usual ways."""
    rounds = 5 if ground.quick else ROUNDS
    found: list[Figure] = []
    for engine, processes in (("sqlite", 1), ("postgresql", PROCESSES)):
        if engine in ground.engines:
            with ground.bed(engine, units=UNITS) as bed, ground.ours(bed, processes) as crew:
                right, rates = _rounds(crew, processes, rounds, "holds", _held_in(bed))
                name = f"Packline, {processes} process{'es' if processes > 1 else ''}, {engine}"
                awry = bed.drifts()
            found += _race_figures(ground, name, durable(engine), rounds, right, rates, awry)
    if ground.databases is not None:
        for way, what in (("guarded", "guarded UPDATE per order"),
                          ("summed", "SELECT FOR UPDATE + SUM")):  # fmt: skip
            with RivalBed(ground, way, UNITS) as (bed, crew):
                right, rates = _rounds(crew, PROCESSES, rounds, "sql", _held_in(bed))
                awry = bed.count(_AWRY)
            name = f"{what}, {PROCESSES} processes, postgresql"
            found += _race_figures(
                ground, name, durable("postgresql"), rounds, right, rates, awry
            )  # fmt: skip
    if ground.redis is not None:
        stock = RedisStock(ground.redis.path)
        stock.fill(SKUS, UNITS)
        with ground.rivals("redis", ground.redis.path, PROCESSES) as crew:
            right, rates = _rounds(crew, PROCESSES, rounds, "redis", stock.held)
        awry = abs(stock.movements() - rounds * UNITS)
        found += _race_figures(
            ground, f"Redis Lua, {PROCESSES} processes", "AOF always", rounds, right, rates, awry
        )
    return found


def _rounds(
    crew: Crew, processes: int, rounds: int, do: str, held: Callable[[str], int]
) -> tuple[int, list[float]]:
    """How many rounds came out right, and orders answered a second in each."""
    right, rates = 0, []
    for sku in SKUS[:rounds]:
        job = {"orders": ORDERS // processes, "callers": CALLERS // processes, "sku": sku}
        answer = together(crew.all(do=do, **job))
        counted = (answer["done"], answer["sold"], held(sku), len(answer["errors"]))
        if counted == (ORDERS, UNITS, UNITS, 0):
            right += 1
        else:
            say(f"    {sku}: answered, sold, held, faults = {counted} {answer['errors'][:1]}")
        rates.append(answer["rate"])
    return right, rates


def _race_figures(
    ground: Ground, name: str, how: str, rounds: int, right: int, rates: list[float], awry: int
) -> list[Figure]:
    say(f"  {name}: {right} of {rounds} rounds right, {awry} drifts")
    what = (
        f"{BARE}; {how}; {UNITS} units, {ORDERS} orders, {CALLERS} callers, {rounds} rounds; "
        f"rows that drifted: {awry}"
    )
    race = f"oversell race: {name}"
    return [
        ground.figure(f"B1 {race}: rounds not {UNITS} sold and {ORDERS - UNITS} refused, and "
                      "drifts", "wrong", [rounds - right + awry], what, NOTHING),
        ground.figure(f"B1 {race}: orders answered", "orders/s", _five(rates), what),
    ]  # fmt: skip


def _five(rates: Sequence[float]) -> list[float]:
    """The rounds in five groups, one mean a group: what a table can show."""
    size = max(1, len(rates) // 5)
    groups = [rates[at : at + size] for at in range(0, len(rates), size)][:5]
    return [sum(group) / len(group) for group in groups]


def _held_in(bed: StockBed) -> Callable[[str], int]:
    return lambda sku: bed.count(HELD, sku=sku)


class RivalBed:
    """A database for a way of others, and its processes; used as a context."""

    def __init__(self, ground: Ground, way: str, units: int, processes: int = PROCESSES) -> None:
        self._bed = ground.bed("postgresql", units=units)
        self._ground, self._way, self._processes = ground, way, processes

    def __enter__(self) -> tuple[StockBed, Crew]:
        bed = self._bed.__enter__()
        if self._way == "summed":
            engine = bed.open()
            with engine.begin() as connection:
                connection.exec_driver_sql(SUM_INDEX)
            engine.dispose()
        self._crew = self._ground.rivals(self._way, bed.settings.database_url, self._processes)
        return bed, self._crew.__enter__()

    def __exit__(self, *error: Any) -> None:
        self._crew.__exit__(*error)
        self._bed.__exit__(*error)


def opposite(ground: Ground) -> list[Figure]:
    """B2. The usual way gets few orders: each deadlock costs its callers a second."""
    if ground.databases is None:
        return []
    orders, few, runs = (400, 20, 1) if ground.quick else (4_000, 100, 5)
    job = {"callers": CALLERS // PROCESSES, "pairs": PAIR_SKUS}
    found: list[Figure] = []
    with ground.bed("postgresql") as bed, ground.ours(bed, PROCESSES) as crew:
        each = orders // PROCESSES
        answers = [together(crew.all(do="holds", orders=each, **job)) for _ in range(runs)]
        found += _pairs(ground, "Packline", bed, answers, orders, NOTHING)
        assert bed.drifts() == 0
    with RivalBed(ground, "guarded", SHELF_UNITS) as (bed, crew):
        each = few // PROCESSES
        answers = [together(crew.all(do="sql", orders=each, **job)) for _ in range(runs)]
        found += _pairs(
            ground, "guarded UPDATE per line in the basket's order", bed, answers, few, Target()
        )
    return found


def _pairs(
    ground: Ground, name: str, bed: StockBed, answers: list[Answer], orders: int, target: Target
) -> list[Figure]:
    deadlocks = bed.count(_DEADLOCKS)
    assert all(a["done"] + len(a["errors"]) == orders for a in answers)
    seen = [len(a["errors"]) for a in answers]
    say(f"  {name}: faults seen by callers {seen}, deadlocks in the server {deadlocks}")
    what = (
        f"{BARE}; {durable('postgresql')}; {orders:,} baskets of 2 of {PAIR_SKUS} SKUs either way "
        f"round, {PROCESSES} processes, {CALLERS} callers; deadlocks the server counted: "
        f"{deadlocks}; errors: {sorted({e for a in answers for e in a['errors']})[:2]}"
    )
    return [
        ground.figure(f"B2 opposite key order: {name}: orders whose caller saw a deadlock or "
                      "another fault", "orders", seen, what, target),
        ground.figure(f"B2 opposite key order: {name}: rate", "orders/s",
                      [a["rate"] for a in answers], what),
        ground.figure(f"B2 opposite key order: {name}: p99", "ms",
                      [a["p99"] for a in answers], what),
    ]  # fmt: skip
