"""A card that stammers at the start costs a start, never the journal."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import apsw
import pytest

from edge_agent import bootstrap
from edge_agent.bootstrap import journals, waiting
from edge_agent.domain.moment import Now
from edge_agent.journal import salvage, soundness
from edge_agent.journal.core import JournalCore
from edge_agent.ports import Connection
from edge_agent.settings import Settings
from protocols import chain, codec
from protocols.errors import Unavailable
from protocols.messages import Event
from tests.crash.history import pick
from tests.crash.medium import Medium, Trigger

NOW = Now(1_800_000_000_000, 5)
UNREADABLE = sqlite3.SQLITE_IOERR_READ
MOMENTARY = [
    sqlite3.SQLITE_IOERR, UNREADABLE, sqlite3.SQLITE_IOERR_SHORT_READ,
    sqlite3.SQLITE_IOERR_CORRUPTFS, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_FULL,
]  # fmt: skip


def error_of(code: int) -> sqlite3.Error:
    error = sqlite3.OperationalError("disk I/O error")
    error.sqlite_errorcode = code
    return error


class Stammering:
    """A connection whose statements of one kind fail, as often as is said."""

    def __init__(self, db: sqlite3.Connection, words: str, code: int, times: list[int]) -> None:
        self._db, self._words, self._code, self._times = db, words, code, times

    def execute(self, sql: str, values: Any = ()) -> Any:
        if self._words in sql and self._times[0] > 0:
            self._times[0] -= 1
            raise error_of(self._code)
        return self._db.execute(sql, values)

    def executemany(self, sql: str, values: Any) -> Any:
        return self._db.executemany(sql, values)

    @property
    def total_changes(self) -> int:
        return self._db.total_changes

    def close(self) -> None:
        self._db.close()


def stammer(
    monkeypatch: pytest.MonkeyPatch, words: str, code: int, times: int
) -> Callable[[], None]:
    """Every connection opened from now on stammers; call the answer to heal."""
    real, left = sqlite3.connect, [times]

    def connect(*args: Any, **more: Any) -> Any:
        return Stammering(real(*args, **more), words, code, left)

    monkeypatch.setattr(sqlite3, "connect", connect)

    def heal() -> None:
        monkeypatch.setattr(sqlite3, "connect", real)

    return heal


def written(folder: Path, count: int = 8) -> tuple[Settings, Path]:
    settings = Settings(site="sha", agent="sha-1", data_dir=str(folder), page_enabled=False)
    core = bootstrap.open_core(settings, "floor", NOW)
    core.commit([(pick(n, 0), NOW) for n in range(count)])
    core.close()
    return settings, folder / "floor.db"


def events(core: JournalCore) -> list[Event]:
    found = core.db.execute("SELECT row FROM row ORDER BY epoch_no, seq").fetchall()
    return [codec.decode_event(row) for (row,) in found]


def seqs(core: JournalCore) -> list[int]:
    return [event.o.seq for event in events(core) if event.o is not None]


@pytest.mark.parametrize("code", MOMENTARY)
@pytest.mark.parametrize("words", ["quick_check", "BEGIN IMMEDIATE"])
def test_no_error_of_the_medium_puts_a_journal_aside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, words: str
) -> None:
    settings, _ = written(tmp_path)
    heal = stammer(monkeypatch, words, code, 1)
    with pytest.raises(Unavailable, match="journal_unusable") as told:
        bootstrap.open_core(settings, "floor", NOW)
    assert "打不开日志文件" in told.value.zh
    heal()
    assert not list(tmp_path.glob("floor.db.*"))
    core = bootstrap.open_core(settings, "floor", NOW)
    assert len(events(core)) == 9
    core.close()


@pytest.mark.parametrize("code", [sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB])
def test_only_broken_content_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    settings, _ = written(tmp_path)
    heal = stammer(monkeypatch, "quick_check", code, 1)
    core = bootstrap.open_core(settings, "floor", NOW)
    heal()
    assert [event.t for event in events(core)[:1]] == ["epoch.opened"]
    assert len(list(tmp_path.glob("floor.db.broken-*[0-9]"))) == 1
    core.close()


class Unreadable(apsw.IOError):
    """What the kernel says of a page that the card does not give."""

    extendedresult = UNREADABLE


@pytest.fixture
def medium() -> Iterator[Medium]:
    made = Medium()
    yield made
    made.close()


def test_a_check_that_cannot_read_a_page_is_no_finding(medium: Medium) -> None:
    """SQLite lists such a page among the faults it found; it is none, at any read of the check."""
    core = medium.core()
    core.open(NOW)
    core.commit([(pick(n, 0), NOW) for n in range(200)])
    core.db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    core.close()
    missed = 0
    for at in range(1, 500):
        db = medium._connect()
        trigger = Trigger(at, frozenset({"read"}), Unreadable, lasting=False)
        medium.arm(trigger)
        sound, error = looked_at(db)
        medium.arm(None)
        medium.leave()
        assert sound or error is not None, f"read {at} was taken for a fault"
        assert error is None or soundness.is_read_error(error)
        missed += error is not None
        if not trigger.hit:
            break
    assert missed > 10
    assert looked_at(medium._connect()) == (True, None)


def looked_at(db: Connection) -> tuple[bool, sqlite3.Error | None]:
    try:
        return soundness.is_whole(db, every_page=True), None
    except sqlite3.Error as error:
        return False, error


@pytest.mark.parametrize(("code", "finding"), [(266, False), (10, False), (11, True)])
def test_a_finding_that_only_says_unread_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, finding: bool
) -> None:
    """The words of SQLite's btree.c, among others that may only follow from the unread page."""
    _, path = written(tmp_path)
    lines = ["Page 9 is never used", f"Tree 5 page 7: unable to get the page. error code={code}"]
    with contextlib.closing(sqlite3.connect(path)) as db:
        told = Telling(db, lines)
        if finding:
            assert not soundness.is_whole(told, every_page=True)
        else:
            with pytest.raises(sqlite3.OperationalError) as unread:
                soundness.is_whole(told, every_page=True)
            assert soundness.is_read_error(unread.value)


