"""Stock rows stay in memory between commits; whoever else changes them is believed at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine

from cloud_core.domain import commands as c
from cloud_core.store import kept_stock
from cloud_core.store.engine import reading
from cloud_core.store.loading import SqlFetch
from tests.support.core import CoreBench

EMPTY_HZ = "UPDATE stock SET shelf = 0, held = 0 WHERE warehouse = 'HZ01'"


@pytest.fixture
def core(tmp_path: Path) -> CoreBench:
    """Both warehouses on the line; an order has been owned, so the rows are in memory."""
    core = CoreBench(tmp_path)
    core.online()
    core.shop("1")
    assert owner(core, "1") == "HZ01"
    return core


def owner(core: CoreBench, native: str) -> str:
    return str(core.one("SELECT warehouse FROM shipment WHERE order_id = :id",
                        id=f"DB2026{native:0>8}"))  # fmt: skip


def test_what_another_program_writes_counts_for_the_next_order(core: CoreBench) -> None:
    other = create_engine(core.engine.url)
    with other.begin() as con:
        con.exec_driver_sql(EMPTY_HZ)
    other.dispose()
    core.shop("2")
    assert owner(core, "2") == "SZ01"


def test_what_is_written_beside_the_queue_counts_for_the_next_order(core: CoreBench) -> None:
    with core.engine.connect().execution_options(packline_writes=True) as con, con.begin():
        con.exec_driver_sql(EMPTY_HZ)
    core.shop("2")
    assert owner(core, "2") == "SZ01"


def test_who_reads_beside_the_queue_does_not_empty_the_memory(
    core: CoreBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    if core.engine.dialect.name != "sqlite":
        pytest.skip("beside other writers nothing is kept")
    with reading(core.engine) as one, reading(core.engine) as two:  # the pool has more than one now
        one.exec_driver_sql("SELECT 1")
        two.exec_driver_sql("SELECT 1")
    asked: list[list[str]] = []
    stock_of = SqlFetch.stock_of

    def noted(fetch: SqlFetch, skus: list[str]) -> Any:
        asked.append(skus)
        return stock_of(fetch, skus)

    monkeypatch.setattr(SqlFetch, "stock_of", noted)
    for native in ("2", "3", "4"):
        core.shop(native)
        assert owner(core, native) == "HZ01"
    assert asked == []


def test_a_commit_that_failed_leaves_nothing_behind(
    core: CoreBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(point: str) -> None:
        if point == "before_commit":
            raise RuntimeError("the disk is gone")

    with monkeypatch.context() as patched:
        patched.setattr(core.core, "_on_commit", broken)
        with pytest.raises(RuntimeError):
            core.shop("2", lines=(("A", 9),))
    core.shop("3", lines=(("A", 9),))
    assert owner(core, "3") == "HZ01"  # the nine of the failed order are there again
    assert core.stock("HZ01", "A") == (10, 0, 10)


def test_an_order_that_is_refused_in_the_middle_takes_no_goods_from_the_next(
    core: CoreBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    from cloud_core.flows import own

    good = own.settle_order

    def trips(ws: Any, order_id: str) -> None:
        if order_id.endswith("2"):
            raise KeyError(order_id)
        good(ws, order_id)

    monkeypatch.setattr(own, "settle_order", trips)
    assert core.shop("2", lines=(("A", 9),)).results == ("assertion",)
    core.shop("3", lines=(("A", 9),))
    assert owner(core, "3") == "HZ01"
    assert core.stock("HZ01", "A") == (10, 0, 10)


def test_more_goods_than_fit_are_read_again_and_again(
    core: CoreBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept_stock, "ROWS_MAX", 2)
    for n in range(2, 12):
        core.shop(str(n), lines=(("A", 1), ("B", 1)))
    owned = [owner(core, str(n)) for n in range(2, 12)]
    assert owned == ["HZ01"] * 9 + ["SZ01"]
    assert core.stock("HZ01", "A") == (10, 0, 10)
    assert core.do(c.Sweep()) is not None
