"""Who has paid and waits is served before any new basket or order (DESIGN §6)."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from cloud_core.domain import commands as c
from cloud_core.domain import hold_commands as h
from protocols import events as e
from tests.support.core import CoreBench

FIRST, SECOND, THIRD = (f"DB20260000000{n}-1" for n in (1, 2, 3))
_numbers = itertools.count(1)


@pytest.fixture
def core(tmp_path: Path) -> CoreBench:
    """One warehouse on the line, the other's shelves are empty; nothing of A anywhere."""
    core = CoreBench(tmp_path)
    with core.engine.connect().execution_options(packline_writes=True) as con, con.begin():
        con.exec_driver_sql("UPDATE stock SET shelf = 0 WHERE sku = 'A' OR warehouse = 'SZ01'")
    core.online("hz-a")
    return core


def basket(core: CoreBench, *lines: tuple[str, int]) -> str:
    n = next(_numbers)
    wanted = h.WantedHold(f"H{n}", lines)
    keyed = h.Keyed("holds:k1", f"key-{n}", "digest")
    (answer,) = core.do(h.PlaceHolds((wanted,), keyed, "key:k1")).holds
    return str(answer.state)


def count(core: CoreBench, units: int) -> None:
    core.report("hz-a", ("stock.counted", e.StockCounted([e.Count("A", units)])))


def parked(core: CoreBench) -> dict[str, str]:
    return {row[0]: row[1] for row in core.rows("SELECT id, parked FROM shipment")}


def sweep(core: CoreBench) -> None:
    core.heartbeat("hz-a")
    core.do(c.Sweep())


def test_a_basket_does_not_get_what_a_paid_order_waits_for(core: CoreBench) -> None:
    core.shop("1")
    assert parked(core) == {FIRST: "no_stock"}
    count(core, 1)
    assert basket(core, ("A", 1)) == "refused"
    assert core.stock("HZ01", "A") == (1, 0, 1), "set aside in the basket's own commit"
    sweep(core)
    assert parked(core) == {FIRST: ""}
    assert core.stock("HZ01", "A") == (1, 0, 1), "moved to its owner, not held twice"
    assert core.one("SELECT count(*) FROM hold WHERE state = 'held'") == 1


def test_a_basket_gets_what_is_left_when_all_who_wait_are_served(core: CoreBench) -> None:
    core.shop("1")
    count(core, 3)
    assert basket(core, ("A", 2)) == "held"
    assert basket(core, ("A", 1)) == "refused"


def test_a_new_order_stands_behind_those_who_paid_before(core: CoreBench) -> None:
    core.shop("1")
    core.shop("2")
    count(core, 2)
    core.shop("3")
    assert parked(core) == {FIRST: "no_stock", SECOND: "no_stock", THIRD: "no_stock"}
    sweep(core)
    assert parked(core) == {FIRST: "", SECOND: "", THIRD: "no_stock"}


def test_goods_that_would_not_make_a_parcel_stay_on_sale(core: CoreBench) -> None:
    core.shop("1", lines=(("A", 1), ("B", 1)))
    assert basket(core, ("B", 1)) == "held"
    assert core.stock("HZ01", "A") == (0, 0, 0)


def test_a_warehouse_that_cannot_be_reached_still_keeps_paid_goods(core: CoreBench) -> None:
    count(core, 1)
    core.clock.advance(600)
    core.shop("1")
    assert parked(core) == {FIRST: "unreachable"}
    assert basket(core, ("A", 1)) == "refused"
    core.shop("1", "cancelled", version=2, lines=())
    assert core.stock("HZ01", "A") == (1, 0, 0)
    assert basket(core, ("A", 1)) == "held"
