"""Stored shop messages on their way to the write queue: in order, several at once, none lost."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from cloud_core.domain.commands import ApplyShopEvents, QuarantineInput
from cloud_core.domain.rows import RawMessage
from cloud_core.flows.apply_messages import MESSAGES_AT_ONCE, ORDERS_AT_ONCE, MessageApplier
from protocols.errors import Unavailable


class Queue:
    """A write queue that answers when it is told to, and what is stored in front of it."""

    def __init__(self, *prepared: tuple[ApplyShopEvents, ...]) -> None:
        self.prepared = dict(enumerate(prepared, 1))
        self.taken: list[Any] = []
        self.together: list[int] = []
        self.faults: dict[int, Callable[[], Exception]] = {}
        self.breaths = 0
        self._waiting: list[asyncio.Future[None]] = []
        self._more = asyncio.Event()

    def stored(self, limit: int) -> list[RawMessage]:
        return [
            RawMessage(number, "shop", "event", "", b"", "", 0, "")
            for number in sorted(self.prepared)[:limit]
        ]

    async def submit(self, command: Any) -> None:
        self.taken.append(command)
        done = asyncio.get_running_loop().create_future()
        self._waiting.append(done)
        self._more.set()
        await done
        if (fault := self.faults.get(id(command))) is not None:
            raise fault()
        if command.raw_id is not None:
            self.prepared.pop(command.raw_id, None)

    async def sleep(self, _seconds: float) -> None:
        self.breaths += 1

    async def wait(self, _event: asyncio.Event, _seconds: float) -> None:
        await asyncio.sleep(0)

    async def until_all_is_done(self) -> None:
        """Run the applier and answer what waits, until nothing is stored any more."""
        applier = MessageApplier(
            self.stored, lambda number, _message: self.prepared[number], self.submit,
            asyncio.Event(), self.wait, self.sleep, 1.0,
        )  # fmt: skip
        running = asyncio.ensure_future(applier.run())
        try:
            async with asyncio.timeout(30):
                while self.prepared:
                    await self._more.wait()
                    await asyncio.sleep(0)  # whoever else submits at this moment
                    self._more.clear()
                    answered, self._waiting = self._waiting, []
                    self.together.append(len(answered))
                    for done in answered:
                        done.set_result(None)
                    await asyncio.sleep(0)
                    await asyncio.sleep(0)
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)


def of(orders: int, raw_id: int | None) -> ApplyShopEvents:
    return ApplyShopEvents(
        channel="shop", orders=tuple(object() for _ in range(orders)), problems=(),  # type: ignore[misc]
        raw_id=raw_id, source="",
    )  # fmt: skip


async def test_single_orders_go_together_and_in_order() -> None:
    queue = Queue(*((of(1, number),) for number in range(1, 41)))
    await queue.until_all_is_done()
    assert [command.raw_id for command in queue.taken] == list(range(1, 41))
    assert queue.together == [MESSAGES_AT_ONCE, MESSAGES_AT_ONCE, 8]


async def test_no_more_orders_together_than_one_commit_takes() -> None:
    queue = Queue(*((of(500, number),) for number in range(1, 7)))
    await queue.until_all_is_done()
    assert queue.together == [ORDERS_AT_ONCE // 500, 2]


async def test_a_long_message_goes_alone_and_is_not_done_before_its_last_part() -> None:
    long = (of(500, None), of(500, None), of(7, 2))
    queue = Queue((of(1, 1),), long, (of(1, 3),))
    lost = [True]

    def once() -> Exception:
        del queue.faults[id(long[1])]
        lost.clear()
        return Unavailable("database", "数据库暂时不可用", "the line is cut")

    queue.faults[id(long[1])] = once
    await queue.until_all_is_done()
    assert not lost
    parts = [long.index(command) for command in queue.taken if command in long]
    assert parts == [0, 1, 0, 1, 2], "the last part says that all is done: not after a failed one"
    assert queue.breaths == 1


async def test_one_that_trips_us_is_put_aside_and_its_neighbours_go_through() -> None:
    bad = of(1, 2)
    queue = Queue((of(1, 1),), (bad,), (of(1, 3),))
    queue.faults[id(bad)] = lambda: RuntimeError("a bug of ours")
    await queue.until_all_is_done()
    first = queue.taken[:3]
    assert [command.raw_id for command in first] == [1, 2, 3]
    assert queue.taken.count(bad) == 3
    (aside,) = [command for command in queue.taken if isinstance(command, QuarantineInput)]
    assert (aside.raw_id, aside.code) == (2, "assertion")
