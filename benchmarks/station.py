"""One bench as a packer meets it: scan to paper, scan to answer, memory, start.

The installed agent in its own process with a real broker and a real core behind it, a scanner on
a pty, a label printer on TCP, and its status page asked for every 3 s. Shipments are worked off
item by item; the scan that completes one prints its label, drawn fresh each time.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import queue
import secrets
import select
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from benchmarks import core_bed, http, serve_core, wire_bed
from benchmarks.figures import Figure, Target
from benchmarks.machine import disk, family, memory_mib, percentile
from benchmarks.paper import Paper
from cloud_core.domain.broker_access import BrokerAccess, BrokerAgent
from virtual_warehouse.broker import free_port
from virtual_warehouse.orders import generic_body, make_orders
from virtual_warehouse.scanner import VirtualScanner

AGENT = "bench-1"
STATION = "pack-1"
UNITS = 2
SCANS_A_SHIPMENT = 2 + 4 * UNITS
MEMORY_SCANS = 5_000
STARTS = 2
ANSWER_S = 10.0
PAGE_S = 3.0
AS_INSTALLED = {"MALLOC_ARENA_MAX": "2"}
"""What `systemd/packline-edge.service` gives the agent beside its settings."""
DURABILITY = "agent: journal SQLite WAL, synchronous=FULL; answer after COMMIT"


@dataclass
class Measured:
    """What one run of one agent gave."""

    to_paper_ms: list[float] = field(default_factory=list)
    to_answer_ms: list[float] = field(default_factory=list)
    to_page_ms: list[float] = field(default_factory=list)
    pss_mib: float = 0.0
    rss_mib: float = 0.0
    start_s: list[float] = field(default_factory=list)


def measure(folder: Path, quick: bool) -> Sequence[Figure]:
    """Three runs of 5,000 scans, each with a new agent, core and broker."""
    runs, shipments = (1, 4) if quick else (3, -(-MEMORY_SCANS // SCANS_A_SHIPMENT))
    speed = disk(folder)
    found = [asyncio.run(_run(folder / f"station-{n}", shipments, n)) for n in range(runs)]
    scans = shipments * SCANS_A_SHIPMENT
    what = f"{shipments} labels of 100×150 mm a run, none cached; core and broker beside it"
    after = f"{scans:,} scans a run, one at a time"
    memory = (f"all processes, smaps_rollup, after {scans:,} scans, page, scanner, printer; "
              "environment of the unit")  # fmt: skip
    start = f"process start to the first ok answer, journal of {scans:,} scans"
    rows: list[tuple[str, str, list[float], float | None, str]] = [
        ("scan to first byte at the printer, p50", "ms",
         [percentile(run.to_paper_ms, 50) for run in found], 20, what),
        ("scan to first byte at the printer, p99", "ms",
         [percentile(run.to_paper_ms, 99) for run in found], 50, what),
        ("scan to durable answer, p99", "ms",
         [percentile(run.to_answer_ms, 99) for run in found], speed.p99_ms + 10, after),
        ("scan to the answer in the station's page, p99", "ms",
         [percentile(run.to_page_ms, 99) for run in found], 100, f"{after}; event received"),
        ("agent memory (PSS)", "MiB", [run.pss_mib for run in found], 60, memory),
        ("agent memory with shared pages counted whole (RSS)", "MiB",
         [run.rss_mib for run in found], None, "as above; what PSS is where no other Python runs"),
        ("agent start to first accepted scan", "s",
         [value for run in found for value in run.start_s], 1, start),
    ]  # fmt: skip
    return [
        Figure("station", name, unit, values, Target(limit, at_least=False),
               f"{DURABILITY}; {how}", speed)
        for name, unit, values, limit, how in rows
    ]  # fmt: skip


async def _run(folder: Path, shipments: int, seed: int) -> Measured:
    found = Measured()
    async with house(folder, shipments, seed) as bench:
        with bench.agent() as agent:
            agent.until_accepted()
            tasks = await asyncio.to_thread(agent.wait_granted, shipments)
            agent.screen.open()
            await asyncio.to_thread(work, agent, bench.paper, tasks, found)
            found.pss_mib, found.rss_mib = agent.memory_mib("Pss"), agent.memory_mib("Rss")
        for _ in range(STARTS):
            with bench.agent() as agent:
                found.start_s.append(agent.until_accepted())
    return found


def work(agent: RunningAgent, paper: Paper, tasks: Sequence[str], found: Measured) -> None:
    """Pick and verify each shipment item by item, wait for its label, take the next."""
    for number, shipment in enumerate(tasks, 1):
        said = ""
        for code in scans_of(shipment):
            scanned_ns = agent.scan(code)
            answered_ns, tone, said = agent.answer()
            assert tone == "ok", (code, tone, said)
            found.to_answer_ms.append((answered_ns - scanned_ns) / 1e6)
            found.to_page_ms.append((agent.screen.next() - scanned_ns) / 1e6)
        assert said == "packed", said
        sheet = paper.wait(number)
        found.to_paper_ms.append((sheet.first_ns - scanned_ns) / 1e6)
        paper.wait_settled(number)


def scans_of(shipment: str) -> list[str]:
    """What is scanned for one shipment, from its task card to the last item verified."""
    items = [core_bed.barcode(sku) for sku in (*core_bed.SKUS[:2],) * UNITS]
    return [f"TASK-{shipment}", *items, f"TASK-{shipment}", *items]


class Screen:
    """A station's page as a browser holds it open: when each answer of a scan reached it."""

    def __init__(self, page_port: int) -> None:
        self._page_port = page_port
        self._seen: queue.Queue[int] = queue.Queue()
        self._number = -1

    def open(self) -> None:
        """Begin to listen; returns with the first state, whose answer does not count."""
        url = f"http://127.0.0.1:{self._page_port}/station/{STATION}/events"
        stream = urllib.request.urlopen(url, timeout=30)
        threading.Thread(target=self._listen, args=(stream,), daemon=True).start()
        self.next()

    def next(self) -> int:
        """When the next answer was there, in ns of CLOCK_MONOTONIC. Raises `queue.Empty`."""
        return self._seen.get(timeout=ANSWER_S)

    def _listen(self, stream: IO[bytes]) -> None:
        with contextlib.suppress(OSError, ValueError):
            for line in stream:
                now_ns = time.monotonic_ns()
                if not line.startswith(b"data: "):
                    continue
                number = (json.loads(line[6:]).get("answer") or {}).get("n", self._number)
                if number != self._number:
                    self._number = number
                    self._seen.put(now_ns)


