"""Deliver: carries queued notices to their targets, at each target's own speed.

Outside of any commit: a row says "waiting", this loop calls, the answer is another command. A
target that is slow, full or gone delays no other; what its limit does not let through waits in its
row, nothing is dropped. After a failed try the whole target rests, so that what waits behind is
not burnt against the same wall.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence

import structlog

from cloud_core.domain.breaker_commands import JudgeBreakers, SettleNotice
from cloud_core.domain.notice import Bucket, retry_ms
from cloud_core.domain.rows import Notice
from cloud_core.ports import Clock, Notification, Notifier, NotifyAnswer, NotifyTarget, Submit
from protocols.errors import PacklineError, Rejected, Unavailable

_log = structlog.get_logger()
NOTICES_AT_ONCE = 50

Due = Callable[[int, int, Sequence[str]], list[Notice]]
"""(limit, now_ms, busy targets) -> notices that are due."""


class Delivery:
    """The loop; `run` returns when cancelled. `spread` draws the jitter, 0..1."""

    def __init__(
        self,
        *,
        due: Due,
        target_of: Callable[[str], NotifyTarget],
        notifiers: Mapping[str, Notifier],
        submit: Submit,
        clock: Clock,
        spread: Callable[[], float],
        poll_s: float = 2.0,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._due, self._target_of, self._notifiers = due, target_of, notifiers
        self._submit, self._clock, self._spread = submit, clock, spread
        self._poll_s, self._sleep = poll_s, sleep
        self._buckets: dict[str, Bucket] = {}
        self._busy: set[str] = set()

    async def run(self) -> None:
        """Look for due notices and hand each target's to a task of its own, for ever."""
        async with asyncio.TaskGroup() as group:
            while True:
                try:
                    found = self._due(NOTICES_AT_ONCE, self._clock.now_ms(), sorted(self._busy))
                except Unavailable as error:
                    _log.info("read.failed", code=error.code)
                    found = []
                by_target: dict[str, list[Notice]] = {}
                for notice in found:
                    by_target.setdefault(notice.target, []).append(notice)
                for name, notices in by_target.items():
                    self._busy.add(name)
                    group.create_task(self._serve(name, notices))
                if not found:
                    await self._sleep(self._poll_s)

    async def _serve(self, name: str, notices: list[Notice]) -> None:
        rest_s = 0.0
        try:
            for notice in notices:
                rest_s = await self._deliver(name, notice)
                if rest_s:
                    break
            await self._sleep(rest_s)
        except Exception as error:  # our bug or a full queue: told, and not at once again
            code = error.code if isinstance(error, PacklineError) else type(error).__name__
            _log.warning("notice.tripped", target=name, code=code)
            await self._sleep(30.0)
        finally:
            self._busy.discard(name)

    async def _deliver(self, name: str, notice: Notice) -> float:
        """Try one notice; returns the seconds its target rests, 0 when it was settled."""
        try:
            target = self._target_of(name)
        except Rejected as error:
            await self._submit(SettleNotice(notice.id, False, error.code, no_target=True))
            return 0.0
        notifier = self._notifiers[target.kind]
        await self._token(name, notifier.per_min)
        message = Notification(
            notice.id, notice.kind, notice.warehouse, notice.title, notice.text, notice.created_ms
        )
        answer = await self._send(notifier, target, message)
        if answer.done:
            await self._submit(SettleNotice(notice.id, True, answer.text))
            return 0.0
        wait_ms = max(retry_ms(notice.attempts, self._spread()), int(answer.wait_s * 1000))
        _log.info("notice.failed", target=name, id=notice.id, wait_s=wait_ms // 1000)
        retry_at_ms = self._clock.now_ms() + wait_ms
        await self._submit(SettleNotice(notice.id, False, answer.text, retry_at_ms))
        return wait_ms / 1000

    async def _send(
        self, notifier: Notifier, target: NotifyTarget, message: Notification
    ) -> NotifyAnswer:
        try:
            return await notifier.send(target, message)
        except Exception as error:  # our bug: it must not keep the notice for ever in silence
            _log.error("notice.tripped", target=target.name, error=type(error).__name__)
            return NotifyAnswer(False, f"internal {type(error).__name__}")

    async def _token(self, name: str, per_min: int) -> None:
        """Wait until the target's limit lets one more through, and count it."""
        loop = asyncio.get_running_loop()
        bucket = self._buckets.setdefault(name, Bucket(per_min, loop.time()))
        while (wait_s := bucket.wait_s(loop.time())) > 0:
            await self._sleep(wait_s)
        bucket.take()


async def judge_forever(
    submit: Submit,
    every_s: float,
    mine: Callable[[], bool] = lambda: True,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> None:
    """Have the breakers judged again and again; a failed round is followed by the next one.

    `mine` says whether this process is the one that does so now.
    """
    while True:
        try:
            if mine():
                await submit(JudgeBreakers())
        except Exception as error:
            code = error.code if isinstance(error, PacklineError) else type(error).__name__
            _log.info("judge.failed", code=code)
        await sleep(every_s)
