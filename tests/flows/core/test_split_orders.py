"""An order that no warehouse has alone becomes several shipments, each with a life of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from cloud_core.domain import commands as c
from cloud_core.domain.change_commands import CancelOrder
from cloud_core.domain.hold_commands import ConfirmHold, Keyed, PlaceHolds, WantedHold
from protocols import events as e
from tests.support.core import CoreBench
from tests.support.routed import accepted, apply_rules, left, name_of, shipment, stock, token_of

BOTH = (("A", 2), ("B", 1))


@pytest.fixture
def bench(tmp_path: Path) -> CoreBench:
    found = CoreBench(tmp_path)
    found.online()
    found.heartbeat()
    stock(found, HZ01_A=2, HZ01_B=0, SZ01_A=0, SZ01_B=1)
    apply_rules(found, "[split]\ndefault = false\nchannels = { shop1 = true }\n")
    return found


@pytest.fixture(autouse=True)
def _known_channel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cloud_core.store.rules_rows.channels", lambda connection: {"shop1"})


def houses(bench: CoreBench) -> list[tuple[str, str, str]]:
    return [
        tuple(row) for row in bench.rows("SELECT id, warehouse, state FROM shipment ORDER BY id")
    ]


def order_state(bench: CoreBench) -> str:
    return str(bench.one("SELECT state FROM orders"))


def test_two_parcels_leave_two_houses_and_the_order_is_the_later(bench: CoreBench) -> None:
    bench.shop("1", lines=BOTH)
    assert houses(bench) == [
        (name_of("1", 1), "HZ01", "offered"), (name_of("1", 2), "SZ01", "offered"),
    ]  # fmt: skip
    assert bench.stock("HZ01", "A") == (2, 0, 2)
    assert bench.stock("SZ01", "B") == (1, 0, 1)
    first, second = accepted(bench, "1", 1), accepted(bench, "1", 2)
    assert first["waybill"] != second["waybill"] != ""
    left(bench, "hz-a", first, A=2)
    assert order_state(bench) == "granted"
    left(bench, "sz-a", second, B=1)
    assert order_state(bench) == "handed_over"
    assert bench.stock("HZ01", "A") == (0, 0, 0)
    assert bench.rows("SELECT id FROM hold WHERE state = 'held'") == []


def test_a_parked_order_is_split_when_the_goods_arrive(bench: CoreBench) -> None:
    stock(bench, SZ01_B=0)
    bench.shop("1", lines=BOTH)
    assert shipment(bench, "1")["parked"] == "no_stock"
    bench.report("sz-a", ("stock.counted", e.StockCounted([e.Count("B", 4)])))
    bench.do(c.Sweep(parked=True))
    assert [row[1] for row in houses(bench)] == ["HZ01", "SZ01"]
    lines = bench.rows("SELECT shipment_id, sku, quantity FROM shipment_line ORDER BY shipment_id")
    assert [tuple(row) for row in lines] == [(name_of("1"), "A", 2), (name_of("1", 2), "B", 1)]


def test_a_part_that_is_refused_is_routed_alone(bench: CoreBench) -> None:
    bench.shop("1", lines=BOTH)
    part = shipment(bench, "1", 2)
    before = shipment(bench, "1")
    bench.report("sz-a", ("offer.rejected", e.OfferRejected(part["id"], token_of(part), "closed")))
    part = shipment(bench, "1", 2)
    assert (part["state"], part["parked"]) == ("routed", "rejected")
    assert bench.stock("SZ01", "B") == (1, 0, 1)  # still set aside
    bench.report("hz-a", ("stock.counted", e.StockCounted([e.Count("B", 3)])))
    bench.do(c.Sweep(parked=True))
    assert shipment(bench, "1", 2)["warehouse"] == "HZ01"
    assert bench.stock("SZ01", "B") == (1, 0, 0)
    assert shipment(bench, "1") == before


def test_a_basket_held_in_two_houses_is_what_the_parts_get(bench: CoreBench) -> None:
    wanted = WantedHold("ho_1", BOTH, 900, "shop1", "cart-1")
    bench.do(PlaceHolds((wanted,), Keyed("k", "1", "d"), "key:shop"))
    bench.do(ConfirmHold("ho_1", Keyed("k", "2", "d"), "key:shop"))
    bench.shop("2", lines=(("A", 1),))
    assert shipment(bench, "2")["parked"] == "no_stock"  # the basket has them
    bench.shop("1", lines=BOTH, hold="ho_1")
    assert [row[1] for row in houses(bench) if row[0].startswith("DB202600000001")] == [
        "HZ01", "SZ01",
    ]  # fmt: skip
    assert bench.one("SELECT state FROM hold WHERE id = 'ho_1'") == "moved"
    assert bench.stock("HZ01", "A") == (2, 0, 2)


def test_a_stopped_order_stops_every_part(bench: CoreBench) -> None:
    bench.shop("1", lines=BOTH)
    accepted(bench, "1", 2)
    bench.do(CancelOrder("DB202600000001", "cancelled", "test"))
    assert [shipment(bench, "1", n)["stop"] for n in (1, 2)] == ["cancelled", "stopping"]
    part = shipment(bench, "1", 2)
    told = e.TaskStopped(part["id"], token_of(part), token_of(part))
    bench.report("sz-a", ("task.stopped", told))
    assert bench.one("SELECT stop FROM orders") == "cancelled"
    assert bench.rows("SELECT held FROM stock WHERE held <> 0") == []


def test_a_change_of_one_part_is_a_new_version_of_the_order(bench: CoreBench) -> None:
    bench.shop("1", lines=BOTH)
    before = bench.one("SELECT version FROM orders")
    accepted(bench, "1", 2)
    assert bench.one("SELECT version FROM orders") > before


def test_another_channel_s_order_waits_in_one_piece(bench: CoreBench) -> None:
    apply_rules(bench, "[split]\ndefault = false\n")
    bench.shop("1", lines=BOTH)
    assert [row[2] for row in houses(bench)] == ["routed"]
