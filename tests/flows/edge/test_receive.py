"""Commands of the core become durable work, once, whatever the wire does to them."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_agent.domain.moment import ServerOffset
from edge_agent.flows import bench, receive
from edge_agent.journal import fences, meta, rows
from protocols import commands
from protocols.messages import Command, Token
from tests.support.edge import PLAN, Floor, cancel, grant, offer

SHIPMENT = "DB2026AAAA-1"


@pytest.fixture
def floor(tmp_path: Path) -> Floor:
    floor = Floor(tmp_path)
    floor.resynced()
    return floor


def test_an_offer_is_accepted_and_its_receipt_is_in_the_same_commit(floor: Floor) -> None:
    floor.tell(offer(), cmd_id="c1")
    assert floor.types()[1:] == ["offer.accepted", "command.received"]
    assert floor.bodies("command.received")[0]["ids"] == ["c1"]
    assert floor.state(SHIPMENT) == "accepted"


def test_a_command_that_comes_again_has_no_second_effect(floor: Floor) -> None:
    command = floor.command(offer(), cmd_id="c1")
    for _ in range(3):
        floor.write(lambda tx: receive.receive(tx, [command, command], floor.bench))
    assert floor.types()[1:] == ["offer.accepted", "command.received"]


def test_the_receipt_is_repeated_only_for_a_core_that_has_forgotten_it(floor: Floor) -> None:
    command = floor.command(offer(), cmd_id="c1")
    floor.write(lambda tx: receive.receive(tx, [command], floor.bench))
    floor.write(lambda tx: rows.set_acked(tx.db, 1, 3))
    floor.write(lambda tx: receive.receive(tx, [command], floor.bench))
    assert floor.types()[1:] == ["offer.accepted", "command.received", "command.received"]


def test_an_offer_overtaken_by_its_cancel_is_refused(floor: Floor) -> None:
    floor.tell(cancel(fence=2, answer=False))
    taken = floor.tell(offer(n=1), cmd_id="late")
    assert taken.refused == (("late", "stale_token"),)
    assert "offer.accepted" not in floor.types()
    assert floor.bodies("command.received")[-1]["refused"] == [
        {"id": "late", "code": "stale_token"}
    ]


def test_a_grant_below_the_fence_prints_nothing_and_a_higher_one_does(floor: Floor) -> None:
    floor.tell(cancel(fence=3, answer=False))
    floor.tell(grant(n=2))
    assert floor.print_next() == ""
    floor.tell(grant(n=3))
    assert floor.print_next() == "sending"


def test_only_a_grant_queues_a_label(floor: Floor) -> None:
    floor.tell(offer())
    assert floor.print_next() == ""
    floor.tell(grant())
    assert floor.bodies("grant.stored")[0]["waybill"] == "WAAAA1"
    assert floor.print_next() == "sending"


def test_a_closed_warehouse_and_one_without_a_printer_reject(tmp_path: Path) -> None:
    floor = Floor(tmp_path)
    floor.write(lambda tx: bench.set_open(tx.db, False))
    floor.tell(offer())
    floor.write(lambda tx: bench.set_open(tx.db, True))
    floor.plan = type(PLAN)(site="sha", agent="sha-1")
    floor.tell(offer("DB2026BBBB-1"))
    assert [body["reason"] for body in floor.bodies("offer.rejected")] == ["closed", "no_printer"]


def test_an_offer_expires_by_the_servers_clock_and_never_without_one(floor: Floor) -> None:
    floor.tell(offer(), ttl_s=120)
    assert floor.types()[-2] == "offer.accepted"
    floor.offset = ServerOffset(1_800_000_000_000 + 120_000, 5)
    floor.tell(offer("DB2026BBBB-1"), ttl_s=120)
    assert floor.bodies("offer.rejected")[0]["reason"] == "expired"


def test_an_untouched_task_stops_by_itself_and_says_so(floor: Floor) -> None:
    floor.tell(grant(print_on="pack"))
    floor.tell(cancel())
    assert floor.state(SHIPMENT) == "stopped"
    assert floor.bodies("task.stopped") == [
        {"shipment": SHIPMENT, "token": [1, 1], "fence": [1, 2], "reason": "refund"}
    ]


def test_a_shipment_never_seen_is_answered_and_its_fence_is_kept(floor: Floor) -> None:
    floor.tell(cancel(fence=4))
    assert floor.bodies("task.stopped")[0]["token"] == [1, 3]
    assert floor.read(lambda db: fences.of(db, SHIPMENT)) == Token(1, 4)
    floor.tell(cancel(fence=2))
    assert floor.read(lambda db: fences.of(db, SHIPMENT)) == Token(1, 4)


def test_an_accepted_offer_taken_back_ends_silently(floor: Floor) -> None:
    floor.tell(offer())
    floor.tell(cancel(answer=False))
    assert floor.state(SHIPMENT) == "stopped"
    assert "task.stopped" not in floor.types()


def test_the_shipment_comes_back_under_a_higher_token(floor: Floor) -> None:
    floor.tell(offer(n=1))
    floor.tell(offer(n=2))
    floor.tell(grant(n=2))
    assert floor.state(SHIPMENT) == "granted"
    assert floor.tell(grant(n=1), cmd_id="old").refused == (("old", "stale_token"),)


def test_a_grant_that_an_earlier_life_of_the_core_sent_is_passed_over(floor: Floor) -> None:
    """A broker may keep one for hours; card and core may both have been put back meanwhile."""
    late = floor.command(grant(), cmd_id="late")
    floor.write(lambda tx: meta.put(tx.db, "core_epoch", 2))
    taken = floor.write(lambda tx: receive.receive(tx, [late], floor.bench))
    assert taken == receive.Taken((), ())
    assert floor.types()[1:] == []
    floor.core_epoch = 2
    floor.tell(grant(), cmd_id="late")
    assert floor.state(SHIPMENT) == "granted"


def test_a_yes_to_a_broadcast_claim_gives_no_right(floor: Floor) -> None:
    floor.tell(
        commands.Try(
            shipment=SHIPMENT, token=Token(1, 1), order="DB2026AAAA",
            lines=[commands.OfferLine("SKU-A", 1)], ship_by_ms=0,
        )
    )  # fmt: skip
    assert floor.types()[-2:] == ["try.accepted", "command.received"]
    assert floor.scan(f"TASK-{SHIPMENT}").code == "not_granted"
    floor.tell(grant(n=2))
    assert floor.state(SHIPMENT) == "granted"


def test_a_bad_command_is_named_and_its_neighbours_go_through(floor: Floor) -> None:
    bad = Command(
        v=1, id="bad", cs=1, k="offer", sent_ms=0, core_epoch=1, d=floor.command(cancel()).d
    )
    unknown = Command(v=1, id="unknown", cs=2, k="dance", sent_ms=0, core_epoch=1, d=bad.d)
    good = floor.command(offer(), cmd_id="good")
    floor.write(lambda tx: receive.receive(tx, [bad, unknown, good], floor.bench))
    told = floor.bodies("command.received")[0]
    assert told["ids"] == ["bad", "unknown", "good"]
    assert told["refused"] == [
        {"id": "bad", "code": "field_invalid"},
        {"id": "unknown", "code": "command_unknown"},
    ]
    assert floor.state(SHIPMENT) == "accepted"


def test_resynchronisation_is_for_one_epoch_only(tmp_path: Path) -> None:
    floor = Floor(tmp_path)
    assert floor.tell(commands.ResyncDone("f" * 16)).refused[0][1] == "stale_epoch"
    floor.tell(commands.ResyncDone(floor.core.position.epoch))
    assert floor.read(bench.resynced_epoch) == floor.core.position.epoch


def test_many_fences_at_once(floor: Floor) -> None:
    floor.tell(grant())
    floor.tell(grant("DB2026BBBB-1", print_on="pack"))
    told = [commands.Fence(f"DB2026{name}-1", Token(1, 9)) for name in ("AAAA", "BBBB", "CCCC")]
    floor.tell(commands.Fences(told))
    assert floor.state("DB2026AAAA-1") == "stopped"
    assert floor.state("DB2026BBBB-1") == "stopped"
    assert floor.read(lambda db: fences.of(db, "DB2026CCCC-1")) == Token(1, 9)
