"""Apply messages: what shops sent and is stored becomes commands, in the order it came.

Messages of one command each are submitted together, so that one commit takes several. What fails
stays stored for the next round; what trips us again and again goes to quarantine, because those
behind it must not wait (P11).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import structlog

from cloud_core.domain import commands as c
from cloud_core.domain.rows import RawMessage
from protocols.errors import Corrupt, PacklineError, Unavailable

_log = structlog.get_logger()
MESSAGES_AT_ONCE = 16
"""Stored messages in memory at a time."""
ORDERS_AT_ONCE = 2_000
"""Orders submitted together, as many as one commit takes."""
TRIES_MAX = 3
"""Times a stored message may trip us before it is put aside."""

Command = c.ApplyShopEvents | c.QuarantineInput
Prepare = Callable[[int, RawMessage], Sequence[Command]]
Prepared = tuple[RawMessage, Sequence[Command]]


@dataclass(frozen=True, slots=True)
class MessageApplier:
    """`stored(n)` finds up to n messages, oldest first; `prepare` makes their commands.

    `messages` is set when there may be more to do; pauses are seconds.
    """

    stored: Callable[[int], list[RawMessage]]
    prepare: Prepare
    submit: Callable[[Any], Awaitable[Any]]
    messages: asyncio.Event
    wait: Callable[[asyncio.Event, float], Awaitable[None]]
    sleep: Callable[[float], Awaitable[None]]
    pause_s: float
    tries: dict[int, int] = field(default_factory=dict)

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            self.messages.clear()
            found = self.stored(MESSAGES_AT_ONCE)
            await self._apply(found)
            if len(found) < MESSAGES_AT_ONCE:
                await self.wait(self.messages, self.pause_s)

    async def _apply(self, found: Sequence[RawMessage]) -> None:
        """The next group is prepared while one is committed, and submitted after its answers."""
        async with asyncio.TaskGroup() as tasks:
            before: asyncio.Task[None] | None = None
            async for group in self._groups(found):
                if before is not None:
                    await before
                before = tasks.create_task(self._submit_together(group))

    async def _groups(self, found: Sequence[RawMessage]) -> AsyncIterator[list[Prepared]]:
        """Messages that go together; one of several commands goes alone."""
        group: list[Prepared] = []
        orders = 0
        for message in found:
            await asyncio.sleep(0)  # preparing takes time: what else waits in this loop comes first
            try:
                commands = self.prepare(message.id, message)
            except Exception as error:
                await self._put_off(message, error)
                await self.sleep(self.pause_s)
                continue
            more = sum(_orders(command) for command in commands)
            if group and (len(commands) > 1 or orders + more > ORDERS_AT_ONCE):
                yield group
                group, orders = [], 0
            group.append((message, commands))
            orders += more
            if len(commands) > 1:
                yield group
                group, orders = [], 0
        if group:
            yield group

    async def _submit_together(self, group: Sequence[Prepared]) -> None:
        work = [self._submit_in_turn(commands) for _, commands in group]
        ends = await asyncio.gather(*work, return_exceptions=True)
        for (message, _), error in zip(group, ends, strict=True):
            if isinstance(error, Exception):
                await self._put_off(message, error)
            else:
                self.tries.pop(message.id, None)
        if any(isinstance(error, Exception) for error in ends):
            await self.sleep(self.pause_s)

    async def _submit_in_turn(self, commands: Sequence[Command]) -> None:
        # The last one says that the message is done: none may have failed before it.
        for command in commands:
            await self.submit(command)

    async def _put_off(self, message: RawMessage, error: Exception) -> None:
        _log.info("message.failed", raw=message.id, channel=message.channel, code=_code(error))
        if not isinstance(error, Unavailable):
            await self._count_try(message, error)

    async def _count_try(self, message: RawMessage, error: Exception) -> None:
        tries = self.tries[message.id] = self.tries.get(message.id, 0) + 1
        if tries < TRIES_MAX:
            return
        source, why = f"channel:{message.channel}", tripped(error)
        put_aside = c.QuarantineInput(source, why.code, why.field, why.zh, b"", message.id)
        try:
            await self.submit(put_aside)
            self.tries.pop(message.id, None)
        except Exception as failed:
            _log.info("quarantine.failed", error=_code(failed))


def tripped(error: Exception) -> PacklineError:
    """What the quarantine says of a message that a fault of ours cannot take."""
    if isinstance(error, PacklineError):
        return error
    kind = type(error).__name__
    return Corrupt("assertion", f"内部错误 {kind}", f"internal error {kind}")


def _orders(command: Command) -> int:
    return len(command.orders) if isinstance(command, c.ApplyShopEvents) else 0


def _code(error: Exception) -> str:
    return error.code if isinstance(error, PacklineError) else type(error).__name__
