"""Routing asks the breakers: late warehouses are passed over, tried out, and never starve a SKU."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cloud_core.domain import commands as c
from cloud_core.domain.breaker_commands import ForceBreaker, JudgeBreakers
from cloud_core.domain.policy import Policy
from cloud_core.store import schema as t
from protocols.messages import AgentState
from tests.support.core import CoreBench
from tests.support.routed import accepted, left, shipment, stock

HOUR_S = 3_600


@pytest.fixture
def bench(tmp_path: Path) -> CoreBench:
    found = CoreBench(tmp_path, policy=Policy(ship_within_h=1, offer_ttl_s=900))
    found.online()
    found.heartbeat()
    with found.engine.connect().execution_options(packline_writes=True) as con, con.begin():
        con.execute(t.clock_offset.delete())
    found.do(JudgeBreakers())
    return found


def pass_time(bench: CoreBench, seconds: float) -> None:
    bench.clock.advance(seconds)
    bench.heartbeat()
    bench.clock.advance(1)
    bench.do(JudgeBreakers())


def late_three_times(bench: CoreBench) -> None:
    for native in ("91", "92", "93"):
        bench.shop(native)
        accepted(bench, native)
    bench.clock.advance(HOUR_S + 60)
    bench.heartbeat()


def test_un_granted_work_leaves_in_the_commit_of_the_opening_granted_work_stays(
    bench: CoreBench,
) -> None:
    late_three_times(bench)
    bench.shop("1")
    assert shipment(bench, "1")["warehouse"] == "HZ01"
    bench.clock.advance(1)
    bench.do(JudgeBreakers())
    assert shipment(bench, "1")["warehouse"] == "SZ01"
    assert [shipment(bench, n)["warehouse"] for n in ("91", "92", "93")] == ["HZ01"] * 3
    bench.shop("2")
    row = shipment(bench, "2")
    assert row["warehouse"] == "SZ01"
    assert ["HZ01", "breaker"] in json.loads(row["decision"])["c"]


def test_a_half_open_house_gets_three_trials_and_comes_back_by_them(bench: CoreBench) -> None:
    late_three_times(bench)
    pass_time(bench, 1)
    pass_time(bench, 2 * HOUR_S)
    for native in "1234":
        bench.shop(native)
    assert [shipment(bench, n)["warehouse"] for n in "1234"] == ["HZ01", "HZ01", "HZ01", "SZ01"]
    for native in "123":
        left(bench, "hz-a", accepted(bench, native), A=1)
    pass_time(bench, 60)
    assert bench.one("SELECT state FROM breaker WHERE warehouse = 'HZ01'") == "closed"


def test_who_alone_has_the_goods_gets_them_and_the_record_says_so(bench: CoreBench) -> None:
    late_three_times(bench)
    pass_time(bench, 1)
    stock(bench, SZ01_A=0)
    bench.shop("1")
    row = shipment(bench, "1")
    assert row["warehouse"] == "HZ01"
    assert json.loads(row["decision"])["flags"] == ["sole_holder"]


def test_shut_by_a_person_it_waits_and_goes_on_when_the_person_opens(bench: CoreBench) -> None:
    stock(bench, SZ01_A=0)
    bench.do(ForceBreaker("HZ01", "open", "key:k1", "停电"))
    bench.shop("1")
    assert shipment(bench, "1")["parked"] == "breaker"
    bench.do(ForceBreaker("HZ01", "auto", "key:k1"))
    bench.do(c.Sweep())
    assert shipment(bench, "1")["warehouse"] == "HZ01"


def test_a_house_whose_queue_is_old_gets_nothing_new(bench: CoreBench) -> None:
    old_ms = bench.clock.ms - 3_600_000
    state = AgentState(1, "hz-a", True, 1, floor_queued=5, oldest_ms=old_ms)
    bench.do(c.SeeAgent("hz01", "hz-a", state))
    bench.shop("1")
    row = shipment(bench, "1")
    assert row["warehouse"] == "SZ01"
    assert ["HZ01", "unreachable"] in json.loads(row["decision"])["c"]


def test_paid_goods_that_wait_long_are_an_alarm_until_they_go(bench: CoreBench) -> None:
    stock(bench, HZ01_A=0, SZ01_A=0)
    bench.shop("1")
    bench.do(c.Sweep())
    assert bench.rows("SELECT key FROM alarm WHERE kind = 'parked_long'") == []
    bench.clock.advance(3 * HOUR_S)
    bench.heartbeat()
    bench.do(c.Sweep())
    bench.do(c.Sweep())
    (alarm,) = bench.rows("SELECT key, count, text FROM alarm WHERE kind = 'parked_long'")
    assert alarm[:2] == ("no_stock", 1)
    assert "1 个已付款发货单" in alarm[2]
    stock(bench, HZ01_A=5)
    bench.do(c.Sweep())
    bench.do(c.Sweep())
    assert bench.one("SELECT closed_ms FROM alarm WHERE kind = 'parked_long'") is not None
