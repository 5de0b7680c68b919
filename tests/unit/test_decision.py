"""Where an order is sent from and why: filters, ranks, shipped examples, the record in words."""

from __future__ import annotations

import json

import pytest

from cloud_core.domain.decision import effects_of
from cloud_core.domain.decision_record import sentences
from cloud_core.domain.decision_values import Request, WarehouseNow
from cloud_core.domain.master import Master
from cloud_core.domain.master_data import CarrierService, FreightBand
from cloud_core.domain.routing_table import RoutingTable
from cloud_core.domain.rule_values import RuleSet
from tests.house.tree import ROOT
from tests.support.routes import (
    CARRIERS,
    HANGZHOU,
    HOUR_MS,
    KASHGAR,
    NOON_MS,
    SHENZHEN,
    company,
    route,
    rules_of,
    warehouse,
)

BOTH = {"HZ": {"A": 9, "B": 9, "HEAVY": 9, "LOVE-2026": 9},
        "SZ": {"A": 9, "B": 9, "HEAVY": 9, "LOVE-2026": 9}}  # fmt: skip
TWO = company(warehouse("HZ", priority=1), warehouse("SZ", priority=2))
PRICED = company(
    warehouse("HZ"),
    services=tuple(CarrierService(c) for c in CARRIERS if c != "SF"),
    freight=(
        FreightBand("YUNDA", "", "", 0, 0, 1000, 300, 1000, 100),
        FreightBand("STO", "", "", 0, 0, 1000, 400, 1000, 100),
        FreightBand("ZTO", "", "", 0, 0, 1000, 900, 1000, 600),
        FreightBand("CHINAPOST", "", "", 0, 0, 1000, 1200, 1000, 400),
    ),
)


def example(name: str, master: Master) -> RuleSet:
    path = ROOT / "firmware_configs/routing" / f"{name}.toml"
    return rules_of(path.read_text(encoding="utf-8"), master)


def whys(record: str) -> dict[str, str]:
    return {row[0]: row[1] for row in json.loads(record)["c"]}


def test_heavy_parcels_to_kashgar_are_priced_by_zto_and_china_post_only() -> None:
    rules = example("kashgar", PRICED)
    heavy = route(PRICED, {"HEAVY": 1}, BOTH, rules=rules, division=KASHGAR)
    (parcel,) = heavy.parcels
    assert (parcel.carrier, parcel.fen) == ("CHINAPOST", 1200 + 3 * 400), "ZTO asks 27.00"
    quotes = {q[0]: (q[1], q[3]) for q in json.loads(heavy.record)["q"]}
    assert quotes == {"ZTO": ("", 2700), "CHINAPOST": ("", 2400), "YUNDA": ("rule", 600),
                      "STO": ("rule", 700)}  # fmt: skip
    words = "\n".join(sentences(heavy.record, CARRIERS, {KASHGAR: "新疆喀什"}))
    for said in (
        "命中规则（第 1 版）：“喀什超 3 公斤”",
        "韵达（YUNDA）：被规则排除",
        "申通（STO）：被规则排除",
        "中国邮政（CHINAPOST），约 3 天送达，运费 24.00 元",
        "收货地 新疆喀什，重量 4 kg",
    ):
        assert said in words, words
    light = route(PRICED, {"A": 6}, BOTH, rules=rules, division=KASHGAR)
    assert light.parcels[0].carrier == "YUNDA", "exactly 3 kg is not more than 3 kg"
    near = route(PRICED, {"HEAVY": 1}, BOTH, rules=rules, division=HANGZHOU)
    assert near.parcels[0].carrier == "YUNDA"


def test_a_line_love_2026_is_tagged_sent_with_sf_and_first_in_the_queue() -> None:
    rules = example("vip-love", PRICED)
    (vip,) = route(PRICED, {"A": 1, "LOVE-2026": 1}, BOTH, rules=rules).parcels
    (plain,) = route(PRICED, {"A": 1}, BOTH, rules=rules).parcels
    assert (vip.tags, vip.carrier, vip.priority) == (("VIP-LOVE",), "SF", 1000)
    assert (plain.tags, plain.carrier, plain.priority) == ((), "YUNDA", 0)


