"""The desk that asks other systems: waiting checks out, answers in as commands, deadlines kept.

Bounded calls at once; a check is asked again with growing pauses until its deadline. A crash
between call and commit asks again under the same idempotency key.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import structlog

from cloud_core.domain.outside_commands import ExpireOutside, SettleOutside
from cloud_core.domain.rows import OutsideCheck
from cloud_core.ports import Clock, ExternalCheck, Submit
from protocols.errors import PacklineError

AT_ONCE = 8
RETRY_S_MAX = 60.0
PAUSE_S = 0.2
"""Between two rounds: a rule may want its answer within a second."""
_log = structlog.get_logger()


class OutsideDesk:
    """`due(now_ms, limit)` reads waiting checks, the longest due first."""

    def __init__(
        self,
        due: Callable[[int, int], Sequence[OutsideCheck]],
        ask: ExternalCheck,
        submit: Submit,
        clock: Clock,
    ) -> None:
        self._due, self._ask, self._submit, self._clock = due, ask, submit, clock

    async def run(self, pause_s: float = PAUSE_S) -> None:
        """Round after round, for ever; a failed one is followed by the next."""
        while True:
            try:
                await self.round()
            except Exception as error:
                code = error.code if isinstance(error, PacklineError) else type(error).__name__
                _log.info("outside.round_failed", code=code)
            await asyncio.sleep(pause_s)

    async def round(self) -> bool:
        """Ask what is due and let what is overdue fall back; True when there was anything to do.

        Raises `Unavailable` when the database cannot answer; the next round looks again.
        """
        now_ms = self._clock.now_ms()
        checks = await self._read(now_ms)
        if not checks:
            return False
        if any(check.deadline_ms <= now_ms for check in checks):
            await self._submit(ExpireOutside())
        open_ones = [check for check in checks if check.deadline_ms > now_ms]
        await asyncio.gather(*(self._one(check, now_ms) for check in open_ones))
        return True

    async def _read(self, now_ms: int) -> Sequence[OutsideCheck]:
        """Read in a thread; when cancelled, not before it has given its connection back."""
        reading = asyncio.ensure_future(asyncio.to_thread(self._due, now_ms, AT_ONCE))
        try:
            return await asyncio.shield(reading)
        except asyncio.CancelledError:
            await asyncio.wait([reading])
            raise

    async def _one(self, check: OutsideCheck, now_ms: int) -> None:
        verdict, text = "", "deadline"
        try:
            async with asyncio.timeout((check.deadline_ms - now_ms) / 1000):
                answer = await self._ask.ask(check.rule, check.body.encode(), check.id)
            verdict, text = answer.verdict, answer.text
        except TimeoutError:
            pass  # the deadline: the next round falls back
        except Exception as error:  # our bug: tried again like a silence, told
            _log.error("outside.tripped", check=check.id, exc_info=error)
            text = type(error).__name__
        pause_s = min(RETRY_S_MAX, 2.0 ** min(check.attempts + 1, 6))
        retry_ms = self._clock.now_ms() + int(pause_s * 1000)
        try:
            await self._submit(SettleOutside(check.id, verdict, text, retry_ms))
        except PacklineError as error:
            _log.info("outside.settle_failed", check=check.id, code=error.code)
