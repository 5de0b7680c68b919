"""A core restored from an old backup offers nothing until its agents told it what it forgot."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cloud_core.domain import commands as c
from cloud_core.domain.decision_record import sentences
from protocols import events as e
from protocols.commands import OfferLine
from protocols.messages import Token
from tests.support.core import CoreBench

SHIPMENT = "DB202600000001-1"
T1 = Token(1, 1)
LINES = [OfferLine("A", 1)]


def accepted() -> tuple[str, Any]:
    body = e.OfferAccepted(SHIPMENT, T1, "DB202600000001", "shop1", "1", LINES)
    return "offer.accepted", body


def grant_stored(waybill: str) -> tuple[str, Any]:
    body = e.GrantStored(SHIPMENT, T1, waybill, "ZTO", "DB202600000001", "shop1", "1", LINES)
    return "grant.stored", body


def handed_over(waybill: str) -> tuple[str, Any]:
    body = e.ParcelHandedOver(SHIPMENT, T1, waybill, "DB202600000001", "shop1", "1", LINES)
    return "parcel.handed_over", body


class Restored:
    """A bench whose core forgot everything after the master data was in; agents remember."""

    def __init__(self, folder: Path) -> None:
        (folder / "before").mkdir()
        first = CoreBench(folder / "before")
        self.before = first
        self.before.online()
        self._folder = folder

    def restore(self) -> CoreBench:
        (self._folder / "after").mkdir()
        after = CoreBench(self._folder / "after")
        after.agents = self.before.agents
        with after.engine.connect().execution_options(packline_writes=True) as con, con.begin():
            con.exec_driver_sql("UPDATE core_meta SET value = '9' WHERE key = 'core_epoch'")
            con.exec_driver_sql("INSERT INTO core_meta (key, value) VALUES ('recovering', '1')")
        return after


@pytest.fixture
def world(tmp_path: Path) -> Restored:
    return Restored(tmp_path)


def replay(core: CoreBench, agent: str) -> None:
    """The agent learns of the new life, announces what it keeps, and sends every row of it."""
    other = core.agents[agent]
    rows = list(other.rows)
    other.core_epoch = core.do(c.GreetAgent(other.site, agent, other.hello())).core_epoch
    core.do(c.GreetAgent(other.site, agent, other.hello()))
    other.__post_init__()
    if rows:
        core.do(other.batch(rows))


def test_a_hello_from_before_the_restore_announces_nothing(world: Restored) -> None:
    core = world.restore()
    core.shop("2")
    for agent in core.agents.values():
        core.do(c.GreetAgent(agent.site, agent.id, agent.hello()))
    core.do(c.Sweep())
    assert core.one("SELECT parked FROM shipment") == "recovering"


def test_nothing_is_offered_before_every_agent_has_replayed(world: Restored) -> None:
    core = world.restore()
    core.shop("2")
    assert core.one("SELECT parked FROM shipment") == "recovering"
    replay(core, "hz-a")
    core.do(c.Sweep())
    assert core.one("SELECT parked FROM shipment") == "recovering"
    replay(core, "sz-a")
    core.do(c.Sweep())
    assert core.one("SELECT state, token_epoch FROM shipment") == ("offered", 9)


def test_a_person_may_go_on_without_a_lost_agent(world: Restored) -> None:
    core = world.restore()
    core.shop("2")
    replay(core, "hz-a")
    core.do(c.WaiveAgent("sz-a", "key:op"))
    core.do(c.Sweep())
    assert core.one("SELECT state FROM shipment") == "offered"


def test_a_forgotten_grant_is_attached_again_with_its_number_and_stock(world: Restored) -> None:
    before = world.before
    before.shop("1")
    before.report("hz-a", accepted())
    before.report("hz-a", grant_stored("ZT0000000001"))
    core = world.restore()
    replay(core, "hz-a")
    assert core.one("SELECT state, warehouse, waybill FROM shipment WHERE id = :s",
                    s=SHIPMENT) == ("granted", "HZ01", "ZT0000000001")  # fmt: skip
    assert core.one("SELECT state FROM waybill WHERE number = 'ZT0000000001'") == "drawn"
    assert core.stock("HZ01", "A") == (10, 0, 1)
    (said,) = sentences(core.one("SELECT decision FROM shipment"))
    assert "恢复前的派仓记录没有保留" in said


def test_a_forgotten_parcel_is_shipped_once_though_the_shop_sends_the_order_again(
    world: Restored,
) -> None:
    before = world.before
    before.shop("1")
    before.report("hz-a", accepted())
    before.report("hz-a", grant_stored("ZT0000000001"), handed_over("ZT0000000001"))
    core = world.restore()
    core.shop("1")  # the shop repeats what was never answered
    replay(core, "hz-a")
    replay(core, "sz-a")
    core.do(c.Sweep())
    live = core.rows("SELECT id, state FROM shipment WHERE stop <> 'cancelled'")
    assert [tuple(row) for row in live] == [(SHIPMENT, "handed_over")]
    assert core.stock("HZ01", "A") == (9, 0, 0)
    assert core.one("SELECT count(*) FROM orders") == 1


@pytest.mark.parametrize("sent_again", ["before the replay", "never"])
def test_one_part_of_a_forgotten_order_comes_back_and_the_rest_is_not_left_out(
    world: Restored, sent_again: str
) -> None:
    before = world.before
    before.shop("1", lines=(("A", 1),))
    before.report("hz-a", accepted())
    before.report("hz-a", grant_stored("ZT0000000001"))
    core = world.restore()
    wanted = [("A", 1)]
    if sent_again == "before the replay":
        core.shop("1", lines=(("A", 3), ("B", 1)))
        wanted = [("A", 3), ("B", 1)]
    replay(core, "hz-a")
    replay(core, "sz-a")
    core.do(c.Sweep())
    assert core.one("SELECT state FROM shipment WHERE id = :s", s=SHIPMENT) == "granted"
    sent = core.rows(
        "SELECT l.sku, sum(l.quantity) FROM shipment s JOIN shipment_line l ON l.shipment_id = s.id"
        " WHERE s.stop <> 'cancelled' GROUP BY l.sku ORDER BY l.sku"
    )
    asked = core.rows("SELECT sku, sum(quantity) FROM order_line GROUP BY sku ORDER BY sku")
    assert [tuple(row) for row in sent] == [tuple(row) for row in asked] == wanted


def test_a_number_printed_in_the_forgotten_life_is_never_drawn_again(world: Restored) -> None:
    before = world.before
    before.shop("1")
    before.report("hz-a", accepted())
    before.report("hz-a", grant_stored("ZT0000000001"))
    core = world.restore()
    core.shop("2")
    replay(core, "hz-a")
    replay(core, "sz-a")
    core.do(c.Sweep())
    second = core.one("SELECT id, token_n FROM shipment WHERE id <> :s", s=SHIPMENT)
    body = e.OfferAccepted(second[0], Token(9, second[1]), "o", "shop1", "2", LINES)
    core.report("hz-a", ("offer.accepted", body))
    assert core.one("SELECT waybill FROM shipment WHERE id = :s", s=second[0]) == "ZT0000000002"


def test_a_token_is_never_given_twice_though_a_waived_bench_comes_back(world: Restored) -> None:
    """Others have had later tokens meanwhile; the next one is above all of them."""
    before = world.before
    before.shop("1")
    before.report("hz-a", accepted())
    before.report("hz-a", grant_stored("ZT0000000001"))
    core = world.restore()
    replay(core, "sz-a")
    core.do(c.WaiveAgent("hz-a", "key:op"))
    core.shop("1")
    assert core.one("SELECT agent, token_epoch, token_n FROM shipment") == ("sz-a", 9, 1)
    core.report("sz-a", ("offer.rejected", e.OfferRejected(SHIPMENT, Token(9, 1), "closed")))
    assert core.one("SELECT parked, token_n FROM shipment") == ("rejected", 2)
    replay(core, "hz-a")
    assert core.one("SELECT agent, token_epoch, token_n FROM shipment") == ("hz-a", 1, 1)
    assert core.stock("HZ01", "A") == (10, 0, 1)
    with core.engine.connect().execution_options(packline_writes=True) as con, con.begin():
        con.exec_driver_sql("UPDATE stock SET shelf = 20 WHERE warehouse = 'SZ01'")
    core.do(c.TakeBack(SHIPMENT, "工位故障", "key:op"))
    assert core.one("SELECT agent, token_epoch, token_n FROM shipment") == ("sz-a", 9, 3)
    assert [core.stock(w, "A")[2] for w in ("HZ01", "SZ01")] == [1, 1]
    core.report("hz-a", ("task.stopped", e.TaskStopped(SHIPMENT, T1, Token(9, 3))))
    assert [core.stock(w, "A")[2] for w in ("HZ01", "SZ01")] == [0, 1]


def sent_away(core: CoreBench) -> tuple[str, bytes]:
    """The first order leaves; a day later its label fields are to be forgotten: id and body."""
    core.shop("1")
    core.report("hz-a", accepted())
    core.report("hz-a", handed_over(core.one("SELECT number FROM waybill WHERE state = 'drawn'")))
    return purged(core)


def purged(core: CoreBench) -> tuple[str, bytes]:
    core.clock.advance(25 * 3_600)
    core.do(c.Sweep())
    (purge,) = [found for found in core.commands("hz-a") if found.kind == "purge"]
    return purge.id, purge.body


def test_what_a_forgotten_life_purged_does_not_keep_others_from_being_forgotten(
    world: Restored,
) -> None:
    """An agent takes a command id it has had for a repeat and executes nothing (P12)."""
    first = sent_away(world.before)
    core = world.restore()
    replay(core, "hz-a")
    replay(core, "sz-a")
    core.shop("2")
    again = purged(core)
    assert SHIPMENT.encode() in first[1]
    assert SHIPMENT.encode() in again[1]
    assert first[0] != again[0]
