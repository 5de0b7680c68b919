"""B1 and B2: who sells more than there is, and who is hurt by baskets in opposite order.

B1: 5 units of a SKU, 200 orders of one by 32 callers at once, a new SKU each round. Right is: 5
sold, 195 refused, nothing drifted. B2: baskets of two of ten SKUs, either way round, plenty there;
right is that no caller sees a deadlock, a conflict or any other fault.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

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
_CLIENTS = (
    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
    "AND backend_type = 'client backend' AND pid <> pg_backend_pid()"
)
_GONE_S = 30.0


def oversell(ground: Ground) -> Iterator[Figure]:
    """B1, ours on both engines, then the usual ways."""
    rounds = 5 if ground.quick else ROUNDS
    for engine, processes in (("sqlite", 1), ("postgresql", PROCESSES)):
        if engine in ground.engines:
            with ground.bed(engine, units=UNITS) as bed, ground.ours(bed, processes) as crew:
                right, rates = _rounds(crew, processes, rounds, "holds", _held_in(bed))
                name = f"Packline, {processes} process{'es' if processes > 1 else ''}, {engine}"
                awry = bed.drifts()
            yield from _race_figures(ground, name, durable(engine), rounds, right, rates, awry)
    if ground.databases is not None:
        for way, what in (("guarded", "guarded UPDATE per order"),
                          ("summed", "SELECT FOR UPDATE + SUM")):  # fmt: skip
            with rival_bed(ground, way, UNITS) as bed:
                with ground.rivals(way, bed.settings.database_url, PROCESSES) as crew:
                    right, rates = _rounds(crew, PROCESSES, rounds, "sql", _held_in(bed))
                awry = bed.count(_AWRY)
            name = f"{what}, {PROCESSES} processes, postgresql"
            yield from _race_figures(
                ground, name, durable("postgresql"), rounds, right, rates, awry
            )
    if ground.redis is not None:
        stock = RedisStock(ground.redis.path)
        stock.fill(SKUS, UNITS)
        with ground.rivals("redis", ground.redis.path, PROCESSES) as crew:
            right, rates = _rounds(crew, PROCESSES, rounds, "redis", stock.held)
        awry = abs(stock.movements() - (1 + rounds) * UNITS)
        yield from _race_figures(
            ground, f"Redis Lua, {PROCESSES} processes", "AOF always", rounds, right, rates, awry
        )


def _rounds(
    crew: Crew, processes: int, rounds: int, do: str, held: Callable[[str], int]
) -> tuple[int, list[float]]:
    """How many rounds came out right, and orders answered a second in each.

    A round before the first opens everybody's connections and is not counted.
    """
    right, rates = 0, []
    job = {"orders": ORDERS // processes, "callers": CALLERS // processes}
    crew.all(do=do, sku=SKUS[-1], **job)
    for sku in SKUS[:rounds]:
        answer = together(crew.all(do=do, sku=sku, **job))
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


@contextmanager
def rival_bed(ground: Ground, way: str, units: int) -> Iterator[StockBed]:
    """A database for a way of others, with the index that it needs."""
    with ground.bed("postgresql", units=units) as bed:
        if way == "summed":
            engine = bed.open()
            with engine.begin() as connection:
                connection.exec_driver_sql(SUM_INDEX)
            engine.dispose()
        yield bed


def opposite(ground: Ground) -> Iterator[Figure]:
    """B2. The usual way gets few orders: each deadlock costs its callers a second."""
    if ground.databases is None:
        return
    orders, few = (400, 20) if ground.quick else (4_000, 100)
    with ground.bed("postgresql") as bed:
        with ground.ours(bed, PROCESSES) as crew:
            answers = _baskets(crew, "holds", orders, ground.runs())
        figures = _pairs(ground, "Packline", bed, answers, orders, NOTHING)
        assert bed.drifts() == 0
    yield from figures
    with rival_bed(ground, "guarded", SHELF_UNITS) as bed:
        with ground.rivals("guarded", bed.settings.database_url, PROCESSES) as crew:
            answers = _baskets(crew, "sql", few, ground.runs())
        name = "guarded UPDATE per line in the basket's order"
        figures = _pairs(ground, name, bed, answers, few, Target())
    yield from figures


def _baskets(crew: Crew, do: str, orders: int, runs: int) -> list[Answer]:
    """The runs; single lines before them open everybody's connections and are not counted."""
    job = {"callers": CALLERS // PROCESSES}
    crew.all(do=do, orders=2 * CALLERS // PROCESSES, **job)
    job |= {"orders": orders // PROCESSES, "pairs": PAIR_SKUS}
    return [together(crew.all(do=do, **job)) for _ in range(runs)]


def _deadlocks(bed: StockBed) -> int:
    """What the server counted. A backend tells its counts at the latest when it ends, so wait."""
    deadline = time.monotonic() + _GONE_S
    while bed.count(_CLIENTS):
        assert time.monotonic() < deadline, "connections of the crew are still open"
        time.sleep(0.1)
    return bed.count(_DEADLOCKS)


def _pairs(
    ground: Ground, name: str, bed: StockBed, answers: list[Answer], orders: int, target: Target
) -> list[Figure]:
    deadlocks = _deadlocks(bed)
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
