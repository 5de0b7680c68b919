"""Every counter is what movements and holds add up to; a row that is not is named."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import text

from cloud_core.domain.conservation import Drift
from cloud_core.domain.hold_commands import ConfirmHold, Keyed, PlaceHolds, WantedHold
from cloud_core.flows.conserve import Conservator
from cloud_core.store.engine import writer
from cloud_core.store.stock_check import StockCheck
from protocols import events as e
from tests.support.core import CoreBench
from tests.support.ledger import write_openings


@pytest.fixture
def core(tmp_path: Path) -> CoreBench:
    bench = CoreBench(tmp_path)
    write_openings(bench.engine)
    bench.online()
    return bench


def spoil(core: CoreBench, sql: str) -> None:
    with writer(core.engine).begin() as connection:
        connection.execute(text(sql))


def trade(core: CoreBench) -> None:
    for n in range(4):
        core.shop(str(n), lines=(("A", 1), ("B", 2)))
        hold = WantedHold(f"H{n}", (("A", 1),))
        core.do(PlaceHolds((hold,), Keyed("s", f"p{n}", "d"), "key:k"))
    core.do(ConfirmHold("H1", Keyed("s", "c1", "d"), "key:k"))
    core.report("hz-a", ("stock.counted", e.StockCounted([e.Count("A", 12)])))


def whole_pass(core: CoreBench, checker: Conservator) -> None:
    before = checker.checked.passes
    for _ in range(50):
        news = checker.look(core.clock.ms)
        if news is not None:
            core.do(news)
        if checker.checked.passes > before:
            return
    raise AssertionError("the pass never ended")


def test_what_moves_stock_is_all_in_the_movements(core: CoreBench) -> None:
    trade(core)
    check = StockCheck(core.engine)
    drifts, rows, movements = check.full()
    assert (drifts, rows) == ([], 4)
    assert movements == core.one("SELECT count(*) FROM movement")
    checker = Conservator(check)
    whole_pass(core, checker)
    assert checker.checked.drift_rows == 0
    core.clock.advance(120)
    whole_pass(core, checker)
    assert core.one("SELECT value FROM core_meta WHERE key = 'stock_base_upto'") == str(movements)
    trade_more = WantedHold("H9", (("B", 3),))
    core.do(PlaceHolds((trade_more,), Keyed("s", "p9", "d"), "key:k"))
    whole_pass(core, checker)
    assert checker.checked.drift_rows == 0
    assert core.rows("SELECT * FROM alarm WHERE kind = 'stock_drift'") == []


def test_a_row_that_drifts_is_named_until_it_is_well_again(core: CoreBench) -> None:
    trade(core)
    checker = Conservator(StockCheck(core.engine))
    core.clock.advance(120)
    whole_pass(core, checker)
    spoil(core, "UPDATE stock SET shelf = shelf + 3 WHERE warehouse = 'SZ01' AND sku = 'B'")
    spoil(core, "UPDATE stock SET held = held - 1 WHERE warehouse = 'HZ01' AND sku = 'A'")
    for _ in range(2):
        whole_pass(core, checker)
    assert checker.checked.drift_rows == 2
    alarms = core.rows("SELECT key, count, text FROM alarm WHERE kind = 'stock_drift' ORDER BY key")
    assert [tuple(row)[:2] for row in alarms] == [
        ("HZ01/A/held", 1), ("HZ01/A/holds", 1), ("SZ01/B/shelf", 1),
    ]  # fmt: skip
    assert "应为 10，实为 13" in alarms[2][2]
    assert StockCheck(core.engine).full()[0][-1] == Drift("SZ01", "B", "shelf", 10, 13)
    spoil(core, "UPDATE stock SET shelf = shelf - 3 WHERE warehouse = 'SZ01' AND sku = 'B'")
    spoil(core, "UPDATE stock SET held = held + 1 WHERE warehouse = 'HZ01' AND sku = 'A'")
    whole_pass(core, checker)
    assert checker.checked.drift_rows == 0
    open_now = "SELECT * FROM alarm WHERE kind = 'stock_drift' AND closed_ms IS NULL"
    assert core.rows(open_now) == []


def test_a_lost_movement_and_a_lost_row_are_found(core: CoreBench) -> None:
    trade(core)
    spoil(core, "DELETE FROM movement WHERE id = (SELECT max(id) FROM movement)")
    spoil(core, "DELETE FROM stock WHERE warehouse = 'SZ01' AND sku = 'A'")
    found = {(d.warehouse, d.sku, d.counter) for d in StockCheck(core.engine).full()[0]}
    assert found == {("HZ01", "A", "shelf"), ("SZ01", "A", "shelf")}


def test_movements_are_summed_when_they_are_many_or_old_and_a_drift_is_seen_before(
    core: CoreBench,
) -> None:
    check = StockCheck(core.engine)
    openings = check.settle(core.clock.ms)
    trade(core)
    assert check.settle(core.clock.ms) == 0, "a few young ones wait"
    spoil(core, "UPDATE stock SET held = held + 1 WHERE warehouse = 'HZ01' AND sku = 'A'")
    part = check.slice(None)
    assert part is not None
    assert {(d.warehouse, d.sku) for d in part.drifts} == {("HZ01", "A")}
    core.clock.advance(61)
    assert check.settle(core.clock.ms) == core.one("SELECT count(*) FROM movement") - openings
    assert check.settle(core.clock.ms) == 0
    again = check.slice(None)
    assert again is not None
    assert [d.key for d in again.drifts] == [d.key for d in part.drifts]
