"""Hello and welcome: where to go on, and what a restored card does (P2)."""

from __future__ import annotations

import zlib
from pathlib import Path

import msgspec
import pytest

from edge_agent.domain.sender import Leg
from edge_agent.flows import bench, greet, upload
from edge_agent.journal import rows
from protocols import chain
from protocols.messages import Batch, StreamHave, Welcome
from tests.support.edge import Floor, grant

FIRST = "0000000000000001"


def welcome(*have: StreamHave, resync: bool = False) -> Welcome:
    return Welcome(
        v=1, core_epoch=7, inc=1, srv_ms=0, echo_mono_ms=0, streams=list(have), resync=resync
    )


def have(floor: Floor, seq: int, epoch_no: int = 1, *, fork: bool = False) -> StreamHave:
    epoch = next(e for e in rows.epochs(floor.core.db) if e.no == epoch_no)
    digest = rows.hash_at(floor.core.db, epoch_no, seq) or b"\0" * 32
    return StreamHave("floor", epoch.id, seq, digest.hex(), fork=fork)


@pytest.fixture
def floor(tmp_path: Path) -> Floor:
    floor = Floor(tmp_path)
    floor.tell(grant())
    return floor


def greeted(floor: Floor, answer: Welcome) -> greet.Greeted:
    found: greet.Greeted = floor.write(lambda tx: greet.welcome_floor(tx, answer))
    return found


def test_a_hello_says_where_the_stream_stands(floor: Floor) -> None:
    position = floor.read(lambda db: greet.position(db, "floor"))
    assert (position.epoch, position.first, position.next) == (FIRST, 1, 4)
    assert position.head == rows.epochs(floor.core.db)[0].head.hex()
    assert floor.read(greet.fresh)


def test_the_first_welcome_opens_the_way_for_printing(floor: Floor) -> None:
    answer = greeted(floor, welcome(have(floor, 2)))
    assert answer.route.legs == (Leg(1, FIRST, 2),)
    assert answer.printing
    assert floor.print_next() == "sending"
    assert not floor.read(greet.fresh)


def test_a_core_that_must_resynchronise_us_keeps_the_printer_still(floor: Floor) -> None:
    answer = greeted(floor, welcome(have(floor, 2), resync=True))
    assert not answer.printing
    assert floor.print_next() == ""


def test_a_core_that_holds_more_than_we_do_means_a_restored_card(floor: Floor) -> None:
    ahead = StreamHave("floor", FIRST, 50, "ab" * 32)
    answer = greeted(floor, welcome(ahead))
    assert answer.route.reopened
    assert floor.bodies("epoch.opened")[1] == {"previous": FIRST, "reason": "fork", "carried": 3}
    assert floor.print_next() == ""
    position = floor.read(lambda db: greet.position(db, "floor"))
    assert [(k.epoch, k.first, k.last) for k in position.kept] == [(FIRST, 1, 3)]


def test_another_history_of_the_same_length_is_a_fork_too(floor: Floor) -> None:
    other = StreamHave("floor", FIRST, 2, "cd" * 32)
    assert greeted(floor, welcome(other)).route.reopened


def test_after_a_fork_the_old_epoch_is_not_sent_again(floor: Floor) -> None:
    greeted(floor, welcome(StreamHave("floor", FIRST, 50, "ab" * 32)))
    old = StreamHave("floor", FIRST, 50, "ab" * 32, fork=True)
    answer = greeted(floor, welcome(old, have(floor, 0, 2), resync=True))
    assert [leg.epoch_no for leg in answer.route.legs] == [2]
    assert len(floor.events()) == 3 + 4


def test_a_core_restored_from_a_backup_gets_the_older_epoch_first(floor: Floor) -> None:
    floor.write(lambda tx: rows.set_acked(tx.db, 1, 3))
    floor.write(lambda tx: tx.open_epoch("fork"))
    answer = greeted(floor, welcome(have(floor, 1, 1), have(floor, 0, 2)))
    assert answer.route.legs == (Leg(1, FIRST, 1, last=3), Leg(2, "0000000000000002", 0))


def test_a_core_restored_from_a_backup_gets_acknowledged_rows_again(floor: Floor) -> None:
    floor.write(lambda tx: rows.set_acked(tx.db, 1, 3))
    answer = greeted(floor, welcome(have(floor, 1)))
    assert answer.route.legs == (Leg(1, FIRST, 1),)
    floor.write(lambda tx: rows.prune(tx.db))
    assert [e.q for e in floor.events()] == [2, 3]


def test_batches_continue_the_chain_the_core_holds(floor: Floor) -> None:
    parcel = floor.read(lambda db: upload.next_batch(db, "sha-1", 1, FIRST, (2, 3), 500))
    batch = msgspec.json.decode(parcel.payload, type=Batch)
    before = rows.hash_at(floor.core.db, 1, 1)
    assert before is not None
    assert (batch.s, batch.h, len(batch.ev)) == (2, before.hex(), 2)
    assert chain.extend(before, [bytes(row) for row in batch.ev])[-1].hex() == (
        rows.epochs(floor.core.db)[0].head.hex()
    )


def test_a_batch_stays_within_its_bounds(floor: Floor) -> None:
    for number in range(600):
        floor.tell(grant(f"DB2026{number:04d}-1", lines={f"SKU-{i}": 1 for i in range(60)}))
    last = floor.core.position.last
    parcel = floor.read(lambda db: upload.next_batch(db, "sha-1", 1, FIRST, (1, last), 500))
    assert len(parcel.payload) <= 128 * 1024
    assert len(zlib.decompress(parcel.payload)) <= 1_000_000
    assert parcel.last < 500


def test_dropped_rows_are_a_declared_gap(floor: Floor) -> None:
    floor.write(lambda tx: rows.drop_oldest(tx.db, 1))
    parcel = floor.read(lambda db: upload.next_batch(db, "sha-1", 1, FIRST, (1, 3), 500))
    batch = msgspec.json.decode(parcel.payload, type=Batch)
    assert (batch.skip_from, batch.s, len(batch.ev)) == (1, 3, 1)


def test_resynchronisation_outlives_a_restart(floor: Floor) -> None:
    greeted(floor, welcome(have(floor, 0), resync=True))
    floor.restart()
    assert floor.read(bench.resynced_epoch) == ""
    assert floor.read(greet.fresh)


def test_only_telemetry_the_core_does_not_hold_counts_as_lost(floor: Floor) -> None:
    floor.write(lambda tx: rows.set_acked(tx.db, 1, 1))
    assert floor.write(lambda tx: rows.drop_oldest(tx.db, 1)) == 1
    floor.tell(grant("DB2026BBBB-1"))
    floor.write(lambda tx: rows.set_acked(tx.db, 1, tx.head.last))
    assert floor.write(lambda tx: rows.drop_oldest(tx.db, 1)) == 0


def test_an_older_epoch_does_not_age_out_under_its_replay(floor: Floor) -> None:
    floor.write(lambda tx: rows.set_acked(tx.db, 1, 1))
    floor.write(lambda tx: tx.open_epoch("fork"))
    floor.write(lambda tx: rows.set_acked(tx.db, 2, tx.head.last))
    greeted(floor, welcome(have(floor, 1, 1), have(floor, floor.core.position.last, 2)))
    floor.write(lambda tx: rows.prune(tx.db))
    parcel = floor.read(lambda db: upload.next_batch(db, "sha-1", 1, FIRST, (2, 3), 500))
    assert parcel is not None
    assert parcel.last == 3
