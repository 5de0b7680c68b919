"""Copies SQLite's log into its database beside the commits, so that commits seldom wait for it.

By itself SQLite does so inside the commit that fills the log past `engine.CHECKPOINT_PAGES`, and
nobody is answered meanwhile. A passive checkpoint on a connection of its own disturbs neither
readers nor the writer (sqlite.org/wal.html, sqlite.org/pragma.html#pragma_wal_checkpoint). This
module must not know any table.
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from pathlib import Path

import structlog
from sqlalchemy import Engine

_log = structlog.get_logger()

EVERY_S = 1.0
"""Between copies while commits go on: at 3,000 paid orders a second some 160 MB of log."""
ANEW_PAGES = 40_000
"""A log shorter than this (160 MB) may grow: to begin anew costs the commits 30 to 100 ms."""


class Checkpoints:
    """Two steps, on a SQLite file; with another database nothing.

    A thread copies what is in the log, however much, while commits go on, and then what came
    meanwhile. A long log can only begin anew when nothing in it is left to be copied, and a busy
    core begins its next commit at once: so the committer itself copies the rest, the pages of a
    commit or two, between two commits.
    """

    def __init__(self, engine: Engine, every_s: float = EVERY_S) -> None:
        self._every_s = every_s
        file = engine.url.database if engine.dialect.name == "sqlite" else None
        self._uri = f"{Path(file).absolute().as_uri()}?mode=rw" if file else ""
        self._ending = threading.Event()
        self._committed = threading.Event()
        self._most_is_copied = False
        self._told = ""
        self._thread = threading.Thread(target=self._run, name="checkpoints", daemon=True)

    def start(self) -> None:
        """Start the thread, if the database has such a log."""
        if self._uri:
            self._thread.start()

    def stop(self) -> None:
        """End the thread; a copy that runs is waited for."""
        self._ending.set()
        self._committed.set()
        if self._thread.is_alive():
            self._thread.join()

    def after_commit(self) -> None:
        """To be called between two commits, by the only one who commits much."""
        if self._most_is_copied:
            self._most_is_copied = False
            self._copy()
        self._committed.set()

    def _run(self) -> None:
        while not self._ending.wait(self._every_s):
            self._committed.wait()
            self._committed.clear()
            if not self._ending.is_set():
                self._copy()
                self._most_is_copied = self._copy() >= ANEW_PAGES

    def _copy(self) -> int:
        """Copy what the log holds now; its length in pages, 0 when it cannot be copied."""
        said, pages = "", 0
        try:
            with contextlib.closing(sqlite3.connect(self._uri, uri=True)) as connection:
                pages = connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()[1]
        except sqlite3.Error as error:
            said = str(error)
        if said != self._told:  # once: it is tried again each second
            self._told = said
            _log.warning("checkpoint.failed" if said else "checkpoint.recovered", error=said)
        return int(pages)
