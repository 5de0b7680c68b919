"""What it means that a simulated process is gone: nothing it still tries reaches the world."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from random import Random
from typing import Any


class ProcessGone(BaseException):
    """Raised into a process at the moment of its death; no handler of ours may survive it."""


class Process:
    """One life of one program: alive until told otherwise, then deaf and mute."""

    def __init__(self) -> None:
        self.alive = True
        # In the order they began: a set's order is by address, which no seed decides.
        self._tasks: dict[asyncio.Task[Any], None] = {}

    def spawn(self, job: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        task = asyncio.get_running_loop().create_task(job)
        self._tasks[task] = None
        task.add_done_callback(self._ended)
        return task

    def check(self) -> None:
        """Called by every port before it touches the world."""
        if not self.alive:
            raise ProcessGone

    def end(self) -> None:
        self.alive = False
        for task in list(self._tasks):
            task.cancel()

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.pop(task, None)
        error = asyncio.CancelledError() if task.cancelled() else task.exception()
        if error is None or (only_gone(error) and not self.alive):
            return
        task.get_loop().call_exception_handler({"message": "process died", "exception": error})


def only_gone(error: BaseException) -> bool:
    """Whether an error is nothing but our own killing."""
    if isinstance(error, BaseExceptionGroup):
        return all(only_gone(inner) for inner in error.exceptions)
    return isinstance(error, ProcessGone | asyncio.CancelledError)


class CrashPoint:
    """Dies at a commit, before it or right after it, when armed."""

    def __init__(self, rng: Random) -> None:
        self._rng = rng
        self._countdown = 0
        self._after = False

    def arm(self) -> None:
        """At one of the next commits."""
        self._countdown = self._rng.randrange(1, 12)
        self._after = self._rng.random() < 0.5

    def disarm(self) -> None:
        self._countdown = 0

    def now(self, point: str) -> bool:
        """Whether this is the moment; `point` is `before_commit` or `after_commit`."""
        if not self._countdown:
            return False
        if point == "before_commit":
            self._countdown -= 1
            if self._countdown == 0 and self._after:
                self._countdown = -1
            return self._countdown == 0
        if self._countdown == -1:
            self._countdown = 0
            return True
        return False
