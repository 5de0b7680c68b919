"""Opens a journal file for a look, beside the program that may be writing it. Knows no table."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from urllib.parse import quote


def connect(path: Path) -> sqlite3.Connection:
    """A connection that cannot write. Raises `sqlite3.Error`.

    The path is quoted: in a URI `?`, `#` and `%` mean something (https://sqlite.org/uri.html).
    """
    return sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True, isolation_level=None)
