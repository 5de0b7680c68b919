"""A broken file is put aside, what can be proved of it lives on, what cannot is named."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from pathlib import Path

import msgspec
import pytest

from edge_agent import bootstrap
from edge_agent.bootstrap import journals
from edge_agent.domain.moment import Now
from edge_agent.journal import rows, salvage
from edge_agent.journal.core import JournalCore
from edge_agent.journal.tx import Tx
from edge_agent.settings import Settings
from protocols import codec
from protocols.errors import Unavailable
from protocols.events import ItemPicked
from protocols.messages import Event, Token

NOW = Now(1_800_000_000_000, 5)


def pick(tx: Tx) -> int:
    body = ItemPicked(shipment="DB1-1", token=Token(1, 1), sku="A", quantity=1)
    return tx.append("item.picked", body)


def written(folder: Path, count: int) -> tuple[Settings, Path]:
    settings = Settings(site="sha", agent="sha-1", data_dir=str(folder))
    core = bootstrap.open_core(settings, "floor", NOW)
    core.commit([(pick, NOW)] * count)
    core.commit([(lambda tx: rows.set_acked(tx.db, 1, 3), NOW)])
    core.close()
    return settings, folder / "floor.db"


def events(core: JournalCore) -> list[Event]:
    found = core.db.execute("SELECT row FROM row ORDER BY epoch_no, seq").fetchall()
    return [codec.decode_event(row) for (row,) in found]


def test_a_smashed_file_is_put_aside_and_the_shift_goes_on(tmp_path: Path) -> None:
    settings, path = written(tmp_path, 2_000)
    with path.open("r+b") as file:
        file.seek(path.stat().st_size // 2)
        file.write(b"\xff" * 8192)
    assert not bootstrap.is_whole(path)
    core = bootstrap.open_core(settings, "floor", NOW)
    found = events(core)
    assert list(tmp_path.glob("floor.db.broken-*"))
    assert found[0].t == "epoch.opened"
    assert b'"salvaged"' in bytes(found[0].d)
    carried = [event.o.seq for event in found if event.o is not None]
    assert carried == sorted(set(carried))
    assert all(seq > 3 for seq in carried)
    assert len(carried) > 100
    core.close()


def smashed(folder: Path) -> Settings:
    settings, path = written(folder, 2_000)
    with path.open("r+b") as file:
        file.seek(path.stat().st_size // 2)
        file.write(b"\xff" * 8192)
    return settings


def test_a_start_that_breaks_off_while_it_salvages_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The plug is pulled after the file was put aside, or the disk takes no new file just then."""
    settings = smashed(tmp_path)
    with monkeypatch.context() as patched:
        patched.setattr(JournalCore, "open", lambda *_: (_ for _ in ()).throw(SystemExit))
        with pytest.raises(SystemExit):
            bootstrap.open_core(settings, "floor", NOW)
    with monkeypatch.context() as patched:
        patched.setattr(salvage, "carry_over", lambda *_, **__: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            bootstrap.open_core(settings, "floor", NOW)
    core = bootstrap.open_core(settings, "floor", NOW)
    found = events(core)
    assert b'"salvaged"' in bytes(found[0].d)
    assert len([event for event in found if event.o is not None]) > 100
    core.close()
    again = bootstrap.open_core(settings, "floor", NOW)
    assert len(events(again)) == len(found)
    again.close()
    assert len(list(tmp_path.glob("floor.db.broken-*[0-9]"))) == 1


def test_a_move_that_breaks_off_between_file_and_wal_is_ended(tmp_path: Path) -> None:
    settings, path = written(tmp_path, 8)
    aside = path.with_name("floor.db.salvaging-1800000000000")
    db = sqlite3.connect(path, isolation_level=None)
    db.execute("PRAGMA wal_autocheckpoint=0")
    db.execute("UPDATE epoch SET acked=0")
    whole, log = path.read_bytes(), path.with_name("floor.db-wal").read_bytes()
    db.close()
    for part in tmp_path.glob("floor.db*"):
        part.unlink()
    aside.write_bytes(whole)
    path.with_name("floor.db-wal").write_bytes(log)
    core = bootstrap.open_core(settings, "floor", NOW)
    carried = [event.o.seq for event in events(core) if event.o is not None]
    assert carried == list(range(1, 10))
    core.close()


def test_a_disk_too_full_to_open_the_log_does_not_make_a_journal_broken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a power cut on a full disk SQLite says IOERR_SHMSIZE: a medium to wait for, no more."""
    settings, path = written(tmp_path, 8)

    def no_room(*_: object, **__: object) -> sqlite3.Connection:
        error = sqlite3.OperationalError("disk I/O error")
        error.sqlite_errorcode = sqlite3.SQLITE_IOERR_SHMSIZE
        raise error

    with monkeypatch.context() as patched:
        patched.setattr(sqlite3, "connect", no_room)
        with pytest.raises(Unavailable, match="journal_unusable") as caught:
            bootstrap.is_whole(path)
    assert journals.storage_trouble(caught.value, tmp_path) == "disk I/O error"
    core = bootstrap.open_core(settings, "floor", NOW)
    assert not list(tmp_path.glob("floor.db.*[0-9]"))
    core.close()


def test_garbage_gives_a_new_epoch_and_nothing_else(tmp_path: Path) -> None:
    settings = Settings(site="sha", agent="sha-1", data_dir=str(tmp_path))
    (tmp_path / "floor.db").write_bytes(b"not a database at all" * 1000)
    core = bootstrap.open_core(settings, "floor", NOW)
    assert [event.t for event in events(core)] == ["epoch.opened"]
    core.close()


def test_a_changed_row_is_a_named_gap_and_not_a_fact(tmp_path: Path) -> None:
    _, path = written(tmp_path, 8)
    db = sqlite3.connect(path)
    db.execute("UPDATE row SET row=CAST(REPLACE(CAST(row AS TEXT), '\"A\"', '\"B\"') AS BLOB)"
               " WHERE seq=6")  # fmt: skip
    db.execute("DELETE FROM row WHERE seq=8")
    db.commit()
    db.close()
    found = salvage.read(path, "sha-1", "floor")
    assert [event.o.seq for event in found.events if event.o] == [4, 5, 7]
    assert [gap[1:] for gap in found.gaps] == [(6, 6), (8, 9)]


def test_a_file_that_cannot_be_looked_at_is_not_called_broken(tmp_path: Path) -> None:
    settings, path = written(tmp_path, 8)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("PRAGMA locking_mode=EXCLUSIVE")
    other.execute("UPDATE meta SET v=v")
    with pytest.raises(Unavailable, match="journal_unusable"):
        bootstrap.open_core(settings, "floor", NOW)
    other.close()
    assert not list(tmp_path.glob("*.broken-*"))
    core = bootstrap.open_core(settings, "floor", NOW)
    assert len(events(core)) == 9
    core.close()


@pytest.mark.parametrize("table", ["print_job", "meta", "row"])  # the last two: as it is opened
async def test_a_large_file_found_broken_while_it_is_used_is_salvaged_at_the_next_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, table: str
) -> None:
    monkeypatch.setattr(journals, "CHECKED_BYTES_MAX", 0)
    settings, path = written(tmp_path, 8)
    with contextlib.closing(sqlite3.connect(path)) as db:
        names = f"tbl_name='{table}'"
        pages = db.execute(f"SELECT rootpage FROM sqlite_master WHERE {names}").fetchall()
    with path.open("r+b") as file:
        for (page,) in pages:
            file.seek((page - 1) * 4096)
            file.write(b"\xff" * 4096)
    settings = msgspec.structs.replace(settings, page_enabled=False)
    with pytest.raises((ExceptionGroup, sqlite3.DatabaseError, Unavailable)):
        await asyncio.wait_for(bootstrap.serve(settings), 20)
    assert (tmp_path / bootstrap.SUSPECT).exists()
    core = bootstrap.open_core(settings, "floor", NOW)
    assert b'"salvaged"' in bytes(events(core)[0].d)
    core.close()


def test_broken_pages_in_the_middle_cost_their_own_rows_and_no_others(tmp_path: Path) -> None:
    _, path = written(tmp_path, 3_000)
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        pages = path.stat().st_size // 4096
    with path.open("r+b") as file:
        for page in (pages // 3, pages // 3 + 1, pages // 2, 2 * pages // 3):
            file.seek(page * 4096)
            file.write(b"\xff" * 4096)
    found = salvage.read(path, "sha-1", "floor")
    seqs = [event.o.seq for event in found.events if event.o]
    assert len(seqs) > 2_800
    assert seqs[-1] == 3_001
    lost = {seq for _, first, last in found.gaps for seq in range(first, last + 1)}
    assert sorted([*seqs, *lost]) == list(range(4, 3_002))
    assert 2 <= len(found.gaps) <= 4


def test_a_broken_end_is_a_gap_up_to_what_the_file_still_speaks_of(tmp_path: Path) -> None:
    settings, path = written(tmp_path, 500)
    core = bootstrap.open_core(settings, "floor", NOW)
    core.commit([(lambda tx: tx.db.execute("INSERT INTO age VALUES(1, 0, 5, 1, 490)"), NOW)])
    core.db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    leaves = core.db.execute(
        "SELECT pageno FROM dbstat WHERE name='row' AND pagetype='leaf' ORDER BY path"
    ) if has_dbstat(core) else None  # fmt: skip
    if leaves is None:
        core.close()
        pytest.skip("this SQLite cannot tell which page holds what (no dbstat)")
    last = [page for (page,) in leaves.fetchall()][-1]
    core.close()
    with path.open("r+b") as file:
        file.seek((last - 1) * 4096)
        file.write(b"\xff" * 4096)
    found = salvage.read(path, "sha-1", "floor")
    seqs = [event.o.seq for event in found.events if event.o]
    assert seqs[0] == 4
    assert found.gaps[-1] == (found.gaps[-1][0], seqs[-1] + 1, max(490, seqs[-1] + 1))


def has_dbstat(core: JournalCore) -> bool:
    try:
        core.db.execute("SELECT 1 FROM dbstat LIMIT 1")
    except sqlite3.Error:
        return False
    return True
