"""A core behind its HTTP door: real database, real write queue and loops, no broker."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any

import httpx
from fastapi import FastAPI

from cloud_core import logs
from cloud_core.api.app import create_app
from cloud_core.api.doors import Limits
from cloud_core.bootstrap import Knobs, Ports, RandomIds, Wired, running, wire
from cloud_core.channels.external_check import CheckTarget
from cloud_core.domain.access import ApiKey, key_hash, key_text
from cloud_core.domain.rows import Audit
from cloud_core.domain.signing import hmac_sha256_hex, md5_hex
from cloud_core.link import NoLink
from cloud_core.ports import ChannelConfig, WriteBackAnswer
from cloud_core.store import key_file
from cloud_core.store import schema as t
from cloud_core.store.channel_rows import Channel
from cloud_core.store.engine import writer
from cloud_core.worker import Pace
from tests.support.core import SetClock
from tests.support.databases import open_database
from tests.support.ledger import write_openings

NOW_MS = 1_795_226_400_000  # 2026-11-21T02:00:00Z
SECRET = "a-made-up-signing-secret"
APP_KEY = "demo-app-key"
BY_TEST = Audit(NOW_MS, "test", "local", "test", "", "")


logs.set_up("error")


class QuietWriteBack:
    """A shop that takes every call and remembers it."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, str, bytes, str]] = []

    async def send(
        self, channel: str, kind: str, body: bytes, idempotency_key: str
    ) -> WriteBackAnswer:
        self.calls.append((channel, kind, body, idempotency_key))
        return WriteBackAnswer(True, "200")


_unused: list[FastAPI] = []
"""Applications of cores that ended; putting all routes together takes longer than most stories."""


class HttpCore:
    """The wired core, a client on its door, keys by scope, a clock that stands still."""

    def __init__(
        self, folder: Path, limits: Limits | None = None, *, inline: bool = False,
        systems: Mapping[str, CheckTarget] | None = None,
    ) -> None:  # fmt: skip
        key_path = folder / "master.key"
        if not key_path.exists():
            key_file.create(key_path, lambda count: bytes(range(count)))
        engine = open_database(folder)
        self.folder = folder
        self.clock = SetClock(NOW_MS)
        self.shop = QuietWriteBack()
        ports = Ports(self.clock, RandomIds(), NoLink(), self.shop)
        knobs = Knobs(
            pace=Pace(sweep_s=0.05, ingest_s=0.05, shop_call_s=0.05), inline=inline,
            limits=limits or Limits(anonymous_per_min=1_000, channel_per_min=100_000),
            systems=systems or {},
        )  # fmt: skip
        self.wired: Wired = wire(engine, key_file.load(key_path), ports, knobs)
        self.keys: dict[str, str] = {}

    @contextlib.asynccontextmanager
    async def started(self) -> AsyncIterator[HttpCore]:
        """The loops run and `client` is connected to `app`."""
        self.app = _unused.pop() if _unused else create_app(self.wired.doors)
        self.app.state.doors = self.wired.doors
        transport = httpx.ASGITransport(self.app, raise_app_exceptions=False)
        client = httpx.AsyncClient(transport=transport, base_url="http://core")
        async with running(self.wired), client:
            self.client = client
            yield self
        _unused.append(self.app)

    def insert(self, table: Any, *rows: dict[str, Any]) -> None:
        """Rows put straight into a table."""
        with writer(self.wired.engine).begin() as connection:
            for row in rows:
                connection.execute(table.insert(), row)

    def update(self, table: Any, **values: Any) -> None:
        """The same values in every row of a table."""
        with writer(self.wired.engine).begin() as connection:
            connection.execute(table.update().values(**values))

    def rows(self, table: Any) -> list[dict[str, Any]]:
        """Every row of a table, in the order of its key: PostgreSQL promises none by itself."""
        with self.wired.engine.connect() as connection:
            return [
                dict(row)
                for row in connection.execute(
                    table.select().order_by(*table.primary_key)
                ).mappings()
            ]

    def key(self, scope: str = "read") -> dict[str, str]:
        """Headers with a key of this scope."""
        if scope not in self.keys:
            text = key_text((scope * 43)[:43])
            found = ApiKey(f"k-{scope}", scope, key_hash(text), (scope,), NOW_MS, None, None)
            self.wired.keys.create(found, BY_TEST)
            self.keys[scope] = text
        return {"authorization": f"Bearer {self.keys[scope]}"}

    def add_channel(self, name: str = "demo-shop", dialect: str = "generic") -> None:
        """A channel with one live secret."""
        config = ChannelConfig(name, dialect, app_key=APP_KEY)
        self.wired.channels.add(Channel(config, (SECRET,), "演示店铺", "", True), BY_TEST)

    def fill(self) -> None:
        """Two SKUs, a warehouse with an agent that is online, stock and waybill numbers."""
        self.insert(t.carrier, {"id": "YS", "name": "演示快运"})
        self.insert(t.sku, {"id": "SKU-001", "name": "演示毛巾"},
                    {"id": "SKU-002", "name": "演示水杯"})  # fmt: skip
        self.insert(t.warehouse, {"id": "HZ", "site": "hz", "name": "杭州仓", "carrier": "YS"})
        self.insert(t.agent, {"id": "hz-a", "warehouse": "HZ"})
        self.insert(t.agent_state, {"agent": "hz-a", "online": 1, "seen_ms": NOW_MS})
        for sku in ("SKU-001", "SKU-002"):
            self.insert(t.stock, {"warehouse": "HZ", "sku": sku, "shelf": 100_000})
        write_openings(self.wired.engine)

    async def push(self, body: bytes, channel: str = "demo-shop", **headers: str) -> httpx.Response:
        """A generic push with a good signature unless `headers` say otherwise."""
        stamp = headers.pop("stamp", str(self.clock.ms // 1000))
        sign = headers.pop("sign", hmac_sha256_hex(SECRET, stamp.encode(), b".", body))
        given = {"x-packline-timestamp": stamp, "x-packline-signature": sign, **headers}
        return await self.client.post(f"/v1/channels/{channel}/events", content=body, headers=given)

    async def push_douyin(self, body: bytes, channel: str = "douyin-a") -> httpx.Response:
        """A Douyin push with a good signature."""
        sign = md5_hex(APP_KEY.encode(), body, SECRET.encode())
        url = f"/v1/channels/{channel}/events"
        return await self.client.post(url, content=body, headers={"event-sign": sign})


def order_event(native_id: str, **changes: Any) -> dict[str, Any]:
    """A good paid event of the generic dialect; keywords replace fields of its order."""
    order = {
        "native_id": native_id,
        "paid_at": "2026-11-21T10:00:00+08:00",
        "lines": [{"sku": "SKU-001", "quantity": 2, "price_fen": 1990}],
        "receiver": {
            "name": "测试甲乙", "phone": "10000000001", "province": "浙江省", "city": "杭州市",
            "district": "余杭区", "detail": "演示路1号2幢301室",
        },
        **changes,
    }  # fmt: skip
    return {"id": f"evt-{native_id}", "kind": "paid", "order": order}


def events(*found: Any) -> bytes:
    """A generic request body."""
    return json.dumps({"events": found}, ensure_ascii=False).encode()


async def until(condition: Callable[[], Any], seconds: float = 40.0) -> Any:
    """Wait for a condition to hold; fails loudly when it never does."""
    deadline = time.monotonic() + seconds
    while True:
        found = condition()
        if found:
            return found
        assert time.monotonic() < deadline, "it never happened"
        await asyncio.sleep(0.01)
