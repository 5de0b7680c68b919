"""The forgetful card: what SQLite was told is durable stays, whatever else the power takes."""

from __future__ import annotations

from random import Random

import apsw
import pytest

from tests.simulation.disk import CrashVfs, Disk
from tests.simulation.sqlite_shim import Connection, abandon


class Bench:
    """One card, opened the way the journal opens it."""

    def __init__(self, name: str, synchronous: str) -> None:
        self.vfs = CrashVfs(name)
        self.disk = self.vfs.disks["card"] = Disk()
        self.synchronous = synchronous

    def open(self) -> Connection:
        path = self.vfs.path("card", "floor.db")
        connection = Connection(apsw.Connection(path, vfs=self.vfs.vfs_name))
        for pragma in (
            "locking_mode=EXCLUSIVE",
            "journal_mode=WAL",
            f"synchronous={self.synchronous}",
            "temp_store=MEMORY",
            "wal_autocheckpoint=20",
        ):
            connection.execute(f"PRAGMA {pragma}")
        connection.execute("CREATE TABLE IF NOT EXISTS row(n INTEGER PRIMARY KEY, b BLOB)")
        return connection


def lost_rows(bench: Bench, seed: int, cuts: int) -> int:
    """Commit, cut, reopen, compare; the number of committed rows that were gone."""
    rng = Random(seed)
    acked = lost = 0
    for _ in range(cuts):
        connection = bench.open()
        there = connection.execute("SELECT coalesce(max(n), 0), count(*) FROM row").fetchone()
        lost += max(0, acked - there[1])
        acked = there[0]
        for _ in range(rng.randrange(1, 12)):
            acked += 1
            connection.execute("INSERT INTO row VALUES(?, ?)", (acked, rng.randbytes(300)))
        if rng.random() < 0.5:
            connection.execute("BEGIN")
            connection.execute("INSERT INTO row VALUES(?, ?)", (acked + 1, b"never committed"))
        bench.disk.cut_power(rng)
        abandon(connection.raw)
    assert bench.open().execute("PRAGMA integrity_check").fetchone() == ("ok",)
    return lost


def test_full_loses_nothing_that_was_committed() -> None:
    assert lost_rows(Bench("full", "FULL"), 1, 150) == 0


def test_normal_loses_commits_so_the_card_is_really_forgetful() -> None:
    assert lost_rows(Bench("normal", "NORMAL"), 1, 150) > 0


def test_a_card_that_lies_about_syncing_is_caught() -> None:
    bench = Bench("lying", "FULL")
    bench.disk.lies = True
    with pytest.raises((AssertionError, Exception)):
        assert lost_rows(bench, 1, 60) == 0


def test_a_killed_process_loses_nothing_and_its_late_writes_go_nowhere() -> None:
    bench = Bench("kill", "FULL")
    first = bench.open()
    first.execute("INSERT INTO row VALUES(1, x'00')")
    bench.disk.kill()
    second = bench.open()
    assert second.execute("SELECT count(*) FROM row").fetchone() == (1,)
    abandon(first.raw)
    second.execute("INSERT INTO row VALUES(2, x'00')")
    assert second.execute("SELECT count(*) FROM row").fetchone() == (2,)


def test_a_card_can_be_copied_wiped_and_put_back() -> None:
    bench = Bench("card", "FULL")
    bench.open().execute("INSERT INTO row VALUES(1, x'00')")
    card = bench.disk.copy()
    bench.open().execute("INSERT INTO row VALUES(2, x'00')")
    bench.disk.wipe()
    assert bench.open().execute("SELECT count(*) FROM row").fetchone() == (0,)
    bench.disk.put_back(card)
    assert bench.open().execute("SELECT count(*) FROM row").fetchone() == (1,)
