"""Stock rows that stay in memory between the commits of one process on SQLite.

Routing asks every warehouse for every SKU; reading those rows anew was a sixth of a paid order.
What is kept counts only while nobody else has written: SQLite says so for other connections
(sqlite.org/pragma.html#pragma_data_version), the number of changes on our own one for the rest.
This module must not know what a row means.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from typing import NamedTuple

from sqlalchemy import Connection

from cloud_core.domain.rows import Stock
from cloud_core.store.row_map import Rows

ROWS_MAX = 50_000
"""Rows kept, about 15 MB; when there are more all are forgotten."""


class Shelf(NamedTuple):
    """The rows of one SKU by warehouse as they are stored, and what each may still promise."""

    rows: dict[str, Stock]
    units: dict[str, int]


Shelves = dict[str, Shelf]


class KeptStock:
    """What the last commit left; `open` within a write transaction, `close` once it is durable."""

    def __init__(self) -> None:
        self._shelves: Shelves = {}
        self._connection: sqlite3.Connection | None = None
        self._version = self._changes = -1

    def open(self, connection: Connection) -> Shelves:
        """The rows that are still as they were, by SKU; what is read may be put beside them."""
        driver = connection.connection.driver_connection
        assert isinstance(driver, sqlite3.Connection)
        version = driver.execute("PRAGMA data_version").fetchone()[0]
        same = driver is self._connection and version == self._version
        if not same or driver.total_changes != self._changes:
            self._shelves = {}
        self._connection, self._version, self._changes = driver, version, -1
        return self._shelves

    def close(self, stock: Rows[Stock], warehouses: int, *, all_known: bool) -> None:
        """Take over what the commit has changed; without `all_known` something else may have."""
        new, changed = stock.changes()
        for row in (*new, *changed):
            shelf = self._shelves.get(row.sku)
            if shelf is not None:
                shelf.rows[row.warehouse] = row
                shelf.units[row.warehouse] = row.available
        if all_known and len(self._shelves) * warehouses <= ROWS_MAX:
            assert self._connection is not None
            self._changes = self._connection.total_changes


def shelves_of(skus: Iterable[str], rows: Iterable[Stock]) -> Shelves:
    """The rows of these SKUs as they were read; a SKU that nobody has stands there empty."""
    found = {sku: Shelf({}, {}) for sku in skus}
    for row in rows:
        shelf = found[row.sku]
        shelf.rows[row.warehouse] = row
        shelf.units[row.warehouse] = row.available
    return found
