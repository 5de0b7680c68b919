"""B5: `kill -9` of a serving core while shops place holds through its door, again and again.

Eight callers keep placing holds over HTTP, each with its own idempotency key; the core is killed at
a random moment and started again. Who got no answer asks again with the same key. In the end every
hold that was acknowledged must be there, once, and nothing else. Serving again is from the start of
the new process to the first answered hold.
"""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import random
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from statistics import median
from urllib.parse import urlsplit

from benchmarks import serve_core
from benchmarks.core_bed import SKUS
from benchmarks.figures import Figure, Target
from benchmarks.stock_bed import StockBed
from benchmarks.stock_ground import Ground, durable, say
from virtual_warehouse.processes import Program

KILLS, QUICK_KILLS = 100, 2
CALLERS = 8
LOAD_S = (0.15, 0.6)
HOLD_TTL_S = 3_600
"""Longer than a whole campaign: a hold that has ended by itself is not lost."""
NOTHING = Target(0, at_least=False)
AGAIN = Target(3, at_least=False)
_PATIENCE_S = 60


@dataclass
class Shops:
    """The callers, across all kills."""

    key: str
    acknowledged: dict[str, str] = field(default_factory=dict)
    """Idempotency key to the hold it was answered with."""
    two_answers: int = 0
    first_at: float = 0.0
    """When the first hold was answered since it was last set to 0."""
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _numbers: int = 0

    def next_key(self) -> str:
        """A new idempotency key."""
        with self._lock:
            self._numbers += 1
            return f"kill-{self._numbers}"

    def answered(self, key: str, hold: str) -> None:
        """Keep what a key was answered with; a second, different answer is a fault."""
        with self._lock:
            self.first_at = self.first_at or time.perf_counter()
            if self.acknowledged.setdefault(key, hold) != hold:
                self.two_answers += 1


class Caller(threading.Thread):
    """Places holds until told to end; asks again when the core was gone."""

    def __init__(self, shops: Shops, world: World) -> None:
        super().__init__(daemon=True)
        self._shops, self._world = shops, world

    def run(self) -> None:
        connection: http.client.HTTPConnection | None = None
        key, draw = self._shops.next_key(), random.Random()
        sku = draw.choice(SKUS)
        while not self._world.ended.is_set():
            if not self._world.url:
                time.sleep(0.005)
                continue
            try:
                if connection is None:
                    place = urlsplit(self._world.url)
                    connection = http.client.HTTPConnection(
                        place.hostname or "", place.port, timeout=5
                    )
                hold = self._place(connection, key, sku)
            except (OSError, http.client.HTTPException):
                connection = None
                time.sleep(0.002)
                continue
            self._shops.answered(key, hold)
            if draw.random() < 0.1:  # ask once more: the same answer must come
                with contextlib.suppress(OSError, http.client.HTTPException):
                    self._shops.answered(key, self._place(connection, key, sku))
            key, sku = self._shops.next_key(), draw.choice(SKUS)

    def _place(self, connection: http.client.HTTPConnection, key: str, sku: str) -> str:
        body = json.dumps({"lines": [{"sku": sku, "quantity": 1}], "ttl_s": HOLD_TTL_S})
        connection.request(
            "POST", "/v1/holds", body,
            {"Authorization": f"Bearer {self._shops.key}", "Idempotency-Key": key,
             "Content-Type": "application/json"},
        )  # fmt: skip
        answer = connection.getresponse()
        said = answer.read()
        if answer.status != 201:
            raise http.client.HTTPException(f"{answer.status} {said[:200]!r}")
        return str(json.loads(said)["id"])


@dataclass
class World:
    """Where the core listens now ("" while it is dead)."""

    url: str = ""
    ended: threading.Event = field(default_factory=threading.Event)


def killed(ground: Ground) -> Iterator[Figure]:
    """B5 on each engine."""
    kills = QUICK_KILLS if ground.quick else KILLS
    for engine in ground.engines:
        with ground.bed(engine) as bed:
            shops, again = asyncio.run(_campaign(bed, kills))
            lost, extra = _compare(bed, shops)
            drifts = bed.drifts()
        what = (
            f"bare hold through POST /v1/holds; {durable(engine)}; {kills} times kill -9, "
            f"{CALLERS} callers, {len(shops.acknowledged):,} holds acknowledged; keys answered "
            f"twice differently: {shops.two_answers}; holds nobody asked for: {extra}; rows that "
            f"drifted: {drifts}"
        )
        say(f"  {engine}: lost {lost}, serving again {median(again):.2f} s, worst {max(again):.2f}")
        name = f"B5 kill -9 under load x {kills}, {engine}"
        wrong = lost + extra + drifts + shops.two_answers
        lost_name = f"{name}: acknowledged holds lost, doubled or drifted"
        yield ground.figure(lost_name, "holds", [wrong], what, NOTHING)
        for which, seconds in (("median", median(again)), ("worst", max(again))):
            again_name = f"{name}: start to first answered hold, {which}"
            yield ground.figure(again_name, "s", [seconds], what, AGAIN)


async def _campaign(bed: StockBed, kills: int) -> tuple[Shops, list[float]]:
    shops, world, draw = Shops(bed.key), World(), random.Random()
    callers = [Caller(shops, world) for _ in range(CALLERS)]
    for caller in callers:
        caller.start()
    again: list[float] = []
    program: Program | None = None
    try:
        for number in range(kills + 1):
            began = time.perf_counter()
            program, url = await serve_core.started(bed.core)
            # Only now: an answer of the killed core may have been read after it was gone.
            shops.first_at = 0.0
            world.url = url
            await _first_answer(shops)
            if number:
                again.append(shops.first_at - began)
            await asyncio.sleep(draw.uniform(*LOAD_S))
            if number < kills:
                program.kill()
                world.url = ""
    finally:
        world.ended.set()
        for caller in callers:
            await asyncio.to_thread(caller.join)
        if program is not None:
            await program.stop()
    return shops, again


async def _first_answer(shops: Shops) -> None:
    deadline = time.monotonic() + _PATIENCE_S
    while not shops.first_at:
        assert time.monotonic() < deadline, "no hold was answered"
        await asyncio.sleep(0.002)


def _compare(bed: StockBed, shops: Shops) -> tuple[int, int]:
    """(acknowledged holds that are not there, holds beyond those and the last unheard ones)."""
    there = {row[0] for row in bed.rows("SELECT id FROM hold WHERE state = 'held'")}
    kept = {row[0] for row in bed.rows("SELECT key FROM seen_key")}
    lost = len(set(shops.acknowledged.values()) - there)
    unheard = len(kept - set(shops.acknowledged))  # answered after the callers had left
    return lost, len(there) - len(set(shops.acknowledged.values())) - unheard + lost
