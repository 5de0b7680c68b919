"""Broker, core and agents as processes of their own, connected, for the end-to-end figures."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import core_bed, serve_core
from benchmarks.core_bed import CoreBed
from benchmarks.machine import cpu_s
from cloud_core.domain.broker_access import BrokerAccess, BrokerAgent
from virtual_warehouse.broker import EmbeddedBroker, MosquittoBroker, find_mosquitto

BROKERS: dict[str, Any] = {"mosquitto": MosquittoBroker, "NATS": EmbeddedBroker}
DURABILITY = "agents: journals SQLite WAL, synchronous=FULL; core: SQLite WAL, synchronous=FULL"
ANSWER_S = 300.0


class AgentProcess:
    """The parent's end of one `wire_agent`."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def do(self, what: str, **values: Any) -> dict[str, Any]:
        """Give an order and wait for the answer."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"do": what, **values}).encode() + b"\n")
        line = await asyncio.wait_for(self._process.stdout.readline(), ANSWER_S)
        assert line, "the agent process ended"
        answer: dict[str, Any] = json.loads(line)
        return answer

    @property
    def pid(self) -> int:
        return self._process.pid

    async def tell(self, what: str, **values: Any) -> None:
        """Give an order that is answered by several lines."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"do": what, **values}).encode() + b"\n")
        await self._process.stdin.drain()

    async def hear(self) -> dict[str, Any]:
        """The next line; {} when the process is gone."""
        assert self._process.stdout is not None
        line = await self._process.stdout.readline()
        answer: dict[str, Any] = json.loads(line) if line.endswith(b"\n") else {}
        return answer

    async def kill(self) -> None:
        """`kill -9`."""
        self._process.kill()
        await self._process.wait()

    async def stop(self) -> None:
        """Let it leave in order; kill what does not."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            await asyncio.wait_for(self._process.wait(), 20)
        except TimeoutError:
            self._process.kill()
            await self._process.wait()


@dataclass(frozen=True, slots=True)
class Spent:
    """Processor seconds of the core, of all agents together and of the broker."""

    core: float
    agents: float
    broker: float

    def since(self, before: Spent, events: int) -> str:
        """Microseconds an event of each, for people."""
        each = 1e6 / events
        return (
            f"µs of processor an event: core {(self.core - before.core) * each:.1f}, "
            f"agents {(self.agents - before.agents) * each:.1f}, "
            f"broker {(self.broker - before.broker) * each:.1f}"
        )


@dataclass(frozen=True, slots=True)
class WireBed:
    """A running warehouse: core, its HTTP address, its agents."""

    core: CoreBed
    url: str
    agents: list[AgentProcess]
    core_pid: int
    broker_pid: int
    accounts: Sequence[BrokerAgent] = ()
    near: int = 0
    """The port agents connect to."""

    def cpu(self) -> Spent:
        """Processor seconds used so far."""
        agents = sum(cpu_s(agent.pid) for agent in self.agents)
        return Spent(cpu_s(self.core_pid), agents, cpu_s(self.broker_pid))

    async def all(self, what: str, **values: Any) -> list[dict[str, Any]]:
        """The same order to every agent at once."""
        return list(await asyncio.gather(*(agent.do(what, **values) for agent in self.agents)))


def available(broker: str) -> bool:
    """Whether this machine has the broker."""
    return broker != "mosquitto" or find_mosquitto() is not None


@asynccontextmanager
async def running(
    folder: Path,
    broker: str,
    agents: int,
    *,
    waybills: int = 0,
    through: Callable[[int], Awaitable[int]] | None = None,
) -> AsyncIterator[WireBed]:
    """Start everything and wait until every agent was welcomed and resynchronised.

    `through` puts something between agents and broker: the broker's port in, the agents' out.
    """
    names = tuple(f"bench-{number}" for number in range(1, agents + 1))
    access = BrokerAccess(
        secrets.token_urlsafe(32),
        tuple(BrokerAgent(core_bed.SITE, name, secrets.token_urlsafe(32)) for name in names),
    )
    between = BROKERS[broker](folder / "broker", access)
    _host, port = between.start()
    folder.mkdir(parents=True, exist_ok=True)
    password = folder / "core.password"
    password.write_text(access.core_secret)
    bed = core_bed.prepare(
        folder / "core", agents=agents, waybills=waybills, mqtt_port=port, http_port=0,
        mqtt_password_file=str(password),
    )  # fmt: skip
    program, url = await serve_core.started(bed)
    processes: list[AgentProcess] = []
    try:
        near = port if through is None else await through(port)
        for account in access.agents:
            processes.append(await start_agent(folder / account.agent, account, near))
        assert program.pid is not None
        world = WireBed(bed, url, processes, program.pid, between.pid, access.agents, near)
        await _until_resynced(world)
        yield world
    finally:
        await asyncio.gather(*(process.stop() for process in processes))
        await program.stop()
        between.stop()


async def _until_resynced(world: WireBed) -> None:
    for _ in range(600):
        if all(answer["resynced"] for answer in await world.all("welcomed")):
            return
        await asyncio.sleep(0.05)
    raise AssertionError("an agent was not resynchronised")


async def start_agent(folder: Path, account: BrokerAgent, port: int) -> AgentProcess:
    """An agent process on a journal in `folder`, which may be there already."""
    folder.mkdir(exist_ok=True)
    config = {
        "folder": str(folder), "agent": account.agent, "site": account.site,
        "host": "127.0.0.1", "port": port, "secret": account.secret,
    }  # fmt: skip
    with (folder / "agent.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "benchmarks.wire_agent", json.dumps(config),
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=log,
            env=os.environ,
        )  # fmt: skip
    return AgentProcess(process)
