"""Opens the core's database, SQLite or PostgreSQL, so that a commit means a commit.

Everything else in `store/` receives the engine opened here. It must not know any table.
SQLite: WAL with `synchronous=FULL`, so that a COMMIT that returned survives a power cut
(sqlite.org/wal.html, sqlite.org/pragma.html#pragma_synchronous).
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError

from protocols.errors import Rejected, Unavailable

BUSY_MS = 10_000
"""How long a writer waits for another process (a CLI verb beside `serve`) before it gives up."""
CHECKPOINT_PAGES = 64_000
"""WAL pages (256 MB) at which a commit copies them to the database itself. A core that serves does
so beside its commits (`store/checkpoints.py`). A reader that stays lets the log grow further."""
_WRITES = "packline_writes"
_DRIVERS = ("sqlite", "sqlite+pysqlite", "postgresql", "postgresql+psycopg")
_ALIVE = {
    "connect_timeout": 5, "keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 3,
    "tcp_user_timeout": 15_000,
}  # fmt: skip
"""A peer that vanished without a word is noticed within half a minute (libpq's options)."""
_PRAGMAS = (
    "PRAGMA journal_mode=WAL",
    "PRAGMA synchronous=FULL",
    "PRAGMA foreign_keys=ON",
    f"PRAGMA busy_timeout={BUSY_MS}",
    "PRAGMA temp_store=MEMORY",
    "PRAGMA cache_size=-65536",
    "PRAGMA journal_size_limit=268435456",
    f"PRAGMA wal_autocheckpoint={CHECKPOINT_PAGES}",
)


def _itself(value: Any) -> Any:
    return value


# For a value that is neither a number nor text the driver looks for an adapter in five places, once
# for every NULL and every blob of a row; one that is registered is found in the first.
sqlite3.register_adapter(type(None), _itself)
sqlite3.register_adapter(bytes, bytes)


def sqlite_url(path: Path) -> str:
    """The database URL of a SQLite file."""
    return f"sqlite:///{path}"


def sqlite_path(url: str) -> Path | None:
    """The file behind a URL, or None when it is not SQLite."""
    _check_url(url)
    parsed = make_url(url)
    if parsed.get_backend_name() != "sqlite" or not parsed.database:
        return None
    return Path(parsed.database)


def open_engine(url: str) -> Engine:
    """An engine on `url`; the file's folder must exist.

    Raises `Rejected("database_url")` for what is neither SQLite nor PostgreSQL; else nothing until
    it is first used.
    """
    _check_url(url)
    if make_url(url).get_backend_name() != "sqlite":
        return create_engine(_with_driver(url), pool_pre_ping=True, connect_args=dict(_ALIVE))
    return _open_sqlite(make_url(url))


def _check_url(url: str) -> None:
    try:
        name = make_url(url).drivername
    except (ArgumentError, ValueError):  # its words would repeat the address, password and all
        name = ""
    if name not in _DRIVERS:
        raise Rejected(
            "database_url", "database_url 须为 sqlite:///文件 或 postgresql://用户:密码@主机/库",
            "database_url is sqlite:///file or postgresql://user:password@host/database",
            field="database_url",
        )  # fmt: skip


def _open_sqlite(url: URL, **pool: int) -> Engine:
    engine = create_engine(url, connect_args={"timeout": BUSY_MS / 1000}, **pool)

    @event.listens_for(engine, "connect")
    def _prepare(connection: Any, _record: object) -> None:
        connection.isolation_level = None  # transactions begin where we say so
        cursor = connection.cursor()
        for pragma in _PRAGMAS:
            cursor.execute(pragma)
        cursor.close()

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        writes = connection.get_execution_options().get(_WRITES)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


def writer(engine: Engine) -> Engine:
    """The same engine for transactions that write: SQLite takes its write lock at once.

    A transaction that begins by reading cannot become a writer later when another one wrote in
    between (SQLITE_BUSY_SNAPSHOT); taking the lock first makes it wait instead of fail.
    """
    return engine.execution_options(**{_WRITES: True})


_COMMIT_OPTIONS = (
    # Commits look rows up by key. A plan made while a table was empty must not read it whole later.
    "-c enable_seqscan=off -c enable_hashjoin=off -c enable_mergejoin=off -c jit=off "
    # Nobody waits for a commit whose process has stopped in the middle of it.
    f"-c lock_timeout={BUSY_MS} -c idle_in_transaction_session_timeout=30000"
)


def committing(engine: Engine) -> Engine:
    """An engine for the write queue beside `engine`; closed when that is disposed of.

    It has a connection of its own: a pool hands its connections out in turn, and what is kept
    between commits (`kept_stock`) counts for one of them. On PostgreSQL its plans are those of
    commits, and it is not tried before each use: a commit whose connection broke is tried again
    anyway.
    """
    if engine.dialect.name == "sqlite":
        if not engine.url.database:  # in memory: another connection is another database
            return writer(engine)
        own = _open_sqlite(engine.url, pool_size=1)
        event.listen(engine, "engine_disposed", lambda _engine: own.dispose())
        return writer(own)
    own = create_engine(
        engine.url, pool_size=1, connect_args={"options": _COMMIT_OPTIONS, **_ALIVE}
    )
    event.listen(engine, "engine_disposed", lambda _engine: own.dispose())
    return own


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """A read connection. Raises `Unavailable("database")` when the database cannot answer."""
    try:
        with engine.connect() as connection:
            yield connection
    except DBAPIError as error:
        raise _unavailable(error) from error


@contextmanager
def changing(engine: Engine) -> Iterator[Connection]:
    """A write transaction, committed at the end. Raises `Unavailable("database")`."""
    try:
        with writer(engine).begin() as connection:
            yield connection
    except DBAPIError as error:
        raise _unavailable(error) from error


class ServeLock:
    """Held by the one `serve` of a SQLite database; the kernel frees it when the process ends."""

    def __init__(self, database: Path) -> None:
        self._path = database.with_name(database.name + ".serve.lock")
        self._file: IO[str] | None = None

    def acquire(self) -> None:
        """Take the lock. Raises `Unavailable("already_serving")` naming the holder's pid."""
        file = self._path.open("a+", encoding="ascii")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            file.seek(0)
            holder = file.read().strip() or "?"
            file.close()
            raise Unavailable(
                "already_serving",
                f"该 SQLite 数据库已有一个 cloud-core 在运行（进程 {holder}）",
                f"another cloud-core (process {holder}) serves this SQLite database",
                field="database_url",
            ) from error
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        self._file = file

    def release(self) -> None:
        """Give the lock back; harmless when it was never taken."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def is_held(self) -> bool:
        """Whether any process holds it now."""
        if self._file is not None:
            return True
        try:
            self.acquire()
        except Unavailable:
            return True
        self.release()
        return False


DatabaseError = DBAPIError
"""What a database raises, for those who must not know its library."""
_WHY_ZH = (
    ("not a database", "文件不是 SQLite 数据库，或已损坏"),
    ("malformed", "数据库文件已损坏"),
    ("unable to open", "打不开数据库文件"),
    ("readonly", "数据库文件只读"),
    ("locked", "数据库被另一个进程占用"),
    ("refused", "连接被拒绝，这个地址上没有数据库在运行"),
    ("password", "数据库用户名或密码不正确"),
    ("does not exist", "没有这个数据库或用户"),
    ("timeout", "连接数据库超时"),
    ("resolve", "找不到数据库的主机"),
    ("translate host", "找不到数据库的主机"),
)


def why_zh(error: DBAPIError) -> str:
    """What a database's error means, in Chinese; never its address or password."""
    text = str(error.orig)
    return next((zh for words, zh in _WHY_ZH if words in text), "数据库暂时不可用")


def shown_url(url: str) -> str:
    """A URL as it may be printed: without its password."""
    return make_url(url).render_as_string(hide_password=True)


def told(error: DBAPIError) -> Unavailable:
    """The refusal that stands for a database's error."""
    first = str(error.orig).strip().partition("\n")[0]
    return Unavailable(
        "database", why_zh(error), f"the database cannot answer: {first}", field="database_url"
    )


def _unavailable(error: DBAPIError) -> Unavailable:
    return told(error)


def _with_driver(url: str) -> str:
    parsed = make_url(url)
    if parsed.drivername == "postgresql":
        parsed = parsed.set(drivername="postgresql+psycopg")
    return parsed.render_as_string(hide_password=False)