def test_without_rules_and_tables_the_operators_priority_decides() -> None:
    (parcel,) = route(TWO, {"A": 1}, BOTH).parcels
    assert (parcel.warehouse, parcel.carrier, parcel.fen, parcel.days) == ("HZ", "ZTO", 0, 3)
    assert parcel.expected_ms == NOON_MS + 24 * HOUR_MS + 3 * 24 * HOUR_MS
    (parcel,) = route(TWO, {"A": 1, "B": 9}, {"HZ": {"A": 9}, "SZ": {"A": 1, "B": 9}}).parcels
    assert parcel.warehouse == "SZ"


@pytest.mark.parametrize(
    ("why", "now", "values"),
    [
        ("breaker", WarehouseNow("HZ-a", breaker="breaker_open"), {}),
        ("unreachable", WarehouseNow(""), {}),
        ("no_agent", WarehouseNow("", 0), {}),
        ("rejected", WarehouseNow("HZ-a"), {"excluded": {"HZ": "rejected"}}),
        ("timeout", WarehouseNow("HZ-a"), {"excluded": {"HZ": "timeout"}}),
    ],
)
def test_a_warehouse_that_is_away_is_passed_over(
    why: str, now: WarehouseNow, values: dict[str, object]
) -> None:
    found = route(TWO, {"A": 1}, BOTH, now={"HZ": now}, **values)
    assert found.parcels[0].warehouse == "SZ"
    assert whys(found.record) == {"HZ": why, "SZ": ""}
    assert any(said.startswith("未选 HZ ：") for said in sentences(found.record))


@pytest.mark.parametrize(
    ("why", "values"),
    [
        ("closed", {"hours": "18:00-02:00"}),
        ("capacity", {"capacity_per_day": 7}),
        ("region", {"regions": ("44", "3302")}),
    ],
)
def test_hours_capacity_and_region_of_a_warehouse(why: str, values: dict[str, object]) -> None:
    master = company(warehouse("HZ", priority=1, **values), warehouse("SZ", priority=2))
    found = route(master, {"A": 1}, BOTH, now={"HZ": WarehouseNow("HZ-a", used_today=7)})
    assert (found.parcels[0].warehouse, whys(found.record)["HZ"]) == ("SZ", why)
    open_again = route(master, {"A": 1}, BOTH, now_ms=NOON_MS + 7 * HOUR_MS, division=SHENZHEN)
    assert open_again.parcels[0].warehouse == "HZ"


def test_after_the_cut_off_who_is_in_time_goes_first_and_if_nobody_is_it_is_sent_all_the_same() -> (
    None
):
    master = company(warehouse("HZ", priority=1, cut_off="11:00"), warehouse("SZ", priority=2))
    soon = NOON_MS + 10 * HOUR_MS
    found = route(master, {"A": 1}, BOTH, ship_by_ms=soon)
    assert (found.parcels[0].warehouse, whys(found.record)["HZ"]) == ("SZ", "cut_off")
    alone = route(master, {"A": 1}, {"HZ": {"A": 1}}, ship_by_ms=soon)
    assert (alone.parcels[0].warehouse, alone.flags) == ("HZ", ("late",))
    assert alone.parcels[0].expected_ms == NOON_MS + 23 * HOUR_MS + 3 * 24 * HOUR_MS
    calm = route(master, {"A": 1}, BOTH, ship_by_ms=NOON_MS + 30 * HOUR_MS)
    assert calm.parcels[0].warehouse == "HZ"


def test_the_only_holder_gets_it_though_its_breaker_is_open_but_not_against_a_person() -> None:
    behind = {"HZ": WarehouseNow("HZ-a", breaker="breaker_open")}
    only = {"HZ": {"A": 1}}
    found = route(TWO, {"A": 1}, only, now=behind)
    assert (found.parcels[0].warehouse, found.flags) == ("HZ", ("sole_holder",))
    forced = {"HZ": WarehouseNow("HZ-a", breaker="forced_open", sole_ok=False)}
    assert route(TWO, {"A": 1}, only, now=forced).parked == "breaker"
    away = {**behind, "SZ": WarehouseNow("")}
    assert route(TWO, {"A": 1}, BOTH, now=away).parked == "unreachable", "SZ comes back"


