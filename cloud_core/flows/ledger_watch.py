"""The ledger's own loops: holds whose time is over, and the checker that always runs.

Started beside the core's loops; each goes on after a failure. They only submit commands.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import structlog

from cloud_core.domain.hold_commands import EXPIRE_AT_ONCE, EXPIRE_MANY, ExpireHolds
from cloud_core.flows.conserve import Conservator
from cloud_core.ports import Clock, Submit
from protocols.errors import PacklineError

_log = structlog.get_logger()
_LONG_TURN_MS = 100
Round = Callable[[], Awaitable[bool]]
"""One round of a loop; True when there is more to do at once."""


@dataclass(frozen=True, slots=True)
class LedgerPace:
    """How often the loops look, in seconds."""

    expire_s: float = 1.0
    orphans_s: float = 300.0
    check_s: float = 1.0
    """Between two slices; a whole pass over 100,000 rows takes 200 of them."""
    rest_s: float = 60.0
    """Between two whole passes."""


class LedgerWatch:
    """Runs until cancelled. `ours`: whether this process keeps the ledger; one of several does."""

    def __init__(
        self,
        submit: Submit,
        conservator: Conservator,
        clock: Clock,
        pace: LedgerPace | None = None,
        ours: Callable[[], bool] = lambda: True,
    ) -> None:
        self._submit, self._conservator, self._clock = submit, conservator, clock
        self._pace = pace or LedgerPace()
        self._ours = ours
        self._orphans_ms = 0
        self._expire_rows = EXPIRE_AT_ONCE
        self._open = True

    async def run(self) -> None:
        """Both loops."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._loop("expire", self.expire, self._pace.expire_s))
            group.create_task(self._loop("check", self.check, self._pace.check_s))

    async def expire(self) -> bool:
        """End what is over; now and then look for paid holds that nobody ordered."""
        now_ms = self._clock.now_ms()
        orphans = now_ms - self._orphans_ms >= self._pace.orphans_s * 1000
        done = await self._submit(ExpireHolds(self._expire_rows, orphans))
        waited = self._clock.now_ms() - now_ms > _LONG_TURN_MS
        self._expire_rows = EXPIRE_MANY if done.more and waited else EXPIRE_AT_ONCE
        if orphans:
            self._orphans_ms = now_ms
        return bool(done.more)

    async def check(self) -> bool:
        """One slice of the stock rows; a rest after the last."""
        news = await asyncio.to_thread(self._conservator.look, self._clock.now_ms())
        if news is None:
            return False
        if news.drifts or self._open:  # a clean pass closes alarms of the one before
            await self._submit(news)
            self._open = bool(news.drifts)
        if news.whole:
            await asyncio.sleep(self._pace.rest_s)
        return False

    async def _loop(self, name: str, step: Round, pause_s: float) -> None:
        while True:
            more = False
            try:
                more = self._ours() and await step()
            except Exception as error:
                code = error.code if isinstance(error, PacklineError) else type(error).__name__
                _log.info("ledger.round_failed", loop=name, code=code)
            if not more:
                await asyncio.sleep(pause_s)
