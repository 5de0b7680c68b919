"""A made-up company for routing tests: warehouses, carriers, goods, and what is now."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from cloud_core.domain.decision import decide
from cloud_core.domain.decision_values import Decision, Request, WarehouseNow, World
from cloud_core.domain.division_names import DivisionNames
from cloud_core.domain.master import AgentInfo, CarrierInfo, Master, SkuInfo, WarehouseInfo
from cloud_core.domain.master_data import CarrierService, FreightBand
from cloud_core.domain.routing_rules import read_rules
from cloud_core.domain.routing_table import RoutingTable
from cloud_core.domain.rule_checks import Known, check_rules
from cloud_core.domain.rule_values import NO_RULES, RuleProblem, RuleSet
from cloud_core.store.divisions import load_divisions

NOON_MS = 1_767_240_000_000  # 2026-01-01 12:00 in China, a Thursday
HOUR_MS = 3_600_000
CARRIERS = {"ZTO": "中通", "STO": "申通", "YUNDA": "韵达", "CHINAPOST": "中国邮政", "SF": "顺丰"}
KASHGAR, HANGZHOU, SHENZHEN = "653101", "330106", "440306"


@cache
def names() -> DivisionNames:
    """Names of places, built once."""
    return DivisionNames(load_divisions())


def warehouse(name: str, **values: Any) -> WarehouseInfo:
    """A warehouse with ordinary values."""
    given = {"site": name.lower(), "name": f"{name}仓", "priority": 100, "hours": "",
             "carrier": "ZTO", "print_on": "grant", "enabled": True, **values}  # fmt: skip
    return WarehouseInfo(id=name, **given)


def company(
    *warehouses: WarehouseInfo,
    services: tuple[CarrierService, ...] = (),
    freight: tuple[FreightBand, ...] = (),
    transit: Mapping[tuple[str, str, str], int] | None = None,
) -> Master:
    """Master data with goods A (0.5 kg), B (2 kg), HEAVY (4 kg, 家电), LOVE-2026 (0.1 kg)."""
    return Master(
        1,
        {info.id: info for info in warehouses},
        {f"{w.id}-a": AgentInfo(f"{w.id}-a", w.id, True) for w in warehouses},
        {
            "A": SkuInfo("A", "演示甲", 500, False, ()),
            "B": SkuInfo("B", "演示乙", 2_000, False, (), "家纺", ("易碎",)),
            "HEAVY": SkuInfo("HEAVY", "演示重物", 4_000, False, (), "家电"),
            "LOVE-2026": SkuInfo("LOVE-2026", "演示礼物", 100, False, ()),
        },
        {c: CarrierInfo(c, name, "pool", 3) for c, name in CARRIERS.items()},
        transit or {},
        services=services,
        freight=freight,
    )


def rules_of(text: str, master: Master, version: int = 1) -> RuleSet:
    """The rules of a file that must be right."""
    problems = problems_of(text, master)
    assert problems == [], problems
    return read_rules(text, names(), version=version).rules


def problems_of(text: str, master: Master, channels: set[str] | None = None) -> list[RuleProblem]:
    """Everything wrong with a rule file."""
    read = read_rules(text, names())
    return [*read.problems, *check_rules(read.rules, Known(master, channels))]


def route(
    master: Master,
    lines: Mapping[str, int],
    stock: Mapping[str, Mapping[str, int]],
    *,
    rules: RuleSet = NO_RULES,
    now: Mapping[str, WarehouseNow] | None = None,
    now_ms: int = NOON_MS,
    **values: Any,
) -> Decision:
    """Route one order; `stock` is {warehouse: {sku: units}}."""
    by_sku = {sku: {w: held.get(sku, 0) for w, held in stock.items()} for sku in lines}
    ready = {w: WarehouseNow(f"{w}-a") for w in master.warehouses} | dict(now or {})
    given = {"division": HANGZHOU, "channel": "shop1", "amount_fen": 9_900,
             "ship_by_ms": now_ms + 24 * HOUR_MS, **values}  # fmt: skip
    request = Request(tuple(lines.items()), **given)
    return decide(request, World(now_ms, ready, by_sku.__getitem__), RoutingTable(rules, master))
