"""Two cores on one PostgreSQL: who comes too late folds anew, and the caller sees one true answer.

The other core writes at the worst moment, between the load and the save of the first, from inside
its fold. Connections are cut by the server, before and after the COMMIT.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event

from cloud_core.committer import CommitCore, Flow
from cloud_core.domain import commands as c
from cloud_core.domain.change_commands import CancelOrder
from cloud_core.domain.shop_order import ShopEvent, ShopEventKind, ShopLine
from cloud_core.flows.registry import FOLDS
from cloud_core.store.working_set import WorkingSet
from protocols import events as e
from protocols.commands import OfferLine
from protocols.errors import Unavailable
from protocols.messages import Token
from tests.support import databases, postgres
from tests.support.core import CoreBench

ROOM_S = 60


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[CoreBench]:
    """One core with both warehouses online."""
    try:
        with databases.running_on("postgresql"):
            found = CoreBench(tmp_path)
            found.online()
            yield found
    except postgres.NoServer as missing:
        pytest.skip(str(missing))


def order(bench: CoreBench, native: str, *lines: tuple[str, int], **values: Any) -> Any:
    """A paid order as the shop's channel brings it."""
    paid = ShopEvent(
        channel=values.pop("channel", "shop1"), native_id=native,
        dedupe_key=values.pop("key", native), kind=ShopEventKind.PAID, version=1,
        occurred_at_ms=bench.clock.ms,
        lines=tuple(ShopLine(n, sku, q, 100) for n, (sku, q) in enumerate(lines or [("A", 1)], 1)),
    )  # fmt: skip
    incoming = c.IncomingOrder(paid, None, values.pop("id", f"DB2026{native:0>8}"), f"t-{native}")
    return c.ApplyShopEvents("shop1", (incoming,))


class Meddled:
    """A core whose fold of one command is disturbed once, after it has loaded and decided."""

    def __init__(self, bench: CoreBench, kind: type, meddle: Callable[[], None]) -> None:
        fold, prefetch = FOLDS[kind]
        self.folded = 0
        self._meddle = meddle

        def disturbed(ws: WorkingSet, command: Any) -> Any:
            result = fold(ws, command)
            self.folded += 1
            if self.folded == 1:
                self._meddle()
            return result

        engine = databases.open_database(*bench_place(bench))
        changed: Any = {kind.__name__: Flow(disturbed, prefetch)}
        self.core: CommitCore = bench.another_core(engine, **changed)

    def do(self, command: Any) -> Any:
        (result,) = self.core.commit([command]).results
        return result


def bench_place(bench: CoreBench) -> tuple[Path, str]:
    return bench.folder, "core.db"


def left(bench: CoreBench, sku: str, units: int) -> None:
    """Only the first warehouse has the SKU, and this much of it."""
    with bench.engine.begin() as con:
        con.exec_driver_sql("UPDATE stock SET shelf = 0 WHERE sku = %s", (sku,))
        con.exec_driver_sql(
            "UPDATE stock SET shelf = %s WHERE sku = %s AND warehouse = 'HZ01'", (units, sku)
        )


def test_the_last_unit_goes_to_whoever_committed_it(bench: CoreBench) -> None:
    left(bench, "A", 1)
    late = Meddled(bench, c.ApplyShopEvents, lambda: bench.do(order(bench, "1")))
    late.do(order(bench, "2"))
    assert late.folded == 2
    assert bench.stock("HZ01", "A") == (1, 0, 1)
    parked = "SELECT parked <> '' FROM shipment WHERE id = :s"
    assert bench.one(parked, s="DB202600000001-1") is False
    assert bench.one(parked, s="DB202600000002-1") is True


def test_two_that_both_fit_do_not_wait_for_each_other(bench: CoreBench) -> None:
    left(bench, "A", 2)
    other = Meddled(bench, c.ApplyShopEvents, lambda: bench.do(order(bench, "1")))
    other.do(order(bench, "2"))
    assert other.folded == 1, "a hold that still fits is not folded anew"
    assert bench.stock("HZ01", "A") == (2, 0, 2)


