"""A person takes a shipment from its bench at risk; what was there stays counted until told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cloud_core.domain import commands as c
from cloud_core.store.stock_check import StockCheck
from protocols import codec
from protocols import events as e
from protocols.commands import Cancel
from protocols.errors import Rejected
from protocols.messages import Token
from tests.support.core import CoreBench
from tests.support.routed import accepted, left, name_of, shipment, token_of

ID = name_of("1")


@pytest.fixture
def bench(tmp_path: Path) -> CoreBench:
    found = CoreBench(tmp_path)
    found.online()
    found.heartbeat()
    found.shop("1", lines=(("A", 2),))
    return found


def picked_and_taken(bench: CoreBench) -> dict[str, Any]:
    """HZ01 has picked one unit when a person takes the shipment away; the row before that."""
    row = accepted(bench, "1")
    bench.report("hz-a", ("item.picked", e.ItemPicked(ID, token_of(row), "A", 1)))
    taken = bench.do(c.TakeBack(ID, "仓库停电", "key:ops", "192.0.2.7"))
    assert (taken.state, taken.warehouse, taken.at_risk) == ("offered", "SZ01", True)
    return row


def incident(bench: CoreBench) -> int:
    kind = "taken_back_at_risk"
    return int(bench.one("SELECT id FROM incident WHERE kind = :k", k=kind))


def drift(bench: CoreBench) -> list[Any]:
    check = StockCheck(bench.engine, wait_ms=0)
    check.settle(bench.clock.ms)
    part = check.slice(None)
    # The fixture's shelves were filled without a movement.
    return [d for d in part.drifts if d.counter != "shelf"] if part else []


def test_the_next_house_has_goods_of_its_own_and_the_old_ones_stay_held(bench: CoreBench) -> None:
    old = picked_and_taken(bench)
    assert bench.stock("HZ01", "A") == (9, 1, 2)
    assert bench.stock("SZ01", "A") == (10, 0, 2)
    assert bench.one("SELECT state FROM hold WHERE id = :i", i=f"{ID}@1") == "incident"
    assert bench.one("SELECT state FROM waybill WHERE number = :n", n=old["waybill"]) == "void"
    (cancel,) = [cmd for cmd in bench.commands("hz-a") if cmd.kind == "cancel"]
    body = codec.decode(cancel.body, Cancel)
    assert (body.fence, body.answer) == (Token(1, 2), True)
    assert bench.one("SELECT actor, source, action FROM audit") == (
        "key:ops", "192.0.2.7", "shipment.taken_back",
    )  # fmt: skip
    new = accepted(bench, "1")
    assert new["waybill"] not in ("", old["waybill"])
    left(bench, "sz-a", new, A=2)
    assert shipment(bench, "1")["state"] == "handed_over"
    assert bench.stock("HZ01", "A") == (9, 1, 2)
    assert drift(bench) == []


def test_the_old_bench_puts_back_and_that_ends_it(bench: CoreBench) -> None:
    old = picked_and_taken(bench)
    told = e.TaskStopped(ID, token_of(old), Token(1, 2), [e.PutBack("A", 1)])
    bench.report("hz-a", ("task.stopped", told))
    assert bench.stock("HZ01", "A") == (10, 0, 0)
    assert shipment(bench, "1")["warehouse"] == "SZ01"
    assert drift(bench) == []
    bench.do(c.ResolveIncident(incident(bench), "key:ops"))


def test_the_old_bench_had_sent_it_all_the_same(bench: CoreBench) -> None:
    old = picked_and_taken(bench)
    bench.report("hz-a", ("item.picked", e.ItemPicked(ID, token_of(old), "A", 1)))
    left(bench, "hz-a", old, A=2)
    assert bench.stock("HZ01", "A") == (8, 0, 0)
    assert bench.one("SELECT state FROM hold WHERE id = :i", i=f"{ID}@1") == "shipped"
    row = shipment(bench, "1")
    assert (row["state"], row["warehouse"]) == ("offered", "SZ01")  # people decide
    kinds = [row[0] for row in bench.rows("SELECT kind FROM incident ORDER BY id")]
    assert kinds[0] == "taken_back_at_risk"
    assert "handed_over_under_old_token" in kinds
    assert drift(bench) == []


@pytest.mark.parametrize(
    ("effect", "after"),
    [("put_back", (10, 0, 0)), ("shipped", (8, 0, 0)), ("lost", (8, 0, 0))],
)
def test_a_person_says_what_became_of_the_goods(
    bench: CoreBench, effect: str, after: tuple[int, int, int]
) -> None:
    picked_and_taken(bench)
    with pytest.raises(Rejected) as refused:
        bench.do(c.ResolveIncident(incident(bench), "key:ops"))
    assert (refused.value.code, refused.value.field) == ("stock_effect_missing", "stock_effect")
    with pytest.raises(Rejected) as refused:
        bench.do(c.ResolveIncident(incident(bench), "key:ops", stock_effect="eaten"))
    assert refused.value.code == "stock_effect_invalid"
    bench.do(c.ResolveIncident(incident(bench), "key:ops", stock_effect=effect))
    assert bench.stock("HZ01", "A") == after
    assert bench.one("SELECT result FROM hold WHERE id = :i", i=f"{ID}@1") == f"{effect}:key:ops"
    assert drift(bench) == []


def test_an_offer_is_taken_back_without_any_risk(bench: CoreBench) -> None:
    taken = bench.do(c.TakeBack(ID, "换仓", "key:ops"))
    assert (taken.state, taken.warehouse, taken.at_risk) == ("offered", "SZ01", False)
    assert bench.stock("HZ01", "A") == (10, 0, 0)
    assert bench.rows("SELECT id FROM incident") == []


def test_nonsense_is_refused_by_field(bench: CoreBench) -> None:
    row = accepted(bench, "1")
    for values, code, field in (
        (("DB-NO-1", "x"), "shipment_unknown", "shipment_id"),
        ((ID, "  "), "reason_missing", "reason"),
    ):
        with pytest.raises(Rejected) as refused:
            bench.do(c.TakeBack(*values, "key:ops"))
        assert (refused.value.code, refused.value.field) == (code, field)
    left(bench, "hz-a", row, A=2)
    with pytest.raises(Rejected) as refused:
        bench.do(c.TakeBack(ID, "x", "key:ops"))
    assert refused.value.code == "shipment_not_owned"
