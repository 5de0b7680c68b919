"""Rows of one table by key during a commit: the newest of each, and what it was when loaded."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Generic, TypeVar

R = TypeVar("R")
Undo = list[tuple[dict[Any, Any], Any, Any]]
MISSING: Any = object()


class Rows(Generic[R]):
    """The rows of one table by key; remembers which are new and which changed."""

    def __init__(
        self, key: Callable[[R], Any], fetch: Callable[[Any], R | None], undo: Undo
    ) -> None:
        self._key, self._fetch, self._undo = key, fetch, undo
        self._now: dict[Any, R | None] = {}
        self._stored: dict[Any, R | None] = {}

    def get(self, key: Any) -> R | None:
        """The newest row, None if there is none."""
        row = self._now.get(key, MISSING)
        if row is MISSING:
            row = self._fetch(key)
            self.loaded(key, row)
        return row

    def peek(self, key: Any) -> R | None:
        """The newest row in memory; None also when nobody has looked for it yet."""
        return self._now.get(key)

    def put(self, row: R) -> None:
        """Replace or add a row."""
        key, rows = self._key(row), self._now
        before = rows.get(key, MISSING)
        if before is MISSING:
            before = self.get(key)
        self._undo.append((rows, key, before))
        rows[key] = row

    def add(self, row: R) -> None:
        """Add a row that the database cannot have: its key was made in this commit."""
        key, rows = self._key(row), self._now
        self._stored.setdefault(key, None)
        self._undo.append((rows, key, rows.get(key)))
        rows[key] = row

    def loaded(self, key: Any, row: R | None) -> None:
        """Note what the database holds under `key`; keeps a newer decision."""
        if key not in self._now:
            self._now[key] = row
            self._stored[key] = row

    def refresh(self, key: Any, row: R) -> None:
        """Note a newer reading of a row that nothing here has changed."""
        if self._now.get(key) is self._stored.get(key):
            self._now[key] = self._stored[key] = row

    def __contains__(self, key: object) -> bool:
        return key in self._now

    def known(self) -> Iterable[R]:
        """Every row in memory."""
        return [row for row in self._now.values() if row is not None]

    def stored(self, key: Any) -> R | None:
        """The row as it was loaded; None if there was none or nobody asked."""
        return self._stored.get(key)

    def pairs(self) -> tuple[list[R], list[tuple[R, R]]]:
        """(new rows, changed rows beside what was loaded), each key once."""
        new: list[R] = []
        changed: list[tuple[R, R]] = []
        for key, row in self._now.items():
            old = self._stored[key]
            if row is None or row is old:
                continue
            if old is None:
                new.append(row)
            else:
                changed.append((old, row))
        return new, changed

    def changes(self) -> tuple[list[R], list[R]]:
        """(new rows, changed rows), each key once."""
        new: list[R] = []
        changed: list[R] = []
        stored = self._stored
        for key, row in self._now.items():
            old = stored[key]
            if row is None or row is old:
                continue
            (new if old is None else changed).append(row)
        return new, changed


class WatchedRows(Rows[R]):
    """Rows from which something is worked out that a new row makes stale."""

    def __init__(
        self,
        key: Callable[[R], Any],
        fetch: Callable[[Any], R | None],
        undo: Undo,
        after: Callable[[R], None],
    ) -> None:
        super().__init__(key, fetch, undo)
        self._after = after

    def put(self, row: R) -> None:
        """As `Rows.put`; says so."""
        super().put(row)
        self._after(row)

    def add(self, row: R) -> None:
        """As `Rows.add`; says so."""
        super().add(row)
        self._after(row)
