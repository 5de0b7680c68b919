"""What a bench does that no longer owns a shipment is booked where it happened, and only there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cloud_core.domain import commands as c
from protocols import events as e
from protocols.commands import OfferLine
from protocols.messages import AgentState, EpochKept, StreamPosition, Token
from tests.support.core import CoreBench, FloorAgent

SHIPMENT = "DB202600000001-1"
T1, T2 = Token(1, 1), Token(1, 2)


@pytest.fixture
def bench(tmp_path: Path) -> CoreBench:
    bench = CoreBench(tmp_path)
    bench.online()
    return bench


def accepted(token: Token) -> tuple[str, Any]:
    body = e.OfferAccepted(SHIPMENT, token, "DB202600000001", "shop1", "1", [OfferLine("A", 1)])
    return "offer.accepted", body


def picked(token: Token) -> tuple[str, Any]:
    return "item.picked", e.ItemPicked(SHIPMENT, token, "A", 1)


def put_back(token: Token) -> tuple[str, Any]:
    return "task.stopped", e.TaskStopped(SHIPMENT, token, T2, [e.PutBack("A", 1)], "none")


def owned_by_the_second(bench: CoreBench) -> None:
    bench.shop("1")
    bench.clock.advance(121)
    bench.heartbeat()
    bench.do(c.Sweep())
    bench.report("sz-a", accepted(T2))


def test_goods_put_back_by_the_old_bench_are_on_its_shelf_again(bench: CoreBench) -> None:
    owned_by_the_second(bench)
    bench.report("hz-a", picked(T1), put_back(T1))
    assert bench.stock("HZ01", "A") == (10, 0, 0)


def test_goods_put_back_by_the_old_bench_leave_the_new_ones_work_alone(bench: CoreBench) -> None:
    owned_by_the_second(bench)
    bench.report("sz-a", picked(T2))
    bench.report("hz-a", picked(T1))
    bench.report("hz-a", put_back(T1))
    assert bench.one("SELECT picked FROM shipment_line") == 1
    bench.report("sz-a", ("parcel.packed", e.ParcelPacked(SHIPMENT, T2, "ZT0000000001")))
    assert bench.stock("SZ01", "A") == (9, 1, 1)
    assert bench.stock("HZ01", "A") == (10, 0, 0)


def test_nothing_is_put_back_that_was_never_picked_there(bench: CoreBench) -> None:
    owned_by_the_second(bench)
    bench.report("hz-a", put_back(T1))
    assert bench.stock("HZ01", "A") == (10, 0, 0)


def test_an_older_epoch_that_is_replayed_does_not_dethrone_the_current_card(
    bench: CoreBench,
) -> None:
    """A core restored to before either epoch hears the older rows after the newer hello."""
    old = FloorAgent("hz-a", "hz01", epoch="00000000000000c1")
    new = FloorAgent("hz-a", "hz01", epoch="00000000000000c2")
    rows = [old.event("stock.counted", e.StockCounted([e.Count("B", 7)]))]
    hello = new.hello()
    hello.streams[0] = StreamPosition(
        "floor", new.epoch, 1, 1, new.hash.hex(), [EpochKept(old.epoch, 1, 1)]
    )
    bench.do(c.GreetAgent("hz01", "hz-a", hello))
    bench.do(old.batch(rows))
    welcome = bench.do(c.GreetAgent("hz01", "hz-a", hello))
    assert not any(have.fork for have in welcome.streams)
    assert bench.rows("SELECT kind FROM alarm WHERE kind = 'card_doubled'") == []
    assert bench.stock("HZ01", "B") == (7, 0, 0)


def test_a_new_card_that_counts_its_connections_from_the_start_is_heard(bench: CoreBench) -> None:
    bench.do(c.SeeAgent("hz01", "hz-a", AgentState(1, "hz-a", on=True, inc=90)))
    wiped = FloorAgent("hz-a", "hz01", epoch="00000000000000cc")
    bench.do(c.GreetAgent("hz01", "hz-a", wiped.hello(fresh=True)))
    bench.clock.advance(60)
    bench.heartbeat("hz-a")
    assert bench.one("SELECT seen_ms FROM agent_state WHERE agent = 'hz-a'") == bench.clock.ms


def test_a_command_that_a_bench_refuses_is_not_forgotten(bench: CoreBench) -> None:
    bench.shop("1")
    bench.report("hz-a", accepted(T1))
    grant = bench.commands("hz-a")[-1].id
    refused = e.CommandReceived([], [e.CommandRefused(grant, "field_invalid")])
    bench.report("hz-a", ("command.received", refused))
    assert bench.one("SELECT key FROM alarm WHERE kind = 'command_refused'") == grant
