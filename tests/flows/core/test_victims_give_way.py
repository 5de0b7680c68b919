"""A count finds less than was promised: unpaid baskets, then un-picked shipments give way."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from cloud_core.domain.hold_commands import ConfirmHold, Keyed, PlaceHolds, WantedHold
from cloud_core.flows.registry import FOLDS
from cloud_core.flows.victims import choose_victims
from cloud_core.store.stock_check import StockCheck
from protocols import events as e
from protocols.commands import OfferLine
from protocols.messages import Token
from tests.support.core import CoreBench
from tests.support.ledger import write_openings


@dataclass(frozen=True, slots=True)
class GiveWay:
    warehouse: str
    sku: str


@pytest.fixture
def core(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CoreBench:
    fold: Any = lambda ws, command: choose_victims(ws, command.warehouse, command.sku)  # noqa: E731
    monkeypatch.setitem(FOLDS, GiveWay, (fold, None))
    bench = CoreBench(tmp_path)
    write_openings(bench.engine)
    bench.online()
    return bench


def basket(core: CoreBench, name: str, quantity: int) -> None:
    hold = WantedHold(name, (("A", quantity),))
    core.do(PlaceHolds((hold,), Keyed("s", name, "d"), "key:k"))
    core.clock.advance(1)


def count(core: CoreBench, found: int, agent: str = "hz-a") -> list[str]:
    core.report(agent, ("stock.counted", e.StockCounted([e.Count("A", found)])))
    return core.do(GiveWay("HZ01" if agent == "hz-a" else "SZ01", "A"))


def where(core: CoreBench, order: str) -> tuple[str, str, str]:
    return core.one(
        "SELECT state, warehouse, parked FROM shipment WHERE order_id LIKE :o", o=f"%{order}"
    )


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
    assert StockCheck(core.engine).full()[0] == []


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
    assert core.do(GiveWay("HZ01", "A")) == [], "what is picked never gives way"


def test_a_count_that_covers_every_promise_moves_nobody(core: CoreBench) -> None:
    core.shop("1", lines=(("A", 4),))
    basket(core, "H-1", 3)
    assert count(core, 7) == []
    assert core.rows("SELECT * FROM incident") == []
