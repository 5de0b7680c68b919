"""Builds the stage: broker, core, two warehouses with their agents, and a shop to be told.

Everything is a real process with a folder of its own below one demo folder; ports are free ones.
What is set up here is what a person would set up by hand with the same commands.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from cloud_core.store.broker_files import write_secret
from virtual_warehouse import orders as made_up
from virtual_warehouse.broker import answers, find_nats, free_port
from virtual_warehouse.demo.audit import GONE_STATES, CoreBooks
from virtual_warehouse.demo.goods import SAMPLES, things
from virtual_warehouse.demo.places import CARRIERS, PLACES, Warehouse, open_warehouse
from virtual_warehouse.demo.shops import DOUYIN, DOUYIN_APP_KEY, SHOP
from virtual_warehouse.processes import Program, installed, run_once
from virtual_warehouse.shop import ShopStandIn

OFFER_TTL_S = 20
BREAKER_SETTINGS = {
    "breaker_open_s": 16, "breaker_trials": 2, "breaker_trial_s": 60, "breaker_grace_s": 6,
    "breaker_judge_s": 1,
}  # fmt: skip
"""A breaker's two hours in a demo of one minute. A late shipment is known as late with the next
heartbeat of its bench, up to 10 s later."""
SAMPLE_TABLES = frozenset(
    {
        "skus", "carriers", "warehouses", "agents", "stations", "shelf_locations", "transit_days",
        "carrier_service", "freight",
    }
)  # fmt: skip


@dataclass(slots=True)
class Stage:
    """Everything that was set up; `tear_down` ends it all, by process id.

    `opening` is the stock at the beginning, (warehouse, SKU) -> units; `secrets` are the shops';
    `outcome` is the exit status once the shift has been audited.
    """

    folder: Path
    say: Callable[[str], None]
    core_url: str = ""
    api_key: str = ""
    outcome: int | None = None
    secrets: dict[str, str] = field(default_factory=dict)
    opening: dict[tuple[str, str], int] = field(default_factory=dict)
    warehouses: list[Warehouse] = field(default_factory=list)
    broker: Program | None = None
    core: Program | None = None
    shop: ShopStandIn | None = None

    @property
    def labels(self) -> Path:
        """The folder of the printed labels."""
        return self.folder / "labels"

    @property
    def logs(self) -> Path:
        """The folder of the programs' logs."""
        return self.folder / "logs"

    @property
    def broker_folder(self) -> Path:
        """The folder of the broker's files and stores."""
        return self.folder / "broker"

    @property
    def books(self) -> CoreBooks:
        """The core's database, to be read."""
        return CoreBooks(self.folder / "core" / "core.sqlite")

    @property
    def programs(self) -> list[Program]:
        """The broker, the core and the agents."""
        first = [program for program in (self.broker, self.core) if program is not None]
        return first + [one.agent for one in self.warehouses]

    async def build(self, units: Mapping[str, int], orders: int) -> None:
        """Set everything up. `units`: how much of each SKU will be asked for by `orders` orders.

        Raises `Unavailable` naming the command or program that failed.
        """
        broker_port, core_port = free_port(), free_port()
        self.core_url = f"http://127.0.0.1:{core_port}"
        self._write_core_settings(broker_port, core_port)
        self.say("建库，导入主数据（cloud-core import），应用路由规则（cloud-core rules apply）")
        await self._core("init")
        await self._import_master(units, orders)
        await self._core("rules", "apply", str(SAMPLES / "routing.toml"), "--note", "演示")
        self.say("登记店铺、接口密钥、消息代理账号")
        await asyncio.gather(self._admit_shops(), self._make_key(), self._configure_broker())
        self.say("启动消息代理（NATS）、云端核心、两个仓库的边缘代理")
        await self._start_broker(broker_port)
        await asyncio.gather(self._start_core(), self._open_warehouses(broker_port))
        await asyncio.gather(*(one.agent.wait_until(one.is_linked) for one in self.warehouses))

    async def tear_down(self) -> None:
        """End every process and device; safe to call at any point."""
        await asyncio.gather(*(one.agent.stop() for one in self.warehouses))
        for program in (self.core, self.broker):
            if program is not None:
                await program.stop()
        for one in self.warehouses:
            await one.close()
        if self.shop is not None:
            self.shop.stop()

    def a_shipped_order(self) -> str:
        """The shop's number of an order that is on its way, "" if there is none."""
        rows = self.books.rows(
            "SELECT native_id, state FROM orders WHERE stop = '' ORDER BY paid_ms DESC"
        )
        return next((row["native_id"] for row in rows if row["state"] in GONE_STATES), "")

    def a_plainly_routed_order(self) -> str:
        """The shop's number of an order that one warehouse was asked for, "" if there is none."""
        rows = self.books.rows(
            "SELECT o.native_id FROM orders o JOIN shipment s ON s.order_id = o.id "
            "WHERE s.waybill <> '' AND o.stop = '' AND s.decision NOT LIKE '%\"claimed\"%' "
            "ORDER BY o.paid_ms, o.id LIMIT 1"
        )
        return rows[0]["native_id"] if rows else ""

    def order_of(self, shipment: str) -> str:
        """The shop's number of the order that a shipment belongs to, "" if there is none."""
        rows = self.books.rows(
            "SELECT o.native_id FROM orders o JOIN shipment s ON s.order_id = o.id WHERE s.id = ?",
            (shipment,),
        )
        return rows[0]["native_id"] if rows else ""

    def an_untouched_order(self) -> str:
        """The shop's number of the last order nobody has begun with, "" if there is none."""
        rows = self.books.rows(
            "SELECT native_id FROM orders WHERE stop = '' AND state IN ('offered', 'granted') "
            "ORDER BY ship_by_ms DESC, id LIMIT 1"
        )
        return rows[0]["native_id"] if rows else ""

    # --- the core's own commands ---------------------------------------------------------------

    async def _core(self, *words: str, stdin: bytes = b"") -> bytes:
        """`cloud-core` with the demo's settings; its standard output."""
        command = [installed("cloud-core"), "--config", str(self._core_settings), *words]
        return await run_once(command, stdin=stdin)

    @property
    def _core_settings(self) -> Path:
        return self.folder / "cloud-core.toml"

    def _write_core_settings(self, broker_port: int, core_port: int) -> None:
        values: dict[str, str | int] = {
            "data_dir": str(self.folder / "core"),
            "http_port": core_port,
            "public_url": self.core_url,
            "mqtt_port": broker_port,
            "offer_ttl_s": OFFER_TTL_S,
            **BREAKER_SETTINGS,
        }
        lines = [f"{key} = {json.dumps(value)}" for key, value in values.items()]
        self._core_settings.write_text("\n".join(lines) + "\n", encoding="utf-8")

    async def _import_master(self, units: Mapping[str, int], orders: int) -> None:
        """The samples as they are, stock and waybill numbers as many as this demo needs."""
        own = self.folder / "master"
        own.mkdir()
        self.opening = opening_stock(units)
        (own / "opening_stock.csv").write_bytes(_stock_csv(self.opening))
        (own / "waybill_numbers.csv").write_bytes(_waybills_csv(orders))
        for sample in sorted(SAMPLES.glob("*.csv")):
            if sample.stem in SAMPLE_TABLES:
                shutil.copyfile(sample, own / sample.name)
        await self._core("import", "all", str(own))

    async def _admit_shops(self) -> None:
        """Two shops with secrets of their own, both want to be told what was shipped."""
        self.secrets = {name: secrets.token_urlsafe(32) for name in (SHOP, DOUYIN)}
        self.shop = ShopStandIn(self.secrets, fail_first=2)
        url = self.shop.start()
        for name, dialect, title in ((SHOP, "generic", "演示商城"), (DOUYIN, "douyin", "演示抖店")):
            await self._core(
                "channel", "add", name, "--dialect", dialect, "--title", title,
                "--app-key", DOUYIN_APP_KEY, "--secret-stdin",
                "--write-back-url", f"{url}/{name}",
                stdin=self.secrets[name].encode() + b"\n",
            )  # fmt: skip

    async def _make_key(self) -> None:
        made = await self._core(
            "key", "create", "演示客服", "--scope", "read", "--scope", "write", "--json"
        )
        self.api_key = json.loads(made)["key"]

    async def _configure_broker(self) -> None:
        """Generated accounts: each agent may only speak for itself."""
        await self._core("broker-config", "--kind", "nats", "--out", str(self.broker_folder))
        made = json.loads((self.folder / "core" / "broker-secrets.json").read_text("utf-8"))
        for place in PLACES:
            folder = self.folder / place.agent
            folder.mkdir()
            write_secret(folder / "mqtt.password", made[place.agent])

    # --- processes -----------------------------------------------------------------------------

    async def _start_broker(self, port: int) -> None:
        command = [find_nats(), "-c", str(self.broker_folder / "nats.conf")]
        self.broker = Program("消息代理", command, self.logs / "broker.log")
        self.broker.start()
        await self.broker.wait_until(lambda: asyncio.to_thread(answers, "127.0.0.1", port))

    async def _start_core(self) -> None:
        command = [installed("cloud-core"), "--config", str(self._core_settings), "serve"]
        self.core = Program("云端核心", command, self.logs / "cloud-core.log")
        self.core.start()
        await self.core.wait_until(self._core_is_well)

    async def _core_is_well(self) -> bool:
        async with httpx.AsyncClient(timeout=2.0, trust_env=False) as client:
            try:
                answer = await client.get(f"{self.core_url}/healthz")
            except httpx.HTTPError:
                return False
        return answer.status_code == 200

    async def _open_warehouses(self, broker_port: int) -> None:
        goods = {sku: thing.barcode for sku, thing in things().items()}
        for place in PLACES:
            self.warehouses.append(await open_warehouse(place, self.folder, broker_port, goods))


def opening_stock(units: Mapping[str, int]) -> dict[tuple[str, str], int]:
    """What stands on the shelves for a demand of `units` by SKU.

    The first warehouse gets less than half of what will be asked for, so that its last units are
    fought over; the second could send everything.
    """
    first, second = PLACES
    opening: dict[tuple[str, str], int] = {}
    for sku, wanted in sorted(units.items()):
        opening[first.warehouse, sku] = -(-wanted * 45 // 100)
        opening[second.warehouse, sku] = wanted
    return opening


def _stock_csv(opening: Mapping[tuple[str, str], int]) -> bytes:
    header = ("仓库编码", "商品编码", "数量", "安全库存")
    rows = [(house, sku, str(count), "0") for (house, sku), count in opening.items()]
    return made_up.as_csv([header, *rows])


def _waybills_csv(orders: int) -> bytes:
    rows = [("快递编码", "运单号")]
    for carrier, prefix in CARRIERS.items():
        rows += [(carrier, number) for number in made_up.make_waybills(prefix, orders * 2 + 20)]
    return made_up.as_csv(rows)
