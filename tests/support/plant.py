"""A whole plant of real programs for fault tests: broker, core, two agents, and the people.

`cloud-core serve` and `edge-agent run` are processes, each behind a line of its own that can be
spoiled; printers, scanners, packers and the shop are the virtual warehouse's. What people were
told is held against the books of both sides at the end.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import re
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any

import httpx

from cloud_core import bootstrap as core_bootstrap
from cloud_core import settings as core_settings
from cloud_core.domain.access import ApiKey, key_hash, key_text
from cloud_core.domain.broker_access import BrokerAccess, BrokerAgent
from cloud_core.domain.rows import Audit
from cloud_core.ports import ChannelConfig
from cloud_core.store import broker_files, key_file
from cloud_core.store.channel_rows import Channel
from tests.support.books import AtRisk, BenchBooks, CoreBooks, at_risk
from virtual_warehouse import orders as made_up
from virtual_warehouse.broker import EmbeddedBroker, MosquittoBroker, free_port
from virtual_warehouse.demo.goods import SAMPLES, things
from virtual_warehouse.demo.places import PLACES, Place, Warehouse, open_warehouse
from virtual_warehouse.line import Line
from virtual_warehouse.orders import SKUS
from virtual_warehouse.people import Hand, Loader, Packer, Task
from virtual_warehouse.processes import Program, installed
from virtual_warehouse.screen import Told, label_job, queued

SHOP = "plant-shop"
STOCK = 5_000
WAYBILLS = 2_000
SPARE = "hz01-x"
"""A bench with an account at the broker that no program of ours uses."""
OPEN_ORDERS = 8
KEEPALIVE_S = 5
MOMENT_S = 3.0
PATIENCE = 2.5
"""How much slower than the figure at each wait a busy machine may be."""
FRESH_ROWS = 4
BrokerKind = type[EmbeddedBroker] | type[MosquittoBroker]


GOODS = {place.agent: half for place, half in zip(PLACES, (SKUS[:10], SKUS[10:]), strict=True)}
"""Each warehouse holds half of the goods, so that both are always at work."""
_FORM_TOKEN = re.compile(r'name="token" value="([^"]+)"')


class Pulse:
    """Things that just happened, for whoever waits for a moment to strike."""

    def __init__(self) -> None:
        self._waiting: dict[str, asyncio.Event] = {}

    def beat(self, name: str) -> None:
        event = self._waiting.pop(name, None)
        if event is not None:
            event.set()

    async def next(self, name: str, timeout_s: float) -> bool:
        """Wait for the next beat; False when none came in time."""
        event = self._waiting.setdefault(name, asyncio.Event())
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await event.wait()
        return event.is_set()


class _Felt(Hand):
    """A hand whose good scans can be felt."""

    def feel(self, pulse: Pulse) -> None:
        self._pulse = pulse

    async def scan(self, code: str) -> Told | None:
        told = await super().scan(code)
        if told is not None and told.tone == "ok":
            self._pulse.beat("beep")
        return told


class FeltPacker(_Felt, Packer):
    """A packer of the plant, who settles a label in doubt on the bench's status page."""

    async def _doubt(self, task: Task) -> None:
        job = label_job(self.crew.screen.status, task["waybill"])
        if job is None or job["state"] != "unknown":
            return
        label = {name: str(job[name]) for name in ("kind", "number", "revision")}
        with contextlib.suppress(httpx.HTTPError):
            await self.press(act="not_out", **label)
            await self.press(act="reprint", reason="测试：托盘里没有纸", **label)
            self.crew.record.reprints += 1

    async def press(self, **form: str) -> httpx.Response:
        """Fill in a form of the status page as a browser would."""
        url = self.crew.screen.url
        async with httpx.AsyncClient(base_url=url, timeout=5.0, trust_env=False) as browser:
            page = await browser.get("/")
            found = _FORM_TOKEN.search(page.text)
            assert found is not None, page.text[:500]
            return await browser.post(
                "/act", data={**form, "token": found[1]},
                headers={"origin": url, "accept": "application/json"},
            )  # fmt: skip


class FeltLoader(_Felt, Loader):
    """A loader of the plant."""


