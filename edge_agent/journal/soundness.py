"""Whether a journal file's content is in order, or only cannot be read just now.

Broken content is what SQLite itself says of the content: it puts the file aside. A failing read, a
lock, a missing right or a full disk say nothing of it: the start is tried again. Changes nothing.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator

from edge_agent.ports import Connection

_BROKEN = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
_NOT_GOT = re.compile(r"unable to get the page\. error code=(\d+)")
"""`quick_check` tells of a page that could not be read as of any other fault (btree.c)."""


def is_broken(error: BaseException) -> bool:
    """Whether this says that a file's content is broken."""
    return any(code & 0xFF in _BROKEN for code in _codes(error))


def is_read_error(error: BaseException) -> bool:
    """Whether the medium did not give what was asked for; it may give it the next time."""
    return any(code & 0xFF == sqlite3.SQLITE_IOERR for code in _codes(error))


def _codes(error: BaseException) -> Iterator[int]:
    """What SQLite said: the error itself, each of a group, and what it was raised from."""
    if isinstance(error, sqlite3.Error):
        yield getattr(error, "sqlite_errorcode", 0)
    elif isinstance(error, BaseExceptionGroup):
        for one in error.exceptions:
            yield from _codes(one)
    elif error.__cause__ is not None:
        yield from _codes(error.__cause__)


def is_whole(db: Connection, *, every_page: bool) -> bool:
    """Whether SQLite finds the file in order; without `every_page` only whether it opens.

    Raises `sqlite3.Error` for a file that could not be looked at: it may be whole.
    """
    try:
        if not every_page:
            return db.execute("SELECT COUNT(*) FROM epoch").fetchone() is not None
        found = [str(row[0]) for row in db.execute("PRAGMA quick_check").fetchall()]
    except sqlite3.DatabaseError as error:
        if is_broken(error):
            return False
        raise
    for line in found:
        _raise_unread(line)
    return found == ["ok"]


def _raise_unread(line: str) -> None:
    """Raises `sqlite3.OperationalError` when a finding says only that a page was not read."""
    unread = _NOT_GOT.search(line)
    code = int(unread.group(1)) if unread is not None else 0
    if code and code & 0xFF not in _BROKEN:
        error = sqlite3.OperationalError("disk I/O error")
        error.sqlite_errorcode = code
        raise error
