"""A count finds less than was promised: unpaid baskets, then un-picked shipments give way."""

from __future__ import annotations

from pathlib import Path

import pytest

from cloud_core.domain.hold_commands import ConfirmHold, Keyed, PlaceHolds, WantedHold
from cloud_core.store.stock_check import StockCheck
from cloud_core.store.stock_views import StockViews
from protocols import events as e
from protocols.commands import OfferLine
from protocols.messages import Token
from tests.support.core import CoreBench
from tests.support.ledger import write_openings


@pytest.fixture
def core(tmp_path: Path) -> CoreBench:
    bench = CoreBench(tmp_path)
    write_openings(bench.engine)
    bench.online()
    return bench


def basket(core: CoreBench, name: str, quantity: int) -> None:
    hold = WantedHold(name, (("A", quantity),))
    core.do(PlaceHolds((hold,), Keyed("s", name, "d"), "key:k"))
    core.clock.advance(1)


def count(core: CoreBench, found: int) -> list[str]:
    """Have the bench count; the holds that the incidents of that commit name."""
    before = len(victims(core))
    core.report("hz-a", ("stock.counted", e.StockCounted([e.Count("A", found)])))
    return victims(core)[before:]


def victims(core: CoreBench) -> list[str]:
    rows = core.rows("SELECT detail FROM incident WHERE kind = 'stock_victim' ORDER BY id")
    return [row[0].rpartition("预占 ")[2] for row in rows]


def oversold(core: CoreBench) -> list[tuple[object, ...]]:
    """Rows that promise more than there is, and rows that movements do not explain."""
    more = core.rows("SELECT warehouse, sku FROM stock WHERE held > shelf + picked")
    return [tuple(row) for row in more] + [(drift,) for drift in StockCheck(core.engine).full()[0]]


def where(core: CoreBench, order: str) -> tuple[str, str, str]:
    found: tuple[str, str, str] = core.one(
        "SELECT state, warehouse, parked FROM shipment WHERE order_id LIKE :o", o=f"%{order}"
    )
    return found


def test_baskets_lose_before_paid_orders_the_newest_first(core: CoreBench) -> None:
    core.shop("1", lines=(("A", 4),))
    basket(core, "H-old", 3)
    basket(core, "H-new", 3)
    assert count(core, 8) == ["H-new"]
    assert core.stock("HZ01", "A") == (8, 0, 7)
    late = core.do(ConfirmHold("H-new", Keyed("s", "c", "d"), "key:k")).holds[0]
    assert late.code == "hold_lost"
    assert where(core, "1") == ("offered", "HZ01", "")
    (incident,) = core.rows("SELECT kind, warehouse, detail FROM incident")
    assert incident[:2] == ("stock_victim", "HZ01")
    assert "H-new" in incident[2]


def test_an_unpicked_shipment_is_routed_again_in_the_same_commit(core: CoreBench) -> None:
    core.shop("1", lines=(("A", 6),))
    core.clock.advance(1)
    core.shop("2", lines=(("A", 4),))
    assert count(core, 7) == ["DB202600000002-1@1"]
    assert where(core, "1") == ("offered", "HZ01", "")
    assert where(core, "2") == ("offered", "SZ01", "")
    kinds = [command.kind for command in core.commands("hz-a")]
    assert kinds[-1] == "cancel", "the old bench is fenced"
    assert core.one("SELECT shipment_id FROM incident") == "DB202600000002-1"
    changes = [row[0] for row in core.rows("SELECT change FROM trail ORDER BY id")]
    assert "victim:A" in changes
    assert oversold(core) == []


def test_a_count_is_on_sale_with_the_commit_that_takes_it_in(core: CoreBench) -> None:
    """The bench's batch is one commit. When it is acknowledged the shelf, the offer to the next
    house and what a product page reads are all there; no sweep, no second command, no clock."""
    core.shop("1", lines=(("A", 6),))
    other = core.agents["hz-a"]
    row = other.event("stock.counted", e.StockCounted([e.Count("A", 5)]), core.clock.ms)
    commits: list[str] = []
    core.core._on_commit = commits.append
    now_ms = core.clock.ms
    core.do(other.batch([row]))
    assert commits == ["before_commit", "after_commit"]
    assert core.clock.ms == now_ms
    assert core.stock("HZ01", "A") == (5, 0, 0)
    assert where(core, "1") == ("offered", "SZ01", "")
    assert [command.kind for command in core.commands("sz-a")] == ["offer"]
    (page,) = StockViews(core.engine).stock(["A"])
    assert page["warehouses"] == [
        {"warehouse": "HZ01", "available": 5}, {"warehouse": "SZ01", "available": 4},
    ]  # fmt: skip


