"""What was paid for is never given back to sale by a timer: its hold moves or waits (P9)."""

from __future__ import annotations

from pathlib import Path

import pytest

from cloud_core.domain import commands as c
from protocols import events as e
from protocols.messages import Token
from tests.support.core import CoreBench

FIRST, SECOND = "DB202600000001-1", "DB202600000002-1"


@pytest.fixture
def bench(tmp_path: Path) -> CoreBench:
    """One warehouse on the line, one piece of A in it."""
    bench = CoreBench(tmp_path)
    with bench.engine.connect().execution_options(packline_writes=True) as con, con.begin():
        con.exec_driver_sql("UPDATE stock SET shelf = 1")
    bench.online("hz-a")
    return bench


def let_pass(bench: CoreBench, seconds: float) -> None:
    bench.clock.advance(seconds)
    bench.heartbeat("hz-a")
    bench.do(c.Sweep())


def states(bench: CoreBench) -> dict[str, str]:
    rows = bench.rows("SELECT id, CASE parked WHEN '' THEN state ELSE parked END FROM shipment")
    return {row[0]: row[1] for row in rows}


def test_an_offer_that_timed_out_keeps_its_goods_from_later_buyers(bench: CoreBench) -> None:
    bench.shop("1")
    let_pass(bench, 121)
    assert bench.stock("HZ01", "A") == (1, 0, 1)
    bench.shop("2")
    assert states(bench) == {FIRST: "no_answer", SECOND: "unreachable"}
    for _ in range(3):
        let_pass(bench, 31)
    assert bench.stock("HZ01", "A") == (1, 0, 1)
    let_pass(bench, 300)
    assert states(bench) == {FIRST: "offered", SECOND: "unreachable"}
    assert bench.stock("HZ01", "A") == (1, 0, 1)


def test_the_goods_move_when_another_warehouse_can_send(bench: CoreBench) -> None:
    bench.shop("1")
    let_pass(bench, 121)
    bench.online("sz-a")
    let_pass(bench, 1)
    assert bench.one("SELECT warehouse FROM shipment") == "SZ01"
    assert (bench.stock("HZ01", "A"), bench.stock("SZ01", "A")) == ((1, 0, 0), (1, 0, 1))


def test_a_cancel_of_a_parked_order_frees_its_goods(bench: CoreBench) -> None:
    bench.shop("1")
    let_pass(bench, 121)
    bench.shop("1", "cancelled", version=2, lines=())
    assert bench.stock("HZ01", "A") == (1, 0, 0)
    assert bench.one("SELECT count(*) FROM hold WHERE state = 'held'") == 0


def test_goods_that_were_not_on_the_shelf_are_not_promised_any_longer(bench: CoreBench) -> None:
    bench.shop("1")
    no = e.OfferRejected(FIRST, Token(1, 1), "not_on_shelf", [e.Count("A", 0)])
    bench.report("hz-a", ("offer.rejected", no))
    assert bench.stock("HZ01", "A") == (0, 0, 0)
    bench.report("hz-a", ("stock.counted", e.StockCounted([e.Count("A", 1)])))
    let_pass(bench, 1)
    assert states(bench) == {FIRST: "offered"}
