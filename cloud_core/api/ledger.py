"""What the routes of stock and holds are given, and the loop that tells them of changes.

One loop a process reads the movements while anybody listens and hands the new numbers to every
listener's bounded queue; who does not read is dropped and told so. Numbers, never differences, are
sent: a change that is told twice does no harm.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass
from typing import Any

import msgspec
from starlette.concurrency import run_in_threadpool

from cloud_core import logs
from cloud_core.domain.stock_feed import Window
from cloud_core.flows.conserve import Conservator
from cloud_core.ports import Clock
from cloud_core.store.stock_views import MOVEMENTS_AT_ONCE, StockViews
from protocols.errors import PacklineError, Unavailable

LISTENERS_MAX = 200
QUEUE_MAX = 64
"""Messages one listener may be behind before it is dropped."""
RESUME_SKUS_MAX = 2_000
"""SKUs told again to a listener that comes back; one that missed more starts over."""
LOOK_S = 0.2
BEAT_S = 15.0
_log = logs.get("stock_feed")

Told = tuple[str, str, dict[str, Any]]
"""(event, its id, its body)."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How often the loop looks and a silent stream beats, in seconds."""

    look_s: float = LOOK_S
    beat_s: float = BEAT_S


class Listener:
    """One reader of changes: the SKUs it wants (empty = all) and what waits for it."""

    def __init__(self, skus: frozenset[str], queue_max: int) -> None:
        self.skus = skus
        self.queue: asyncio.Queue[Told] = asyncio.Queue(queue_max)
        self.dropped = False

    def tell(self, event_id: str, items: list[dict[str, Any]]) -> None:
        """Queue what concerns it; a full queue ends it."""
        wanted = [item for item in items if item["sku"] in self.skus] if self.skus else items
        if not wanted or self.dropped:
            return
        self._put("stock", event_id, {"items": wanted})

    def start_over(self, event_id: str) -> None:
        """Queue that every number may be another one."""
        self._put("reset", event_id, {"code": "master_data_changed"})

    def _put(self, kind: str, event_id: str, body: dict[str, Any]) -> None:
        try:
            self.queue.put_nowait((kind, event_id, body))
        except asyncio.QueueFull:
            self.dropped = True


class StockFeed:
    """The loop and its listeners, all in one event loop."""

    def __init__(self, views: StockViews, clock: Clock, pace: Pace | None = None) -> None:
        self._views, self._clock, self._pace = views, clock, pace or Pace()
        self._listeners: set[Listener] = set()
        self._task: asyncio.Task[None] | None = None
        self._window = Window(0)
        self._epoch = self._master = 0
        self.queue_max = QUEUE_MAX

    @property
    def listeners(self) -> int:
        """How many listen now."""
        return len(self._listeners)

    async def open(self, skus: Iterable[str]) -> Listener:
        """A new listener. Raises `Unavailable("too_many_streams")`."""
        if len(self._listeners) >= LISTENERS_MAX:
            raise Unavailable(
                "too_many_streams", f"库存推送连接已达上限 {LISTENERS_MAX}",
                f"at most {LISTENERS_MAX} streams of changes",
            )  # fmt: skip
        if self._task is None or self._task.done():
            epoch, high, master = await run_in_threadpool(self._views.position)
            if self._task is None or self._task.done():  # nobody was faster meanwhile
                self._epoch, self._master, self._window = epoch, master, Window(high)
                self._task = asyncio.create_task(self._look(), name="stock_feed")
        listener = Listener(frozenset(skus), self.queue_max)
        self._listeners.add(listener)
        return listener

    def close(self, listener: Listener) -> None:
        """The listener has gone; without any the loop ends."""
        self._listeners.discard(listener)
        if not self._listeners and self._task is not None:
            self._task.cancel()
            self._task = None

    async def stream(self, listener: Listener, last_event_id: str) -> AsyncIterator[bytes]:
        """The listener's events as text/event-stream, until it goes or is dropped."""
        try:
            yield b"retry: 2000\n\n"
            async for event in self._catch_up(listener, last_event_id):
                yield event
            while not listener.dropped:
                try:
                    async with asyncio.timeout(self._pace.beat_s):
                        told = await listener.queue.get()
                except TimeoutError:
                    yield b": beat\n\n"
                    continue
                yield _event(*told)
            yield _event("dropped", "", {"code": "slow_client", "reason": "reconnect"})
        finally:
            self.close(listener)

    async def _catch_up(self, listener: Listener, last_event_id: str) -> AsyncIterator[bytes]:
        """What a listener that comes back has missed, or that it must read everything anew."""
        here = self._name()
        if not last_event_id:
            yield _event("open", here, {})
            return
        place = _numbers_of(last_event_id)
        same = place[0::2] == [self._epoch, self._master]
        if same and (number := place[1]) <= self._window.high:
            skus = await run_in_threadpool(self._views.moved_since, number, RESUME_SKUS_MAX + 1)
            if len(skus) <= RESUME_SKUS_MAX:
                if listener.skus:
                    skus = [sku for sku in skus if sku in listener.skus]
                items = await run_in_threadpool(self._views.stock, skus)
                yield _event("stock", here, {"items": items})
                return
        yield _event("reset", here, {"code": "too_far_behind"})

    async def _look(self) -> None:
        untold: set[str] = set()
        while True:
            try:
                found, master = await run_in_threadpool(self._views.news, self._window)
                if master != self._master:  # who may promise, and what is sold, may be others now
                    self._master = master
                    for listener in list(self._listeners):
                        listener.start_over(self._name())
                fresh = self._window.take((number for number, _ in found), self._clock.now_ms())
                untold |= {sku for number, sku in found if number in fresh}
                if untold:
                    items = await run_in_threadpool(self._views.stock, sorted(untold))
                    untold.clear()
                    for listener in list(self._listeners):
                        listener.tell(self._name(), items)
                if len(found) == MOVEMENTS_AT_ONCE:
                    continue
            except PacklineError as error:
                _log.info("stock_feed.read_failed", code=error.code)
            except Exception as error:  # our bug: told, and the stream goes on
                _log.error("stock_feed.tripped", error=type(error).__name__, exc_info=error)
            await asyncio.sleep(self._pace.look_s)

    def _name(self) -> str:
        """The id of the next event: the core's epoch, where a reader may resume, and the version of
        the master data its numbers belong to."""
        return f"{self._epoch}.{self._window.cursor}.{self._master}"


@dataclass(frozen=True, slots=True)
class Ledger:
    """What the routes of stock and holds use besides the rest."""

    views: StockViews
    feed: StockFeed
    new_hold_id: Callable[[], str]
    """Draws `H` and 26 characters nobody can guess."""
    conservator: Conservator
    hold_ttl_max_s: int = 3_600


_DIGITS_MAX = 19


def _numbers_of(event_id: str) -> list[int]:
    """The three numbers of an id that `_name` made; empty for anything else."""
    words = event_id.split(".")
    sound = all(w.isascii() and w.isdigit() and len(w) < _DIGITS_MAX for w in words)
    return [int(word) for word in words] if sound and len(words) == 3 else []


def _event(kind: str, event_id: str, body: dict[str, Any]) -> bytes:
    name = b"id: " + event_id.encode() + b"\n" if event_id else b""
    return (
        b"event: " + kind.encode() + b"\n" + name + b"data: " + msgspec.json.encode(body) + b"\n\n"
    )
