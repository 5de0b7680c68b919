"""A backup is made in the shop's busiest hour: it ends, whole, while orders go on being written."""

from __future__ import annotations

import sqlite3
import threading
from contextlib import closing
from pathlib import Path

from cloud_core.store.backup import backup
from cloud_core.store.engine import open_engine, sqlite_url

_ROWS, _BLOB = 600, 64 * 1024  # 38 MB: a copy takes longer than the pause between two commits
_PATIENCE_S = 60


def test_a_backup_ends_while_others_commit_without_a_break(tmp_path: Path) -> None:
    file, copy = tmp_path / "core.sqlite", tmp_path / "copy.sqlite"
    engine = open_engine(sqlite_url(file))
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE kept (id INTEGER PRIMARY KEY, body BLOB)")
        for _ in range(_ROWS):
            connection.exec_driver_sql("INSERT INTO kept (body) VALUES (?)", (bytes(_BLOB),))
    done = threading.Event()

    def make() -> None:
        backup(engine, copy)
        done.set()

    made = threading.Thread(target=make, daemon=True)
    commits = 0
    with closing(sqlite3.connect(file, isolation_level=None)) as busy:
        busy.execute("PRAGMA synchronous=OFF")
        made.start()
        ended = threading.Timer(_PATIENCE_S, done.set)
        ended.start()
        while not done.is_set():
            busy.execute("INSERT INTO kept (body) VALUES (x'00')")
            commits += 1
        ended.cancel()
        assert copy.exists(), f"no backup after {commits} commits"
    made.join()
    with closing(sqlite3.connect(copy)) as found:
        assert found.execute("PRAGMA quick_check").fetchone()[0] == "ok"
        assert _ROWS <= found.execute("SELECT count(*) FROM kept").fetchone()[0] <= _ROWS + commits
    engine.dispose()
