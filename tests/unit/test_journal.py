"""The journal's group commit: what is answered is there, what failed left no trace and no hole."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import pytest

from edge_agent.domain.moment import Now
from edge_agent.journal import meta, rows
from edge_agent.journal.core import JournalCore
from edge_agent.journal.tx import Tx
from protocols import chain
from protocols.errors import Corrupt, Unavailable
from protocols.events import ItemPicked
from protocols.messages import Token
from tests.support.edge import Floor, connect

NOW = Now(1_800_000_000_000, 5)
BODY = ItemPicked(shipment="DB1-1", token=Token(1, 1), sku="A", quantity=1)


def pick(tx: Tx) -> int:
    return tx.append("item.picked", BODY, station="S1")


def fail_after(tx: Tx) -> None:
    pick(tx)
    meta.put(tx.db, "left", "behind")
    pick(tx)
    raise ValueError("no")


def open_core(path: Path, **more: Any) -> JournalCore:
    core = JournalCore(connect(path), "sha-1", "floor", lambda: "ab" * 8, **more)
    core.open(NOW)
    return core


def test_a_new_file_begins_its_first_epoch_with_a_row_that_says_so(tmp_path: Path) -> None:
    floor = Floor(tmp_path)
    assert floor.types() == ["epoch.opened"]
    assert floor.bodies("epoch.opened") == [{"previous": "", "reason": "first"}]


def test_each_row_continues_the_chain_of_the_one_before(tmp_path: Path) -> None:
    core = open_core(tmp_path / "j.db")
    core.commit([(pick, NOW)] * 5)
    found = core.db.execute("SELECT row, hash FROM row ORDER BY seq").fetchall()
    assert [bytes(h) for _, h in found] == chain.extend(
        chain.genesis("sha-1", "floor", "ab" * 8), [bytes(row) for row, _ in found]
    )
    assert len(found) == 6


def test_a_work_that_fails_leaves_nothing_and_its_neighbours_stay(tmp_path: Path) -> None:
    core = open_core(tmp_path / "j.db")
    results = core.commit([(pick, NOW), (fail_after, NOW), (pick, NOW)])
    assert [value for value, _ in results] == [2, None, 3]
    assert isinstance(results[1][1], ValueError)
    assert [e.last for e in rows.epochs(core.db)] == [3]
    assert meta.text(core.db, "left") == ""
    seqs = core.db.execute("SELECT seq FROM row ORDER BY seq").fetchall()
    assert seqs == [(1,), (2,), (3,)]


def test_a_part_that_fails_takes_only_its_own_rows_along(tmp_path: Path) -> None:
    core = open_core(tmp_path / "j.db")

    def mixed(tx: Tx) -> int:
        pick(tx)
        with pytest.raises(ValueError, match="no"), tx.part():
            fail_after(tx)
        return pick(tx)

    assert core.commit([(mixed, NOW)]) == [(3, None)]
    assert core.position.last == 3
    assert meta.text(core.db, "left") == ""


def test_a_disk_that_fails_fails_the_whole_group_and_numbers_go_on(tmp_path: Path) -> None:
    core = open_core(tmp_path / "j.db")

    def broken(tx: Tx) -> None:
        tx.db.execute("INSERT INTO no_such_table VALUES(1)")

    results = core.commit([(pick, NOW), (broken, NOW)])
    assert [type(error) for _, error in results] == [Unavailable, Unavailable]
    assert core.commit([(pick, NOW)]) == [(2, None)]


def test_a_restart_goes_on_where_the_file_ends(tmp_path: Path) -> None:
    floor = Floor(tmp_path)
    floor.write(pick)
    boot, inc = floor.core.boot, floor.core.inc_base
    floor.restart()
    assert floor.core.boot == boot + 1
    assert floor.core.inc_base > inc
    assert floor.write(pick) == 3
    assert [event.b for event in floor.events()] == [1, 1, 2]


def test_an_uncommitted_group_is_gone_after_a_crash(tmp_path: Path) -> None:
    core = open_core(tmp_path / "j.db")
    core.db.execute("BEGIN IMMEDIATE")
    core.db.execute("INSERT INTO row VALUES(1, 2, x'00', x'00', 0)")
    core.close()
    again = open_core(tmp_path / "j.db")
    assert again.position.last == 1


def test_a_full_journal_refuses_by_name_and_recovers_when_rows_age_out(tmp_path: Path) -> None:
    quota = 600_000
    core = open_core(tmp_path / "j.db", quota_bytes=quota)
    count = 0
    while not core.full:
        assert core.used_bytes < 0.95 * quota, "the red light is late"
        core.commit([(pick, NOW)] * 20)
        count += 20
        assert count < 5_000
    assert 0.95 * quota <= core.used_bytes < quota, "what must be said before it empties has room"
    ((_, error),) = core.commit([(pick, NOW)])
    assert isinstance(error, Unavailable)
    assert error.code == "journal_full"
    core.commit([(lambda tx: rows.set_acked(tx.db, 1, core.position.last), NOW)])
    core.commit([(lambda tx: rows.prune(tx.db), NOW)])
    assert core.commit([(pick, NOW)])[0][1] is None


def test_pruning_keeps_what_the_core_does_not_hold_and_the_hash_to_go_on_from(
    tmp_path: Path,
) -> None:
    floor = Floor(tmp_path)
    for _ in range(9):
        floor.write(pick)
    hash_at_6 = rows.hash_at(floor.core.db, 1, 6)
    floor.write(lambda tx: rows.set_acked(tx.db, 1, 6))
    gone = floor.write(lambda tx: rows.prune(tx.db))
    assert gone == 6
    assert rows.hash_at(floor.core.db, 1, 6) == hash_at_6
    assert [e.q for e in floor.events()] == [7, 8, 9, 10]
    floor.write(lambda tx: rows.set_acked(tx.db, 1, 10))
    floor.write(lambda tx: rows.prune(tx.db))
    floor.restart()
    assert floor.write(pick) == 11


def test_a_row_above_the_bound_is_refused(tmp_path: Path) -> None:
    floor = Floor(tmp_path)
    with pytest.raises(Corrupt) as refused:
        floor.write(
            lambda tx: tx.append(
                "item.picked", ItemPicked("x" * 60_000, Token(1, 1), sku="A", quantity=1)
            )
        )
    assert refused.value.code == "event_too_large"


def test_a_file_of_a_newer_program_is_not_touched(tmp_path: Path) -> None:
    db = sqlite3.connect(tmp_path / "j.db")
    db.execute("PRAGMA user_version=99")
    db.close()
    with pytest.raises(Corrupt) as refused:
        open_core(tmp_path / "j.db")
    assert refused.value.code == "journal_newer"


def test_a_new_epoch_carries_what_the_core_may_not_hold_with_its_first_origin(
    tmp_path: Path,
) -> None:
    floor = Floor(tmp_path)
    for _ in range(4):
        floor.write(pick)
    old = floor.core.position.epoch
    hash_4 = rows.hash_at(floor.core.db, 1, 4)
    floor.write(lambda tx: rows.set_acked(tx.db, 1, 3))
    assert floor.write(lambda tx: tx.open_epoch("fork")) == 2
    carried = [event for event in floor.events() if event.o is not None]
    assert [(e.q, e.o.epoch, e.o.seq) for e in carried if e.o] == [(2, old, 4), (3, old, 5)]
    assert carried[0].o is not None
    assert hash_4 is not None
    assert carried[0].o.hash == hash_4.hex()
    floor.write(lambda tx: tx.open_epoch("fork"))
    again = [event for event in floor.events() if event.o is not None][-2:]
    assert [(e.o.epoch, e.o.seq) for e in again if e.o] == [(old, 4), (old, 5)]
