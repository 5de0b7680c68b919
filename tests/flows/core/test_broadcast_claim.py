"""Several warehouses are asked at once; the first yes gets the shipment, and only that one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cloud_core.domain import commands as c
from cloud_core.domain.change_commands import CancelOrder
from cloud_core.domain.decision_record import sentences
from cloud_core.domain.shop_order import ShopEvent, ShopEventKind, ShopLine
from cloud_core.store import schema as t
from protocols import codec
from protocols import events as e
from protocols.commands import Cancel, Try
from protocols.messages import Token
from tests.support.core import CoreBench
from tests.support.routed import apply_rules, left, name_of, shipment, stock, token_of

ID = name_of("1")


@pytest.fixture
def bench(tmp_path: Path) -> CoreBench:
    found = CoreBench(tmp_path)
    found.online()
    found.heartbeat()
    apply_rules(found, '[[rules]]\nname = "抢单"\nthen = {broadcast = 2}\n')
    found.shop("1")
    return found


def sent(bench: CoreBench, agent: str) -> list[Any]:
    """Commands about shipments that the agent was sent."""
    return [cmd for cmd in bench.commands(agent) if cmd.kind in ("try", "offer", "grant", "cancel")]


def yes(bench: CoreBench, agent: str, row: dict[str, Any] | None = None) -> None:
    token = token_of(row or shipment(bench, "1"))
    bench.report(agent, ("try.accepted", e.TryAccepted(ID, token)))


def test_both_are_asked_and_nobody_may_print(bench: CoreBench) -> None:
    row = shipment(bench, "1")
    assert (row["state"], row["waiting"], row["agent"]) == ("offered", "claim", "")
    assert bench.stock("HZ01", "A") == (10, 0, 1)
    for agent in ("hz-a", "sz-a"):
        (cmd,) = sent(bench, agent)
        assert (cmd.kind, codec.decode(cmd.body, Try).token) == ("try", Token(1, 1))


def test_the_first_yes_moves_the_goods_and_is_granted_the_other_is_fenced(
    bench: CoreBench,
) -> None:
    asked = shipment(bench, "1")
    yes(bench, "sz-a")
    yes(bench, "hz-a", asked)
    row = shipment(bench, "1")
    assert (row["state"], row["agent"], row["warehouse"]) == ("granted", "sz-a", "SZ01")
    assert token_of(row) == Token(1, 2)
    assert [bench.stock(w, "A") for w in ("HZ01", "SZ01")] == [(10, 0, 0), (10, 0, 1)]
    assert [cmd.kind for cmd in sent(bench, "sz-a")] == ["try", "grant"]
    told = sent(bench, "hz-a")
    assert [cmd.kind for cmd in told] == ["try", "cancel"]
    assert codec.decode(told[1].body, Cancel).fence == Token(1, 2)
    said = "".join(sentences(row["decision"], {"HZ01": "华东仓", "SZ01": "华南仓"}))
    assert "由华南仓（SZ01）发货" in said
    assert "未选华东仓（HZ01）：抢单中其他仓先应答" in said
    left(bench, "sz-a", row, A=1)
    assert shipment(bench, "1")["state"] == "handed_over"


def test_a_yes_of_a_house_that_has_sold_the_goods_meanwhile_is_refused(bench: CoreBench) -> None:
    stock(bench, SZ01_A=0)
    yes(bench, "sz-a")
    row = shipment(bench, "1")
    assert (row["waiting"], row["agent"]) == ("claim", "")
    yes(bench, "hz-a")
    assert shipment(bench, "1")["agent"] == "hz-a"


def test_a_yes_after_the_deadline_is_refused_and_the_best_gets_an_offer(bench: CoreBench) -> None:
    asked = shipment(bench, "1")
    bench.clock.advance(121)
    bench.heartbeat()
    yes(bench, "sz-a")
    assert shipment(bench, "1")["agent"] == ""
    bench.do(c.Sweep())
    row = shipment(bench, "1")
    assert (row["state"], row["waiting"], row["agent"]) == ("offered", "", "hz-a")
    yes(bench, "sz-a", asked)
    assert shipment(bench, "1") == row
    assert [cmd.kind for cmd in sent(bench, "hz-a")] == ["cancel", "offer"]
    assert bench.stock("HZ01", "A") == (10, 0, 1)


def test_only_who_was_asked_can_win_and_only_under_this_token(bench: CoreBench) -> None:
    bench.report("sz-a", ("try.accepted", e.TryAccepted(ID, Token(1, 9))))
    bench.report("sz-a", ("try.accepted", e.TryAccepted("DB-UNKNOWN-1", Token(1, 1))))
    assert shipment(bench, "1")["agent"] == ""
    assert bench.rows("SELECT kind FROM incident") == []


def test_a_stop_in_the_middle_reaches_everybody_who_was_asked(bench: CoreBench) -> None:
    asked = shipment(bench, "1")
    bench.do(CancelOrder("DB202600000001", "cancelled", "test"))
    yes(bench, "sz-a", asked)
    assert shipment(bench, "1")["stop"] == "cancelled"
    assert [sent(bench, a)[-1].kind for a in ("hz-a", "sz-a")] == ["cancel", "cancel"]
    assert bench.stock("HZ01", "A") == (10, 0, 0)


def test_a_winner_without_a_number_waits_for_one(bench: CoreBench) -> None:
    with bench.engine.connect().execution_options(packline_writes=True) as con, con.begin():
        con.exec_driver_sql("UPDATE waybill SET state = 'void'")
    yes(bench, "sz-a")
    row = shipment(bench, "1")
    assert (row["state"], row["waiting"], row["agent"]) == ("offered", "waybill", "sz-a")
    assert json.loads(row["decision"])["flags"] == ["claimed"]


def test_several_orders_of_one_file_ask_no_more_than_a_warehouse_can_send(
    tmp_path: Path,
) -> None:
    bench = CoreBench(tmp_path)
    bench.online()
    bench.heartbeat()
    apply_rules(bench, '[[rules]]\nname = "抢单"\nthen = {broadcast = 2}\n')
    with bench.engine.connect().execution_options(packline_writes=True) as con, con.begin():
        con.execute(t.warehouse.update().values(capacity_per_day=2))
    bench.core._master = None
    orders = tuple(
        c.IncomingOrder(
            ShopEvent(
                channel="shop1", native_id=native, dedupe_key=native, kind=ShopEventKind.PAID,
                version=1, occurred_at_ms=bench.clock.ms, lines=(ShopLine(1, "A", 1, 100),),
            ),
            None, f"DB2026{native:0>8}", f"t-{native}",
        )
        for native in "12345"
    )  # fmt: skip
    applied = bench.do(c.ApplyShopEvents("shop1", orders))
    assert set(applied.results) == {"created"}
    where = [shipment(bench, native)["warehouse"] for native in "12345"]
    assert where == ["HZ01", "HZ01", "SZ01", "SZ01", ""]
    assert shipment(bench, "5")["parked"] == "capacity"


def test_a_full_house_may_say_yes_to_all_that_it_keeps_goods_for(bench: CoreBench) -> None:
    bench.shop("2")
    with bench.engine.connect().execution_options(packline_writes=True) as con, con.begin():
        con.execute(t.warehouse.update().values(capacity_per_day=2))
    bench.core._master = None
    both = [("try.accepted", e.TryAccepted(name_of(n), token_of(shipment(bench, n)))) for n in "12"]
    bench.report("hz-a", *both)  # one batch, one commit
    assert [shipment(bench, native)["agent"] for native in "12"] == ["hz-a", "hz-a"]
