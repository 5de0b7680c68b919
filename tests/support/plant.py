"""A whole plant of real programs for fault tests: broker, core, two agents, and the people.

`cloud-core serve` and `edge-agent run` are processes, each behind a line of its own that can be
spoiled; printers, scanners, packers and the shop are the virtual warehouse's. What people were
told is held against the books of both sides at the end.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
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
from virtual_warehouse.broker import Broker, EmbeddedBroker, MosquittoBroker, free_port
from virtual_warehouse.line import Line
from virtual_warehouse.people import Crew, Hand, Loader, Packer
from virtual_warehouse.printer import VirtualPrinter
from virtual_warehouse.processes import Program, installed
from virtual_warehouse.scanner import VirtualScanner
from virtual_warehouse.screen import Screen, Told, queued

SHOP = "plant-shop"
STOCK = 5_000
WAYBILLS = 2_000
OPEN_ORDERS = 8
REPEAT_MS = 120
KEEPALIVE_S = 5
BrokerKind = type[EmbeddedBroker] | type[MosquittoBroker]


@dataclass(frozen=True, slots=True)
class Place:
    """One warehouse: half of the goods, one agent, one packing station and one dock."""

    warehouse: str
    agent: str
    print_on: str
    prefix: str
    skus: tuple[str, ...]

    @property
    def site(self) -> str:
        return self.warehouse.lower()

    @property
    def packing(self) -> str:
        return f"{self.agent}-1"

    @property
    def dock(self) -> str:
        return f"{self.agent}-2"


PLACES = (
    Place("HZ01", "hz01-a", "grant", "YS", made_up.SKUS[:10]),
    Place("SZ01", "sz01-a", "pack", "YL", made_up.SKUS[10:]),
)
BARCODES = {sku: f"20000000{number:05d}" for number, sku in enumerate(made_up.SKUS, 1)}


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
    """A packer of the plant."""


class FeltLoader(_Felt, Loader):
    """A loader of the plant."""


@dataclass(slots=True)
class Warehouse:
    """One warehouse in operation."""

    place: Place
    folder: Path
    page: str
    line: Line
    agent: Program
    printer: VirtualPrinter
    scanners: dict[str, VirtualScanner]
    crew: Crew
    people: list[FeltPacker | FeltLoader]

    @property
    def books(self) -> BenchBooks:
        journals = {name: self.folder / f"{name}.sqlite" for name in ("floor", "telemetry")}
        place = self.place
        return BenchBooks(
            place.agent, place.warehouse, journals, self.crew.record, self.printer.printed
        )


class Till:
    """The shop's computer: signed pushes, each repeated until it was answered."""

    def __init__(self, url: str, secret: str, pulse: Pulse, seed: int) -> None:
        self.answered: list[str] = []
        self.repeats = 0
        self._secret = secret
        self._pulse = pulse
        self._rng = random.Random(seed)
        self._batch = seed * 1_000
        self._client = httpx.AsyncClient(base_url=url, timeout=5.0, trust_env=False)

    async def close(self) -> None:
        await self._client.aclose()

    async def sell(self, count: int) -> None:
        """Push one request with `count` orders of one warehouse's goods until it is answered."""
        self._batch += 1
        place = self._rng.choice(PLACES)
        paid_ms = time.time_ns() // 1_000_000 // 1_000 * 1_000
        sold = made_up.make_orders(count, self._batch, paid_ms=paid_ms, skus=place.skus)
        body = made_up.generic_body(sold)
        while not await self._push(body):
            self.repeats += 1
            await asyncio.sleep(0.1)
        self.answered += [order["native_id"] for order in sold]
        self._pulse.beat("answer")

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
        agents = tuple(BrokerAgent(p.site, p.agent, _secret()) for p in PLACES)
        self.access = BrokerAccess(_secret(), agents)
        self.broker: Broker = kind(folder / "broker", self.access)
        self.opening = {(p.warehouse, sku): STOCK for p in PLACES for sku in p.skus}
        self.core_line: Line
        self.core: Program
        self.warehouses: dict[str, Warehouse] = {}
        self.till: Till
        self.core_url = ""
        self.selling = True
        self.kills = 0
        self.risked = AtRisk()
        self._seed = seed
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
                tasks = [group.create_task(loop) for loop in plant._loops(at_work=at_work)]
                await plant.until(plant.linked, 30, "both agents linked")
                try:
                    yield plant
                finally:
                    for task in tasks:
                        task.cancel()
        finally:
            await plant._tear_down()

    async def _start(self) -> None:
        await asyncio.to_thread(self.broker.start)
        self.core_line = await self._line()
        await self._start_core()
        for place in PLACES:
            self.warehouses[place.agent] = await self._open(place)
        self.till = Till(self.core_url, self._shop_secret, self.pulse, self._seed)

    def _loops(self, *, at_work: bool) -> list[Any]:
        loops: list[Any] = []
        for one in self.warehouses.values():
            loops.append(one.crew.screen.run())
            if at_work:
                loops += [person.run() for person in one.people]
        if at_work:
            loops.append(self._sell())
        return loops

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
            await one.line.stop()
            await one.printer.stop()
            for scanner in one.scanners.values():
                scanner.close()
        with contextlib.suppress(AttributeError):
            await self.core_line.stop()

    async def stop_in_order(self) -> list[int]:
        """SIGTERM to agents, then the core; their exit statuses."""
        programs = [one.agent for one in self.warehouses.values()]
        return [await program.stop() for program in (*programs, self.core)]

    # --- what is true now ---------------------------------------------------------------------

    @property
    def books(self) -> CoreBooks:
        return CoreBooks(self.folder / "core" / "core.sqlite")

    @property
    def benches(self) -> list[BenchBooks]:
        return [one.books for one in self.warehouses.values()]

    @property
    def loaded(self) -> int:
        """Parcels that people have put on the truck."""
        return sum(len(one.crew.record.gone) for one in self.warehouses.values())

    @property
    def lines(self) -> list[Line]:
        return [self.core_line, *(one.line for one in self.warehouses.values())]

    async def linked(self) -> bool:
        """Every agent has its welcome."""
        return all(
            one.crew.screen.lit and one.crew.screen.status["link"]["welcomed"]
            for one in self.warehouses.values()
        )

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
        deadline = time.monotonic() + seconds
        while not await well():
            assert time.monotonic() < deadline, f"{what}: not within {seconds} s\n{self.report()}"
            await asyncio.sleep(0.05)

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
        found = at_risk(self.books, self.benches, self.till.answered)
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

    async def moment(self) -> str:
        """Wait for a moment worth striking at; its name."""
        name = self.rng.choice(("answer", "beep", "beep", "paper", "bytes", "command", "any"))
        if name == "bytes":
            await self._bytes_move()
        elif name == "command":
            await self._command_under_way()
        elif name != "any":
            await self.pulse.next(name, 3.0)
        await asyncio.sleep(self.rng.random() * (0.4 if name == "any" else 0.03))
        return name

    async def progress(self, events: int, seconds: float = 30) -> None:
        """Wait until the core holds that many more events than now."""
        wanted = self.books.events() + events

        async def reached() -> bool:
            return self.books.events() >= wanted

        await self.until(reached, seconds, f"{events} more events in the core")

    async def _bytes_move(self) -> None:
        """A label is on its way to a printer."""
        before = [one.printer.bytes_received for one in self.warehouses.values()]
        deadline = time.monotonic() + 3.0
        while time.monotonic() < deadline:
            now = [one.printer.bytes_received for one in self.warehouses.values()]
            if any(there > 1_000 + here for here, there in zip(before, now, strict=True)):
                return
            await asyncio.sleep(0.001)

    async def _command_under_way(self) -> None:
        deadline = time.monotonic() + 3.0
        sql = "SELECT COUNT(*) FROM outbox WHERE sent_ms IS NOT NULL AND received_ms IS NULL"
        while time.monotonic() < deadline and not self.books.one(sql):
            await asyncio.sleep(0.004)

    def _program(self, victim: str) -> Program:
        return self.core if victim == "core" else self.warehouses[victim].agent

    def _page(self, agent: str) -> str:
        return f"{self.warehouses[agent].page}/status.json"

    # --- setting up ---------------------------------------------------------------------------

    async def _line(self) -> Line:
        host, port = "127.0.0.1", self.broker_port
        line = Line(host, port, rng=random.Random(self.rng.random()))
        await line.start()
        return line

    @property
    def broker_port(self) -> int:
        return int(getattr(self.broker, "port"))  # noqa: B009 - not part of the protocol

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
        command = [installed("cloud-core"), "serve", "--config", str(config)]
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
                    content=made_up.as_csv(table),
                    headers={"authorization": f"Bearer {key}", "content-type": "text/csv"},
                )  # fmt: skip
                assert answer.status_code in (200, 202), (kind, answer.text)
                assert answer.json()["refused"] == 0, (kind, answer.text)

    def _tables(self) -> dict[str, list[Sequence[str]]]:
        """The master data of the plant, in the order of its references."""
        stock = [(p.warehouse, sku, str(STOCK)) for p in PLACES for sku in p.skus]
        waybills = [
            (place.prefix, number)
            for place in PLACES
            for number in made_up.make_waybills(place.prefix, WAYBILLS)
        ]
        return {
            "carriers": [
                ("快递编码", "快递名称", "默认时效(天)"),
                *((p.prefix, f"演示快递{p.prefix}", "2") for p in PLACES),
            ],
            "skus": [
                ("商品编码", "商品名称", "条码"),
                *((sku, f"演示商品{sku[-3:]}", code) for sku, code in BARCODES.items()),
            ],
            "warehouses": [
                ("仓库编码", "站点", "仓库名称", "优先级", "默认快递", "打印时机"),
                *((p.warehouse, p.site, f"演示仓{p.warehouse}", "10", p.prefix, p.print_on)
                  for p in PLACES),
            ],
            "agents": [("代理编码", "仓库编码"), *((p.agent, p.warehouse) for p in PLACES)],
            "stock": [("仓库编码", "商品编码", "数量"), *stock],
            "waybills": [("快递编码", "运单号"), *waybills],
        }  # fmt: skip

    async def _open(self, place: Place) -> Warehouse:
        folder = self.folder / place.agent
        folder.mkdir(parents=True)
        line = await self._line()
        printer = VirtualPrinter(
            folder / "labels", on_printed=lambda _paper: self.pulse.beat("paper")
        )
        await printer.start()
        scanners = {
            name: VirtualScanner(link=folder / "dev" / name) for name in (place.packing, place.dock)
        }
        paths = {name: scanner.open() for name, scanner in scanners.items()}
        page_port = free_port()
        config = folder / "agent.toml"
        config.write_text(
            self._agent_settings(place, folder, line.port, page_port, printer.port, paths),
            encoding="utf-8",
        )
        (account,) = (one for one in self.access.agents if one.agent == place.agent)
        broker_files.write_secret(folder / "broker.secret", account.secret)
        command = [installed("edge-agent"), "run", "--config", str(config)]
        agent = Program(place.agent, command, folder / "agent.log")
        page = f"http://127.0.0.1:{page_port}"
        paper_first = place.print_on == "grant"
        crew = Crew(
            place.warehouse, Screen(page), printer, BARCODES, paper_first, REPEAT_MS / 1000 * 1.2
        )
        people: list[FeltPacker | FeltLoader] = [
            FeltPacker(crew, place.packing, scanners[place.packing]),
            FeltLoader(crew, place.dock, scanners[place.dock], "D1"),
        ]
        for person in people:
            person.feel(self.pulse)
        self.warehouses[place.agent] = Warehouse(
            place, folder, page, line, agent, printer, scanners, crew, people
        )
        await self.revive(place.agent)
        return self.warehouses[place.agent]

    def _agent_settings(
        self, place: Place, folder: Path, broker_port: int, page_port: int, printer_port: int,
        paths: dict[str, str],
    ) -> str:  # fmt: skip
        text = (
            f'site = "{place.site}"\nagent = "{place.agent}"\ndata_dir = "{folder}"\n'
            f'mqtt_port = {broker_port}\nmqtt_password_file = "{folder / "broker.secret"}"\n'
            f"mqtt_keepalive_s = {KEEPALIVE_S}\npage_port = {page_port}\nrepeat_ms = {REPEAT_MS}\n"
            f'[[printers]]\nname = "label-1"\nhost = "127.0.0.1"\nport = {printer_port}\n'
            f'profile = "virtual"\n'
        )
        for station, path in paths.items():
            text += (
                f'[[stations]]\nid = "{station}"\n'
                f'[[scanners]]\nsource = "{station}"\nstation = "{station}"\npath = "{path}"\n'
            )
        return text


def _secret() -> str:
    return secrets.token_urlsafe(32)


async def _answers(url: str) -> bool:
    async with httpx.AsyncClient(timeout=2.0, trust_env=False) as client:
        try:
            return (await client.get(url)).status_code == 200
        except httpx.HTTPError:
            return False
