"""A rule gives a gift: it rides in the main parcel, must be scanned, and never holds it up."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cloud_core.domain import commands as c
from cloud_core.domain.change_commands import CancelOrder
from protocols import codec
from protocols import events as e
from protocols.commands import Grant
from tests.support.core import CoreBench
from tests.support.routed import accepted, apply_rules, left, name_of, shipment, stock, token_of

ID, ORDER = name_of("1"), "DB202600000001"
RULE = """
[[rules]]
name = "满 5 元赠 B"
when = { amount_from_yuan = 5 }
then = { gifts = { "B" = 1 }%s }
"""


@pytest.fixture
def bench(tmp_path: Path) -> CoreBench:
    found = CoreBench(tmp_path)
    found.online()
    found.heartbeat()
    apply_rules(found, RULE % "")
    return found


def child(bench: CoreBench) -> Any:
    return bench.one("SELECT id, state, shipment_id, bound FROM gift_child")


def granted(bench: CoreBench, agent: str = "hz-a") -> Grant:
    (sent,) = [cmd for cmd in bench.commands(agent) if cmd.kind == "grant"]
    return codec.decode(sent.body, Grant)


def test_the_gift_rides_and_the_bench_is_told_its_number(bench: CoreBench) -> None:
    bench.shop("1", lines=(("A", 2), ("B", 1)), amount_fen=500)
    assert child(bench) == (f"{ORDER}GIFT", "riding", ID, 1)
    assert bench.stock("HZ01", "B") == (10, 0, 2)
    row = accepted(bench, "1")
    grant = granted(bench)
    assert grant.gift == f"{ORDER}GIFT"
    assert [(x.sku, x.quantity, x.gift) for x in grant.lines] == [
        ("A", 2, False), ("B", 1, False), ("B", 1, True),
    ]  # fmt: skip
    packed = e.ParcelPacked(ID, token_of(row), row["waybill"], gift=f"{ORDER}GIFT")
    bench.report("hz-a", ("parcel.packed", packed))
    assert child(bench)[1] == "packed"
    left(bench, "hz-a", row, A=2, B=2)
    assert child(bench)[1] == "sent"
    assert bench.stock("HZ01", "B") == (8, 0, 0)


def test_an_order_below_the_limit_gets_none_and_a_repeat_gets_no_second(bench: CoreBench) -> None:
    bench.shop("2", amount_fen=499)
    assert bench.rows("SELECT id FROM gift_child") == []
    bench.shop("1", amount_fen=500)
    bench.shop("1", amount_fen=500)
    bench.shop("1", amount_fen=500, version=2)
    assert bench.one("SELECT COUNT(*) FROM gift_child") == 1
    assert bench.one("SELECT SUM(quantity) FROM order_line WHERE gift = 1") == 1


def test_a_gift_that_nobody_has_is_owed_and_the_order_goes(bench: CoreBench) -> None:
    stock(bench, HZ01_B=0, SZ01_B=0)
    bench.shop("1", amount_fen=500)
    assert child(bench) == (f"{ORDER}GIFT", "owed", "", 1)
    assert shipment(bench, "1")["state"] == "offered"
    accepted(bench, "1")
    assert granted(bench).gift == ""


def test_when_the_next_warehouse_lacks_the_gift_the_order_goes_alone(bench: CoreBench) -> None:
    stock(bench, SZ01_B=0)
    bench.shop("1", amount_fen=500)
    row = shipment(bench, "1")
    assert (row["warehouse"], child(bench)[1]) == ("HZ01", "riding")
    bench.report("hz-a", ("offer.rejected", e.OfferRejected(ID, token_of(row), "closed")))
    row = shipment(bench, "1")
    assert (row["warehouse"], row["state"]) == ("SZ01", "offered")
    assert child(bench)[1] == "owed"
    assert bench.stock("HZ01", "B") == (10, 0, 0)
    assert bench.stock("SZ01", "A") == (10, 0, 1)
    assert [tuple(r) for r in bench.rows("SELECT sku, quantity FROM shipment_line")] == [("A", 1)]


def test_a_rule_may_leave_the_scan_free_and_a_cancel_ends_the_child(bench: CoreBench) -> None:
    apply_rules(bench, RULE % ", gift_bind = false")
    bench.shop("1", amount_fen=500)
    accepted(bench, "1")
    assert granted(bench).gift == ""
    assert child(bench)[3] == 0
    bench.do(CancelOrder(ORDER, "refund", "key:cs"))
    assert child(bench)[1] == "cancelled"


def test_a_gift_that_does_not_exist_is_named(bench: CoreBench) -> None:
    applied = bench.do(c.ApplyRules((RULE % "").replace('"B"', '"NONE"'), "key:test"))
    assert [(p.field, p.code) for p in applied.problems] == [("then.gifts", "sku_unknown")]
    applied = bench.do(c.ApplyRules((RULE % "").replace("1 }", "0 }"), "key:test"))
    assert [p.code for p in applied.problems] == ["rule_range"]
