"""B3 and the open loop: how many holds and paid orders a second, and how long a caller waits.

Closed loop with 256 callers against the guarded UPDATE per order (8 connections) and a Redis
script (8 connections, 64 calls each on their way, AOF always); all store the same rows. The rivals'
connections are split over two client processes, one a core here, so that not their client's
interpreter is what is measured. Runs of the contenders take turns, so that a busy minute hits all
of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from statistics import median
from typing import Any

from benchmarks.core_bed import SHELF_UNITS, SKUS
from benchmarks.figures import Figure, Target
from benchmarks.stock_crew import Answer, together
from benchmarks.stock_ground import BARE, PAID, Ground, durable, say
from benchmarks.stock_race import rival_bed
from benchmarks.stock_redis import RedisStock

CALLERS = 256
CONNECTIONS, RIVAL_PROCESSES, DEPTH = 8, 2, 64
WAREHOUSES = 20
WARM_ORDERS = 2_000
"""Orders before the clock: a core that serves has priced most places and weights before."""
OPEN_RATE = 1_000
P99 = Target(30, at_least=False)
OPEN_P99 = Target(25, at_least=False)
GUARDED_TIMES = {"hot": 10.0, "uniform": 4.0}
PAID_TARGET = Target(8_000)
WAYS = {"guarded": "guarded UPDATE", "onego": "guarded UPDATE as one statement"}
Runs = dict[str, list[Answer]]


def throughput(ground: Ground) -> Iterator[Figure]:
    """B3: bare holds of everybody, then the whole paid flow."""
    for spread in ("hot", "uniform"):
        yield from _bare_figures(ground, spread, _bare(ground, spread))
    for engine in ground.engines:
        yield from _paid(ground, engine)


def _bare(ground: Ground, spread: str) -> Runs:
    """Every contender's runs, in turns."""
    seconds = 0.7 if ground.quick else 4.0
    where: dict[str, Any] = {"sku": SKUS[0]} if spread == "hot" else {}
    theirs: dict[str, Any] = {
        "callers": CONNECTIONS // RIVAL_PROCESSES, "seconds": seconds, **where,
    }  # fmt: skip
    turns: dict[str, Callable[[], list[Answer]]] = {}
    with ExitStack() as stack:
        for engine in ground.engines:
            bed = stack.enter_context(ground.bed(engine))
            ours = stack.enter_context(ground.ours(bed))
            turns[f"Packline, {engine}"] = partial(
                ours.all, do="holds", callers=CALLERS, seconds=seconds, **where
            )
        if ground.databases is not None:
            for way, name in WAYS.items():
                bed = stack.enter_context(rival_bed(ground, way, SHELF_UNITS))
                sql = stack.enter_context(
                    ground.rivals(way, bed.settings.database_url, RIVAL_PROCESSES)
                )
                turns[name] = partial(sql.all, do="sql", **theirs)
        if ground.redis is not None:
            RedisStock(ground.redis.path).fill(SKUS, SHELF_UNITS)
            lua = stack.enter_context(ground.rivals("redis", ground.redis.path, RIVAL_PROCESSES))
            turns["Redis Lua"] = partial(lua.all, do="redis", depth=DEPTH, **theirs)
        runs: Runs = {name: [] for name in turns}
        for number in range(ground.runs() + 1):
            for name, turn in turns.items():
                answer = together(turn())
                assert not answer["errors"], (name, answer["errors"][:2])
                assert answer["sold"] == answer["done"], (name, answer["sold"], answer["done"])
                if number:  # the first turn of each warms up
                    runs[name].append(answer)
    for name, answers in runs.items():
        say(f"  {spread}: {name}: {median(a['rate'] for a in answers):,.0f}/s")
    return runs


_CLIENTS = f"{CONNECTIONS} connections of {RIVAL_PROCESSES} client processes"
_HOW = {
    "Packline, sqlite": f"{BARE}; {durable('sqlite')}; 1 process, {CALLERS} callers",
    "Packline, postgresql": f"{BARE}; {durable('postgresql')}; 1 process, {CALLERS} callers",
    WAYS["guarded"]: f"{BARE}; {durable('postgresql')}; a transaction of 5 prepared statements an "
    f"order, {_CLIENTS}, same rows",
    WAYS["onego"]: f"{BARE}; {durable('postgresql')}; one prepared statement, one round trip and "
    f"one commit an order: the best case of this way; {_CLIENTS}, same rows",
    "Redis Lua": f"{BARE}; AOF always; {_CLIENTS} x {DEPTH} calls pipelined, same facts stored",
}