def test_one_shop_message_taken_by_two_cores_is_one_order(bench: CoreBench) -> None:
    first: list[Any] = []
    late = Meddled(bench, c.ApplyShopEvents, lambda: first.append(bench.do(order(bench, "1"))))
    second = late.do(order(bench, "1", id="DB2026FFFFFFFF"))
    assert (first[0].results, second.results) == (("created",), ("duplicate",))
    assert second.order_ids == first[0].order_ids
    assert bench.one("SELECT count(*) FROM orders") == 1


def test_the_same_order_by_two_ways_is_one_order(bench: CoreBench) -> None:
    late = Meddled(
        bench, c.ApplyShopEvents, lambda: bench.do(order(bench, "1", key="by-file")) and None
    )
    late.do(order(bench, "1", key="by-hook", id="DB2026FFFFFFFF"))
    assert bench.one("SELECT count(*) FROM orders") == 1
    assert bench.stock("HZ01", "A") == (10, 0, 1)


def test_a_count_is_judged_on_what_is_held_when_it_counts(bench: CoreBench) -> None:
    """Who loses goods to a count is chosen from every hold that stands by then (P3)."""
    left(bench, "A", 2)
    late = Meddled(bench, c.RecordBatch, lambda: bench.do(order(bench, "1", ("A", 2))))
    other = bench.agents["hz-a"]
    row = other.event("stock.counted", e.StockCounted([e.Count("A", 1)]), bench.clock.ms)
    late.do(other.batch([row]))
    assert late.folded == 2
    assert bench.stock("HZ01", "A")[0] == 1


def test_a_cancel_beside_an_accept_leaves_one_truth(bench: CoreBench) -> None:
    bench.do(order(bench, "1"))
    shipment, token = "DB202600000001-1", Token(1, 1)
    accepted = e.OfferAccepted(shipment, token, "o", "shop1", "1", [OfferLine("A", 1)])
    late = Meddled(
        bench, c.RecordBatch,
        lambda: bench.do(CancelOrder("DB202600000001", "cancelled", "test")),
    )  # fmt: skip
    other = bench.agents["hz-a"]
    late.do(other.batch([other.event("offer.accepted", accepted, bench.clock.ms)]))
    assert late.folded == 2
    assert bench.one("SELECT state, stop FROM shipment")[1] == "cancelled"
    assert bench.stock("HZ01", "A")[2] == 0
    assert not [m for m in bench.commands("hz-a") if m.kind == "grant"]


@pytest.mark.parametrize("when", ["while folding", "before the commit", "in the commit", "after"])
def test_a_cut_connection_is_not_seen_by_the_caller(bench: CoreBench, when: str) -> None:
    cuts: list[str] = []

    def cut() -> None:
        if not cuts:
            cuts.append(when)
            bench.rows(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid() "
                "AND state <> 'idle'"
            )

    nothing: Callable[[], None] = lambda: None  # noqa: E731
    other = Meddled(bench, c.ApplyShopEvents, cut if when == "while folding" else nothing)
    if when == "before the commit":
        other.core._on_commit = lambda point: cut() if point == "before_commit" else None
    elif when == "in the commit":
        event.listen(other.core._engine, "commit", lambda con: cut())
    elif when == "after":

        def committed_but_unheard(con: Any) -> None:
            if not cuts:
                con.connection.driver_connection.execute("COMMIT")
                con.connection.driver_connection.execute("BEGIN")
                cut()

        event.listen(other.core._engine, "commit", committed_but_unheard)
    done = other.do(order(bench, "1"))
    assert cuts == [when]
    assert done.results == ("created",)
    assert other.folded == (1 if when == "after" else 2)
    assert bench.stock("HZ01", "A") == (10, 0, 1)
    assert bench.one("SELECT count(*) FROM movement") == 1


def test_a_server_that_restarts_in_the_middle_costs_time_and_nothing_else(tmp_path: Path) -> None:
    server = postgres.PostgresServer(Path(f"/tmp/packline-pg-{tmp_path.parent.name}-r"), ())
    try:
        server.init()
        server.start()
    except postgres.NoServer as missing:
        pytest.skip(str(missing))
    try:
        with databases.running_on("postgresql", server.url()):
            bench = CoreBench(tmp_path)
            bench.online()

            def restart() -> None:
                server.stop(postgres.POWER_CUT)
                threading.Timer(0.5, server.start).start()

            other = Meddled(bench, c.ApplyShopEvents, restart)
            done = other.do(order(bench, "1"))
            assert done.results == ("created",)
            assert bench.stock("HZ01", "A") == (10, 0, 1)
    finally:
        server.stop(postgres.POWER_CUT)
        server.remove()


