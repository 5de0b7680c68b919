"""A core's database for the stock figures, on either engine: warehouses, goods, prices, stock.

Every stock row has the movement that explains it, so that the core's own checker can say whether
anything drifted. Sample orders (`benchmarks.sample`) find their SKUs and their shop here.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
from sqlalchemy import Engine, Table, text

from benchmarks.core_bed import CHANNEL, SHELF_UNITS, SKUS, CoreBed, agent_present
from cloud_core import bootstrap
from cloud_core.domain.access import ApiKey, key_hash, key_text
from cloud_core.domain.master_fields import PROVINCES
from cloud_core.domain.rows import Audit
from cloud_core.ports import ChannelConfig
from cloud_core.settings import Settings
from cloud_core.store import key_file
from cloud_core.store import schema as t
from cloud_core.store.channel_rows import Channel
from cloud_core.store.engine import open_engine, writer
from cloud_core.store.stock_check import StockCheck

DAY_MS = 86_400_000
CARRIERS = ("C1", "C2", "C3", "C4")
RATE_PER_MIN = 1_000_000
DURABLE = {
    "sqlite": "SQLite WAL, synchronous=FULL",
    "postgresql": "PostgreSQL, fsync and synchronous_commit on",
}


@dataclass(frozen=True, slots=True)
class StockBed:
    """A prepared core; `key` may place holds through its door."""

    core: CoreBed
    key: str
    warehouses: tuple[str, ...]

    @property
    def settings(self) -> Settings:
        return self.core.settings

    def open(self) -> Engine:
        """An engine of one's own beside the running core."""
        return open_engine(self.settings.database)

    def count(self, sql: str, **values: Any) -> int:
        """One number from the database."""
        return int(self.rows(sql, **values)[0][0])

    def rows(self, sql: str, **values: Any) -> list[Any]:
        """Rows from the database."""
        engine = self.open()
        try:
            with engine.connect() as connection:
                return list(connection.execute(text(sql), values))
        finally:
            engine.dispose()

    def drifts(self) -> int:
        """Counters that are not what movements and holds add up to, from the first movement."""
        engine = self.open()
        try:
            return len(StockCheck(engine).full()[0])
        finally:
            engine.dispose()

    def settle(self) -> None:
        """Add the opening movements to the checker's base, as a core has that ran for a minute."""
        engine = self.open()
        try:
            while StockCheck(engine, wait_ms=0).settle(time.time_ns() // 1_000_000):
                pass
        finally:
            engine.dispose()

    def check_durable(self) -> None:
        """Fail unless commits are synced to the disk."""
        if not self.settings.database_url:
            self.core.check_durable()
            return
        said = {self.rows(f"SHOW {name}")[0][0] for name in ("fsync", "synchronous_commit")}
        assert said == {"on"}, said

    def write_config(self) -> Path:
        """The settings as the TOML file a child process reads."""
        path = self.settings.data_path / "core.toml"
        values = msgspec.to_builtins(self.settings)
        lines = (f"{name} = {msgspec.json.encode(v).decode()}\n" for name, v in values.items())
        path.write_text("".join(lines), encoding="utf-8")
        return path


def prepare(
    folder: Path, url: str = "", *, warehouses: int = 1, units: int = SHELF_UNITS
) -> StockBed:
    """Fill a new database at `url` ("" is SQLite in `folder`). All agents seem reachable for long.

    `units` of each of `core_bed.SKUS` stand in each warehouse.
    """
    folder.mkdir(parents=True, exist_ok=True)
    chosen = Settings(
        data_dir=str(folder), database_url=url, log_level="warning", mqtt_enabled=False,
        http_port=0, offer_ttl_s=900, api_rate_per_min=RATE_PER_MIN,
    )  # fmt: skip
    key_file.create(chosen.master_key_path, secrets.token_bytes)
    wired = bootstrap.build(chosen, inline=True)
    now_ms = time.time_ns() // 1_000_000
    secret, key = bootstrap.make_secret(), key_text(secrets.token_urlsafe(32))
    by = Audit(now_ms, "bench", "", "prepare", "", "")
    wired.channels.add(
        Channel(ChannelConfig(CHANNEL, "generic"), (secret,), "演示店铺", "", True), by
    )
    wired.keys.create(ApiKey("kbench", "bench", key_hash(key), ("write",), now_ms, None, None), by)
    names = tuple(f"W{number:02d}" for number in range(1, warehouses + 1))
    with writer(wired.engine).begin() as connection:
        for table, rows in _master(names, now_ms):
            connection.execute(table.insert(), rows)
        for name in names:
            stock, moves = _stock(name, units)
            connection.execute(t.stock.insert(), stock)
            connection.execute(t.movement.insert(), moves)
    if url:
        with wired.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as plain:
            plain.exec_driver_sql("ANALYZE")
    wired.engine.dispose()
    bed = StockBed(CoreBed(chosen, tuple(map(_agent, names)), secret), key, names)
    bed.check_durable()
    return bed


def _agent(warehouse: str) -> str:
    return f"{warehouse.lower()}-a"


def _master(names: Iterable[str], now_ms: int) -> list[tuple[Table, list[dict[str, Any]]]]:
    names = tuple(names)
    provinces = [code[:2] for code in PROVINCES.values()]
    houses = [
        {"id": w, "site": w.lower(), "name": f"演示仓{n}", "priority": 100, "carrier": CARRIERS[0],
         "print_on": "pack"} for n, w in enumerate(names)
    ]  # fmt: skip
    return [
        (t.carrier, [{"id": c, "name": f"演示快递{c}"} for c in CARRIERS]),
        (t.warehouse, houses),
        (t.agent, [{"id": _agent(w), "warehouse": w} for w in names]),
        (t.sku, [{"id": sku, "name": f"演示商品 {sku}", "weight_g": 250} for sku in SKUS]),
        (t.shelf_location, [{"warehouse": w, "sku": sku, "location": f"A-{n % 40:02d}"}
                            for w in names for n, sku in enumerate(SKUS)]),
        (t.carrier_service, [{"carrier": c, "warehouse": "", "region": p, "days": 1 + n % 4}
                             for n, c in enumerate(CARRIERS) for p in provinces]),
        (t.freight, [{"carrier": c, "warehouse": w, "region": p, "from_g": 0, "up_to_g": 0,
                      "first_g": 1_000, "first_fen": 500 + 37 * ((k + 3 * n + 7 * i) % 20),
                      "step_g": 500, "step_fen": 100}
                     for i, c in enumerate(CARRIERS) for n, w in enumerate(names)
                     for k, p in enumerate(provinces)]),
        (t.agent_state, [agent_present(_agent(w), now_ms + DAY_MS) for w in names]),
    ]  # fmt: skip


def _stock(warehouse: str, units: int) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    stock = [{"warehouse": warehouse, "sku": sku, "shelf": units} for sku in SKUS]
    moves = [
        {"at_ms": 0, "warehouse": warehouse, "sku": sku, "d_shelf": units, "d_picked": 0,
         "d_held": 0, "reason": "opening", "ref": "bench"} for sku in SKUS
    ]  # fmt: skip
    return stock, moves