def _bare_figures(ground: Ground, spread: str, runs: Runs) -> list[Figure]:
    name = f"B3 bare holds, {'one hot SKU' if spread == 'hot' else '1,000 SKUs'}"
    found: list[Figure] = []
    for who, answers in runs.items():
        ours = who.startswith("Packline")
        found += [
            ground.figure(f"{name}: {who}", "holds/s", [a["rate"] for a in answers], _HOW[who]),
            ground.figure(f"{name}: {who}: p99", "ms", [a["p99"] for a in answers], _HOW[who],
                          P99 if ours else Target()),
        ]  # fmt: skip
    for engine, rival, least in (
        ("postgresql", WAYS["guarded"], GUARDED_TIMES[spread]),
        ("postgresql", WAYS["onego"], None),
        ("sqlite", "Redis Lua", 1.0 if spread == "hot" else None),
        ("postgresql", "Redis Lua", None),
    ):
        us, them = runs.get(f"Packline, {engine}"), runs.get(rival)
        if us and them:
            times = [a["rate"] / b["rate"] for a, b in zip(us, them, strict=True)]
            what = f"{BARE}; run by run, in turns on the same machine"
            found.append(ground.figure(f"{name}: Packline on {engine} against {rival}", "times",
                                       times, what, Target(least)))  # fmt: skip
    return found


def _paid(ground: Ground, engine: str) -> list[Figure]:
    """The whole paid flow with 20 warehouses, 4 carriers and a price list."""
    orders = 3_000 if ground.quick else 20_000
    with ground.bed(engine, warehouses=WAREHOUSES) as bed, ground.ours(bed) as crew:
        crew.all(do="paid", callers=CALLERS, orders=WARM_ORDERS)
        answers = [
            together(crew.all(do="paid", callers=CALLERS, orders=orders))
            for _ in range(ground.runs())
        ]
        _check_sold(answers, orders)
        owned = "SELECT count(*) FROM shipment WHERE state = 'offered' AND warehouse <> ''"
        assert bed.count(owned) == orders * len(answers) + WARM_ORDERS
        assert bed.drifts() == 0
    what = (
        f"{PAID}; {durable(engine)}; {orders:,} orders of 1-3 lines a run, one order a command, "
        f"{CALLERS} callers, {WAREHOUSES} warehouses x 4 carriers, 1 process; parsing and sealing "
        "before the clock"
    )
    name = f"B3 paid flow, {WAREHOUSES} warehouses, {engine}"
    rates, waits = [a["rate"] for a in answers], [a["p99"] for a in answers]
    say(f"  {name}: {median(rates):,.0f}/s, p99 {median(waits):.0f} ms")
    return [
        ground.figure(name, "orders/s", rates, what, PAID_TARGET),
        ground.figure(f"{name}: p99", "ms", waits, what, P99),
    ]


def _check_sold(answers: list[Answer], orders: int) -> None:
    """Every order of every run was taken: neither refused nor known from before."""
    for answer in answers:
        assert not answer["errors"], answer["errors"][:2]
        assert answer["sold"] == orders, f"sold {answer['sold']} of {orders}"


def open_loop(ground: Ground) -> Iterator[Figure]:
    """1,000 arrivals a second, whatever the answers take."""
    seconds = 2 if ground.quick else 10
    for engine in ground.engines:
        with ground.bed(engine, warehouses=WAREHOUSES) as bed, ground.ours(bed) as crew:
            crew.all(do="paid", callers=CALLERS, orders=WARM_ORDERS)
            for kind, scope in (("holds", BARE), ("paid", PAID)):
                job = {"kind": kind, "rate": OPEN_RATE, "seconds": seconds}
                answers = [together(crew.all(do="open", **job)) for _ in range(ground.runs())]
                _check_sold(answers, OPEN_RATE * seconds)
                what = (
                    f"{scope}; {durable(engine)}; {seconds} s a run, evenly spread arrivals, "
                    f"from when it was due to its answer; {WAREHOUSES} warehouses, 1 process"
                )
                waits = [a["p99"] for a in answers]
                name = f"OPEN loop, {OPEN_RATE:,} {kind} a second, {engine}"
                say(f"  {name}: p99 {median(waits):.1f} ms")
                yield ground.figure(f"{name}: p99", "ms", waits, what, OPEN_P99)
                yield ground.figure(f"{name}: p50", "ms", [a["p50"] for a in answers], what)
