"""A core that is busy without a break: no commit waits while SQLite's log is copied, and the log
does not grow for ever."""

from __future__ import annotations

import secrets
import time
from pathlib import Path

import pytest
from sqlalchemy import Connection, text

from cloud_core.store.checkpoints import Checkpoints
from cloud_core.store.engine import committing, open_engine, sqlite_url

_COMMITS = 400
_BLOB = 64 * 1024
_PATIENCE_S = 60


def _begun_anew(file: Path) -> bytes:
    """What SQLite changes in the log's head each time it begins anew (fileformat2, 4.1: salts)."""
    return Path(f"{file}-wal").read_bytes()[16:24]


def _commit(connection: Connection) -> None:
    with connection.begin():
        connection.execute(text("INSERT INTO kept (body) VALUES (:b)"), {"b": bytes(_BLOB)})


def test_the_log_of_a_core_that_never_rests_begins_anew(tmp_path: Path) -> None:
    file = tmp_path / "core.sqlite"
    engine = committing(open_engine(sqlite_url(file)))
    with engine.connect() as connection:
        with connection.begin():
            connection.execute(text("CREATE TABLE kept (body BLOB)"))
        for _ in range(_COMMITS):  # by itself it grows: its end is far away
            _commit(connection)
        salts = _begun_anew(file)
        _commit(connection)
        assert _begun_anew(file) == salts
        beside = Checkpoints(engine, every_s=0.01)
        beside.start()
        end = time.monotonic() + _PATIENCE_S
        commits = 0
        while _begun_anew(file) == salts:
            assert time.monotonic() < end, f"the log never began anew in {commits} commits"
            _commit(connection)
            beside.after_commit()
            commits += 1
        beside.stop()
        kept = connection.execute(text("SELECT count(*) FROM kept")).scalar()
    assert kept == _COMMITS + 1 + commits
    engine.dispose()


def test_it_ends_also_when_nothing_was_ever_committed(tmp_path: Path) -> None:
    engine = committing(open_engine(sqlite_url(tmp_path / "core.sqlite")))
    beside = Checkpoints(engine, every_s=0.01)
    beside.start()
    beside.stop()
    engine.dispose()


def test_a_file_that_cannot_be_copied_stops_nobody(tmp_path: Path) -> None:
    file = tmp_path / "core.sqlite"
    file.write_bytes(secrets.token_bytes(8192))
    engine = committing(open_engine(sqlite_url(file)))
    beside = Checkpoints(engine, every_s=0.01)
    beside.start()
    for _ in range(3):
        beside.after_commit()
    beside.stop()
    engine.dispose()


@pytest.mark.parametrize("url", ["sqlite://", "postgresql+psycopg://nobody@127.0.0.1:9/none"])
def test_other_databases_need_none(url: str) -> None:
    engine = open_engine(url)
    beside = Checkpoints(engine, every_s=0.01)
    beside.start()
    beside.after_commit()
    beside.stop()
    engine.dispose()