def test_the_first_difference_wins_transit_then_freight_then_load() -> None:
    services = tuple(CarrierService("ZTO", w, "", days=d) for w, d in
                     (("A1", 4), ("A2", 2), ("A3", 2), ("A4", 2)))  # fmt: skip
    freight = tuple(FreightBand("ZTO", w, "", 0, 0, 1000, fen, 1000, 100) for w, fen in
                    (("A1", 1), ("A2", 900), ("A3", 500), ("A4", 500)))  # fmt: skip
    sites = [warehouse(f"A{n}") for n in range(1, 5)]
    master = company(*sites, services=services, freight=freight)
    stock = {f"A{n}": {"A": 5} for n in range(1, 5)}
    now = {"A3": WarehouseNow("A3-a", load=9), "A4": WarehouseNow("A4-a", load=3)}
    rules = rules_of("", master)
    found = route(master, {"A": 1}, stock, rules=rules, now=now)
    assert found.parcels[0].warehouse == "A4"
    assert whys(found.record) == {"A1": "transit", "A2": "freight", "A3": "load", "A4": ""}
    cheap = rules_of('[ranking]\norder = ["freight", "transit"]', master)
    assert route(master, {"A": 1}, stock, rules=cheap, now=now).parcels[0].warehouse == "A1"
    close = rules_of("[ranking]\ntransit_buckets = [5]", master)
    assert route(master, {"A": 1}, stock, rules=close, now=now).parcels[0].warehouse == "A1"


def test_an_unknown_price_comes_after_every_known_one() -> None:
    freight = (FreightBand("ZTO", "SZ", "", 0, 0, 1000, 9900, 1000, 100),)
    master = company(warehouse("HZ"), warehouse("SZ"), freight=freight)
    rules = rules_of("", master)
    assert route(master, {"A": 1}, BOTH, rules=rules).parcels[0].warehouse == "SZ"
    alone = route(master, {"A": 1}, {"HZ": {"A": 1}}, rules=rules)
    assert (alone.parcels[0].fen, alone.flags) == (None, ("unpriced",))


def test_rules_of_every_kind_are_heard() -> None:
    rules = rules_of(
        """
        [[rules]]
        name = "易碎"
        when = { sku_tags = ["易碎"], categories = ["家纺"] }
        then = { tags = ["轻放"], exclude_warehouses = ["HZ"] }
        [[rules]]
        name = "轻放走顺丰"
        when = { tags = ["轻放"] }
        then = { force_carrier = "SF", stop = true }
        [[rules]]
        name = "华南仓不用顺丰"
        when = { warehouses = ["SZ"] }
        then = { exclude_carriers = ["SF"], tags = ["华南"] }
        [[rules]]
        name = "大额"
        when = { amount_from_yuan = 200, provinces = ["江浙沪"] }
        then = { ask_first = "erp", broadcast = 2, prefer_warehouses = ["SZ"] }
        """,
        TWO,
    )
    (gentle,) = route(TWO, {"B": 1}, BOTH, rules=rules).parcels
    assert (gentle.warehouse, gentle.carrier, gentle.tags) == ("SZ", "SF", ("轻放",))
    big = route(TWO, {"A": 1}, BOTH, rules=rules, amount_fen=20_000)
    assert big.broadcast == (("SZ", "SZ-a"), ("HZ", "HZ-a"))
    assert big.parcels[0].tags == ("华南",)
    assert route(TWO, {"A": 1}, BOTH, rules=rules, amount_fen=19_999).broadcast == ()
    table = RoutingTable(rules, TWO)
    request = Request((("A", 1),), HANGZHOU, "shop1", 20_000, NOON_MS)
    asked = effects_of(request, table, NOON_MS)
    assert (asked.ask_first, asked.ask_wait_ms, asked.ask_fallback) == ("erp", 800, "accept")


