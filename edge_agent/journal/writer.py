"""How work reaches the journal: a writer thread in production, a plain call in the simulation.

`write` returns only after COMMIT with `synchronous=FULL` (P1). The thread takes whatever waits,
never lingers, and resolves the whole group at once. Reads go over a connection of their own.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, Protocol, TypeVar

from edge_agent.journal.core import JournalCore, Position, Result
from edge_agent.journal.tx import Tx
from edge_agent.ports import Clock, Connection
from protocols.errors import Unavailable

T = TypeVar("T")

GROUP_MAX = 256
WAITING_MAX = 4096
"""Works that may wait for the disk; above it the agent says busy instead of growing."""


class Journal(Protocol):
    """One stream's journal as the agent uses it."""

    @property
    def position(self) -> Position:
        """The newest durable row."""
        ...

    @property
    def boot(self) -> int: ...

    @property
    def boot_no(self) -> int:
        """The start as the core knows it; `boot` is how many this file has seen."""
        ...

    @property
    def inc_base(self) -> int: ...

    @property
    def full(self) -> bool:
        """Above 95 % of the quota: no event is taken (red light)."""
        ...

    @property
    def failing(self) -> str:
        """What the last commit failed of; "" while the medium takes what is written."""
        ...

    @property
    def used_bytes(self) -> int: ...

    async def write(self, work: Callable[[Tx], T]) -> T:
        """Run `work` in the next group commit; its value, or what it raised. Durable on return."""
        ...

    def read(self, work: Callable[[Connection], T]) -> T:
        """Run a short read on committed data."""
        ...


class InlineJournal:
    """No thread: each write is a commit of its own, at once. For the simulation and tools."""

    def __init__(self, core: JournalCore, clock: Clock) -> None:
        self.core = core
        self._clock = clock

    @property
    def position(self) -> Position:
        return self.core.position

    @property
    def boot(self) -> int:
        return self.core.boot

    @property
    def boot_no(self) -> int:
        return self.core.boot_no

    @property
    def inc_base(self) -> int:
        return self.core.inc_base

    @property
    def full(self) -> bool:
        return self.core.full

    @property
    def failing(self) -> str:
        return self.core.failing

    @property
    def used_bytes(self) -> int:
        return self.core.used_bytes

    async def write(self, work: Callable[[Tx], T]) -> T:
        """See `Journal.write`."""
        ((value, error),) = self.core.commit([(work, self._clock.now())])
        if error is not None:
            raise error
        result: T = value
        return result

    def read(self, work: Callable[[Connection], T]) -> T:
        """See `Journal.read`; the one connection serves both."""
        return work(self.core.db)


_Waiting = tuple[Callable[[Tx], Any], Any, "asyncio.Future[Any]"]


class ThreadJournal:
    """The writer thread, sole owner of the writing connection."""

    def __init__(self, core: JournalCore, connect: Callable[[], Connection], clock: Clock) -> None:
        self._core = core
        self._clock = clock
        self._queue: SimpleQueue[_Waiting | None] = SimpleQueue()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._reader = connect()
        self._thread: threading.Thread | None = None
        self._busy_since_ms: int | None = None
        self._died_ms = 0

    @property
    def position(self) -> Position:
        return self._core.position

    @property
    def boot(self) -> int:
        return self._core.boot

    @property
    def boot_no(self) -> int:
        return self._core.boot_no

    @property
    def inc_base(self) -> int:
        return self._core.inc_base

    @property
    def full(self) -> bool:
        return self._core.full

    @property
    def failing(self) -> str:
        return self._core.failing

    @property
    def used_bytes(self) -> int:
        return self._core.used_bytes

    def stuck_ms(self) -> int:
        """For how long the thread has been at one group (CLOCK_BOOTTIME ms), 0 while it waits.

        A thread that has died counts from when that was first seen.
        """
        since = self._busy_since_ms
        if since is None and self._thread is not None and not self._thread.is_alive():
            since = self._died_ms = self._died_ms or self._clock.now().mono_ms
        return 0 if since is None else max(0, self._clock.now().mono_ms - since)

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin to write; results are given back on `loop`."""
        self._loop = loop
        name = f"journal-{self._core.stream}"
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    async def stop(self) -> None:
        """Finish what waits, end the thread, close both connections."""
        if self._thread is not None:
            self._queue.put(None)
            await asyncio.to_thread(self._thread.join)
            self._thread = None
        self._core.close()
        self._reader.close()

    async def write(self, work: Callable[[Tx], T]) -> T:
        """See `Journal.write`. Raises `Unavailable("journal_busy")` when too much waits."""
        assert self._loop is not None, "journal is not started"
        if self._queue.qsize() >= WAITING_MAX:
            raise Unavailable("journal_busy", "本机存储太慢, 请稍候", "the journal is behind")
        future: asyncio.Future[T] = self._loop.create_future()
        self._queue.put((work, self._clock.now(), future))
        return await future

    def read(self, work: Callable[[Connection], T]) -> T:
        """See `Journal.read`."""
        return work(self._reader)

    def _run(self) -> None:
        assert self._loop is not None
        ending = False
        while not ending:
            first = self._queue.get()
            group = [] if first is None else [first]
            ending = first is None
            while not ending and len(group) < GROUP_MAX and not self._queue.empty():
                found = self._queue.get()
                if found is None:
                    ending = True
                else:
                    group.append(found)
            if group:
                self._busy_since_ms = self._clock.now().mono_ms
                self._write_group(group)
                self._busy_since_ms = None

    def _write_group(self, group: list[_Waiting]) -> None:
        assert self._loop is not None
        try:
            results: list[Result] = self._core.commit([(work, now) for work, now, _ in group])
        except Exception as error:  # a bug of ours: everyone who waits learns of it and crashes
            results = [(None, error)] * len(group)
        futures = [future for _, _, future in group]
        try:
            self._loop.call_soon_threadsafe(_resolve, futures, results)
        except RuntimeError:
            # The loop is closed: the process ends, nobody waits for the answers any more.
            return


def _resolve(futures: list[asyncio.Future[Any]], results: list[Result]) -> None:
    for future, (value, error) in zip(futures, results, strict=True):
        if future.done():
            continue
        if error is None:
            future.set_result(value)
        else:
            future.set_exception(error)
