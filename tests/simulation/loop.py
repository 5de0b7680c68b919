"""An asyncio loop whose time jumps to the next timer and whose ready queue is shuffled by a seed.

Sits under the whole simulation. Knows nothing of the product: it only makes one seed one history.
It leans on four private names of CPython's `BaseEventLoop` (`_ready`, `_scheduled`,
`Handle._run`, `Handle._cancelled`); `test_loop.py` pins them for the Python in use.
"""

from __future__ import annotations

import asyncio
import heapq
from collections import deque
from collections.abc import Callable
from random import Random
from typing import Any


class Deadlock(Exception):
    """Nothing is ready and no timer is set: the history can never go on."""


class SimLoop(asyncio.SelectorEventLoop):
    """One seed, one order of steps. Never touches the selector; executors run inline.

    `steps` counts the handles that ran; `vt` is virtual seconds since the start of the history.
    """

    _ready: deque[Any]
    _scheduled: list[Any]

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.vt = 0.0
        self.steps = 0
        self.rng = Random(seed)
        self.failure: BaseException | None = None
        self.on_failure: Callable[[BaseException], None] = lambda error: None
        self.set_exception_handler(self._keep_failure)

    def time(self) -> float:
        return self.vt

    def _run_once(self) -> None:
        timers, ready = self._scheduled, self._ready
        while timers and timers[0]._cancelled:
            heapq.heappop(timers)._scheduled = False
        if not ready:
            if not timers:
                raise Deadlock(f"nothing to wait for at {self.vt:.3f} s")
            self.vt = max(self.vt, timers[0]._when)
        while timers and timers[0]._when <= self.vt:
            timer = heapq.heappop(timers)
            timer._scheduled = False
            ready.append(timer)
        batch = list(ready)
        ready.clear()
        if len(batch) > 1:
            self.rng.shuffle(batch)
        for handle in batch:
            if not handle._cancelled:
                self.steps += 1
                handle._run()

    def run_in_executor(  # type: ignore[override]
        self, executor: Any, func: Callable[..., Any], *args: Any
    ) -> asyncio.Future[Any]:
        """Run it here and now: threads would take the order out of the seed's hands."""
        future = self.create_future()
        try:
            future.set_result(func(*args))
        except Exception as error:
            future.set_exception(error)
        return future

    def _keep_failure(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """A task that nobody awaits died: the seed fails with it, never in silence."""
        error = context.get("exception")
        if isinstance(error, GeneratorExit):
            return
        if self.failure is None:
            self.failure = error or RuntimeError(context.get("message", "loop error"))
            self.on_failure(self.failure)
