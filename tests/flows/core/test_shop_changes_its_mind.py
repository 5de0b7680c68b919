"""What shops say comes late, twice, or changed: the newest word about a thing counts (P7, P8)."""

from __future__ import annotations

from pathlib import Path

import pytest

from cloud_core.domain import commands as c
from cloud_core.domain.shop_order import Division, ShopEvent, ShopEventKind, ShopLine
from protocols import events as e
from protocols.codec import decode_plain
from protocols.commands import Notice, OfferLine
from protocols.messages import Token
from tests.support.core import CoreBench

HANGZHOU = Division("330000", "330100", "330110", "浙江省", "杭州市", "余杭区")
SHENZHEN = Division("440000", "440300", "440304", "广东省", "深圳市", "福田区")


@pytest.fixture
def bench(tmp_path: Path) -> CoreBench:
    bench = CoreBench(tmp_path)
    bench.online()
    return bench


def say(
    bench: CoreBench, kind: str, version: int, lines: tuple[tuple[str, int], ...] = (),
    place: Division | None = None,
) -> None:  # fmt: skip
    event = ShopEvent(
        channel="shop1", native_id="1", dedupe_key=f"{kind}/{version}", kind=ShopEventKind(kind),
        version=version, occurred_at_ms=bench.clock.ms, division=place,
        lines=tuple(ShopLine(n, sku, units, 100) for n, (sku, units) in enumerate(lines, 1)),
    )  # fmt: skip
    street = f"{place.district}演示路*号" if place else ""
    contact = c.SealedContact(street.encode(), "k", "测**", "100****0001", street, "h")
    incoming = c.IncomingOrder(event, contact if place else None, "DB202600000001", "t-1")
    bench.do(c.ApplyShopEvents("shop1", (incoming,)))


def where(bench: CoreBench) -> tuple[str, str]:
    return (
        bench.one("SELECT district FROM orders"),
        bench.one("SELECT address_masked FROM contact"),
    )


def test_an_address_change_that_overtook_its_order_is_not_undone_by_it(bench: CoreBench) -> None:
    say(bench, "address_changed", 5, place=HANGZHOU)
    say(bench, "paid", 3, (("A", 1),), place=SHENZHEN)
    assert where(bench) == ("330110", "余杭区演示路*号")
    assert bench.one("SELECT state FROM shipment") == "offered"


def test_an_older_address_never_replaces_a_newer_one(bench: CoreBench) -> None:
    say(bench, "paid", 1, (("A", 1),), place=SHENZHEN)
    say(bench, "address_changed", 5, place=HANGZHOU)
    say(bench, "address_changed", 4, place=SHENZHEN)
    assert where(bench) == ("330110", "余杭区演示路*号")


def test_what_was_paid_for_is_sent_not_what_lay_in_the_basket_before(bench: CoreBench) -> None:
    say(bench, "created", 1, (("A", 1), ("B", 3)), place=SHENZHEN)
    say(bench, "paid", 2, (("A", 2),), place=HANGZHOU)
    assert [tuple(r) for r in bench.rows("SELECT sku, quantity FROM order_line")] == [("A", 2)]
    assert [tuple(r) for r in bench.rows("SELECT sku, quantity FROM shipment_line")] == [("A", 2)]
    assert where(bench) == ("330110", "余杭区演示路*号")
    assert bench.stock("HZ01", "A") == (10, 0, 2)


def test_a_basket_that_arrives_after_its_payment_changes_nothing(bench: CoreBench) -> None:
    say(bench, "paid", 2, (("A", 2),), place=HANGZHOU)
    say(bench, "created", 1, (("A", 1), ("B", 3)), place=SHENZHEN)
    assert [tuple(r) for r in bench.rows("SELECT sku, quantity FROM order_line")] == [("A", 2)]
    assert where(bench) == ("330110", "余杭区演示路*号")


def alarms(bench: CoreBench) -> list[str]:
    return [row[0] for row in bench.rows("SELECT kind FROM alarm WHERE closed_ms IS NULL")]


def test_an_address_that_nobody_can_read_is_shown_to_people_until_it_is_clear(
    bench: CoreBench,
) -> None:
    unclear = Division("330000", "330100", "", "浙江省", "杭州市", "", "division_missing")
    say(bench, "paid", 1, (("A", 1),), place=unclear)
    assert alarms(bench) == ["address_flagged"]
    say(bench, "address_changed", 2, place=HANGZHOU)
    assert alarms(bench) == []


def test_an_address_that_changes_when_the_box_is_closed_is_brought_to_people(
    bench: CoreBench,
) -> None:
    say(bench, "paid", 1, (("A", 1),), place=SHENZHEN)
    lines = [OfferLine("A", 1)]
    body = e.OfferAccepted("DB202600000001-1", Token(1, 1), "DB202600000001", "shop1", "1", lines)
    bench.report("hz-a", ("offer.accepted", body))
    bench.report(
        "hz-a", ("parcel.packed", e.ParcelPacked("DB202600000001-1", Token(1, 1), "ZT0000000001"))
    )
    say(bench, "address_changed", 2, place=HANGZHOU)
    notice = decode_plain(bench.commands("hz-a")[-1].body, Notice)
    assert (notice.shipment, notice.code) == ("DB202600000001-1", "address_changed")
    assert alarms(bench) == ["address_changed"]


def test_an_address_that_changes_before_the_box_is_closed_stops_the_bench(
    bench: CoreBench,
) -> None:
    say(bench, "paid", 1, (("A", 1),), place=SHENZHEN)
    lines = [OfferLine("A", 1)]
    body = e.OfferAccepted("DB202600000001-1", Token(1, 1), "DB202600000001", "shop1", "1", lines)
    bench.report("hz-a", ("offer.accepted", body))
    say(bench, "address_changed", 2, place=HANGZHOU)
    assert bench.one("SELECT stop, waiting FROM shipment") == ("stopping", "readdress")
    assert alarms(bench) == []


def test_a_refund_that_the_shop_refuses_after_the_stop_is_brought_to_people(
    bench: CoreBench,
) -> None:
    say(bench, "paid", 1, (("A", 1),), place=SHENZHEN)
    say(bench, "refund_requested", 2)
    say(bench, "refund_refused", 3)
    assert bench.one("SELECT stop FROM orders") == "cancelled"
    assert alarms(bench) == ["refund_refused"]
