"""Routing decisions a second on one core, and how they grow with warehouses, carriers and rules.

The pure choice alone: rules matched, warehouses filtered, carriers priced and ranked, the record
written as JSON; no database. Orders are spread over all districts, 1 to 3 lines, weights as the
sample goods have; every second order finds a combination of place and weight that was priced
before, the rest are new to the table, which starts empty in each run.
"""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.figures import Figure, Target
from benchmarks.machine import disk
from cloud_core.domain.decision import decide
from cloud_core.domain.decision_values import Request, WarehouseNow, World
from cloud_core.domain.division_names import DivisionNames
from cloud_core.domain.master import AgentInfo, CarrierInfo, Master, SkuInfo, WarehouseInfo
from cloud_core.domain.master_data import CarrierService, FreightBand
from cloud_core.domain.master_fields import PROVINCES
from cloud_core.domain.routing_rules import read_rules
from cloud_core.domain.routing_table import RoutingTable
from cloud_core.domain.rule_checks import Known, check_rules
from cloud_core.store.divisions import load_divisions

NOW_MS = 1_767_255_000_000  # a working hour in China
SKUS = 2_000
FULL = (20, 12, 50)
SEED = 7


@dataclass(frozen=True, slots=True)
class Bed:
    """A table and the orders that are routed over it."""

    table: RoutingTable
    world: World
    requests: Sequence[Request]


def make_bed(warehouses: int, carriers: int, rules: int, orders: int) -> Bed:
    """A made-up company of this size."""
    rng = random.Random(SEED)
    master = make_master(warehouses, carriers)
    names = DivisionNames(load_divisions())
    read = read_rules(make_rules(rules, warehouses, carriers), names, version=1)
    problems = [*read.problems, *check_rules(read.rules, Known(master))]
    assert not problems, problems[:3]
    stock = {
        sku: {w: rng.randrange(50) if rng.random() < 0.6 else 0 for w in master.warehouses}
        for sku in master.skus
    }
    now = {w: WarehouseNow(f"{w}-a", load=rng.randrange(200)) for w in master.warehouses}
    districts = sorted(c for c, p in load_divisions().places.items() if p.level == 3)
    skus = sorted(master.skus)
    requests = [
        Request(
            tuple((sku, rng.randrange(1, 4)) for sku in rng.sample(skus, rng.randrange(1, 4))),
            rng.choice(districts), f"shop{rng.randrange(7)}", rng.randrange(1_000, 90_000),
            NOW_MS + 86_400_000,
        )
        for _ in range(orders)
    ]  # fmt: skip
    return Bed(RoutingTable(read.rules, master), World(NOW_MS, now, stock.__getitem__), requests)


def make_master(warehouses: int, carriers: int) -> Master:
    """Warehouses, carriers, goods, service areas and price lists by province."""
    sites = [f"W{n:02d}" for n in range(warehouses)]
    ways = [f"C{n:02d}" for n in range(carriers)]
    provinces = [code[:2] for code in PROVINCES.values()]
    rng = random.Random(SEED)
    return Master(
        1,
        {w: WarehouseInfo(w, w.lower(), w, 100, "08:00-22:00", ways[0], "grant", True,
                          capacity_per_day=5_000, cut_off="18:00") for w in sites},
        {f"{w}-a": AgentInfo(f"{w}-a", w, True) for w in sites},
        {f"S{n:04d}": SkuInfo(f"S{n:04d}", f"演示{n}", rng.randrange(50, 3_000, 10), False, (),
                              f"类{n % 20}") for n in range(SKUS)},
        {c: CarrierInfo(c, c, "pool", 3) for c in ways},
        services=tuple(CarrierService(c, "", p, p not in ("54", "65") or n % 2 == 0,
                                      rng.randrange(1, 7)) for n, c in enumerate(ways)
                       for p in provinces),
        freight=tuple(FreightBand(c, w, p, 0, 0, 1_000, rng.randrange(400, 2_000, 10), 500,
                                  rng.randrange(50, 600, 10)) for c in ways for w in sites
                      for p in provinces),
    )  # fmt: skip


def make_rules(count: int, warehouses: int, carriers: int) -> str:
    """Rules of every kind: by place and weight, by SKU, by channel and amount, by category."""
    provinces, parts = list(PROVINCES), []
    for n in range(count):
        carrier = f"C{n % carriers:02d}"
        when, then = (
            (f'provinces = ["{provinces[n % 31]}"]\nweight_over_kg = {n + 1}',
             f'tags = ["重货{n}"]' if carriers < 2 else f'exclude_carriers = ["{carrier}"]'),
            (f'skus = ["S{n * 7:04d}"]', f'tags = ["T{n}"]\npriority = "first"'),
            (f'channels = ["shop{n % 7}"]\namount_from_yuan = {200 + n}', f'tags = ["大单{n}"]'),
            (f'categories = ["类{n % 20}"]\nweight_over_kg = {n}', f'tags = ["品类{n}"]'),
            (f'weight_over_kg = {400 - 2 * n}', f'prefer_warehouses = ["W{n % warehouses:02d}"]'),
        )[n % 5]  # fmt: skip
        parts.append(f'[[rules]]\nname = "规则{n}"\n[rules.when]\n{when}\n[rules.then]\n{then}\n')
    return "\n".join(parts)


def rate(bed: Bed) -> float:
    """Decisions a second, the table empty at first."""
    table = RoutingTable(bed.table.rules, bed.table.master)
    started = time.perf_counter()
    for request in bed.requests:
        decide(request, bed.world, table)
    return len(bed.requests) / (time.perf_counter() - started)


def measure(folder: Path, quick: bool) -> Sequence[Figure]:
    """The full size with its target, then one size changed at a time."""
    orders, runs = (2_000, 1) if quick else (20_000, 5)
    speed = disk(folder)
    sizes = [FULL, (5, 12, 50), (40, 12, 50), (20, 3, 50), (20, 24, 50), (20, 12, 5), (20, 12, 200)]
    figures = []
    for size in sizes:
        bed = make_bed(*size, orders)
        rates = [rate(bed) for _ in range(runs)]
        warehouses, carriers, rules = size
        name = f"decisions, {warehouses} warehouses x {carriers} carriers x {rules} rules"
        target = Target(10_000) if size == FULL else Target()
        what = f"pure choice with its record, no database; {orders} orders, 1 process"
        figures.append(Figure("routing", name, "decisions/s", rates, target, what, speed))
    return figures
