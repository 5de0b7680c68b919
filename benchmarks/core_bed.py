"""A core's folder, ready to be measured: master data, stock, waybill numbers, one shop.

One site with as many agents as wanted; its stock never runs out, so that every order is owned.
"""

from __future__ import annotations

import secrets
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sqlalchemy import Engine, Table

from cloud_core import bootstrap
from cloud_core.domain.rows import Audit
from cloud_core.ports import ChannelConfig
from cloud_core.settings import Settings
from cloud_core.store import key_file
from cloud_core.store import schema as t
from cloud_core.store.channel_rows import Channel
from cloud_core.store.engine import writer
from protocols import codec, limits
from protocols.messages import AgentState

SITE = "bench01"
WAREHOUSE = "BENCH01"
CHANNEL = "bench-shop"
SHELF_UNITS = 100_000_000
SKUS = tuple(f"SKU-{number:04d}" for number in range(1, 1_001))
DURABILITY = "core: SQLite WAL, synchronous=FULL"


@dataclass(frozen=True, slots=True)
class CoreBed:
    """Settings of a prepared core, its agents and the shop's secret."""

    settings: Settings
    agents: tuple[str, ...]
    secret: str

    @property
    def database(self) -> Path:
        return self.settings.data_path / "core.sqlite"

    def count(self, sql: str) -> int:
        """One number from the database, read beside the running core."""
        with reader(self.database) as connection:
            return int(connection.execute(sql).fetchone()[0])

    def check_durable(self) -> None:
        """Fail unless the core's connections commit with WAL and FULL."""
        engine = bootstrap.open_store(self.settings)
        with engine.connect() as connection:
            mode = connection.exec_driver_sql("PRAGMA journal_mode").scalar()
            level = connection.exec_driver_sql("PRAGMA synchronous").scalar()
        engine.dispose()
        assert (mode, level) == ("wal", 2), (mode, level)


@contextmanager
def reader(database: Path) -> Iterator[sqlite3.Connection]:
    """A read-only connection to a database in use."""
    connection = sqlite3.connect(f"file:{quote(str(database))}?mode=ro", uri=True, timeout=10)
    try:
        yield connection
    finally:
        connection.close()


def prepare(
    folder: Path, *, agents: int = 1, waybills: int = 0, present_s: int = 0, **settings: Any
) -> CoreBed:
    """Make a core's data in `folder`. Agents seem reachable for `present_s` without a line."""
    chosen = Settings(data_dir=str(folder), log_level="warning", **settings)
    folder.mkdir(parents=True, exist_ok=True)
    key_file.create(chosen.master_key_path, secrets.token_bytes)
    names = tuple(f"bench-{number}" for number in range(1, agents + 1))
    wired = bootstrap.build(chosen, inline=True)
    now_ms = time.time_ns() // 1_000_000
    secret = bootstrap.make_secret()
    wired.channels.add(
        Channel(ChannelConfig(CHANNEL, "generic"), (secret,), "演示店铺", "", True),
        Audit(now_ms, "bench", "channel.add", CHANNEL, "", ""),
    )
    _fill(wired.engine, names, waybills, now_ms + present_s * 1000 if present_s else 0)
    wired.engine.dispose()
    bed = CoreBed(chosen, names, secret)
    bed.check_durable()
    return bed


def _fill(engine: Engine, agents: Sequence[str], waybills: int, seen_ms: int) -> None:
    house = {
        "id": WAREHOUSE, "site": SITE, "name": "演示仓", "priority": 1, "carrier": "DEMO",
        "print_on": "pack",
    }  # fmt: skip
    tables: list[tuple[Table, list[dict[str, Any]]]] = [
        (t.carrier, [{"id": "DEMO", "name": "演示快递"}]),
        (t.warehouse, [house]),
        (t.agent, [{"id": name, "warehouse": WAREHOUSE} for name in agents]),
        (t.sku, [{"id": sku, "name": f"演示商品 {sku}", "weight_g": 250} for sku in SKUS]),
        (t.sku_barcode, [{"barcode": barcode(sku), "sku": sku} for sku in SKUS]),
        (t.shelf_location, [
            {"warehouse": WAREHOUSE, "sku": sku, "location": f"A-{at // 40 + 1:02d}-{at % 40:02d}"}
            for at, sku in enumerate(SKUS)
        ]),
        (t.stock, [{"warehouse": WAREHOUSE, "sku": sku, "shelf": SHELF_UNITS} for sku in SKUS]),
        (t.waybill, [
            {"number": f"DM{number:012d}", "carrier": "DEMO", "state": "free"}
            for number in range(1, waybills + 1)
        ]),
    ]  # fmt: skip
    if seen_ms:
        tables.append((t.agent_state, [agent_present(name, seen_ms) for name in agents]))
    with writer(engine).begin() as connection:
        for table, rows in tables:
            if rows:
                connection.execute(table.insert(), rows)


def agent_present(agent: str, seen_ms: int) -> dict[str, Any]:
    """Its state row as if it had just been heard."""
    detail = codec.encode(AgentState(limits.VERSION, agent, True, 1)).decode()
    return {"agent": agent, "online": 1, "inc": 1, "seen_ms": seen_ms, "detail": detail}


def barcode(sku: str) -> str:
    """The code that stands on a thing."""
    return f"690000{sku.removeprefix('SKU-')}"
