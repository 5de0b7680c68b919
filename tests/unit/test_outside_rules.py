"""Conditions as data: what fits, what is refused by name."""

from __future__ import annotations

import tomllib
from typing import Any

import pytest

from cloud_core.domain.outside import OutsideRule, read_rules, rule_for
from cloud_core.domain.rows import Order
from protocols.errors import Rejected

TOML = """
[[outside]]
name = "erp"
min_amount_fen = 20000
regions = ["江浙沪"]
deadline_s = 20
fallback = "park"

[[outside]]
name = "tibet"
regions = ["540000"]
channels = ["demo-shop"]
fallback = "accept"
"""


def order(fen: int, province: str, channel: str = "demo-shop") -> Order:
    return Order(
        "DB1", channel, "1", "paid", "", 1, "", 0, 0, 0, 0, fen, province, "", "", "", "", "", "",
        "t", 0, "",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("given", "rule"),
    [
        (order(20_000, "330000"), "erp"),
        (order(20_000, "31"), "erp"),
        (order(19_999, "330000"), ""),
        (order(20_000, "440000"), ""),
        (order(1, "540000"), "tibet"),
        (order(1, "540000", "other"), ""),
        (order(99_999, ""), ""),
    ],
)
def test_the_first_rule_that_fits(given: Order, rule: str) -> None:
    found = rule_for(read_rules(tomllib.loads(TOML)), given)
    assert (found.name if found else "") == rule


GOOD: dict[str, Any] = {"name": "x", "fallback": "accept"}


@pytest.mark.parametrize(
    ("rules", "field"),
    [
        ([{**GOOD, "amount": 1}], "outside[0].amount"),
        ([{"name": "x"}], "outside[0].fallback"),
        ([{**GOOD, "fallback": "wait"}], "outside[0].fallback"),
        ([{**GOOD, "name": ""}], "outside[0].name"),
        ([{**GOOD, "min_amount_fen": -1}], "outside[0].min_amount_fen"),
        ([{**GOOD, "min_amount_fen": True}], "outside[0].min_amount_fen"),
        ([{**GOOD, "deadline_s": 0}], "outside[0].deadline_s"),
        ([{**GOOD, "deadline_s": 99_999}], "outside[0].deadline_s"),
        ([{**GOOD, "regions": ["火星"]}], "outside[0].regions"),
        ([{**GOOD, "regions": "江浙沪"}], "outside[0].regions"),
        ([GOOD, GOOD], "outside[1].name"),
        (["x"], "outside[0]"),
        ({}, "outside"),
        ([GOOD] * 51, "outside"),
    ],
)
def test_a_broken_rule_is_refused_by_its_field(rules: Any, field: str) -> None:
    with pytest.raises(Rejected) as refused:
        read_rules({"outside": rules})
    assert (refused.value.code, refused.value.field) == ("outside_rule_broken", field)


def test_no_rules_ask_nobody() -> None:
    assert read_rules({}) == ()
    assert rule_for((OutsideRule("all"),), order(0, "")) is not None
