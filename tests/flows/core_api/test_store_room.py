"""The database as a place: durable commits, one server, copies, lives, sealed values."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from sqlalchemy import select

from cloud_core.store import key_file
from cloud_core.store import schema as t
from cloud_core.store.backup import backup, restore
from cloud_core.store.engine import ServeLock, changing, open_engine, reading, sqlite_url, writer
from cloud_core.store.loop_reads import LoopReads, begin_life
from cloud_core.store.migrate import drift, migrate, revision
from cloud_core.store.secret_box import SecretBox
from protocols.errors import Corrupt, Rejected, Unavailable
from tests.support.http_core import HttpCore, events, order_event, until


def test_a_commit_is_made_durable_and_a_reader_never_waits(tmp_path: Path) -> None:
    engine = open_engine(sqlite_url(tmp_path / "core.sqlite"))
    migrate(engine)
    with reading(engine) as connection:
        settings = [
            connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys")
        ]
    assert settings == ["wal", 2, 1]
    with writer(engine).begin() as writing, reading(engine) as connection:
        writing.execute(t.core_meta.insert(), {"key": "a", "value": "1"})
        found = connection.execute(select(t.core_meta.c.key)).scalars().all()
        assert "a" not in found
    engine.dispose()


def test_writers_of_two_processes_wait_for_each_other(tmp_path: Path) -> None:
    """A CLI verb beside a serving core: both begin by reading, neither may fail as busy."""
    url = sqlite_url(tmp_path / "core.sqlite")
    migrate(open_engine(url))

    def count_up() -> None:
        engine = open_engine(url)
        for _ in range(50):
            with changing(engine) as connection:
                value = connection.execute(
                    select(t.core_meta.c.value).where(t.core_meta.c.key == "core_epoch")
                ).scalar_one()
                connection.execute(t.core_meta.update().values(value=str(int(value) + 1)))
        engine.dispose()

    threads = [threading.Thread(target=count_up) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    engine = open_engine(url)
    assert LoopReads(engine).core_state()[0] == 201
    engine.dispose()


def test_migrating_twice_changes_nothing_and_matches_the_program(tmp_path: Path) -> None:
    engine = open_engine(sqlite_url(tmp_path / "core.sqlite"))
    assert revision(engine)[0] == ""
    assert migrate(engine) == migrate(engine) == revision(engine)[1]
    assert drift(engine) == []
    assert LoopReads(engine).core_state() == (1, 0)
    assert [begin_life(engine), begin_life(engine)] == [1, 2]
    engine.dispose()


def test_only_one_process_serves_and_the_kernel_frees_the_lock(tmp_path: Path) -> None:
    database = tmp_path / "core.sqlite"
    program = (
        "import sys, pathlib\n"
        "from cloud_core.store.engine import ServeLock\n"
        "lock = ServeLock(pathlib.Path(sys.argv[1])); lock.acquire()\n"
        "print('held', flush=True); sys.stdin.read()\n"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", program, str(database)], stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )  # fmt: skip
    assert other.stdout
    assert other.stdout.readline() == b"held\n"
    with pytest.raises(Unavailable) as caught:
        ServeLock(database).acquire()
    assert caught.value.code == "already_serving"
    assert str(other.pid) in caught.value.zh
    other.kill()
    other.wait()
    lock = ServeLock(database)
    lock.acquire()
    assert lock.is_held()
    lock.release()
    other.stdout.close()
    assert other.stdin
    other.stdin.close()


async def test_a_copy_taken_under_load_is_whole_and_opens_a_new_life(tmp_path: Path) -> None:
    core = HttpCore(tmp_path)
    core.fill()
    core.add_channel()
    copy, place = tmp_path / "copies" / "core.bak", tmp_path / "again" / "core.sqlite"
    async with core.started():
        for number in range(4):
            await core.push(events(*(order_event(f"S-{number}-{n}") for n in range(50))))
            if number == 1:
                await until(lambda: len(core.rows(t.orders)) >= 100)
                assert backup(core.wired.engine, copy) > 0
        await until(lambda: len(core.rows(t.orders)) == 200)
        offered = core.rows(t.shipment)[0]["deadline_ms"]
    later_s = core.clock.ms // 1000 + 86_400
    done = restore(copy, place, later_s)
    assert (done.core_epoch, done.recovering) == (later_s, True)
    engine = open_engine(sqlite_url(place))
    with reading(engine) as connection:
        kept = connection.execute(select(t.orders.c.id)).scalars().all()
        meta = dict(connection.execute(select(t.core_meta.c.key, t.core_meta.c.value)).all())
        deadlines = set(connection.execute(select(t.shipment.c.deadline_ms)).scalars())
        online = set(connection.execute(select(t.agent_state.c.online)).scalars())
    engine.dispose()
    assert 100 <= len(kept) <= 200
    assert (meta["recovering"], meta["core_epoch"]) == ("1", str(later_s))
    assert deadlines == {(later_s + 900) * 1000}
    assert offered not in deadlines
    assert online == {0}


def test_each_restore_is_newer_than_every_life_before(tmp_path: Path) -> None:
    place, copy = tmp_path / "core.sqlite", tmp_path / "copy"
    engine = open_engine(sqlite_url(place))
    migrate(engine)
    backup(engine, copy)
    engine.dispose()
    epochs = [restore(copy, place, now_s).core_epoch for now_s in (1_000, 1_000, 500, 2_000)]
    assert epochs == [1_000, 1_001, 1_002, 2_000]


def test_without_agents_there_is_nobody_to_wait_for(tmp_path: Path) -> None:
    engine = open_engine(sqlite_url(tmp_path / "a.sqlite"))
    migrate(engine)
    backup(engine, tmp_path / "copy")
    engine.dispose()
    assert not restore(tmp_path / "copy", tmp_path / "b.sqlite", 1_000).recovering


def test_a_sealed_value_opens_only_for_what_it_was_sealed_for() -> None:
    box = SecretBox({"k1": b"1" * 32, "k2": b"2" * 32}, "k2")
    sealed = box.seal("channel:a", b"secret")
    assert b"secret" not in sealed
    assert box.open("channel:a", sealed) == b"secret"
    assert SecretBox({"k2": b"2" * 32}, "k2").open("channel:a", sealed) == b"secret"
    for subject, value in (
        ("channel:b", sealed),
        ("channel:a", sealed[:-1]),
        ("channel:a", b""),
        ("channel:a", b"\xff" * 40),
        ("channel:a", sealed[:-1] + bytes([sealed[-1] ^ 1])),
    ):
        with pytest.raises(Corrupt) as caught:
            box.open(subject, value)
        assert caught.value.code == "sealed_broken"
    with pytest.raises(Corrupt):
        SecretBox({"k1": b"1" * 32}, "k1").open("channel:a", sealed)


def test_a_key_file_is_private_made_once_and_checked(tmp_path: Path) -> None:
    path = tmp_path / "sub" / "master.key"
    key_file.create(path, os.urandom)
    keys = key_file.load(path)
    assert (keys.current, len(keys.keys["k1"]), len(keys.lookup)) == ("k1", 32, 32)
    assert keys.keys["k1"].hex() not in repr(keys)
    with pytest.raises(FileExistsError):
        key_file.create(path, os.urandom)
    path.chmod(0o640)
    with pytest.raises(Unavailable) as exposed:
        key_file.load(path)
    assert exposed.value.code == "master_key_exposed"
    path.chmod(0o600)
    for text in ("", 'current = "k2"\nlookup = "00"\n[keys]\nk1 = "00"\n', "current = ["):
        path.write_text(text)
        with pytest.raises(Corrupt):
            key_file.load(path)


def test_a_backup_never_takes_the_place_of_the_database_itself(tmp_path: Path) -> None:
    database = tmp_path / "core.sqlite"
    engine = open_engine(sqlite_url(database))
    migrate(engine)
    before = database.stat().st_ino
    with pytest.raises(Rejected, match="backup_onto_itself"):
        backup(engine, database)
    assert database.stat().st_ino == before
    engine.dispose()


def test_a_backup_of_nothing_says_so(tmp_path: Path) -> None:
    engine = open_engine(sqlite_url(tmp_path / "core.sqlite"))
    with pytest.raises(Unavailable):
        backup(engine, tmp_path / "copy")
    assert not (tmp_path / "copy").exists()
    assert not (tmp_path / "core.sqlite").exists()


def test_a_restore_that_is_cut_off_leaves_the_old_life_in_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half a restore would start again with an epoch whose tokens were given out before (P4)."""
    database, copy = tmp_path / "core.sqlite", tmp_path / "copy"
    engine = open_engine(sqlite_url(database))
    migrate(engine)
    backup(engine, copy)
    begin_life(engine)
    engine.dispose()

    def power_cut(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("cloud_core.store.backup._begin_new_life", power_cut)
    with pytest.raises(KeyboardInterrupt):
        restore(copy, database, 1_800_000_000)
    assert LoopReads(open_engine(sqlite_url(database))).core_state() == (1, 1)
    monkeypatch.undo()
    restore(copy, database, 1_800_000_000)
    assert LoopReads(open_engine(sqlite_url(database))).core_state() == (1_800_000_000, 0)
    kept = database.with_name("core.sqlite.before-restore")
    assert LoopReads(open_engine(sqlite_url(kept))).core_state() == (1, 1)
