"""Three warehouses, four agents, eight SKUs, one carrier: the master data of every history."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import Any

from cloud_core.domain import master_data as md
from tests.simulation.plan import Plan
from tests.simulation.shops import FAMILIES, SKUS, barcode


@dataclass(frozen=True, slots=True)
class Site:
    """A warehouse and its agents; lower `priority` is asked first."""

    warehouse: str
    site: str
    priority: int
    agents: tuple[str, ...]
    families: str


SITES = (
    Site("HZ", "hz", 10, ("hz-a1",), "AC"),
    Site("SH", "sh", 20, ("sh-a1", "sh-a2"), "AB"),
    Site("GZ", "gz", 30, ("gz-a1",), "BC"),
)
CARRIER = "YANSHI"
ENOUGH = 2_000
RULES = """
[ranking]
order = ["prefer", "priority", "transit", "freight", "load"]

[split]
default = true
max_parcels = 3

[[rules]]
name = "华南优先华南仓"
when = { provinces = ["广东"] }
then = { prefer_warehouses = ["GZ"] }

[[rules]]
name = "上海先问 ERP"
when = { provinces = ["上海"] }
then = { ask_first = "erp", ask_wait_ms = 1800000, ask_fallback = "accept" }

[[rules]]
name = "演示店广播抢单"
when = { channels = ["shop-b"] }
then = { broadcast = 2, tags = ["抢单"] }
"""
"""What some histories route by; the others have the priorities alone."""


def shelf_at_start(plan: Plan) -> dict[tuple[str, str], int]:
    """Units on each shelf when the history begins; some seeds run out and are filled up later."""
    rng = Random(f"stock-{plan.seed}")
    shelf = {}
    for site in SITES:
        for sku in SKUS:
            kept = any(sku in FAMILIES[name] for name in site.families)
            scarce = rng.random() < plan.short_stock
            units = rng.randrange(0, 25) if scarce else ENOUGH
            shelf[site.warehouse, sku] = units if kept else 0
    return shelf


def master_values(plan: Plan) -> list[tuple[str, list[Any]]]:
    """What is imported before the first order, kind by kind."""
    shelf = shelf_at_start(plan)
    return [
        ("skus", [md.Sku(s, f"演示商品{s[-2:]}", (barcode(s),), 500) for s in SKUS]),
        ("carriers", [md.Carrier(CARRIER, "演示速递")]),
        (
            "warehouses",
            [
                md.Warehouse(
                    s.warehouse,
                    s.site,
                    f"演示仓{s.warehouse}",
                    "330106",
                    "演示省演示市",
                    "演示仓发货组",
                    "4000000000",
                    s.priority,
                    "",
                    CARRIER,
                    plan.print_on[s.site],
                )
                for s in SITES
            ],
        ),
        ("agents", [md.Agent(agent, s.warehouse) for s in SITES for agent in s.agents]),
        (
            "shelf_locations",
            [md.ShelfLocation(s.warehouse, sku, f"A-{sku[-2:]}") for s in SITES for sku in SKUS],
        ),
        ("opening_stock", [md.OpeningStock(w, sku, n) for (w, sku), n in shelf.items()]),
        ("waybill_numbers", [md.WaybillNumber(CARRIER, f"YS{n:010d}") for n in range(1, 1500)]),
    ]
