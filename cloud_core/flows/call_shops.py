"""Call the shops: write-backs that are due, each shop at its own speed, the same id at each try."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import structlog

from cloud_core.domain import commands as c
from cloud_core.domain.rows import ShopCall
from cloud_core.ports import Clock, WriteBack
from protocols.errors import PacklineError

_log = structlog.get_logger()
_RETRY_S_MAX = 600.0


@dataclass(frozen=True, slots=True)
class ShopCaller:
    """`due(now_ms, busy channels)` finds calls, `submit` commits an answer.

    `calls` is set when there may be more to do; pauses are seconds.
    """

    due: Callable[[int, list[str]], list[ShopCall]]
    submit: Callable[[Any], Awaitable[Any]]
    write_back: WriteBack
    clock: Clock
    calls: asyncio.Event
    wait: Callable[[asyncio.Event, float], Awaitable[None]]
    sleep: Callable[[float], Awaitable[None]]
    pause_s: float
    after_fault_s: float

    async def run(self) -> None:
        """Every shop is called at its own speed: one that does not answer delays no other."""
        busy: dict[str, list[ShopCall]] = {}
        async with asyncio.TaskGroup() as group:
            while True:
                self.calls.clear()
                calls = self.due(self.clock.now_ms(), sorted(busy))
                for call in calls:
                    busy.setdefault(call.channel, []).append(call)
                for channel in {call.channel: None for call in calls}:
                    group.create_task(self._call_shop(channel, busy))
                if not calls:
                    await self.wait(self.calls, self.pause_s)

    async def _call_shop(self, channel: str, busy: dict[str, list[ShopCall]]) -> None:
        """One round of calls to a shop; then there may be more for it."""
        try:
            await asyncio.gather(*(self._call(call) for call in busy[channel]))
        except Exception as error:  # our bug: told, and not at once again
            _log.error("call.tripped", channel=channel, exc_info=error)
            await self.sleep(self.after_fault_s)
        del busy[channel]
        self.calls.set()

    async def _call(self, call: ShopCall) -> None:
        answer = await self.write_back.send(call.channel, call.kind, call.body.encode(), call.id)
        retry_s = min(_RETRY_S_MAX, 2.0 ** min(call.attempts + 1, 12))
        retry_ms = 0 if answer.done else self.clock.now_ms() + int(retry_s * 1000)
        try:
            await self.submit(c.SettleShopCall(call.id, answer.done, answer.text, retry_ms))
        except Exception as error:
            code = error.code if isinstance(error, PacklineError) else type(error).__name__
            _log.info("call.failed", id=call.id, code=code)
            await self.sleep(self.pause_s)
