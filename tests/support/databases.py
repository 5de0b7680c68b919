"""Which database a test runs on: a SQLite file, or a PostgreSQL database of its own.

A test asks for the `database` fixture (`tests/conftest.py`); whatever opens a core under
`tests/support` then asks `url_of(folder)` here. Both are copied from a template that was migrated
once; PostgreSQL databases are emptied after a test and used again.
"""

from __future__ import annotations

import functools
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from sqlalchemy import Engine
from sqlalchemy.engine import make_url

from cloud_core.store import schema as t
from cloud_core.store.engine import open_engine, sqlite_url
from cloud_core.store.migrate import migrate
from tests.support import postgres

KINDS = ("sqlite", "postgresql")
# Deleting a few rows takes a millisecond; TRUNCATE makes a hundred new files and takes fifty.
_EMPTY = (
    "; ".join(f"DELETE FROM {table.name}" for table in reversed(t.metadata.sorted_tables)),
    "SELECT setval(format('%I.%I', schemaname, sequencename)::regclass, 1, false) "
    "FROM pg_sequences WHERE last_value IS NOT NULL",
    "INSERT INTO core_meta (key, value) VALUES ('core_epoch', '1')",
)


class _Pool:
    """The PostgreSQL databases of one test process."""

    def __init__(self, admin: str = "") -> None:
        self._free: list[str] = []
        self._made = 0
        self._admin = admin
        self._template = ""

    def take(self) -> str:
        """The URL of an empty database at the newest schema."""
        if self._free:
            return self._free.pop()
        if not self._template:
            self._admin = self._admin or postgres.server_url()
            self._template = f"packline_template_{os.getpid()}"
            postgres.execute(self._admin, f"CREATE DATABASE {self._template}")
            engine = open_engine(self._named(self._template))
            migrate(engine)
            engine.dispose()
        self._made += 1
        name = f"packline_{os.getpid()}_{self._made}"
        postgres.execute(self._admin, f"CREATE DATABASE {name} TEMPLATE {self._template}")
        return self._named(name)

    def give_back(self, url: str) -> None:
        """Empty a database and keep it for the next test."""
        postgres.execute(url, *_EMPTY)
        self._free.append(url)

    def drop(self) -> None:
        """Remove every database made here: the server may be somebody's own."""
        names = [make_url(u).database for u in self._free] + [self._template]
        if self._admin:
            with suppress(Exception):
                drops = [f"DROP DATABASE IF EXISTS {name} WITH (FORCE)" for name in names]
                postgres.execute(self._admin, *drops)
        self.__init__()  # type: ignore[misc]

    def _named(self, database: str) -> str:
        url = make_url(self._admin).set(database=database)
        return url.render_as_string(hide_password=False)


_pool = _Pool()
_templates = tempfile.TemporaryDirectory(prefix="packline-template-")
_kind = "sqlite"
_taken: dict[Path, str] = {}
_opened: list[Engine] = []


@contextmanager
def running_on(kind: str, server: str = "") -> Iterator[str]:
    """Within this every core opened by `tests/support` stands on `kind`.

    `server` is the administrator's URL of a server of one's own. Raises `NoServer`.
    """
    global _kind, _pool
    shared = _pool
    if server:
        _pool = _Pool(server)
    if kind == "postgresql":
        _pool.give_back(_pool.take())
    _kind = kind
    try:
        yield kind
    finally:
        _kind = "sqlite"
        for engine in _opened:
            engine.dispose()
        _opened.clear()
        for url in _taken.values():
            _pool.give_back(url)
        _taken.clear()
        _pool = shared


def url_of(folder: Path, file: str = "core.sqlite") -> str:
    """The database of `folder`: the same one for the same folder within a test."""
    if _kind == "sqlite":
        return sqlite_url(folder / file)
    if folder not in _taken:
        _taken[folder] = _pool.take()
    return _taken[folder]


def open_database(folder: Path, file: str = "core.sqlite") -> Engine:
    """An engine on the folder's database at the newest schema; closed when the test ends."""
    if _kind == "sqlite" and not (folder / file).exists():
        shutil.copyfile(_sqlite_template(), folder / file)
    engine = open_engine(url_of(folder, file))
    _opened.append(engine)
    return engine


@functools.cache
def _sqlite_template() -> Path:
    """A file that was migrated once; copying it takes a fiftieth of migrating."""
    path = Path(_templates.name) / "template.sqlite"
    engine = open_engine(sqlite_url(path))
    migrate(engine)
    engine.dispose()
    return path


def forget_databases() -> None:
    """The end of a test process."""
    _pool.drop()
