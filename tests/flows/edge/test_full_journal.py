"""A journal above its quota refuses work by name, and finds its way back to work."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_agent.flows import print_label, purge, receive
from edge_agent.journal import rows, tasks
from protocols import events
from protocols.errors import Unavailable
from protocols.messages import Token
from tests.support.edge import PRINTED, Floor, cancel, grant, hand_over

SHIPMENT = "DB2026AAAA-1"


@pytest.fixture
def floor(tmp_path: Path) -> Floor:
    floor = Floor(tmp_path)
    floor.resynced()
    return floor


def fill(floor: Floor) -> None:
    """As when the quota is reached by what is in the file."""
    floor.core = floor.open(quota_bytes=floor.core.used_bytes)
    assert floor.core.full


def test_a_label_in_flight_does_not_keep_a_full_agent_from_starting(floor: Floor) -> None:
    floor.tell(grant())
    assert floor.print_next() == "sending"
    fill(floor)
    recovered = floor.write(lambda tx: print_label.recover(tx, floor.bench))
    assert recovered.unknown == 1
    assert floor.types()[-1] == "label.unknown"


def test_the_outcome_of_a_label_is_booked_and_no_new_one_begins(floor: Floor) -> None:
    floor.tell(grant())
    floor.tell(grant("DB2026BBBB-1"))
    assert floor.print_next() == "sending"
    fill(floor)
    key = floor.job(SHIPMENT).job.key
    assert floor.write(lambda tx: print_label.finish(tx, key, PRINTED)).state == "confirmed"
    with pytest.raises(Unavailable, match="journal_full"):
        floor.print_next()


def test_label_fields_are_forgotten_in_time_all_the_same(floor: Floor) -> None:
    floor.tell(grant())
    hand_over(floor)
    floor.clock.step(25 * purge.HOUR_MS)
    fill(floor)
    assert floor.write(lambda tx: purge.purge_due(tx, floor.bench)) == 1
    task = floor.read(lambda db: tasks.newest(db, SHIPMENT))
    assert floor.read(lambda db: tasks.label_of(db, task)) is None


def test_a_full_card_that_forked_can_still_introduce_itself(floor: Floor) -> None:
    fill(floor)
    floor.write(lambda tx: tx.open_epoch("fork"))
    assert [body["reason"] for body in floor.bodies("epoch.opened")] == ["first", "fork", "first"]


def pruned(floor: Floor) -> int:
    gone: int = floor.write(lambda tx: purge.prune_floor(tx, floor.bench, used_bytes=0))
    return gone


def test_what_the_core_holds_makes_room_whatever_its_age_and_clock(floor: Floor) -> None:
    floor.clock.step(400 * purge.DAY_MS)  # a clock that was wrong for a while
    for number in range(50):
        floor.tell(grant(f"DB2026{number:04d}-1"))
    floor.clock.step(-400 * purge.DAY_MS)
    floor.write(lambda tx: rows.set_acked(tx.db, 1, tx.head.last))
    fill(floor)

    def prune(full: bool) -> int:
        gone: int = floor.write(
            lambda tx: purge.prune_floor(tx, floor.bench, used_bytes=0, full=full)
        )
        return gone

    assert prune(full=False) == 0
    assert prune(full=True) == 100
    assert not floor.core.full


def test_a_clock_that_began_in_1970_makes_nothing_old(floor: Floor) -> None:
    """A command forgotten early would be executed twice when the broker repeats it."""
    today_ms = floor.clock.wall_ms
    floor.clock.wall_ms = 1_000
    command = floor.command(grant(), cmd_id="once")
    floor.write(lambda tx: receive.receive(tx, [command], floor.bench))
    floor.write(lambda tx: rows.set_acked(tx.db, 1, tx.head.last))
    floor.clock.wall_ms = today_ms
    assert pruned(floor) == 0
    assert len(floor.core.db.execute("SELECT * FROM inbox").fetchall()) == 1
    floor.clock.step(400 * purge.DAY_MS)
    floor.clock.mono_ms = 5_000  # switched on again after a year: nobody knows how long it was
    assert pruned(floor) == 0


def test_what_the_journal_has_lived_through_ages(floor: Floor) -> None:
    floor.write(lambda tx: tx.append("task.started", events.TaskStarted("S", Token(1, 1))))
    floor.write(lambda tx: rows.set_acked(tx.db, 1, tx.head.last))
    before = floor.core.position.last
    for _ in range(8 * 24):
        pruned(floor)
        floor.clock.step(3_600_000)
    assert rows.epochs(floor.core.db)[0].base_seq == before - 1  # the newest row always stays


@pytest.mark.parametrize("settled", [True, False], ids=["the core holds it", "cut off"])
def test_the_fence_of_a_shipment_long_gone_ages_out_with_its_task(
    floor: Floor, settled: bool
) -> None:
    floor.resynced()
    floor.tell(grant())
    hand_over(floor)
    floor.tell(cancel("DB2026ZZZZ-1", 7))  # overtook an offer that never came
    pruned(floor)
    floor.clock.step(3_600_000)
    if settled:
        floor.write(lambda tx: rows.set_acked(tx.db, 1, tx.head.last))
    kept = floor.core.db.execute("SELECT shipment FROM fence").fetchall()
    assert len(kept) == 2
    for _ in range(2 * (purge.INBOX_DAYS + 2)):
        pruned(floor)
        floor.clock.step(purge.DAY_MS // 2)
    left = [row[0] for row in floor.core.db.execute("SELECT shipment FROM fence").fetchall()]
    assert left == (["DB2026ZZZZ-1"] if settled else ["DB2026AAAA-1", "DB2026ZZZZ-1"])
