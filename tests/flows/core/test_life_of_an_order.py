"""An order's life in the core: owned in one commit, granted once, shipped, or stopped in time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cloud_core.domain import commands as c
from cloud_core.domain.policy import DAY_MS
from cloud_core.domain.shop_order import ShopEvent, ShopEventKind, ShopLine
from protocols import events as e
from protocols.codec import decode_plain
from protocols.commands import Cancel, Grant, OfferLine
from protocols.errors import Rejected
from protocols.messages import Token
from tests.support.core import CoreBench

SHIPMENT = "DB202600000001-1"
T1 = Token(1, 1)


@pytest.fixture
def bench(tmp_path: Path) -> CoreBench:
    bench = CoreBench(tmp_path)
    bench.online()
    return bench


def accept(shipment: str = SHIPMENT, token: Token = T1) -> tuple[str, Any]:
    lines = [OfferLine("A", 1)]
    return "offer.accepted", e.OfferAccepted(shipment, token, "o", "shop1", "1", lines)


def handed_over(token: Token = T1) -> tuple[str, Any]:
    body = e.ParcelHandedOver(SHIPMENT, token, "ZT0000000001", "o", "shop1", "1",
                              [OfferLine("A", 1)])  # fmt: skip
    return "parcel.handed_over", body


def state(bench: CoreBench) -> tuple[str, str]:
    found: tuple[str, str] = bench.one("SELECT state, stop FROM shipment WHERE id = :s", s=SHIPMENT)
    return found


def test_a_paid_order_is_held_owned_and_offered_in_one_commit(bench: CoreBench) -> None:
    bench.shop("1")
    assert state(bench) == ("offered", "")
    assert bench.stock("HZ01", "A") == (10, 0, 1)
    offer = bench.commands("hz-a")[-1]
    assert (offer.kind, offer.ttl_s) == ("offer", 120)
    assert bench.commands("sz-a") == []
    promise = "SELECT ship_by_ms - paid_ms, expected_ms - ship_by_ms FROM "
    transit = bench.one("SELECT transit_days FROM carrier WHERE id = 'ZTO'") * DAY_MS
    assert bench.one(promise + "orders") == bench.one(promise + "shipment") == (DAY_MS, transit)
    assert transit > 0


def test_an_accepted_offer_becomes_a_grant_with_a_number_and_then_a_parcel(
    bench: CoreBench,
) -> None:
    bench.shop("1")
    bench.report("hz-a", accept())
    grant = decode_plain(bench.commands("hz-a")[-1].body, Grant)
    assert (grant.waybill, grant.token) == ("ZT0000000001", T1)
    bench.report(
        "hz-a",
        ("item.picked", e.ItemPicked(SHIPMENT, T1, "A", 1)),
        ("parcel.packed", e.ParcelPacked(SHIPMENT, T1, grant.waybill)),
    )
    assert bench.stock("HZ01", "A") == (9, 1, 1)
    bench.report("hz-a", handed_over())
    assert bench.stock("HZ01", "A") == (9, 0, 0)
    assert bench.one("SELECT state FROM orders") == "handed_over"
    assert bench.one("SELECT count(*) FROM shop_outbox") == 1


@pytest.mark.parametrize(
    ("kind", "version"),
    [("created", 0), ("created", 1), ("paid", 0), ("paid", 1), ("paid", 9), ("address_changed", 0),
     ("native_status", 0)],
)  # fmt: skip
def test_what_a_shop_says_of_earlier_states_after_the_hand_over_is_refused_and_kept(
    bench: CoreBench, kind: str, version: int
) -> None:
    bench.shop("1")
    bench.report("hz-a", accept(), handed_over())
    before = bench.rows("SELECT state, stop, paid_ms, ship_by_ms, district FROM orders")
    event = ShopEvent(
        channel="shop1", native_id="1", dedupe_key=f"late/{kind}", kind=ShopEventKind(kind),
        version=version, occurred_at_ms=bench.clock.ms,
        lines=(ShopLine(1, "B", 5, 100),) if kind in ("created", "paid") else (),
    )  # fmt: skip
    incoming = c.IncomingOrder(event, None, "DB202600000099", "t-99")
    said = c.ApplyShopEvents("shop1", (incoming,), source="192.0.2.7")
    assert bench.do(said).results == ("stored",)
    assert bench.rows("SELECT state, stop, paid_ms, ship_by_ms, district FROM orders") == before
    assert state(bench) == ("handed_over", "")
    assert bench.stock("HZ01", "B") == (10, 0, 0)
    kept = bench.one("SELECT actor, source, detail FROM trail WHERE change = :c",
                     c=f"refused:{kind}")  # fmt: skip
    assert kept == ("channel:shop1", "192.0.2.7", f"version {version}")


def test_a_cancel_after_the_hand_over_moves_no_state_back(bench: CoreBench) -> None:
    bench.shop("1")
    bench.report("hz-a", accept(), handed_over())
    bench.shop("1", "cancelled", version=0, lines=())
    assert state(bench) == ("handed_over", "intercept")
    assert bench.one("SELECT state, stop FROM orders") == ("handed_over", "intercept")
    assert bench.stock("HZ01", "A") == (9, 0, 0)
    assert bench.one("SELECT actor FROM trail WHERE change = 'stop:cancelled'") == "channel:shop1"
    assert bench.one("SELECT kind FROM alarm WHERE closed_ms IS NULL") == "intercept"


def test_the_same_batch_twice_has_one_effect(bench: CoreBench) -> None:
    bench.shop("1")
    agent = bench.agents["hz-a"]
    batch = agent.batch([agent.event(*accept())])
    first, second = bench.do(batch), bench.do(batch)
    assert first.have == second.have == 1
    assert bench.one("SELECT count(*) FROM waybill WHERE state = 'drawn'") == 1


def test_an_offer_nobody_answers_goes_to_the_next_warehouse(bench: CoreBench) -> None:
    bench.shop("1")
    bench.clock.advance(121)
    bench.heartbeat()
    bench.do(c.Sweep())
    assert bench.one("SELECT warehouse, token_n FROM shipment") == ("SZ01", 2)
    assert bench.stock("HZ01", "A") == (10, 0, 0)
    assert bench.stock("SZ01", "A") == (10, 0, 1)
    cancel = decode_plain(bench.commands("hz-a")[-1].body, Cancel)
    assert cancel.fence == Token(1, 2)
    bench.report("hz-a", accept())  # too late: no grant
    assert state(bench) == ("offered", "")


def test_a_refund_before_the_grant_ends_at_once_and_frees_the_stock(bench: CoreBench) -> None:
    bench.shop("1")
    bench.shop("1", "refund_requested", version=2, lines=())
    assert state(bench) == ("offered", "cancelled")
    assert bench.stock("HZ01", "A") == (10, 0, 0)
    assert bench.one("SELECT stop FROM orders") == "cancelled"


def test_a_refund_while_packing_waits_for_the_bench_to_put_back(bench: CoreBench) -> None:
    bench.shop("1")
    bench.report("hz-a", accept(), ("item.picked", e.ItemPicked(SHIPMENT, T1, "A", 1)))
    bench.shop("1", "refund_requested", version=2, lines=())
    assert state(bench)[1] == "stopping"
    assert bench.stock("HZ01", "A") == (9, 1, 1)
    body = e.TaskStopped(SHIPMENT, T1, Token(1, 2), [e.PutBack("A", 1)], "pulled")
    bench.report("hz-a", ("task.stopped", body))
    assert state(bench)[1] == "cancelled"
    assert bench.stock("HZ01", "A") == (10, 0, 0)
    assert bench.one("SELECT state FROM waybill WHERE number = 'ZT0000000001'") == "void"


def test_a_hand_over_after_a_refund_is_recorded_and_intercepted(bench: CoreBench) -> None:
    bench.shop("1")
    bench.report("hz-a", accept())
    bench.shop("1", "refund_requested", version=2, lines=())
    bench.report("hz-a", handed_over())
    assert state(bench) == ("handed_over", "intercept")
    assert bench.stock("HZ01", "A") == (9, 0, 0)
    assert bench.one("SELECT kind FROM incident") == "handed_over_after_stop"
    assert bench.one("SELECT count(*) FROM shop_outbox") == 0


def test_with_no_stock_anywhere_the_order_is_parked_and_retried(bench: CoreBench) -> None:
    bench.shop("1", lines=(("A", 11),))
    assert bench.one("SELECT parked FROM shipment") == "no_stock"
    count = e.StockCounted([e.Count("A", 20)])
    bench.report("sz-a", ("stock.counted", count))
    bench.do(c.Sweep())
    assert bench.one("SELECT warehouse, parked FROM shipment") == ("SZ01", "")


def test_with_no_number_left_the_accepted_offer_waits_alarmed(bench: CoreBench) -> None:
    with bench.engine.connect().execution_options(packline_writes=True) as con, con.begin():
        con.exec_driver_sql("UPDATE waybill SET state = 'void'")
    bench.shop("1")
    bench.report("hz-a", accept())
    assert bench.one("SELECT waiting, deadline_ms FROM shipment") == ("waybill", None)
    assert bench.one("SELECT kind FROM alarm WHERE closed_ms IS NULL") == "waybill_pool_empty"
    with bench.engine.connect().execution_options(packline_writes=True) as con, con.begin():
        con.exec_driver_sql("INSERT INTO waybill (number, carrier, state) VALUES "
                            "('ZT9900000001', 'ZTO', 'free')")  # fmt: skip
    bench.do(c.Sweep())
    assert state(bench) == ("granted", "")


def test_a_refund_that_arrives_before_its_order_stops_it_all_the_same(bench: CoreBench) -> None:
    bench.shop("1", "refund_requested", version=5, lines=())
    bench.shop("1", "paid", version=3)
    assert bench.one("SELECT count(*) FROM shipment") == 0
    assert bench.one("SELECT stop FROM orders") == "cancelled"


def test_a_message_id_used_again_for_something_else_is_quarantined(bench: CoreBench) -> None:
    bench.shop("1", key="m1")
    applied = bench.shop("2", key="m1")
    assert applied.results == ("id_reused",)
    assert bench.one("SELECT code, field FROM quarantine") == ("id_reused", "id")


def test_an_unknown_sku_names_its_field_and_makes_no_order(bench: CoreBench) -> None:
    applied = bench.shop("1", lines=(("NOPE", 1),))
    assert applied.results == ("sku_unknown",)
    assert bench.one("SELECT field FROM quarantine") == "lines[0].sku"
    assert bench.rows("SELECT id FROM orders") == []


def test_an_unregistered_agent_is_refused(bench: CoreBench) -> None:
    stranger = bench.agents["hz-a"]
    with pytest.raises(Rejected, match="agent_site"):
        bench.do(c.GreetAgent("sz01", "hz-a", stranger.hello()))


def test_a_restored_card_is_told_to_open_a_new_epoch(bench: CoreBench) -> None:
    bench.shop("1")
    bench.report("hz-a", accept())
    agent = bench.agents["hz-a"]
    agent.seq -= 1
    agent.hash = b"\x01" * 32
    ack = bench.report("hz-a", ("stock.counted", e.StockCounted([e.Count("B", 3)])))
    assert ack.fork
    assert bench.stock("HZ01", "B") == (10, 0, 0)


def test_a_wiped_card_gets_its_fences_and_open_grants_again(bench: CoreBench) -> None:
    bench.shop("1")
    bench.shop("2")
    bench.report("hz-a", accept())
    bench.commands("hz-a")
    bench.shop("2", "refund_requested", version=2, lines=())
    wiped = bench.agents["hz-a"]
    wiped.epoch, wiped.seq, wiped.rows = "00000000000000cc", 0, []
    wiped.__post_init__()
    welcome = bench.do(c.GreetAgent("hz01", "hz-a", wiped.hello(fresh=True)))
    assert welcome.resync
    kinds = [out.kind for out in bench.commands("hz-a")]
    assert kinds.count("grant") == 1
    assert kinds[-1] == "resync_done"
    assert "fences" in kinds
    again = next(o for o in bench.commands("hz-a") if o.kind == "grant")
    assert decode_plain(again.body, Grant).reissue


def test_every_counter_can_be_rebuilt_from_the_movements(bench: CoreBench) -> None:
    bench.shop("1")
    bench.report("hz-a", accept(), handed_over())
    for warehouse, sku, shelf, picked, held in bench.rows(
        "SELECT warehouse, sku, shelf, picked, held FROM stock"
    ):
        moved = bench.one(
            "SELECT COALESCE(SUM(d_shelf),0), COALESCE(SUM(d_picked),0), COALESCE(SUM(d_held),0) "
            "FROM movement WHERE warehouse = :w AND sku = :s", w=warehouse, s=sku,
        )  # fmt: skip
        assert (shelf - 10, picked, held) == tuple(moved)