def test_a_short_pick_is_booked_with_the_commit_that_takes_it_in(core: CoreBench) -> None:
    """A bench that cannot find the goods refuses with what it counted: the same one commit."""
    core.shop("1", lines=(("A", 6),))
    lost = e.OfferRejected("DB202600000001-1", Token(1, 1), "not_on_shelf", [e.Count("A", 2)])
    commits: list[str] = []
    core.core._on_commit = commits.append
    core.report("hz-a", ("offer.rejected", lost))
    assert commits == ["before_commit", "after_commit"]
    assert core.stock("HZ01", "A") == (2, 0, 0)
    assert where(core, "1") == ("offered", "SZ01", "")
    (page,) = StockViews(core.engine).stock(["A"])
    assert page["warehouses"][0] == {"warehouse": "HZ01", "available": 2}


def test_with_nowhere_to_go_it_parks_and_holds_nothing(core: CoreBench) -> None:
    core.shop("0", lines=(("A", 10),))
    core.shop("1", lines=(("A", 10),))
    assert count(core, 9) == ["DB202600000000-1@1"]
    assert where(core, "0") == ("routed", "", "no_stock")
    assert core.stock("HZ01", "A") == (9, 0, 0)


def test_what_a_bench_has_is_named_for_a_person_and_paid_baskets_stay(core: CoreBench) -> None:
    core.shop("1", lines=(("A", 5),))
    token = Token(1, 1)
    lines = [OfferLine("A", 5)]
    name = "DB202600000001-1"
    accepted = e.OfferAccepted(name, token, "o", "shop1", "1", lines)
    core.report("hz-a", ("offer.accepted", accepted))
    basket(core, "H-paid", 5)
    core.do(ConfirmHold("H-paid", Keyed("s", "c", "d"), "key:k"))
    assert count(core, 8) == [f"{name}@1"]
    assert core.stock("HZ01", "A") == (8, 0, 10), "only its bench gives it back"
    (alarm,) = core.rows("SELECT key, text FROM alarm WHERE kind = 'stock_short'")
    assert alarm[0] == "HZ01/A"
    assert "仍缺 2 件" in alarm[1]
    core.report("hz-a", ("item.picked", e.ItemPicked(name, token, "A", 1)))
    assert count(core, 7) == [], "what is picked never gives way"


def test_a_count_that_covers_every_promise_moves_nobody(core: CoreBench) -> None:
    core.shop("1", lines=(("A", 4),))
    basket(core, "H-1", 3)
    assert count(core, 7) == []
    assert core.rows("SELECT * FROM incident") == []


def test_a_short_pick_moves_the_promises_it_cannot_keep(core: CoreBench) -> None:
    core.shop("1", lines=(("A", 4),))
    core.clock.advance(1)
    core.shop("2", lines=(("A", 5),))
    token, name = Token(1, 1), "DB202600000001-1"
    accepted = e.OfferAccepted(name, token, "o", "shop1", "1", [OfferLine("A", 4)])
    core.report("hz-a", ("offer.accepted", accepted))
    core.report("hz-a", ("item.picked", e.ItemPicked(name, token, "A", 1)))
    core.report("hz-a", ("pick.shorted", e.PickShorted(name, token, "A", 4, 4)))
    assert victims(core) == ["DB202600000002-1@1"]
    assert where(core, "2") == ("offered", "SZ01", "")
    assert where(core, "1") == ("picking", "HZ01", ""), "its bench decides what happens to it"
    assert core.rows("SELECT * FROM alarm WHERE kind = 'short_pick' AND closed_ms IS NULL")
    assert oversold(core) == []


def test_a_bench_that_rejects_with_a_count_gives_up_all_it_lacks(core: CoreBench) -> None:
    core.shop("1", lines=(("A", 4),))
    core.clock.advance(1)
    core.shop("2", lines=(("A", 5),))
    for order in ("1", "2"):
        name = f"DB20260000000{order}-1"
        rejected = e.OfferRejected(name, Token(1, 1), "not_on_shelf", [e.Count("A", 3)])
        core.report("hz-a", ("offer.rejected", rejected))
        assert where(core, order) == ("offered", "SZ01", "")
    assert core.stock("HZ01", "A") == (3, 0, 0)
    assert core.stock("SZ01", "A") == (10, 0, 9)
    assert oversold(core) == []


def test_two_counts_in_one_batch_are_settled_in_one_commit(core: CoreBench) -> None:
    core.shop("1", lines=(("A", 6), ("B", 6)))
    core.clock.advance(1)
    core.shop("2", lines=(("A", 2),))
    counted = e.StockCounted([e.Count("B", 0), e.Count("A", 1)])
    core.report("hz-a", ("stock.counted", counted))
    assert where(core, "1") == ("offered", "SZ01", "")
    assert where(core, "2") == ("offered", "SZ01", "")
    assert set(victims(core)) == {"DB202600000001-1@1", "DB202600000002-1@1"}
    assert oversold(core) == []