class RunningAgent:
    """One agent process with its scanner; a context manager that ends it."""

    def __init__(
        self, folder: Path, page_port: int, scanner: VirtualScanner, environment: dict[str, str]
    ) -> None:
        self._scanner, self._page_port = scanner, page_port
        self._journal = folder / "agent" / "floor.db"
        config, log = folder / "agent.toml", folder / "agent.log"
        self._answers, writing = os.pipe()
        self._rest = b""
        self.started_ns = time.monotonic_ns()
        with log.open("ab") as file:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "benchmarks.station_agent", str(config), str(writing)],
                stdout=file, stderr=file, stdin=subprocess.DEVNULL, pass_fds=[writing],
                env={**os.environ, **AS_INSTALLED, **environment},
            )  # fmt: skip
        os.close(writing)
        self._over = threading.Event()
        self.screen = Screen(page_port)
        self._viewer = threading.Thread(target=self._look, daemon=True)
        self._viewer.start()

    @property
    def pid(self) -> int:
        """Of the agent's first process."""
        return self._process.pid

    def __enter__(self) -> RunningAgent:
        return self

    def __exit__(self, *_error: object) -> None:
        self._over.set()
        self._process.terminate()
        try:
            self._process.wait(15)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._viewer.join()
        os.close(self._answers)

    def scan(self, code: str) -> int:
        """Pull the trigger; when, in ns of CLOCK_MONOTONIC."""
        now_ns = time.monotonic_ns()
        self._scanner.scan(code)
        return now_ns

    def answer(self, timeout_s: float = ANSWER_S) -> tuple[int, str, str]:
        """The next answer: when, tone, code. Raises `TimeoutError`."""
        while b"\n" not in self._rest:
            if not select.select([self._answers], [], [], timeout_s)[0]:
                raise TimeoutError("no answer")
            piece = os.read(self._answers, 4_096)
            assert piece, "the agent ended"
            self._rest += piece
        line, _, self._rest = self._rest.partition(b"\n")
        at_ns, tone, code = line.decode().split(" ")
        return int(at_ns), tone, code

    def until_accepted(self) -> float:
        """Scan the station's card until one is accepted; seconds since the start."""
        while True:
            self.scan(f"STN-{STATION}")
            try:
                at_ns, tone, _code = self.answer(0.02)
            except TimeoutError:
                assert time.monotonic_ns() - self.started_ns < 30e9, "no scan is accepted"
                continue
            if tone == "ok":
                break
        with contextlib.suppress(TimeoutError):
            while True:
                self.answer(0.3)  # the repeats that were still on the wire
        return (at_ns - self.started_ns) / 1e9

    def wait_granted(self, count: int) -> list[str]:
        """Shipments granted to this agent, once there are `count`; their ids from its journal."""
        deadline = time.monotonic() + 120
        while True:
            status = self._status()
            if status["resynced"] and status["task_counts"].get("granted", 0) >= count:
                break
            assert time.monotonic() < deadline, status["task_counts"]
            time.sleep(0.1)
        with core_bed.reader(self._journal) as db:
            return [row[0] for row in db.execute("SELECT shipment FROM task ORDER BY shipment")]

    def memory_mib(self, name: str) -> float:
        """`Pss` or `Rss` of the agent and everything it started."""
        return sum(memory_mib(pid, name) for pid in family(self._process.pid))

    def _status(self) -> dict[str, Any]:
        """What `/status.json` says; nothing is resynced while the page is not up yet."""
        url = f"http://127.0.0.1:{self._page_port}/status.json"
        try:
            with urllib.request.urlopen(url, timeout=10) as answer:
                status: dict[str, Any] = json.load(answer)
        except OSError:
            return {"resynced": False, "task_counts": {}}
        return status

    def _look(self) -> None:
        """Somebody has the status page open: it reloads every 3 s."""
        while not self._over.wait(PAGE_S):
            with contextlib.suppress(OSError):
                urllib.request.urlopen(f"http://127.0.0.1:{self._page_port}/", timeout=10).read()