def test_time_windows() -> None:
    rules = rules_of(
        """
        [[rules]]
        name = "夜间"
        when = { hours = "22:00-02:00", weekdays = ["周四"] }
        then = { tags = ["夜"] }
        [[rules]]
        name = "元旦"
        when = { starts = 2026-01-01T00:00:00, ends = 2026-01-02T00:00:00+08:00 }
        then = { tags = ["元旦"] }
        """,
        TWO,
    )
    found = [
        route(TWO, {"A": 1}, BOTH, rules=rules, now_ms=NOON_MS + h * HOUR_MS).parcels[0].tags
        for h in (-12, 0, 10, 12, 13)
    ]
    assert found == [("夜", "元旦"), ("元旦",), ("夜", "元旦"), (), ()]


def test_a_kept_hold_counts_as_stock_there() -> None:
    found = route(TWO, {"A": 5}, {"HZ": {"A": 0}, "SZ": {"A": 1}}, kept="HZ")
    assert found.parcels[0].warehouse == "HZ"


@pytest.mark.parametrize(
    ("parked", "values"),
    [
        ("no_stock", {"stock": {}}),
        ("unreachable", {"now": {"HZ": WarehouseNow(""), "SZ": WarehouseNow("")}}),
        ("rejected", {"excluded": {"HZ": "rejected", "SZ": "rejected"}}),
        ("no_answer", {"excluded": {"HZ": "timeout", "SZ": "rejected"}}),
        ("no_warehouse", {"now": {"HZ": WarehouseNow("", 0), "SZ": WarehouseNow("", 0)}}),
    ],
)
def test_no_route_is_a_reason_that_a_person_can_read(
    parked: str, values: dict[str, object]
) -> None:
    stock = values.pop("stock", BOTH)
    found = route(TWO, {"A": 1}, stock, **values)  # type: ignore[arg-type]
    assert (found.parked, found.parcels) == (parked, ())
    assert sentences(found.record)[0].startswith("暂未分仓：")


def test_records_of_the_first_version_are_read_too() -> None:
    old = json.dumps({"candidates": [{"warehouse": "HZ", "name": "华东仓", "why": "short",
                      "why_zh": "库存不足", "short": ["A"]}], "chosen": "", "parked": "no_stock",
                      "parked_zh": "没有一个仓库能发齐全部商品"})  # fmt: skip
    assert sentences(old) == ["暂未分仓：没有一个仓库能发齐全部商品。", "华东仓：库存不足（A）。"]
    assert sentences("{}") == sentences("") == sentences("[") == []


SPLITS = "[split]\ndefault = true\nchannels = { quiet = false }\n"


def test_an_order_is_split_only_when_no_warehouse_has_all_of_it() -> None:
    rules = rules_of(SPLITS, TWO)
    parts = {"HZ": {"A": 5}, "SZ": {"B": 5}}
    found = route(TWO, {"A": 1, "B": 2}, parts, rules=rules)
    assert [(p.warehouse, p.lines) for p in found.parcels] == [
        ("HZ", (("A", 1),)), ("SZ", (("B", 2),)),
    ]  # fmt: skip
    assert found.flags == ("split",)
    assert "由 HZ 发货， ZTO ，约 3 天送达，运费 0.00 元：A×1。" in sentences(found.record)
    assert route(TWO, {"A": 1, "B": 2}, parts, rules=rules, channel="quiet").parked == "no_stock"
    assert route(TWO, {"A": 1, "B": 2}, parts, rules=rules, may_split=False).parked == "no_stock"
    covered = {**parts, "SZ": {"A": 1, "B": 5}}
    away = {"SZ": WarehouseNow("")}
    assert route(TWO, {"A": 1, "B": 2}, covered, rules=rules, now=away).parked == "unreachable"


def test_a_rule_switches_splitting_for_its_orders() -> None:
    text = SPLITS + '[[rules]]\nname = "整发"\nwhen = {skus = ["A"]}\nthen = {split = false}\n'
    rules = rules_of(text, TWO)
    parts = {"HZ": {"A": 5, "HEAVY": 1}, "SZ": {"B": 5}}
    assert route(TWO, {"A": 1, "B": 2}, parts, rules=rules).parked == "no_stock"
    assert len(route(TWO, {"HEAVY": 1, "B": 2}, parts, rules=rules).parcels) == 2
