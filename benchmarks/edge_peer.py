"""Our agent beside thingsboard-gateway on the same broker program: what was accepted and arrived?

A device of each side counts 1, 2, 3, …; a number is *accepted* when the side told its device so
(ours: after COMMIT with synchronous=FULL; theirs: `send_to_storage` returned SUCCESS). It has
*arrived* when the core has stored it (ours) or when a subscriber of the broker has it (theirs).
Both talk through a line that is cut, and are killed with `kill -9`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import re
import secrets
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from benchmarks import core_bed, serve_core, wire_bed
from benchmarks.figures import Figure, Target
from benchmarks.machine import cpu_s, disk, family, memory_mib
from cloud_core.domain.broker_access import BrokerAccess, BrokerAgent
from virtual_warehouse.broker import MosquittoBroker, find_mosquitto, free_port
from virtual_warehouse.line import Line

PEER_HOME = Path("var/peers/thingsboard-gateway")
PEER_LOCK = Path("requirements/peers.lock.txt")
PEER_SCRIPT = Path(__file__).parent / "peers" / "gateway.py"
OUTAGE_RATE, OUTAGE_S = 500, 20.0
KILL_RATE, KILLS = 100, 8
ARRIVE_S = 120.0
QUIET_S = 30.0
"""When nothing has arrived for so long, nothing more will."""
_NUMBER = re.compile(rb'"length":(\d+)')


@dataclass
class Told:
    """What a side said to its device."""

    accepted: set[int] = field(default_factory=set)
    last: dict[str, Any] = field(default_factory=dict)


class Side(Protocol):
    """One of the two gateways with its device."""

    name: str
    told: Told
    line: Line

    async def start(self, first: int) -> None:
        """Start the process and wait until it talks to its server."""
        ...

    async def count(self, rate: int, seconds: float, first: int) -> None:
        """Have the device count; returns when it is done or the process is gone."""
        ...

    def arrived(self) -> list[int]:
        """Every number that has arrived, in order of arrival, repeats included."""
        ...

    async def kill(self) -> None: ...

    @property
    def pid(self) -> int: ...


class Ours:
    """The agent of this repository and its core."""

    name = "edge-agent"

    def __init__(self, folder: Path, account: BrokerAgent, line: Line, bed: core_bed.CoreBed):
        self._folder, self._account, self._bed = folder, account, bed
        self._process: wire_bed.AgentProcess | None = None
        self.line, self.told = line, Told()

    async def start(self, first: int) -> None:
        """See `Side`."""
        self._process = await wire_bed.start_agent(self._folder, self._account, self.line.port)
        await self._process.do("welcomed")

    async def count(self, rate: int, seconds: float, first: int) -> None:
        """See `Side`."""
        assert self._process is not None
        await self._process.tell("paced", rate=rate, seconds=seconds, first=first)
        while said := await self._process.hear():
            if "done" in said:
                self.told.last = said
                return
            self.told.accepted.add(said["accepted"])

    def arrived(self) -> list[int]:
        """See `Side`."""
        with core_bed.reader(self._bed.database) as db:
            rows = db.execute("SELECT row FROM event WHERE type = 'scan.refused'").fetchall()
        return [int(found[1]) for (row,) in rows if (found := _NUMBER.search(bytes(row)))]

    async def kill(self) -> None:
        """See `Side`."""
        assert self._process is not None
        await self._process.kill()

    @property
    def pid(self) -> int:
        """See `Side`."""
        assert self._process is not None
        return self._process.pid


class Theirs:
    """thingsboard-gateway with its SQLite storage, and a subscriber in place of its server."""

    name = "thingsboard-gateway"

    def __init__(self, folder: Path, line: Line, port: int) -> None:
        self._folder, self.line, self.told = folder, line, Told()
        self._process: asyncio.subprocess.Process | None = None
        self._arrived: list[int] = []
        self._server = paho.Client(CallbackAPIVersion.VERSION2, client_id="server")
        self._server.on_message = self._hear
        self._server.connect("127.0.0.1", port)
        self._server.subscribe([("v1/gateway/#", 1), ("v1/devices/me/rpc/request/+", 1)])
        self._server.loop_start()

    def _hear(self, client: paho.Client, _user: object, message: paho.MQTTMessage) -> None:
        if "rpc/request" in message.topic:
            limits = {"rateLimits": {}, "gatewayRateLimits": {}, "maxInflightMessages": 100,
                      "maxPayloadSize": 65_536}  # fmt: skip
            client.publish(message.topic.replace("request", "response"), json.dumps(limits))
        elif message.topic == "v1/gateway/telemetry":
            told: dict[str, list[dict[str, Any]]] = json.loads(message.payload)
            for entries in told.values():
                self._arrived += [entry["values"]["n"] for entry in entries]

    async def start(self, first: int) -> None:
        """See `Side`."""
        config = _gateway_config(self._folder, self.line.port, first)
        plain = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
        with (self._folder / "log").open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                str((PEER_HOME / "bin/python").absolute()), str(PEER_SCRIPT), str(config),
                stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=log,
                env=plain,
            )  # fmt: skip
        before = self.line.connections
        async with asyncio.timeout(60):
            while self.line.connections == before or not self.line.open_connections:
                await asyncio.sleep(0.05)
        await asyncio.sleep(3)  # it asks its server for limits before it sends

    async def count(self, rate: int, seconds: float, first: int) -> None:
        """See `Side`; the device goes on from its own last number."""
        assert self._process is not None
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps([rate, seconds]).encode() + b"\n")
        while line := await self._process.stdout.readline():
            if line == b"done\n":
                return
            if (found := line.split()) and len(found) == 2 and found[0].isdigit():
                self.told.accepted.update(range(int(found[0]), int(found[1]) + 1))

    def arrived(self) -> list[int]:
        """See `Side`."""
        return list(self._arrived)

    async def kill(self) -> None:
        """See `Side`."""
        assert self._process is not None
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        await self._process.wait()

    def close(self) -> None:
        """Nothing more is heard."""
        self._server.loop_stop()

    @property
    def pid(self) -> int:
        """See `Side`."""
        assert self._process is not None
        return self._process.pid


class Missing(Exception):
    """The other program cannot be had here."""


def install_peer() -> None:
    """Put thingsboard-gateway into an environment of its own. Raises `Missing`."""
    done = PEER_HOME / "installed"
    if done.exists() and done.read_bytes() == PEER_LOCK.read_bytes():
        return
    try:
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(PEER_HOME)], check=True)
        subprocess.run(
            [str(PEER_HOME / "bin/python"), "-m", "pip", "install", "--quiet",
             "--disable-pip-version-check", "--require-hashes", "-r", str(PEER_LOCK)],
            check=True, capture_output=True, timeout=600,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError) as error:
        raise Missing(f"thingsboard-gateway could not be installed: {error}"[:300]) from error
    done.write_bytes(PEER_LOCK.read_bytes())


def measure(folder: Path, quick: bool) -> Sequence[Figure]:
    """Both sides, one after the other; nothing, and why, without mosquitto or the other program."""
    try:
        if find_mosquitto() is None:
            raise Missing("mosquitto is not installed")
        install_peer()
    except Missing as why:
        print(f"edge_peer: SKIPPED: {why}", flush=True)
        return []
    speed = disk(folder)
    found: dict[str, dict[str, float]] = {}
    for make in (_ours, _theirs):
        (folder / make.__name__).mkdir(parents=True)
        name, values = asyncio.run(_one_side(make, folder / make.__name__, quick))
        found[name] = values
        print(f"    {name}: {values}", flush=True)
    seconds, kills = _sizes(quick)
    hows = {
        "lost after kill -9": ("events", f"of those accepted in {kills} runs of 2-4 s at "
                               f"{KILL_RATE}/s, each ended by kill -9, line up"),
        "lost by an outage": ("events", f"{seconds:g} s without a line at {OUTAGE_RATE}/s"),
        "arrived twice": ("events", "outage and kills together"),
        "caught up after an outage": ("s", "from the healed line to the last arrival, "
                                      "reconnecting included"),
        "events accepted": ("/s", "one at a time, as fast as it goes, line up; ours after COMMIT "
                            "with synchronous=FULL, theirs in memory"),
        "memory": ("MiB", "PSS after all of it"),
        "processor": ("% of a core", f"at {KILL_RATE} events/s end to end"),
    }  # fmt: skip
    best = {"lost after kill -9", "lost by an outage", "arrived twice"}
    return [
        Figure("edge_peer", f"{side}: {name}", unit, [values[name]],
               Target(0, at_least=False) if side == Ours.name and name in best else Target(),
               f"the same mosquitto program and settings; {how}", speed,
               command="make bench-edge")
        for name, (unit, how) in hows.items() for side, values in found.items()
    ]  # fmt: skip


def _sizes(quick: bool) -> tuple[float, int]:
    return (5.0, 2) if quick else (OUTAGE_S, KILLS)


async def _one_side(make: Any, folder: Path, quick: bool) -> tuple[str, dict[str, float]]:
    seconds, kills = _sizes(quick)
    draw, values = random.Random(7), dict[str, float]()
    async with make(folder) as side:
        await side.start(1)
        before, at = cpu_s(side.pid), time.monotonic()
        await side.count(KILL_RATE, 10, 1)
        values["processor"] = 100 * (cpu_s(side.pid) - before) / (time.monotonic() - at)
        await _all_in(side)
        values["caught up after an outage"], values["lost by an outage"] = await _outage(
            side, seconds
        )
        count = len(side.told.accepted)
        at = time.monotonic()
        await side.count(0, 5, max(side.told.accepted) + 1)
        values["events accepted"] = (len(side.told.accepted) - count) / (time.monotonic() - at)
        await _all_in(side)
        values["memory"] = sum(memory_mib(pid, "Pss") for pid in family(side.pid))
        values["lost after kill -9"] = await _kills(side, kills, draw)
        arrived = side.arrived()
        values["arrived twice"] = len(arrived) - len(set(arrived))
        await side.kill()
        return side.name, values


async def _outage(side: Side, seconds: float) -> tuple[float, float]:
    first = max(side.told.accepted) + 1
    side.line.cut()
    await side.count(OUTAGE_RATE, seconds, first)
    side.line.heal()
    healed = time.monotonic()
    missing = await _all_in(side)
    return time.monotonic() - healed - (QUIET_S if missing else 0), missing


async def _kills(side: Side, kills: int, draw: random.Random) -> float:
    missing_before = len(side.told.accepted - set(side.arrived()))
    for _ in range(kills):
        first = max(side.told.accepted) + 1
        counting = asyncio.create_task(side.count(KILL_RATE, 60, first))
        await asyncio.sleep(draw.uniform(2, 4))
        await side.kill()
        await counting
        await side.start(max(side.told.accepted) + 1)
    return await _all_in(side) - missing_before


async def _all_in(side: Side) -> int:
    """Wait until everything accepted has arrived, or nothing comes any more; how many lack."""
    until, changed, seen = time.monotonic() + ARRIVE_S, time.monotonic(), -1
    while time.monotonic() < until:
        there = set(side.arrived())
        missing = len(side.told.accepted - there)
        if not missing:
            return 0
        if len(there) != seen:
            seen, changed = len(there), time.monotonic()
        if time.monotonic() - changed > QUIET_S:
            return missing
        await asyncio.sleep(0.2)
    return missing


@asynccontextmanager
async def _ours(folder: Path) -> AsyncIterator[Ours]:
    account = BrokerAgent(core_bed.SITE, "bench-1", secrets.token_urlsafe(32))
    access = BrokerAccess(secrets.token_urlsafe(32), (account,))
    broker = MosquittoBroker(folder / "broker", access)
    _host, port = broker.start()
    password = folder / "core.password"
    password.write_text(access.core_secret)
    bed = core_bed.prepare(
        folder / "core", mqtt_port=port, http_port=0, mqtt_password_file=str(password)
    )
    program, _url = await serve_core.started(bed)
    line = Line("127.0.0.1", port)
    await line.start()
    try:
        yield Ours(folder / "agent", account, line, bed)
    finally:
        await line.stop()
        await program.stop()
        broker.stop()


@asynccontextmanager
async def _theirs(folder: Path) -> AsyncIterator[Theirs]:
    port = free_port()
    (folder / "data").mkdir()
    config = folder / "mosquitto.conf"
    config.write_text(
        f"listener {port} 127.0.0.1\nallow_anonymous true\n"
        "persistence false\nset_tcp_nodelay true\n"
    )
    broker = await asyncio.create_subprocess_exec(
        find_mosquitto() or "mosquitto", "-c", str(config), stderr=subprocess.DEVNULL
    )
    line = Line("127.0.0.1", port)
    await line.start()
    await asyncio.sleep(0.5)
    side = Theirs(folder, line, port)
    try:
        yield side
    finally:
        side.close()
        await line.stop()
        broker.terminate()
        await broker.wait()


def _gateway_config(folder: Path, port: int, first: int) -> Path:
    """Its own defaults, but: SQLite storage, no rate limits, nothing fetched from its server."""
    unlimited = dict.fromkeys(
        ("rateLimits", "dpRateLimits", "messagesRateLimits", "deviceMessagesRateLimits",
         "deviceRateLimits", "deviceDpRateLimits"), "0:0,",
    )  # fmt: skip
    (folder / "counting.json").write_text(json.dumps({"first": first}))
    config = folder / "tb_gateway.json"
    config.write_text(json.dumps({
        "thingsboard": {
            "host": "127.0.0.1", "port": port, "remoteShell": False, "remoteConfiguration": False,
            "statistics": {"enable": False}, "maxPayloadSizeBytes": 65_536,
            "minPackSendDelayMS": 50, "minPackSizeToSend": 500, "qos": 1,
            "reportStrategy": {"type": "DISABLED"},
            "security": {"type": "accessToken", "accessToken": "bench"}, **unlimited,
        },
        "storage": {"type": "sqlite", "data_file_path": f"{folder}/data/",
                    "messages_ttl_check_in_hours": 1, "messages_ttl_in_days": 7,
                    "max_read_records_count": 1_000},
        "grpc": {"enabled": False},
        "connectors": [{"name": "counting", "type": "counting", "class": "CountingConnector",
                        "configuration": "counting.json"}],
    }))  # fmt: skip
    return config
