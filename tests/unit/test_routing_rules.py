"""Rule files: read in full, refused by rule and field, in Chinese and English."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from cloud_core.domain.master_data import CarrierService
from cloud_core.domain.routing_rules import MAX_RULES, read_rules
from tests.house.tree import ROOT
from tests.support.routes import company, names, problems_of, rules_of, warehouse

MASTER = company(warehouse("HZ01"), warehouse("SZ01"))
EXAMPLES = sorted((ROOT / "firmware_configs/routing").glob("*.toml"))


def rule(name: str = "甲", when: str = "", then: str = 'tags = ["t"]', more: str = "") -> str:
    return f'[[rules]]\nname = "{name}"\n{more}\nwhen = {{{when}}}\nthen = {{{then}}}\n'


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_the_shipped_examples_are_right(path: Path) -> None:
    assert problems_of(path.read_text(encoding="utf-8"), MASTER, {"demo-shop"}) == []


@pytest.mark.parametrize(
    ("text", "name", "field", "code"),
    [
        ("[[rules]", "", "", "toml_broken"),
        ("x = 1", "", "x", "rule_field_unknown"),
        ("rules = 3", "", "rules", "rule_type"),
        (rule(when="colour = 1"), "甲", "when.colour", "rule_field_unknown"),
        (rule(then='tags = ["t"], jump = 1'), "甲", "then.jump", "rule_field_unknown"),
        (rule(more="color = 1"), "甲", "color", "rule_field_unknown"),
        (rule(when='weight_over_kg = "3"'), "甲", "when.weight_over_kg", "rule_type"),
        (rule(when="weight_over_kg = true"), "甲", "when.weight_over_kg", "rule_type"),
        (rule(when="weight_over_kg = 1.2345"), "甲", "when.weight_over_kg", "rule_range"),
        (rule(when="weight_over_kg = -1"), "甲", "when.weight_over_kg", "rule_range"),
        (rule(when="weight_over_kg = nan"), "甲", "when.weight_over_kg", "rule_range"),
        (rule(when="amount_from_yuan = 1.001"), "甲", "when.amount_from_yuan", "rule_range"),
        (rule(when='divisions = ["火星"]'), "甲", "when.divisions", "division_unknown_rule"),
        (rule(when='divisions = ["999999"]'), "甲", "when.divisions", "division_unknown_rule"),
        (rule(when="channels = []"), "甲", "when.channels", "rule_list_empty"),
        (rule(when='hours = "9-18"'), "甲", "when.hours", "rule_hours"),
        (rule(when="weekdays = [0]"), "甲", "when.weekdays", "rule_weekday"),
        (rule(when='weekdays = ["周八"]'), "甲", "when.weekdays", "rule_weekday"),
        (rule(when='starts = "昨天"'), "甲", "when.starts", "rule_type"),
        (rule(then="priority = 1001"), "甲", "then.priority", "rule_range"),
        (rule(then='priority = "last"'), "甲", "then.priority", "rule_type"),
        (rule(then="broadcast = 1"), "甲", "then.broadcast", "rule_range"),
        (rule(then='split = "yes"'), "甲", "then.split", "rule_type"),
        (rule(then=""), "甲", "then", "rule_empty"),
        ("[[rules]]\nthen = {stop = true}", "#1", "name", "rule_name_missing"),
        (rule() + rule(when="weight_over_kg = 1"), "甲", "name", "rule_name_twice"),
        ('[ranking]\norder = ["luck"]', "", "ranking.order", "rule_rank"),
        ("[ranking]\ntransit_buckets = [2, 1]", "", "ranking.transit_buckets", "rule_range"),
        ("[split]\nmax_parcels = 9", "", "split.max_parcels", "rule_range"),
        ("[split.channels]\nshop1 = 1", "", "split.channels.shop1", "rule_type"),
        (rule(when='skus = ["GONE"]'), "甲", "when.skus", "sku_unknown"),
        (rule(when='warehouses = ["BJ"]'), "甲", "when.warehouses", "warehouse_unknown"),
        (rule(then='force_carrier = "NOPE"'), "甲", "then.force_carrier", "carrier_unknown"),
        (rule(then='allow_carriers = ["NOPE"]'), "甲", "then.allow_carriers", "carrier_unknown"),
        (rule(then='prefer_warehouses = ["BJ"]'), "甲", "then.prefer_warehouses",
         "warehouse_unknown"),
        (rule(when='channels = ["ghost"]'), "甲", "when.channels", "channel_unknown"),
        ("[split.channels]\nghost = true", "", "split.channels.ghost", "channel_unknown"),
        (rule(when="weight_over_kg = 3, weight_up_to_kg = 3"), "甲", "when.weight_up_to_kg",
         "rule_unreachable"),
        (rule(when="amount_from_yuan = 5, amount_below_yuan = 5"), "甲", "when.amount_below_yuan",
         "rule_unreachable"),
        (rule(when='divisions = ["新疆喀什"], except_divisions = ["65"]'), "甲",
         "when.except_divisions", "rule_unreachable"),
        (rule(when="starts = 2026-05-02, ends = 2026-05-01"), "甲", "when.ends",
         "rule_unreachable"),
        (rule(when='hours = "09:00-09:00"'), "甲", "when.hours", "rule_unreachable"),
        (rule(then='force_carrier = "SF", exclude_carriers = ["SF"]'), "甲", "then.force_carrier",
         "rule_conflict"),
        (rule(then='allow_carriers = ["SF"], exclude_carriers = ["SF", "ZTO"]'), "甲",
         "then.allow_carriers", "rule_conflict"),
        (rule(when='warehouses = ["HZ01"]', then="broadcast = 2"), "甲", "then.broadcast",
         "rule_scope"),
    ],
)  # fmt: skip
def test_a_bad_file_names_rule_and_field(text: str, name: str, field: str, code: str) -> None:
    found = problems_of(text, MASTER, {"shop1"})
    assert (name, field, code) in [(p.rule, p.field, p.code) for p in found], found
    assert all(p.message_zh and p.message_en for p in found)


@pytest.mark.parametrize(
    ("first", "second", "hidden"),
    [
        (("", "stop = true"), ("weight_over_kg = 3", 'tags = ["x"]'), True),
        (("weight_over_kg = 3", "stop = true"), ("weight_over_kg = 2", 'tags = ["x"]'), False),
        (("weight_over_kg = 3", "stop = true"), ("weight_over_kg = 5", 'tags = ["x"]'), True),
        (('divisions = ["65"]', "stop = true"), ('divisions = ["6531"]', 'tags = ["x"]'), True),
        (('divisions = ["6531"]', "stop = true"), ('divisions = ["65"]', 'tags = ["x"]'), False),
        (('except_divisions = ["65"]', "stop = true"), ('divisions = ["33"]', "split = true"),
         True),
        (('except_divisions = ["65"]', "stop = true"), ('divisions = ["65"]', "split = true"),
         False),
        (('skus = ["A", "B"]', "stop = true"), ('skus = ["A"]', 'tags = ["x"]'), True),
        (('channels = ["shop1"]', "stop = true"), ("", 'tags = ["x"]'), False),
        (("", 'priority = "first"'), ("weight_over_kg = 3", "priority = 5"), True),
        (("", 'priority = "first"'), ("weight_over_kg = 3", 'priority = 5, tags = ["x"]'), False),
        (("", 'exclude_carriers = ["SF", "STO"]'), ("", 'exclude_carriers = ["SF"]'), True),
        (('hours = "09:00-10:00"', "stop = true"), ('hours = "09:00-11:00"', "split = true"),
         False),
        (("weekdays = [1, 2]", "stop = true"), ("weekdays = [2]", 'tags = ["x"]'), True),
    ],
)  # fmt: skip
def test_a_rule_behind_one_that_takes_everything_is_unreachable(
    first: tuple[str, str], second: tuple[str, str], hidden: bool
) -> None:
    found = problems_of(rule("先", *first) + rule("后", *second), MASTER)
    codes = [(p.rule, p.code) for p in found]
    assert codes == ([("后", "rule_unreachable")] if hidden else []), found


def test_a_place_that_no_carrier_serves_is_named() -> None:
    master = company(
        warehouse("HZ01"),
        services=(
            CarrierService("ZTO"), CarrierService("YUNDA"), CarrierService("SF"),
            CarrierService("SF", "", "6531", served=False),
        ),
    )  # fmt: skip
    only = rule(when='provinces = ["新疆"]', then='allow_carriers = ["SF"]')
    (problem,) = problems_of(only, master)
    assert (problem.rule, problem.field, problem.code) == (
        "甲", "then.allow_carriers", "division_unserved",
    )  # fmt: skip
    assert "6531" in problem.message_zh
    also = rule(when='provinces = ["新疆"]', then='allow_carriers = ["SF", "ZTO"]')
    assert problems_of(also, master) == []
    without = rule(when='provinces = ["新疆"], except_divisions = ["新疆喀什"]',
                   then='allow_carriers = ["SF"]')  # fmt: skip
    assert problems_of(without, master) == []
    both = also + rule("乙", 'divisions = ["新疆喀什"]', 'exclude_carriers = ["ZTO"]')
    assert [(p.rule, p.code) for p in problems_of(both, master)] == [("乙", "division_unserved")]


def test_names_of_places() -> None:
    found = {
        word: names().prefixes(word)
        for word in ("新疆喀什", "新疆维吾尔自治区喀什地区", "江浙沪", "江苏省南京市鼓楼区", "北京",
                     "北京海淀区", "653100", "6531", "65", "999999", "火星")
    }  # fmt: skip
    assert found == {
        "新疆喀什": ("6531",), "新疆维吾尔自治区喀什地区": ("6531",), "江浙沪": ("32", "33", "31"),
        "江苏省南京市鼓楼区": ("320106",), "北京": ("11",), "北京海淀区": ("110108",),
        "653100": ("6531",), "6531": ("6531",), "65": ("65",), "999999": (), "火星": (),
    }  # fmt: skip


def test_the_same_text_has_the_same_digest_and_a_switched_off_rule_does_nothing() -> None:
    text = rule() + rule("停用", more="enabled = false", when="weight_over_kg = 1")
    one, two = rules_of(text, MASTER), rules_of(text, MASTER, 2)
    assert one.digest == two.digest != rules_of(rule(), MASTER).digest
    assert [r.name for r in one.rules] == ["甲"]


def test_bounds_are_enforced() -> None:
    many = "".join(rule(f"r{n}", f"weight_over_kg = {n}") for n in range(MAX_RULES + 1))
    assert [p.code for p in read_rules(many, names()).problems] == ["rules_too_many"]
    assert [p.code for p in read_rules("#" * 300_000, names()).problems] == ["rules_too_large"]
    tomllib.loads(many)
