"""The colour of a shipment says how it stands against its limit, and only while it races."""

from __future__ import annotations

import pytest

from cloud_core.domain.urgency import LEFT, OPEN, WARN_MS, Light, light
from cloud_core.domain.wording import actor_zh, change_zh, incident_zh
from cloud_core.pages.console.figures import clock, left, share, upto, yuan
from cloud_core.pages.console.reasons import brief, reasons_of

NOW = 1_795_226_400_000


def colour(
    ship_by_ms: int | None, state: str = "granted", stop: str = "", *, parked: bool = False
) -> str:
    return light(state, stop, parked=parked, ship_by_ms=ship_by_ms, now_ms=NOW).value


@pytest.mark.parametrize(
    ("rest_ms", "wanted"),
    [(WARN_MS + 1, "green"), (WARN_MS, "yellow"), (1, "yellow"), (0, "red"), (-1, "red")],
)
def test_the_colour_turns_at_its_bounds(rest_ms: int, wanted: str) -> None:
    assert colour(NOW + rest_ms) == wanted


def test_a_parked_shipment_is_blocked_however_much_time_is_left() -> None:
    assert colour(NOW + 10 * WARN_MS, "routed", parked=True) == "red"


@pytest.mark.parametrize("state", LEFT)
def test_what_has_left_no_longer_races(state: str) -> None:
    assert colour(NOW - 1, state) == Light.NONE


def test_unpaid_stopped_and_unlimited_do_not_race() -> None:
    assert {colour(NOW - 1, "created"), colour(NOW - 1, stop="cancelled"), colour(None)} == {"none"}
    assert all(colour(NOW - 1, state) == "red" for state in OPEN)


def test_words_of_the_trail_are_chinese_and_unknown_ones_are_not_hidden() -> None:
    assert change_zh("offered>granted") == "已派仓 → 备货中"
    assert change_zh("parked:no_stock") == "停放：没有一个仓库能发齐全部商品"
    assert change_zh("taken_back:timeout") == "收回：未按时接单"
    assert change_zh("something_new") == "something_new"
    assert incident_zh("handed_over_after_stop") == "取消后仍交接"
    assert (actor_zh("agent:hz-a"), actor_zh("core")) == ("边缘代理 hz-a", "系统")


def test_figures_as_people_read_them() -> None:
    assert (left(NOW + 3 * 3_600_000, NOW), left(NOW - 90 * 60_000, NOW)) == (
        "剩 3 小时", "超 1 小时 30 分",
    )  # fmt: skip
    assert (clock(NOW), clock(None), clock(2**62)) == ("11-21 10:00", "—", "—")
    assert (yuan(123_456), yuan(5), upto(9_999), upto(10_000)) == (
        "1,234.56", "0.05", "9,999", "10,000+",
    )  # fmt: skip
    assert share([1, 1, 2]) == [(0.0, 25.0), (25.0, 25.0), (50.0, 50.0)]
    assert share([0, 0, 0]) == [(0.0, 0.0)] * 3


def test_a_decision_is_told_with_every_candidate() -> None:
    record = """{"chosen":"GZ","parked":"","parked_zh":"","candidates":[
        {"warehouse":"HZ","name":"杭州仓","why":"short","why_zh":"库存不足","short":["SKU-001"]},
        {"warehouse":"GZ","name":"广州仓","why":"","why_zh":"选中","short":[]}]}"""
    told = reasons_of(record, {})
    assert told.lead == "由 广州仓（GZ） 发货"
    assert [(c.name, c.why, c.chosen) for c in told.candidates] == [
        ("杭州仓（HZ）", "库存不足：SKU-001", False), ("广州仓（GZ）", "选中", True),
    ]  # fmt: skip
    assert brief(record, {}) == ("杭州仓（HZ）：库存不足：SKU-001",)


def test_a_decision_by_rules_is_told_in_sentences() -> None:
    record = """{"v":2,"rules":3,"hit":["喀什重货"],"to":"653101","g":3500,"q":[],"flags":[],
        "c":[["HZ","short",["SKU-001"]],["GZ","",[],"ZTO",5,2400]],"tags":[],"priority":0,
        "p":[["GZ","ZTO",2400,5,[["SKU-002",1]]]],"parked":""}"""
    names = {"GZ": "广州仓", "HZ": "杭州仓", "ZTO": "中通"}
    told = reasons_of(record, names, {"653101": "新疆喀什地区喀什市"})
    assert told.lead == "由广州仓（GZ）发货，中通（ZTO），约 5 天送达，运费 24.00 元。"
    assert "收货地 新疆喀什地区喀什市，重量 3.5 kg。" in told.sentences
    assert "未选杭州仓（HZ）：库存不足（SKU-001）。" in told.sentences
    assert brief(record, names) == ("杭州仓（HZ）：库存不足：SKU-001",)


@pytest.mark.parametrize(
    "record",
    [None, "", "{", "null", "[]", '{"candidates":7}', '{"candidates":[1,null,{"short":3}]}',
     '{"v":2,"p":1}', '{"v":2,"p":[1],"c":[[]],"parked":{}}', '{"v":3}', '{"v":"x","c":[[{},[]]]}'],
)  # fmt: skip
def test_nonsense_is_shown_as_nothing(record: str | None) -> None:
    assert reasons_of(record, {}).lead == ""
    assert len(brief(record, {})) <= 4
