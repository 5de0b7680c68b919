"""The loop that the simulation stands on: days in milliseconds, one seed one order, no hanging."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.simulation.loop import Deadlock, SimLoop


@contextmanager
def sim_loop(seed: int) -> Iterator[SimLoop]:
    loop = SimLoop(seed)
    try:
        yield loop
    finally:
        loop.close()


def run(seed: int, history: Coroutine[Any, Any, Any]) -> Any:
    with sim_loop(seed) as loop:
        return loop.run_until_complete(history)


def test_a_week_passes_at_once() -> None:
    async def week() -> float:
        await asyncio.sleep(7 * 86_400)
        return asyncio.get_running_loop().time()

    assert run(1, week()) == 7 * 86_400


def test_timers_fire_in_the_order_of_their_times_whatever_the_seed() -> None:
    async def history() -> list[int]:
        seen: list[int] = []

        async def one(delay: int) -> None:
            await asyncio.sleep(delay)
            seen.append(delay)

        await asyncio.gather(*(one(delay) for delay in (5, 1, 4, 2, 3)))
        return seen

    for seed in range(20):
        assert run(seed, history()) == [1, 2, 3, 4, 5]


def test_what_is_ready_together_runs_in_an_order_that_the_seed_chooses() -> None:
    async def history() -> tuple[int, ...]:
        seen: list[int] = []

        async def one(name: int) -> None:
            for _ in range(3):
                await asyncio.sleep(0)
                seen.append(name)

        await asyncio.gather(*(one(name) for name in range(4)))
        return tuple(seen)

    orders = {seed: run(seed, history()) for seed in range(30)}
    assert len(set(orders.values())) > 10
    assert orders == {seed: run(seed, history()) for seed in range(30)}


def test_queues_locks_timeouts_and_cancelling_keep_their_meaning() -> None:
    async def history() -> tuple[list[int], bool, str]:
        queue: asyncio.Queue[int] = asyncio.Queue(2)

        async def produce() -> None:
            for number in range(10):
                await queue.put(number)

        task = asyncio.create_task(produce())
        got = [await queue.get() for _ in range(10)]
        await task
        lock = asyncio.Lock()
        async with lock:
            try:
                async with asyncio.timeout(3):
                    await lock.acquire()
                timed_out = False
            except TimeoutError:
                timed_out = True
        sleeper = asyncio.create_task(asyncio.sleep(1000))
        await asyncio.sleep(1)
        sleeper.cancel()
        outcome = await asyncio.gather(sleeper, return_exceptions=True)
        return got, timed_out, type(outcome[0]).__name__

    for seed in range(10):
        assert run(seed, history()) == (list(range(10)), True, "CancelledError")


def test_waiting_for_nothing_is_a_deadlock_not_a_hang() -> None:
    async def forever() -> None:
        await asyncio.get_running_loop().create_future()

    with sim_loop(1) as loop:
        task = loop.create_task(forever())
        with pytest.raises(Deadlock):
            loop.run_until_complete(task)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            loop.run_until_complete(task)


def test_work_for_an_executor_runs_in_place() -> None:
    async def history() -> int:
        return await asyncio.to_thread(lambda: 7)

    assert run(1, history()) == 7


def test_a_task_that_dies_unseen_is_kept_as_the_failure_of_the_seed() -> None:
    async def history() -> None:
        async def bad() -> None:
            raise ValueError("lost")

        task = asyncio.create_task(bad())
        await asyncio.sleep(1)
        del task
        await asyncio.sleep(1)

    with sim_loop(1) as loop:
        loop.run_until_complete(history())
        assert isinstance(loop.failure, ValueError)