class Till:
    """The shop's computer: signed pushes, each repeated until it was answered."""

    def __init__(self, url: str, secret: str, pulse: Pulse, seed: int) -> None:
        self.answered: list[str] = []
        self.unpaid: list[str] = []
        self.repeats = 0
        self._secret = secret
        self._pulse = pulse
        self._rng = random.Random(seed)
        self._batch = seed * 1_000
        self._client = httpx.AsyncClient(base_url=url, timeout=5.0, trust_env=False)

    async def close(self) -> None:
        await self._client.aclose()

    async def sell(self, count: int, agent: str = "") -> None:
        """Push one request with `count` orders of one warehouse's goods until it is answered."""
        self._batch += 1
        agent = agent or self._rng.choice(tuple(GOODS))
        paid_ms = time.time_ns() // 1_000_000 // 1_000 * 1_000
        sold = made_up.make_orders(count, self._batch, paid_ms=paid_ms, skus=GOODS[agent])
        body = made_up.generic_body(sold)
        while not await self._push(body):
            self.repeats += 1
            await asyncio.sleep(0.1)
        self.answered += [order["native_id"] for order in sold]
        self._pulse.beat("answer")

    async def reserve(self, count: int, requests: int) -> None:
        """Requests at once, each of `count` orders not paid yet: much to store, none to pack."""
        await asyncio.gather(*(self._reserve(count) for _ in range(requests)))

    async def _reserve(self, count: int) -> None:
        self._batch += 1
        ordered = made_up.make_orders(count, self._batch, prefix="UN")
        while not await self._push(made_up.generic_body(ordered, kind="created")):
            self.repeats += 1
            await asyncio.sleep(0.1)
        self.unpaid += [order["native_id"] for order in ordered]

    async def _push(self, body: bytes) -> bool:
        headers = made_up.generic_headers(body, self._secret, int(time.time()))
        try:
            answer = await self._client.post(
                f"/v1/channels/{SHOP}/events", content=body, headers=headers
            )
        except httpx.HTTPError:
            return False
        assert answer.status_code in (200, 202, 503), answer.text
        if answer.status_code == 503:
            return False
        assert answer.json()["refused"] == 0, answer.text
        return True


