"""The schema goes up and down with rows in it, on both engines, and is what the code declares."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, inspect, text

from cloud_core.store.engine import writer
from cloud_core.store.migrate import HEAD, drift, migrate, move_to, revision
from tests.support import databases

FILLED = {
    "warehouse": {"id": "HZ", "site": "hz", "name": "杭州仓"},
    "orders": {
        "id": "DB202600000001", "channel": "shop1", "native_id": "1", "state": "paid",
        "created_ms": 1, "track_token": "t-1", "remark": "请放门卫",
    },
    "shipment": {"id": "DB202600000001-1", "order_id": "DB202600000001", "state": "offered"},
    "hold": {
        "id": "DB202600000001-1@1", "shipment_id": "DB202600000001-1", "warehouse": "HZ",
        "state": "held", "created_ms": 1,
    },
    "hold_line": {"hold_id": "DB202600000001-1@1", "sku": "A", "quantity": 2},
    "stock": {"warehouse": "HZ", "sku": "A", "shelf": 5, "held": 2},
    "seen_key": {"scope": "shop1", "key": "k-1", "at_ms": 1},
    "outbox": {
        "id": "offer:1", "agent": "hz-a", "kind": "offer", "body": b"{}", "n": 41,
        "created_ms": 1,
    },
    "stream": {
        "id": 7, "agent": "hz-a", "name": "floor", "epoch": "00aa", "hash": b"h", "opened_ms": 1,
    },
    "raw_message": {
        "id": 9, "channel": "shop1", "kind": "event", "digest": "d", "body": b"b",
        "received_ms": 1,
    },
    "alarm": {"kind": "quarantine", "key": "x", "opened_ms": 1},
}  # fmt: skip


@pytest.fixture
def engine(tmp_path: Path) -> Engine:
    """A database that has only the first tables, with rows in them."""
    found = databases.open_database(tmp_path)
    move_to(found, "0001")
    with writer(found).begin() as con:
        con.execute(text("DELETE FROM core_meta WHERE key <> 'core_epoch'"))
        for table, row in FILLED.items():
            names, marks = ", ".join(row), ", ".join(f":{name}" for name in row)
            con.execute(text(f"INSERT INTO {table} ({names}) VALUES ({marks})"), row)
    return found


def rows(engine: Engine) -> dict[str, dict[str, Any]]:
    """The filled columns of every filled row."""
    with engine.connect() as con:
        return {
            table: dict(con.execute(text(f"SELECT {', '.join(row)} FROM {table}")).mappings().one())
            for table, row in FILLED.items()
        }


def test_rows_survive_the_way_up_and_down_and_up_again(engine: Engine) -> None:
    assert rows(engine) == FILLED
    for _ in range(2):
        assert migrate(engine) == HEAD
        assert revision(engine) == (HEAD, HEAD)
        assert rows(engine) == FILLED
        assert drift(engine) == []
        assert move_to(engine, "0001") == "0001"
        assert rows(engine) == FILLED
        assert not inspect(engine).has_table("commit_mark")
    migrate(engine)


def test_numbers_given_out_before_are_not_given_out_again(engine: Engine) -> None:
    """Until 0002 the only process counted on from the highest row; sequences start behind it."""
    migrate(engine)
    if engine.dialect.name != "postgresql":
        return
    with engine.begin() as con:
        drawn = [
            con.execute(text(f"SELECT nextval('{name}')")).scalar()
            for name in ("outbox_n", "stream_id_seq", "raw_message_id_seq")
        ]
    assert drawn == [42, 8, 10]


def test_two_processes_that_start_at_once_migrate_once(engine: Engine) -> None:
    from concurrent.futures import ThreadPoolExecutor

    from cloud_core.store.engine import open_engine

    def start(_: int) -> str:
        other = open_engine(engine.url.render_as_string(hide_password=False))
        try:
            return migrate(other)
        finally:
            other.dispose()

    with ThreadPoolExecutor(2) as pool:
        assert set(pool.map(start, range(2))) == {HEAD}
    assert rows(engine) == FILLED