@dataclass(frozen=True, slots=True)
class House:
    """What stands around the agent."""

    folder: Path
    paper: Paper
    scanner: VirtualScanner
    page_port: int

    def agent(self, **environment: str) -> RunningAgent:
        """Start the agent."""
        return RunningAgent(self.folder, self.page_port, self.scanner, environment)


@asynccontextmanager
async def house(folder: Path, shipments: int, seed: int) -> AsyncIterator[House]:
    """Broker, core with orders, printer and scanner; the agent is started by the caller."""
    account = BrokerAgent(core_bed.SITE, AGENT, secrets.token_urlsafe(32))
    access = BrokerAccess(secrets.token_urlsafe(32), (account,))
    name = "mosquitto" if wire_bed.available("mosquitto") else "NATS"
    broker = wire_bed.BROKERS[name](folder / "broker", access)
    _host, port = broker.start()
    (folder / "core.password").write_text(access.core_secret)
    (folder / "agent.password").write_text(account.secret)
    bed = core_bed.prepare(
        folder / "core", waybills=shipments + 100, mqtt_port=port, http_port=0,
        mqtt_password_file=str(folder / "core.password"),
    )  # fmt: skip
    program, url = await serve_core.started(bed)
    paper, scanner = Paper(), VirtualScanner()
    try:
        await asyncio.to_thread(http.send, url, bed.secret, _bodies(shipments, seed))
        page_port = free_port()
        (folder / "agent.toml").write_text(
            _config(folder, port, page_port, paper.port, scanner.open())
        )
        yield House(folder, paper, scanner, page_port)
    finally:
        scanner.close()
        paper.close()
        await program.stop()
        broker.stop()


def _bodies(shipments: int, seed: int) -> list[bytes]:
    """Orders of the same two things, twelve of each."""
    orders = make_orders(shipments, seed, paid_ms=time.time_ns() // 1_000_000)
    for order in orders:
        order["lines"] = [
            {"sku": sku, "quantity": UNITS, "price_fen": 1_990} for sku in core_bed.SKUS[:2]
        ]
    return [generic_body(orders[at : at + 100]) for at in range(0, shipments, 100)]


def _config(folder: Path, mqtt_port: int, page_port: int, printer_port: int, pty: str) -> str:
    return f"""
site = "{core_bed.SITE}"
agent = "{AGENT}"
data_dir = "{folder / "agent"}"
mqtt_port = {mqtt_port}
mqtt_password_file = "{folder / "agent.password"}"
page_port = {page_port}
[[stations]]
id = "{STATION}"
[[printers]]
name = "paper"
host = "127.0.0.1"
port = {printer_port}
[[scanners]]
source = "scanner-1"
station = "{STATION}"
path = "{pty}"
"""
