"""One core's write queue with callers of its own, as a child process: the side that is ours.

`python -m benchmarks.stock_core CONFIG.toml`. A bare hold is `PlaceHolds` submitted to the queue:
no HTTP, but everything a commit holds: hold, lines, stock, movement, idempotency key with answer.
A paid order is one shop message of one order, parsed and sealed before the clock starts.
"""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import random
import secrets
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks import sample
from benchmarks.core_bed import SKUS
from benchmarks.stock_crew import Answer, Job, Tally, serve_jobs_async
from cloud_core import bootstrap, logs, settings
from cloud_core.committer import Committer
from cloud_core.domain.commands import ApplyShopEvents
from cloud_core.domain.hold_commands import (
    ConfirmHold,
    ExpireHolds,
    Keyed,
    PlaceHolds,
    WantedHold,
)
from protocols.errors import Unavailable

STORM_HOLDS_A_COMMAND = 500


class StockCore:
    """A core without loops and doors; jobs are its methods."""

    def __init__(self, config: Path) -> None:
        chosen = settings.load(config, {})
        logs.set_up(chosen.log_level, chosen.log_format)
        self._wired = bootstrap.build(chosen, inline=True)
        self._committer = Committer(self._wired.commit_core, lambda done: None)
        self._committer.start()
        self._run = secrets.token_hex(6)
        self._numbers = itertools.count(1)
        self._seeds = itertools.count(secrets.randbits(40))
        bootstrap.calm_collector()  # as `serve` does

    async def do(self, job: Job) -> Answer:
        """Do a job by its name."""
        found: Answer = await getattr(self, f"do_{job['do']}")(job)
        return found

    def stop(self) -> None:
        """Commit what waits and close."""
        self._committer.stop()
        self._wired.engine.dispose()

    # --- closed and open loops -----------------------------------------------------------------

    async def do_holds(self, job: Job) -> Answer:
        """`callers` in a closed loop place `orders` holds, or as many as `seconds` allow."""
        pick = _picker(job)
        return await self._closed(job, lambda: self._hold(pick()))

    async def do_paid(self, job: Job) -> Answer:
        """The whole paid flow in a closed loop, one order a command."""
        waiting = deque(self._paid(job["orders"]))
        return await self._closed(job, lambda: waiting.popleft() if waiting else None)

    async def do_open(self, job: Job) -> Answer:
        """Arrivals of `kind` at `rate` a second, evenly spread, whatever the answers take."""
        count = int(job["rate"] * job["seconds"])
        pick = _picker(job)
        work: list[Any] = (
            self._paid(count)
            if job["kind"] == "paid"
            else [self._hold(pick()) for _ in range(count)]
        )
        await _until(job["begin"])
        tally = Tally()
        began, tasks = time.perf_counter(), []
        for number, command in enumerate(work):
            due = began + number / job["rate"]
            if (ahead := due - time.perf_counter()) > 0:
                await asyncio.sleep(ahead)
            tasks.append(asyncio.ensure_future(self._timed(command, tally, due)))
        await asyncio.gather(*tasks)
        return tally.answer()

    async def _closed(self, job: Job, command: Callable[[], Any]) -> Answer:
        left = itertools.count(job.get("orders") or 10**9, -1)
        await _until(job["begin"])
        tally = Tally()
        end = time.perf_counter() + job.get("seconds", 3_600)

        async def caller() -> None:
            while next(left) > 0 and time.perf_counter() < end:
                one = command()
                if one is None:
                    return
                await self._timed(one, tally, time.perf_counter())

        await asyncio.gather(*(caller() for _ in range(job["callers"])))
        return tally.answer()

    async def _timed(self, command: Any, tally: Tally, began: float) -> None:
        try:
            try:
                done = await self._committer.submit(command)
            except Unavailable as error:  # as the core's own worker: prepared again
                if not isinstance(command, ApplyShopEvents) or not _number_taken(error):
                    raise
                print("asked again: an order's number was taken", file=sys.stderr)
                done = await self._committer.submit(self._renumbered(command))
        except Exception as error:
            tally.errors.append(repr(error)[:200])
            return
        if isinstance(command, PlaceHolds):
            tally.add(not done.holds[0].code, began)
        else:
            tally.add(done.results == ("created",), began)

    # --- the storm of expiries -----------------------------------------------------------------

    async def do_place_storm(self, job: Job) -> Answer:
        """Place `orders` holds that all end within a second of `at_ms`; their ids."""
        ids: list[str] = []
        pending = []
        for _ in range(job["orders"] // STORM_HOLDS_A_COMMAND):
            ttl_s = max(1, round((job["at_ms"] - time.time() * 1000) / 1000))
            wanted = tuple(
                WantedHold(self._new_id(), ((random.choice(SKUS), 1),), ttl_s)
                for _ in range(STORM_HOLDS_A_COMMAND)
            )
            ids += [hold.id for hold in wanted]
            pending.append(self._committer.post(PlaceHolds(wanted, self._keyed(), "bench")))
            if len(pending) >= 4:
                done = await pending.pop(0)
                assert all(not hold.code for hold in done.holds)
        await asyncio.gather(*pending)
        return {"ids": ids}

    async def do_confirm(self, job: Job) -> Answer:
        """`callers` confirm the holds `ids`, evenly spread over `span_s`; answers by hold."""
        waiting, answers = deque(enumerate(job["ids"])), {}
        expiring = asyncio.ensure_future(self.do_expire(job)) if job["expire_too"] else None
        await _until(job["begin"])
        tally, began = Tally(), time.perf_counter()

        async def caller() -> None:
            while waiting:
                number, hold_id = waiting.popleft()
                due = began + number * job["span_s"] / len(job["ids"])
                await asyncio.sleep(max(0.0, due - time.perf_counter()))
                done = await self._committer.submit(ConfirmHold(hold_id, self._keyed(), "bench"))
                answers[hold_id] = done.holds[0].code
                tally.add(not done.holds[0].code, due)

        await asyncio.gather(*(caller() for _ in range(job["callers"])))
        answer = {**tally.answer(), "answers": answers}
        if expiring is not None:
            answer["expired"] = (await expiring)["expired"]
        return answer

    async def do_expire(self, job: Job) -> Answer:
        """The sweep of holds, as the core's own loop runs it, until `until_ms` and nothing more."""
        expired = 0
        while True:
            done = await self._committer.submit(ExpireHolds())
            expired += done.holds
            if done.more:
                continue
            if time.time() * 1000 > job["until_ms"]:
                return {"expired": expired}
            await asyncio.sleep(0.05)

    # --- commands ------------------------------------------------------------------------------

    def _hold(self, lines: tuple[tuple[str, int], ...]) -> PlaceHolds:
        return PlaceHolds((WantedHold(self._new_id(), lines),), self._keyed(), "bench")

    def _new_id(self) -> str:
        return self._wired.doors.ledger.new_hold_id()

    def _keyed(self) -> Keyed:
        key = f"{self._run}-{next(self._numbers)}"
        return Keyed("holds:kbench", key, hashlib.blake2b(key.encode(), digest_size=16).hexdigest())

    def _renumbered(self, command: ApplyShopEvents) -> ApplyShopEvents:
        """The same orders under new numbers: two of some 100,000 random ones can be alike."""
        draw = partial(self._wired.ports.ids.order_id, time.time_ns() // 1_000_000)
        return replace(
            command, orders=tuple(replace(order, new_order_id=draw()) for order in command.orders)
        )

    def _paid(self, count: int) -> list[Any]:
        return sample.commands(self._wired.ingest, count, 1, next(self._seeds))


def _picker(job: Job) -> Callable[[], tuple[tuple[str, int], ...]]:
    """What each basket asks: the one SKU `sku`, pairs in opposite orders, or any SKU."""
    draw = random.Random(secrets.randbits(32))
    if job.get("sku"):
        return lambda: ((job["sku"], 1),)
    if job.get("pairs"):
        return lambda: opposite(draw, SKUS[: job["pairs"]])
    return lambda: ((SKUS[draw.randrange(len(SKUS))], 1),)


def _number_taken(error: Unavailable) -> bool:
    """Whether two orders were given the same random number, as each engine says it."""
    return "orders.id" in str(error) or "orders_pkey" in str(error)


def opposite(draw: random.Random, skus: Sequence[str]) -> tuple[tuple[str, int], ...]:
    """Two SKUs as lines, in ascending or descending order by chance."""
    return tuple((sku, 1) for sku in draw.sample(skus, 2))


async def _until(begin: float) -> None:
    await asyncio.sleep(max(0.0, begin - time.time()))


async def _main(arguments: Iterable[str]) -> None:
    core = StockCore(Path(next(iter(arguments))))
    try:
        await serve_jobs_async(core.do)
    finally:
        core.stop()


if __name__ == "__main__":
    asyncio.run(_main(sys.argv[1:]))
