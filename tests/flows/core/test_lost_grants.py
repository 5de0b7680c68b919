"""A restored core, and a bench whose card was replaced in the life that the core forgot.

The old card's rows are gone on both sides, and the new card was told by the forgotten core that the
shipment is none of its business. Such a shipment used to wait for ever (found by a history).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cloud_core.domain import commands as c
from protocols import events as e
from protocols.codec import decode_plain
from protocols.commands import Cancel, Grant, OfferLine
from protocols.messages import Token
from tests.flows.core.test_recovery_tokens import ORDER, Restored, granted, sent_off
from tests.support.core import FloorAgent

SHIPMENT = f"{ORDER}-1"
HERE = "SELECT state, agent, token_epoch, token_n FROM shipment"
COUNTED = ("stock.counted", e.StockCounted([e.Count("B", 10)]))


class LostCard(Restored):
    """An order granted to hz-a and begun there; then the backup, and all that is forgotten."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.online()
        self.shop("1", lines=(("A", 1),))
        self.report("hz-a", granted(1, Token(1, 1), "A")[0])
        self.number = self.one("SELECT waybill FROM shipment")
        offered = [command.id for command in self.commands("hz-a")]
        self.report(
            "hz-a", ("command.received", e.CommandReceived(offered)),
            granted(1, Token(1, 1), "A")[1],
        )  # fmt: skip
        assert self.one(HERE) == ("granted", "hz-a", 1, 1)

    def new_card(self) -> FloorAgent:
        """The bench's card is replaced; the core that resynchronised the new one is forgotten."""
        self.agents["hz-a"] = FloorAgent("hz-a", "hz01", epoch="00000000000000cc")
        return self.agents["hz-a"]

    def grants(self) -> list[Grant]:
        """The grants that wait for hz-a."""
        return [
            decode_plain(command.body, Grant)
            for command in self.commands("hz-a")
            if command.kind == "grant"
        ]

    def refuses(self) -> None:
        """The new card has a fence above every grant of the forgotten life."""
        ids = [command.id for command in self.commands("hz-a") if command.kind == "grant"]
        said = [e.CommandRefused(name, "stale_token") for name in ids]
        self.report("hz-a", ("command.received", e.CommandReceived(ids, said)))

    def given_again(self) -> None:
        """It is its bench's again, under this life's token, with its number and its one hold."""
        assert self.one(HERE) == ("granted", "hz-a", 9, 2)
        (grant,) = self.grants()
        assert (grant.token, grant.waybill, grant.reissue) == (Token(9, 2), self.number, True)
        drawn = self.one(
            "SELECT state, shipment_id, token_epoch, token_n FROM waybill WHERE number = :n",
            n=self.number,
        )
        assert drawn == ("drawn", SHIPMENT, 9, 2)
        held = self.rows("SELECT id, warehouse FROM hold WHERE state = 'held'")
        assert [tuple(row) for row in held] == [(f"{SHIPMENT}@2", "HZ01")]
        assert self.stock("HZ01", "A") == (10, 0, 1)
        told = self.one("SELECT text FROM alarm WHERE kind = 'grant_lost'")
        assert self.number in told

    def alarms(self) -> int:
        return int(self.one("SELECT count(*) FROM alarm WHERE kind = 'grant_lost'"))


@pytest.fixture
def core(tmp_path: Path) -> LostCard:
    return LostCard(tmp_path)


def sends_it(core: LostCard, token: Token) -> None:
    left: Any = sent_off(1, token, "A")[-1]
    core.report("hz-a", left)


def test_a_card_that_a_forgotten_core_resynchronised_gets_the_shipment_again(
    core: LostCard,
) -> None:
    """It says hello as one that knows everything, and has never heard of the shipment."""
    core.restore()
    core.new_card()
    core.tells("hz-a", COUNTED)
    assert core.one(HERE) == ("granted", "hz-a", 1, 1), "another bench may have it"
    core.tells("sz-a")
    core.given_again()
    sends_it(core, Token(9, 2))
    assert core.one("SELECT state FROM shipment") == "handed_over"
    assert core.stock("HZ01", "A") == (9, 0, 0)


