"""A disk that fails at any single call: what was answered is there, and the next commit works."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from edge_agent.domain.moment import Now
from edge_agent.journal import meta, rows
from edge_agent.journal.core import JournalCore
from edge_agent.journal.tx import Tx
from protocols import chain
from protocols.errors import Unavailable
from protocols.events import ItemPicked
from protocols.messages import Token
from tests.support.edge import connect

NOW = Now(1_800_000_000_000, 5)
BODY = ItemPicked(shipment="DB1-1", token=Token(1, 1), sku="A", quantity=1)


class FailingConnection:
    """Fails once, at call number `at`, before the call is done or after it."""

    def __init__(self, path: Path) -> None:
        self._db = connect(path)()
        self.at = -1
        self.after = False
        self.calls = 0

    @property
    def total_changes(self) -> int:
        return self._db.total_changes

    def execute(self, sql: str, parameters: Sequence[Any] = (), /) -> Any:
        return self._one(lambda: self._db.execute(sql, parameters))

    def executemany(self, sql: str, parameters: Any, /) -> Any:
        return self._one(lambda: self._db.executemany(sql, parameters))

    def close(self) -> None:
        self._db.close()

    def _one(self, call: Any) -> Any:
        self.calls += 1
        failing = self.calls == self.at
        if failing and not self.after:
            raise sqlite3.OperationalError("disk I/O error")
        result = call()
        if failing:
            raise sqlite3.OperationalError("disk I/O error")
        return result


def pick(tx: Tx) -> int:
    return tx.append("item.picked", BODY)


def pick_and_note(tx: Tx) -> int:
    meta.put(tx.db, "noted", tx.head.last + 1)
    return pick(tx)


def refuse(tx: Tx) -> None:
    pick_and_note(tx)
    raise ValueError("no")


def in_parts(tx: Tx) -> int:
    with pytest.raises(ValueError, match="no"), tx.part():
        refuse(tx)
    with tx.part():
        return pick_and_note(tx)


GROUP = [(pick, NOW), (refuse, NOW), (pick_and_note, NOW), (in_parts, NOW), (pick, NOW)]


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_one_failing_call_anywhere(tmp_path: Path, after: bool) -> None:
    fails_at = 0
    while True:
        fails_at += 1
        path = tmp_path / f"{fails_at}.db"
        disk = FailingConnection(path)
        core = JournalCore(lambda d=disk: d, "sha-1", "floor", lambda: "ab" * 8)  # type: ignore[misc]
        core.open(NOW)
        disk.calls, disk.at, disk.after = 0, fails_at, after
        first = core.commit(GROUP)
        reached = disk.calls >= fails_at
        disk.at = -1
        second = core.commit(GROUP)
        assert [type(error) for _, error in second] == [type(None), ValueError, *[type(None)] * 3]
        answered = [value for value, error in first + second if error is None]
        core.close()
        check(path, answered)
        for _, error in first:
            assert error is None or isinstance(error, (ValueError, Unavailable))
        if not reached:
            return


def check(path: Path, answered: list[int]) -> None:
    """Every answered row is there once, the chain is whole, nothing stands in its way."""
    again = JournalCore(connect(path), "sha-1", "floor", lambda: "cd" * 8)
    again.open(NOW)
    found = again.db.execute("SELECT seq, row, hash FROM row ORDER BY seq").fetchall()
    assert [seq for seq, _, _ in found] == list(range(1, len(found) + 1))
    assert [bytes(digest) for _, _, digest in found] == chain.extend(
        chain.genesis("sha-1", "floor", "ab" * 8), [bytes(row) for _, row, _ in found]
    )
    assert len(set(answered)) == len(answered)
    assert set(answered) <= {seq for seq, _, _ in found}
    assert again.commit([(pick, NOW)]) == [(len(found) + 1, None)]
    assert len(rows.epochs(again.db)) == 1
    again.close()
