"""The hammer: four core processes on one PostgreSQL, 64 clients, kills and cut connections.

A client has one request at a time, sends it to any core and, when it gets no answer, sends it again
with the same idempotency key until it has one. What it was told must be what the database says in
the end. Knows the core only by its answers and its tables.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import signal
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import psycopg
from sqlalchemy import Engine, text
from sqlalchemy.exc import OperationalError

from cloud_core.store import key_file
from cloud_core.store import schema as t
from cloud_core.store.stock_check import StockCheck
from tests.support import hammer_core, hammer_plants
from tests.support.databases import open_database
from tests.support.ledger import write_openings

CORES, CLIENTS = 4, 64
SKUS = tuple(f"SKU-{number:02d}" for number in range(1, 7))
SHELF = {"HZ01": 10, "SZ01": 6}
"""Little, so that clients are refused, and two cores want the same last unit."""
PLENTY = {"HZ01": 1_000_000}
PAIR = SKUS[:2]
PAIR_CLIENTS = 16
DRAIN_S = 30.0
HARM_S = (0.2, 0.8)
WATCH_S = 0.05
Answer = dict[str, Any]


class Gone(Exception):
    """The core died before it answered."""


class Core:
    """One process and the line to it; starts again at once when it was killed."""

    def __init__(self, url: str, key: Path, plant: str) -> None:
        self._made = (url, key, plant)
        self._waiting: dict[int, asyncio.Future[Answer]] = {}
        self._numbers = 0
        self._process: BaseProcess | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._listening: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Start the process; requests may be sent at once."""
        ours, theirs = socket.socketpair()
        self._process = await asyncio.to_thread(hammer_core.start, *self._made, theirs)
        theirs.close()
        reader, self._writer = await asyncio.open_connection(
            sock=ours, limit=hammer_core.LINE_BYTES_MAX
        )
        self._listening = asyncio.create_task(self._listen(reader))

    async def ask(self, request: dict[str, Any]) -> Answer:
        """The answer to a request. Raises `Gone`."""
        if self._writer is None:
            raise Gone
        self._numbers += 1
        number = self._numbers
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting[number] = future
        with contextlib.suppress(ConnectionError):
            self._writer.write(json.dumps({"n": number, **request}).encode() + b"\n")
        return await future

    async def kill(self) -> int:
        """`kill -9`; how many requests were on their way."""
        process, self._process = self._process, None
        assert process is not None
        assert process.pid is not None
        assert self._listening is not None
        at_risk = len(self._waiting)
        os.kill(process.pid, signal.SIGKILL)
        await asyncio.to_thread(process.join)
        await self._listening
        return at_risk

    async def _listen(self, reader: asyncio.StreamReader) -> None:
        with contextlib.suppress(ConnectionError):
            while line := await reader.readline():
                answer = json.loads(line)
                future = self._waiting.pop(answer.pop("n"))
                if not future.done():
                    future.set_result(answer)
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.close()
        lost, self._waiting = self._waiting, {}
        for future in lost.values():
            if not future.done():
                future.set_exception(Gone())


@dataclass
class Heard:
    """What all clients were told, and what it cost to be told."""

    answers: dict[str, Answer] = field(default_factory=dict)
    """The answer to each idempotency key."""
    states: dict[str, str] = field(default_factory=dict)
    """The state of each acknowledged hold, by the last answer about it."""
    several: list[str] = field(default_factory=list)
    """Keys that were answered in two ways."""
    faults: list[str] = field(default_factory=list)
    refused: int = 0
    asked_again: int = 0
    doubles: int = 0

    def take(self, key: str, answer: Answer) -> None:
        """Keep the answer to a key, or see that it is the one given before."""
        before = self.answers.setdefault(key, answer)
        if before != answer:
            self.several.append(f"{key}: {before} then {answer}")