def test_a_server_that_stays_away_is_said_to_be_away(bench: CoreBench, monkeypatch: Any) -> None:
    monkeypatch.setattr("cloud_core.store.rounds.SERVER_BACK_S", 0.3)
    core = bench.another_core(bench.engine)
    core._engine = core._engine.execution_options()
    nowhere = bench.engine.url.set(query={"host": "/nowhere"})
    from cloud_core.store.engine import committing, open_engine

    core._engine = committing(open_engine(nowhere.render_as_string(hide_password=False)))
    results = core.commit([order(bench, "1"), order(bench, "2")]).results
    assert [type(r) for r in results] == [Unavailable, Unavailable]
    assert {r.code for r in results} == {"database"}


def test_orders_with_their_lines_in_opposite_order_end_without_a_deadlock_seen(
    bench: CoreBench,
) -> None:
    with bench.engine.begin() as con:
        con.exec_driver_sql("UPDATE stock SET shelf = 1000")
    results = in_threads(bench, 4, lambda who, n: order(bench, f"{who}{n:03}", *pair(who)), each=25)
    assert {r.results for r in results} == {("created",)}
    held = sum(bench.stock(w, "A")[2] for w in ("HZ01", "SZ01"))
    assert held == 100
    assert conserved(bench)


def test_five_units_and_forty_buyers_in_four_cores_sell_five(bench: CoreBench) -> None:
    left(bench, "A", 5)
    in_threads(bench, 4, lambda who, n: order(bench, f"{who}{n:03}"), each=10)
    assert bench.stock("HZ01", "A") == (5, 0, 5)
    assert bench.one("SELECT count(*) FROM shipment WHERE parked = ''") == 5
    assert conserved(bench)


def test_no_number_is_drawn_twice_from_one_pool(bench: CoreBench) -> None:
    for number in range(40):
        bench.do(order(bench, f"{number}", ("B" if number % 2 else "A", 1)))
    half = {"hz-a": [], "sz-a": []}  # type: dict[str, list[Any]]
    for shipment, agent in bench.rows("SELECT id, agent FROM shipment WHERE state = 'offered'"):
        body = e.OfferAccepted(shipment, Token(1, 1), "o", "shop1", "1", [OfferLine("A", 1)])
        half[agent].append(bench.agents[agent].event("offer.accepted", body, bench.clock.ms))
    batches = [bench.agents[agent].batch(rows) for agent, rows in half.items() if rows]
    in_threads(bench, len(batches), lambda who, n: batches[who], each=1)
    drawn = bench.rows("SELECT waybill FROM shipment WHERE state = 'granted'")
    assert len(drawn) == sum(map(len, half.values()))
    assert len({row[0] for row in drawn}) == len(drawn)


def pair(who: int) -> tuple[tuple[str, int], ...]:
    return (("A", 1), ("B", 1)) if who % 2 else (("B", 1), ("A", 1))


def conserved(bench: CoreBench) -> bool:
    """Every counter of held units is the sum of its movements."""
    wrong = bench.rows(
        "SELECT s.warehouse, s.sku FROM stock s LEFT JOIN (SELECT warehouse, sku, sum(d_held) AS h "
        "FROM movement GROUP BY warehouse, sku) m USING (warehouse, sku) "
        "WHERE s.held <> coalesce(m.h, 0)"
    )
    return wrong == []


def in_threads(
    bench: CoreBench, cores: int, command: Callable[[int, int], Any], *, each: int
) -> list[Any]:
    """Each core commits its commands one by one, all at the same time; every result."""
    results: list[Any] = []
    begin = threading.Barrier(cores)
    engines = [databases.open_database(*bench_place(bench)) for _ in range(cores)]

    def run(who: int) -> None:
        core = bench.another_core(engines[who])
        begin.wait()
        for n in range(each):
            results.extend(core.commit([command(who, n)]).results)

    threads = [threading.Thread(target=run, args=(who,)) for who in range(cores)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(ROOM_S)
    assert len(results) == cores * each
    assert not [r for r in results if isinstance(r, Exception)], results
    return results