def test_the_old_box_is_heard_of_after_all(core: LostCard) -> None:
    core.restore()
    old = core.agents["hz-a"]
    core.new_card()
    core.tells("hz-a", COUNTED)
    core.tells("sz-a")
    core.agents["hz-a"] = old
    sends_it(core, Token(1, 1))
    assert core.one("SELECT kind FROM incident") == "handed_over_under_old_token"


@pytest.mark.parametrize("early", [True, False])
def test_a_card_whose_fence_is_above_the_grant_gets_a_higher_one(
    core: LostCard, early: bool
) -> None:
    """It is sent its grant again and refuses it, before or after the other benches have told."""
    core.restore()
    card = core.new_card()
    card.core_epoch = 9
    core.do(c.GreetAgent("hz01", "hz-a", card.hello(fresh=True)))
    if early:
        core.refuses()
        assert core.one(HERE) == ("granted", "hz-a", 1, 1)
    core.tells("sz-a")
    if not early:
        assert core.one(HERE) == ("granted", "hz-a", 1, 1), "its answer is still to come"
        core.refuses()
    core.given_again()
    core.refuses()
    assert core.one(HERE) == ("granted", "hz-a", 9, 2), "once is enough"


def test_a_card_that_has_the_grant_keeps_it(core: LostCard) -> None:
    core.restore()
    core.new_card()
    core.tells("hz-a", granted(1, Token(1, 1), "A")[1], COUNTED)
    core.tells("sz-a")
    assert core.one(HERE) == ("granted", "hz-a", 1, 1)
    assert core.grants() == []
    assert core.alarms() == 0


def test_the_card_of_the_backup_keeps_its_work(core: LostCard) -> None:
    core.restore()
    core.tells("hz-a", COUNTED)
    core.tells("sz-a")
    assert core.one(HERE) == ("granted", "hz-a", 1, 1)
    assert core.alarms() == 0


def test_another_bench_has_it(core: LostCard) -> None:
    """The forgotten core had taken it back; who has it tells so before anybody is given it."""
    core.restore()
    core.new_card()
    core.tells("hz-a", COUNTED)
    core.tells("sz-a", *granted(1, Token(1, 2), "A"))
    assert core.one(HERE) == ("granted", "sz-a", 1, 2)
    assert core.grants() == []
    assert core.alarms() == 0


def test_a_bench_that_was_waived_comes_back_with_a_new_card(core: LostCard) -> None:
    core.restore()
    core.new_card()
    core.tells("sz-a")
    core.do(c.WaiveAgent("hz-a", "demo"))
    assert core.one(HERE) == ("granted", "hz-a", 1, 1), "its card may still tell"
    core.tells("hz-a", COUNTED)
    core.given_again()


def test_a_stop_that_the_old_card_took_along_is_asked_for_again(core: LostCard) -> None:
    core.shop("1", "refund_requested", version=2, lines=())
    asked = [command.id for command in core.commands("hz-a")]
    core.report("hz-a", ("command.received", e.CommandReceived(asked)))
    assert core.one("SELECT stop FROM shipment") == "stopping"
    core.restore()
    core.new_card()
    core.tells("hz-a", COUNTED)
    core.tells("sz-a")
    (cancel,) = [o for o in core.commands("hz-a") if o.kind == "cancel"]
    body = decode_plain(cancel.body, Cancel)
    assert (body.fence, body.answer) == (Token(1, 2), True)
    nothing_here = e.TaskStopped(SHIPMENT, Token(1, 1), body.fence)
    core.report("hz-a", ("task.stopped", nothing_here))
    assert core.one("SELECT stop FROM shipment") == "cancelled"
    assert core.stock("HZ01", "A") == (10, 0, 0)


def test_the_lines_of_the_order_are_whole(core: LostCard) -> None:
    core.restore()
    core.new_card()
    core.tells("hz-a", COUNTED)
    core.tells("sz-a")
    (grant,) = core.grants()
    assert [OfferLine(line.sku, line.quantity) for line in grant.lines] == [OfferLine("A", 1)]