class Hammer:
    """The cores, the clients and the hand that kills; `run` is the whole of it."""

    def __init__(self, folder: Path, seed: int, plant: str = "", *, pairs: bool = False) -> None:
        """`pairs`: nothing is scarce, killed or cut; every basket holds the same two SKUs, named in
        the one order or the other."""
        self._pairs = pairs
        self.engine: Engine = open_database(folder)
        self.heard = Heard()
        self.kills = self.cuts = self.at_risk = 0
        self.was_oversold: list[str] = []
        self._draw = random.Random(seed)
        key = folder / "master.key"
        key_file.create(key, lambda count: bytes(range(count)))
        _fill(self.engine, PLENTY if pairs else SHELF)
        url = self.engine.url.render_as_string(hide_password=False)
        self._url = url.replace("postgresql+psycopg://", "postgresql://")
        self._cores = [
            Core(url, key, hammer_plants.for_core(plant, number)) for number in range(CORES)
        ]
        self._ended = asyncio.Event()

    async def run(self, enough: Callable[[Hammer], bool], at_most_s: float) -> None:
        """Hammer until it is enough or time is over, then let every client hear its last answer."""
        try:
            for core in self._cores:
                await core.start()
            async with asyncio.timeout(at_most_s + DRAIN_S), asyncio.TaskGroup() as group:
                client = self._pair_client if self._pairs else self._client
                for number in range(PAIR_CLIENTS if self._pairs else CLIENTS):
                    group.create_task(client(f"c{number}", self._draw.randrange(2**32)))
                harm = self._wait if self._pairs else self._harm
                group.create_task(harm(enough, time.monotonic() + at_most_s))
                group.create_task(self._watch())
        finally:
            for core in self._cores:
                if core._process is not None:
                    await core.kill()

    # --- clients -------------------------------------------------------------------------------

    async def _client(self, name: str, seed: int) -> None:
        draw, mine, number = random.Random(seed), list[str](), 0
        while not self._ended.is_set():
            number += 1
            choice = draw.random()
            if mine and choice < 0.5:
                hold = mine.pop(draw.randrange(len(mine)))
                op = "confirm" if choice < 0.1 else "release"
                answer = await self._until_answered(draw, op, f"{name}-{number}", hold, [])
                if self._plain(answer):
                    self.heard.states[hold] = answer["state"]
                continue
            lines = [[sku, draw.randint(1, 3)] for sku in draw.sample(SKUS, draw.choice((1, 1, 2)))]
            hold = f"H{name.upper()}N{number:08d}"
            answer = await self._until_answered(draw, "place", f"{name}-{number}", hold, lines)
            if self._plain(answer):
                self.heard.states[answer["hold"]] = answer["state"]
                mine.append(answer["hold"])

    async def _pair_client(self, name: str, seed: int) -> None:
        """Two-line baskets; who has an odd seed names the lines the other way round."""
        draw, number = random.Random(seed), 0
        lines = [[sku, 1] for sku in (reversed(PAIR) if seed % 2 else PAIR)]
        while not self._ended.is_set():
            number += 1
            key, hold = f"{name}-{number}", f"H{name.upper()}N{number:08d}"
            answer = await self._insist(draw, _request("place", key, hold, lines))
            self.heard.take(key, answer)
            if self._plain(answer):
                self.heard.states[answer["hold"]] = answer["state"]

    def _plain(self, answer: Answer) -> bool:
        if answer["code"] == "stock_short":
            self.heard.refused += 1
        elif answer["code"]:
            self.heard.faults.append(answer["code"])
        return not answer["code"]

    async def _until_answered(
        self, draw: random.Random, op: str, key: str, hold: str, lines: list[Any]
    ) -> Answer:
        """Ask any core until one answers; now and then two at once, or once more afterwards."""
        request = _request(op, key, hold, lines)
        twice = op != "release" and draw.random() < 0.15
        if twice:  # the name of a new hold is the core's choice: another one for the other request
            other = {**request, "hold": f"{hold}B" if op == "place" else hold}
            self.heard.doubles += 1
            first, second = await asyncio.gather(
                self._insist(draw, request), self._insist(draw, other)
            )
            self.heard.take(key, first)
            self.heard.take(key, second)
            return first
        answer = await self._insist(draw, request)
        if op != "release":
            self.heard.take(key, answer)
            if draw.random() < 0.05:
                self.heard.take(key, await self._insist(draw, request))
        return answer

    async def _insist(self, draw: random.Random, request: dict[str, Any]) -> Answer:
        while True:
            try:
                return await draw.choice(self._cores).ask(request)
            except Gone:
                self.heard.asked_again += 1
                await asyncio.sleep(0.005)

    # --- harm ----------------------------------------------------------------------------------

    async def _harm(self, enough: Callable[[Hammer], bool], until: float) -> None:
        """Kill a core or cut some connections, again and again, until it is over."""
        async with await psycopg.AsyncConnection.connect(self._url, autocommit=True) as hand:
            while time.monotonic() < until and not enough(self):
                await asyncio.sleep(self._draw.uniform(*HARM_S))
                if self._draw.random() < 0.5:
                    core = self._draw.choice(self._cores)
                    self.at_risk += await core.kill()
                    self.kills += 1
                    await core.start()
                else:
                    cut = await hand.execute(
                        "SELECT pg_terminate_backend(pid) FROM (SELECT pid FROM pg_stat_activity "
                        "WHERE datname = current_database() AND pid <> pg_backend_pid() "
                        "ORDER BY random() LIMIT 2) b"
                    )
                    self.cuts += cut.rowcount
        self._ended.set()

    async def _wait(self, enough: Callable[[Hammer], bool], until: float) -> None:
        """No harm: until it is enough or time is over."""
        while time.monotonic() < until and not enough(self):
            await asyncio.sleep(WATCH_S)
        self._ended.set()

    async def _watch(self) -> None:
        """Look at the stock all the time: what is oversold now may be given back before the end."""
        while not self._ended.is_set() and not self.was_oversold:
            # A cut takes any connection of the database, so also the one that looks.
            with contextlib.suppress(OperationalError):
                self.was_oversold = await asyncio.to_thread(self._oversold_now)
            await asyncio.sleep(WATCH_S)

    def _oversold_now(self) -> list[str]:
        """Stock rows that promise more than there is."""
        with self.engine.connect() as connection:
            rows = connection.execute(
                text("SELECT warehouse, sku, shelf, held FROM stock WHERE shelf - held < 0")
            )
            return [f"oversold: {tuple(row)}" for row in rows]

    # --- judgement -----------------------------------------------------------------------------

    def wrong(self) -> list[str]:
        """Everything that is not as it must be, in words; empty is right."""
        found = [f"a caller saw {fault}" for fault in self.heard.faults]
        found += [f"one key, two answers: {text}" for text in self.heard.several]
        with self.engine.connect() as connection:
            rows = connection.execute(text("SELECT id, state FROM hold"))
            there = {row[0]: row[1] for row in rows}
        found += self.was_oversold or self._oversold_now()
        for hold, state in self.heard.states.items():
            if there.get(hold) != state:
                found.append(f"acknowledged {hold} {state}, found {there.get(hold)}")
        found += [f"nobody was told of {hold}" for hold in there.keys() - self.heard.states.keys()]
        found += [f"drift: {drift}" for drift in StockCheck(self.engine).full()[0]]
        return found


def _request(op: str, key: str, hold: str, lines: list[Any]) -> dict[str, Any]:
    return {"op": op, "hold": hold, "key": key, "digest": f"{key:0>32}", "lines": lines}


def _fill(engine: Engine, shelf: dict[str, int]) -> None:
    with engine.begin() as connection:
        connection.execute(t.carrier.insert(), [{"id": "ZTO", "name": "演示快递"}])
        connection.execute(
            t.warehouse.insert(),
            [{"id": w, "site": w.lower(), "name": f"演示仓{w}", "priority": n, "carrier": "ZTO"}
             for n, w in enumerate(shelf, 1)],
        )  # fmt: skip
        connection.execute(
            t.agent.insert(), [{"id": f"{w.lower()}-a", "warehouse": w} for w in shelf]
        )
        connection.execute(t.sku.insert(), [{"id": sku, "name": f"商品{sku}"} for sku in SKUS])
        connection.execute(
            t.stock.insert(),
            [{"warehouse": w, "sku": sku, "shelf": n} for w, n in shelf.items() for sku in SKUS],
        )
    write_openings(engine)
