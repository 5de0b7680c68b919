"""An apsw connection with the face of `sqlite3.Connection`, as far as the journal uses it.

Lets the journal's own code run over the crash VFS. Rows are read at once, errors become those of
`sqlite3`, so that the code above cannot tell the difference. Knows no table.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import apsw

_ERRORS: tuple[tuple[type[apsw.Error], type[sqlite3.Error]], ...] = (
    (apsw.ConstraintError, sqlite3.IntegrityError),
    (apsw.CorruptError, sqlite3.DatabaseError),
    (apsw.NotADBError, sqlite3.DatabaseError),
    (apsw.BindingsError, sqlite3.ProgrammingError),
    (apsw.ConnectionClosedError, sqlite3.ProgrammingError),
    (apsw.Error, sqlite3.OperationalError),
)


def translate(error: apsw.Error) -> sqlite3.Error:
    kind = next((theirs for ours, theirs in _ERRORS if isinstance(error, ours)), None)
    translated = (kind or sqlite3.DatabaseError)(str(error))
    translated.sqlite_errorcode = getattr(error, "extendedresult", 0)
    return translated


class Cursor:
    """The rows of one statement, already read."""

    def __init__(self, rows: list[tuple[Any, ...]], rowcount: int, lastrowid: int) -> None:
        self._rows = rows
        self._next = 0
        self.rowcount = rowcount
        self.lastrowid = lastrowid

    def fetchone(self) -> Any:
        if self._next >= len(self._rows):
            return None
        self._next += 1
        return self._rows[self._next - 1]

    def fetchall(self) -> list[Any]:
        rest = self._rows[self._next :]
        self._next = len(self._rows)
        return rest

    def fetchmany(self, size: int = 1) -> list[Any]:
        rest = self._rows[self._next : self._next + size]
        self._next += len(rest)
        return rest

    def __iter__(self) -> Iterator[Any]:
        return iter(self.fetchall())

    def close(self) -> None: ...


class Connection:
    """One connection; autocommit unless `BEGIN` was said (`isolation_level=None`)."""

    isolation_level = None
    row_factory = None

    def __init__(self, raw: apsw.Connection) -> None:
        self.raw = raw

    @property
    def in_transaction(self) -> bool:
        return self.raw.in_transaction

    @property
    def total_changes(self) -> int:
        return self.raw.total_changes()

    def execute(self, sql: str, params: Any = ()) -> Cursor:
        try:
            before = self.raw.total_changes()
            rows = self.raw.execute(sql, params).fetchall()
            changed = self.raw.total_changes() - before
            return Cursor(rows, changed, self.raw.last_insert_rowid())
        except apsw.Error as error:
            raise translate(error) from error

    def executemany(self, sql: str, many: Iterable[Sequence[Any]]) -> Cursor:
        try:
            before = self.raw.total_changes()
            self.raw.executemany(sql, many).fetchall()
            changed = self.raw.total_changes() - before
            return Cursor([], changed, self.raw.last_insert_rowid())
        except apsw.Error as error:
            raise translate(error) from error

    def executescript(self, sql: str) -> Cursor:
        return self.execute(sql)

    def cursor(self) -> Connection:
        return self

    def commit(self) -> None:
        if self.in_transaction:
            self.execute("COMMIT")

    def rollback(self) -> None:
        if self.in_transaction:
            self.execute("ROLLBACK")

    def close(self) -> None:
        """Kept open: the disk decides when the process behind it is gone."""

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        if kind is None:
            self.commit()
        else:
            self.rollback()


def abandon(raw: apsw.Connection) -> None:
    """Drop the connection of a dead process: its handles are deaf, so nothing is written."""
    raw.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
    try:
        raw.close(True)
    except apsw.Error:
        # A statement of the dead process was in the middle of something; nobody will miss it.
        return
