"""Label fields are forgotten in time, wholly, and not a moment before they are needed (P12)."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from edge_agent.flows import purge
from edge_agent.journal import tasks
from protocols import commands
from protocols.messages import Token
from tests.support.edge import LABEL, PRINTED, Floor, cancel, grant, hand_over

SHIPMENT = "DB2026AAAA-1"


@pytest.fixture
def floor(tmp_path: Path) -> Floor:
    floor = Floor(tmp_path)
    floor.resynced()
    return floor


def purged(floor: Floor) -> int:
    count: int = floor.write(lambda tx: purge.purge_due(tx, floor.bench))
    return count


def test_a_shipment_that_came_back_keeps_its_label_until_it_has_left(floor: Floor) -> None:
    floor.tell(grant(n=1, print_on="pack"))
    floor.tell(cancel(fence=2))
    floor.clock.step(20 * purge.HOUR_MS)
    floor.tell(grant(n=2))
    floor.clock.step(5 * purge.HOUR_MS)
    assert purged(floor) == 0
    task = floor.read(lambda db: tasks.newest(db, SHIPMENT))
    assert floor.read(lambda db: tasks.label_of(db, task)) is not None


def test_what_is_fenced_off_is_forgotten_at_once(floor: Floor) -> None:
    """A card put back may hold fields the core purged long ago; it never prints them again."""
    floor.tell(grant())
    floor.print_next(PRINTED)
    floor.tell(commands.Fences([commands.Fence(SHIPMENT, Token(1, 2))]))
    assert floor.state(SHIPMENT) == "stopping"
    task = floor.read(lambda db: tasks.newest(db, SHIPMENT))
    assert floor.read(lambda db: tasks.label_of(db, task)) is None


def test_a_clock_that_was_years_ahead_does_not_keep_them_for_years(floor: Floor) -> None:
    floor.clock.step(3_650 * purge.DAY_MS)
    floor.tell(grant())
    hand_over(floor)
    floor.clock.step(-3_650 * purge.DAY_MS)
    assert purged(floor) == 1


def test_no_copy_stays_in_the_file_or_its_log(floor: Floor) -> None:
    label = msgspec.structs.replace(
        LABEL, receiver_name="CANARY*", receiver_address="CANARY" + "测" * 400, remark="CANARY"
    )
    floor.tell(msgspec.structs.replace(grant(), label=label))
    for number in range(40):
        floor.tell(grant(f"DB2026{number:04d}-1"))
    hand_over(floor)
    files = (floor.path, floor.path.with_name("floor.db-wal"))
    assert b"CANARY" in b"".join(file.read_bytes() for file in files)
    floor.clock.step(25 * purge.HOUR_MS)
    assert purged(floor) == 1
    assert b"CANARY" not in b"".join(file.read_bytes() for file in files)