class Plant:
    """Set up with `Plant.running`; every fault goes through here so that it is counted."""

    def __init__(self, folder: Path, kind: BrokerKind, seed: int) -> None:
        self.folder = folder
        self.rng = random.Random(seed)
        self.pulse = Pulse()
        agents = [BrokerAgent(p.site, p.agent, _secret()) for p in PLACES]
        self.spare = BrokerAgent(PLACES[0].site, SPARE, _secret())
        self.access = BrokerAccess(_secret(), (*agents, self.spare))
        self.broker: EmbeddedBroker | MosquittoBroker = kind(folder / "broker", self.access)
        self.opening = {(p.warehouse, sku): STOCK for p in PLACES for sku in GOODS[p.agent]}
        self.core_line: Line
        self.core: Program
        self.warehouses: dict[str, Warehouse] = {}
        self.till: Till
        self.core_url = ""
        self.selling = True
        self.kills = 0
        self.risked = AtRisk()
        self._seed = seed
        self._group: asyncio.TaskGroup
        self._tasks: list[asyncio.Task[None]] = []
        self._shop_secret = _secret()

    # --- life -------------------------------------------------------------------------------

    @classmethod
    @contextlib.asynccontextmanager
    async def running(
        cls, folder: Path, kind: BrokerKind, seed: int, *, at_work: bool = True
    ) -> AsyncIterator[Plant]:
        """Everything is up and linked; people work and the shop sells until the context ends."""
        plant = cls(folder, kind, seed)
        try:
            await plant._start()
            async with asyncio.TaskGroup() as group:
                plant._group = group
                for one in plant.warehouses.values():
                    plant._run(one.crew.screen.run())
                if at_work:
                    plant.begin_work()
                await plant.until(plant.linked, 30, "both agents linked")
                try:
                    yield plant
                finally:
                    for task in plant._tasks:
                        task.cancel()
        finally:
            await plant._tear_down()

    async def _start(self) -> None:
        await asyncio.to_thread(self.broker.start)
        self.core_line = await self._line()
        await self._start_core()
        for place in PLACES:
            await self._open(place)
        self.till = Till(self.core_url, self._shop_secret, self.pulse, self._seed)

    def begin_work(self) -> None:
        """People come to their stations and the shop opens."""
        for one in self.warehouses.values():
            for person in one.people:
                self._run(person.run())
        self._run(self._sell())

    def _run(self, loop: Coroutine[Any, Any, None]) -> None:
        self._tasks.append(self._group.create_task(loop))

    async def _sell(self) -> None:
        """Keep a handful of orders open, so that something is always in flight."""
        while True:
            if self.selling and len(self.till.answered) - self.loaded < OPEN_ORDERS:
                await self.till.sell(self.rng.choice((1, 1, 2, 3)))
            else:
                await asyncio.sleep(0.02)

    async def _tear_down(self) -> None:
        with contextlib.suppress(AttributeError):
            await self.till.close()
        programs = [one.agent for one in self.warehouses.values()]
        with contextlib.suppress(AttributeError):
            programs.append(self.core)
        for program in programs:
            program.kill()
        await asyncio.to_thread(self.broker.stop)
        for one in self.warehouses.values():
            await one.close()
        with contextlib.suppress(AttributeError):
            await self.core_line.stop()

    async def stop_in_order(self) -> list[int]:
        """SIGTERM to agents, then the core; their exit statuses."""
        return [await program.stop() for program in self.programs]

    # --- what is true now ---------------------------------------------------------------------

    @property
    def books(self) -> CoreBooks:
        return CoreBooks(self.folder / "core" / "core.sqlite")

    @property
    def benches(self) -> list[BenchBooks]:
        return [
            BenchBooks(
                one.place.agent, one.place.warehouse, one.journals, one.crew.record,
                one.printer.printed,
            )
            for one in self.warehouses.values()
        ]  # fmt: skip

    @property
    def answered(self) -> list[str]:
        """Every order a shop has its answer for, paid or not."""
        return [*self.till.answered, *self.till.unpaid]

    @property
    def loaded(self) -> int:
        """Parcels that people have put on the truck."""
        return sum(len(one.crew.record.gone) for one in self.warehouses.values())

    @property
    def programs(self) -> list[Program]:
        """Agents, then the core."""
        return [*(one.agent for one in self.warehouses.values()), self.core]

    @property
    def lines(self) -> list[Line]:
        return [self.core_line, *(one.line for one in self.warehouses.values())]

    async def linked(self) -> bool:
        """Every agent has its welcome."""
        return all(
            one.crew.screen.lit and one.crew.screen.status["link"]["welcomed"]
            for one in self.warehouses.values()
        )

    async def busy(self, agent: str, tasks: int) -> None:
        """Sell until a bench has that many granted tasks before it: rows to come without grants."""

        async def enough() -> bool:
            counts = self.warehouses[agent].crew.screen.status["task_counts"]
            return bool(counts.get("granted", 0) + counts.get("picking", 0) >= tasks)

        await self.till.sell(tasks + 1, agent)
        await self.until(enough, 20, f"{tasks} tasks at {agent}")

    async def settled(self) -> bool:
        """Everything that was answered has left, and both sides know it."""
        if not await self.linked():
            return False
        if any(queued(one.crew.screen.status) for one in self.warehouses.values()):
            return False
        answered = len(self.till.answered)
        unconfirmed = self.books.one("SELECT COUNT(*) FROM outbox WHERE received_ms IS NULL")
        return self.books.gone() == answered == self.loaded and unconfirmed == 0

    async def until(self, well: Callable[[], Awaitable[bool]], seconds: float, what: str) -> None:
        """Wait for a condition; the end of every log is in the failure."""
        deadline = time.monotonic() + seconds * PATIENCE
        while not await well():
            assert time.monotonic() < deadline, f"{what}: not within {seconds} s\n{self.report()}"
            await asyncio.sleep(0.05)

    async def behind(self, events: int) -> bool:
        """Whether the core lacks at least so many rows that are durable at the agents."""
        return at_risk(self.books, self.benches, ()).scans >= events

    async def caught_up(self) -> bool:
        """Linked again, and the core lacks only what is fresh."""
        return await self.linked() and not await self.behind(FRESH_ROWS)

    async def drain(self, seconds: float = 60) -> None:
        """No new orders; wait until the last one has left and is known everywhere."""
        self.selling = False
        await self.until(self.settled, seconds, "the shift to end")

    def report(self) -> str:
        """For a person who reads a failure."""
        parts = [f"answered {len(self.till.answered)}, loaded {self.loaded}"]
        with contextlib.suppress(Exception):
            states = self.books.read(
                "SELECT state, parked, waiting, COUNT(*) AS n FROM shipment GROUP BY 1, 2, 3"
            )
            parts.append(f"core: {[tuple(row) for row in states]}")
        for one in self.warehouses.values():
            status = one.crew.screen.status
            shown = {key: status.get(key) for key in ("link", "streams", "task_counts",
                                                      "job_counts", "printers")}  # fmt: skip
            parts.append(f"{one.place.agent} lit={one.crew.screen.lit} {shown}")
            parts.append(f"{one.crew.record.refusals}")
            parts.append(one.agent.log_tail())
        parts.append(self.core.log_tail())
        return "\n".join(parts)

    # --- faults -------------------------------------------------------------------------------

    @property
    def victims(self) -> tuple[str, ...]:
        return ("core", "broker", *self.warehouses)

    def kill(self, victim: str) -> AtRisk:
        """`kill -9`; what was acknowledged and at risk at that moment."""
        if victim == "broker":
            self.broker.kill()
        else:
            self._program(victim).kill()
        found = at_risk(self.books, self.benches, self.answered)
        self.kills += 1
        self.risked += found
        return found

    async def revive(self, victim: str) -> None:
        """Start it again, on the same files and the same port, and wait until it answers."""
        if victim == "broker":
            await asyncio.to_thread(self.broker.start)
            return
        program = self._program(victim)
        program.start()
        url = f"{self.core_url}/healthz" if victim == "core" else self._page(victim)
        await program.wait_until(lambda: _answers(url))

    async def half_start(self, victim: str) -> None:
        """Start a dead program and leave it a random part of the time it takes to come up."""
        self._program(victim).start()
        await asyncio.sleep(self.rng.random() * 1.2)

    async def stay_down(self, seconds_most: float) -> None:
        """How long it takes somebody to notice: random, that is the fault and no waiting for it."""
        await asyncio.sleep(self.rng.random() * seconds_most)

    async def moment(self) -> str:
        """Wait for a moment worth striking at; its name."""
        name = self.rng.choice(("answer", "beep", "unacked", "unacked", "bytes", "command", "any"))
        if name in ("answer", "beep"):
            await self.pulse.next(name, MOMENT_S)
        elif name != "any":
            await self.catch({"unacked": self._unacked, "bytes": self._label_begun(),
                               "command": self._command_under_way}[name])  # fmt: skip
        await asyncio.sleep(self.rng.random() * (0.4 if name == "any" else 0.002))
        return name

    async def progress(self, events: int, seconds: float = 30, agent: str = "") -> None:
        """Wait until the core holds that many more events (of one agent) than now."""
        wanted = self.books.events(agent) + events

        async def reached() -> bool:
            return self.books.events(agent) >= wanted

        await self.until(reached, seconds, f"{events} more events of {agent or 'any agent'}")

    async def catch(self, now: Callable[[], bool]) -> None:
        """Look all the time until it happens; give up after a while."""
        deadline = time.monotonic() + MOMENT_S
        while time.monotonic() < deadline and not now():
            await asyncio.sleep(0.001)

    def orders_wait(self, orders: int) -> bool:
        """Whether so many orders were answered and are not yet looked into."""
        return at_risk(self.books, self.benches, self.answered).orders >= orders

    def _unacked(self) -> bool:
        return at_risk(self.books, self.benches, ()).scans > 0

    def _label_begun(self) -> Callable[[], bool]:
        """A label is on its way to a printer."""
        printers = [one.printer for one in self.warehouses.values()]
        before = [printer.bytes_received for printer in printers]
        return lambda: any(
            printer.bytes_received > then + 1_000
            for printer, then in zip(printers, before, strict=True)
        )

    def _command_under_way(self) -> bool:
        sql = "SELECT COUNT(*) FROM outbox WHERE sent_ms IS NOT NULL AND received_ms IS NULL"
        return bool(self.books.one(sql))

    def _program(self, victim: str) -> Program:
        return self.core if victim == "core" else self.warehouses[victim].agent

    def _page(self, agent: str) -> str:
        return f"{self.warehouses[agent].page}/status.json"

    # --- setting up ---------------------------------------------------------------------------

    async def _line(self) -> Line:
        host, port = "127.0.0.1", self.broker.port
        line = Line(host, port, rng=random.Random(self.rng.random()))
        await line.start()
        return line

    async def _start_core(self) -> None:
        folder = self.folder / "core"
        broker_files.write_secret(folder / "broker.secret", self.access.core_secret)
        port = free_port()
        self.core_url = f"http://127.0.0.1:{port}"
        config = folder / "core.toml"
        config.write_text(
            f'data_dir = "{folder}"\nhttp_port = {port}\npublic_url = "{self.core_url}"\n'
            f"mqtt_port = {self.core_line.port}\nmqtt_keepalive_s = {KEEPALIVE_S}\n"
            f'mqtt_password_file = "{folder / "broker.secret"}"\n'
            "channel_rate_per_min = 100000\napi_rate_per_min = 100000\n",
            encoding="utf-8",
        )
        key = await asyncio.to_thread(self._found_core, config)
        command = [installed("cloud-core"), "--config", str(config), "serve"]
        self.core = Program("cloud-core", command, folder / "core.log")
        await self.revive("core")
        await self._import_master(key)

    def _found_core(self, config: Path) -> str:
        """Master key, an API key and the shop, before anything serves; returns the API key."""
        found = core_settings.load(config, {})
        key_file.create(found.master_key_path, secrets.token_bytes)
        wired = core_bootstrap.build(found, inline=True)
        by_test = Audit(time.time_ns() // 1_000_000, "test", "local", "test", "", "")
        text = key_text(core_bootstrap.make_secret())
        key = ApiKey("k-plant", "plant", key_hash(text), ("admin",), by_test.at_ms, None, None)
        wired.keys.create(key, by_test)
        config_of = ChannelConfig(SHOP, "generic")
        wired.channels.add(Channel(config_of, (self._shop_secret,), "演示店铺", "", True), by_test)
        wired.engine.dispose()
        return text

    async def _import_master(self, key: str) -> None:
        async with httpx.AsyncClient(base_url=self.core_url, timeout=30, trust_env=False) as door:
            for kind, table in self._tables().items():
                answer = await door.post(
                    f"/v1/master/{kind}", params={"name": f"{kind}.csv"},
                    content=table,
                    headers={"authorization": f"Bearer {key}", "content-type": "text/csv"},
                )  # fmt: skip
                assert answer.status_code in (200, 202), (kind, answer.text)
                assert answer.json()["refused"] == 0, (kind, answer.text)

    def _tables(self) -> dict[str, bytes]:
        """The sample master data with stock and waybill numbers of our own."""
        kinds = ("carriers", "skus", "warehouses", "agents", "stations", "shelf_locations")
        tables = {kind: (SAMPLES / f"{kind}.csv").read_bytes() for kind in kinds}
        stock = [(house, sku, str(count)) for (house, sku), count in self.opening.items()]
        waybills = [
            (place.carrier, number)
            for place in PLACES
            for number in made_up.make_waybills(place.waybill_prefix, WAYBILLS)
        ]
        tables["agents"] += f"{SPARE},{PLACES[0].warehouse},\r\n".encode()
        tables["stock"] = made_up.as_csv([("仓库编码", "商品编码", "数量"), *stock])
        tables["waybills"] = made_up.as_csv([("快递编码", "运单号"), *waybills])
        return tables

    async def _open(self, place: Place) -> None:
        folder = self.folder / place.agent
        (account,) = (one for one in self.access.agents if one.agent == place.agent)
        broker_files.write_secret(folder / "mqtt.password", account.secret)
        goods = {sku: thing.barcode for sku, thing in things().items()}
        more = {"mqtt_keepalive_s": KEEPALIVE_S}
        one = await open_warehouse(place, self.folder, self.broker.port, goods, more)
        packers = [FeltPacker(one.crew, name, one.scanners[name]) for name in place.packing]
        loader = FeltLoader(one.crew, place.dock, one.scanners[place.dock], "D1")
        for person in (*packers, loader):
            person.feel(self.pulse)
        one.people = [*packers, loader]
        self.warehouses[place.agent] = one


def _secret() -> str:
    return secrets.token_urlsafe(32)


async def _answers(url: str) -> bool:
    async with httpx.AsyncClient(timeout=2.0, trust_env=False) as client:
        try:
            return (await client.get(url)).status_code == 200
        except httpx.HTTPError:
            return False