class Telling(Stammering):
    """A connection whose check finds these."""

    def __init__(self, db: sqlite3.Connection, lines: list[str]) -> None:
        super().__init__(db, "", 0, [0])
        self._lines = lines

    def execute(self, sql: str, values: Any = ()) -> Any:
        told = " UNION ALL ".join("SELECT ?" for _ in self._lines)
        return self._db.execute(told, self._lines)


def smashed(folder: Path) -> Settings:
    settings, path = written(folder, 2_000)
    with path.open("r+b") as file:
        file.seek(path.stat().st_size // 2)
        file.write(b"\xff" * 8192)
    return settings


@pytest.mark.parametrize("times", [1, 2])
def test_a_broken_file_that_stammers_is_read_again_and_gives_all_it_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, times: int
) -> None:
    monkeypatch.setattr(journals, "SALVAGE_PAUSE_S", 0)
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    well = bootstrap.open_core(smashed(tmp_path / "a"), "floor", NOW)
    settings = smashed(tmp_path / "b")
    heal = stammer(monkeypatch, "FROM row WHERE", UNREADABLE, times)
    stammered = bootstrap.open_core(settings, "floor", NOW)
    heal()
    assert seqs(stammered) == seqs(well)
    well.close()
    stammered.close()


def test_a_page_that_is_never_read_again_costs_its_rows_and_not_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journals, "SALVAGE_PAUSE_S", 0)
    settings = smashed(tmp_path)
    heal = stammer(monkeypatch, "SELECT seq, row, hash FROM row WHERE", UNREADABLE, 99)
    core = bootstrap.open_core(settings, "floor", NOW)
    heal()
    assert b'"salvaged"' in bytes(events(core)[0].d)
    assert list(tmp_path.glob("floor.db.broken-*")), "the file itself stays"
    core.close()


def test_a_broken_file_somebody_holds_is_not_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = smashed(tmp_path)
    heal = stammer(monkeypatch, "FROM row WHERE", sqlite3.SQLITE_BUSY, 1)
    with pytest.raises(Unavailable, match="journal_unusable"):
        bootstrap.open_core(settings, "floor", NOW)
    heal()
    core = bootstrap.open_core(settings, "floor", NOW)
    assert len([event for event in events(core) if event.o is not None]) > 100
    core.close()


def test_rows_of_a_newer_program_are_a_named_gap_and_their_neighbours_live(tmp_path: Path) -> None:
    _, path = written(tmp_path, 8)
    with contextlib.closing(sqlite3.connect(path)) as db:
        _rewrite(db, 5, b'{"q":"five","t":7}')
        _rewrite(db, 7, b"\x00\x01 not even JSON")
        db.commit()
    found = salvage.read(path, "sha-1", "floor")
    assert [event.o.seq for event in found.events if event.o] == [1, 2, 3, 4, 6, 8, 9]
    assert [gap[1:] for gap in found.gaps] == [(5, 5), (7, 7)]


def test_a_row_that_holds_no_bytes_costs_itself_alone(tmp_path: Path) -> None:
    _, path = written(tmp_path, 8)
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.execute("UPDATE row SET row='text' WHERE seq=4")
        db.commit()
    found = salvage.read(path, "sha-1", "floor")
    assert [event.o.seq for event in found.events if event.o] == [1, 2, 3, 5, 6, 7, 8, 9]
    assert [gap[1:] for gap in found.gaps] == [(4, 4)]


async def test_the_agent_waits_refusing_scans_until_the_card_gives_the_journal_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, _ = written(tmp_path)
    monkeypatch.setattr(waiting, "PROBE_EVERY_S", 0.01)
    heal = stammer(monkeypatch, "quick_check", UNREADABLE, 1_000_000)
    refused: list[str] = []

    def watch(bench: Any) -> list[Any]:
        refused.append(bench.reason_zh)
        return []

    ended = asyncio.Event()
    going = asyncio.create_task(waiting.wait_for_storage(settings, "disk I/O error", ended, watch))
    for _ in range(20):
        await asyncio.sleep(0.01)
    assert not going.done(), "the medium takes a probe, but not a read"
    heal()
    assert await asyncio.wait_for(going, 20)
    assert refused == ["存储卡读写出错，多半已损坏"]


def _rewrite(db: sqlite3.Connection, seq: int, row: bytes) -> None:
    """What a newer program would have written: another form, and the chain goes on over it."""
    db.execute("UPDATE row SET row=? WHERE seq=?", (row, seq))
    before = db.execute("SELECT hash FROM row WHERE seq=?", (seq - 1,)).fetchone()[0]
    for number, data in db.execute(
        "SELECT seq, row FROM row WHERE seq>=? ORDER BY seq", (seq,)
    ).fetchall():
        before = chain.link(before, data)
        db.execute("UPDATE row SET hash=? WHERE seq=?", (before, number))
