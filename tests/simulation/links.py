"""The `Link` port of both programs over the untrusted broker.

One class for both sides: each side's own event classes are handed in, because the programs do not
know each other. Reconnects by itself with jitter, as the real client does.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from random import Random
from types import ModuleType
from typing import Any

from protocols.errors import Unavailable
from tests.simulation.broker import RECONNECT_S, Client, FakeBroker, Rights

INBOX_MAX = 1_000
PROCESS_GONE = "process gone"


class SimLink:
    """One program's connection to the broker; dies with its process."""

    def __init__(
        self, broker: FakeBroker, name: str, rights: Rights, events: ModuleType, rng: Random
    ) -> None:
        self.inbox: asyncio.Queue[Any] = asyncio.Queue(INBOX_MAX)
        self._broker = broker
        self._name = name
        self._rights = rights
        self._events = events
        self._rng = rng
        self._will: Callable[[], tuple[str, bytes]] | None = None
        self._client: Client | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._gone = False

    async def start(self, will: Callable[[], tuple[str, bytes]]) -> None:
        """Connect and keep connected."""
        self._will = will
        self._retry(self._rng.uniform(0.01, 0.5))

    async def subscribe(self, filters: Sequence[str]) -> None:
        """Subscribe and wait for the answer."""
        await asyncio.sleep(self._rng.uniform(0.0, 0.1))
        client = self._client
        if client is None or not self._broker.subscribe(client, list(filters)):
            raise Unavailable("subscribe_refused", "订阅失败", "the broker did not grant it")

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> bool:
        """True when the client library took it, which promises nothing."""
        client = self._client
        if self._gone or client is None or not client.alive:
            return False
        self._broker.publish(client, topic, payload, retain)
        return True

    async def stop(self) -> None:
        """Leave politely."""
        client, self._client = self._client, None
        self._gone = True
        self._cancel_timer()
        if client is not None:
            self._broker.leave(client)

    def die(self) -> None:
        """The process is gone: nothing more goes in or out."""
        client, self._client = self._client, None
        self._gone = True
        self._cancel_timer()
        if client is not None:
            self._broker.die(client)

    @property
    def connected(self) -> bool:
        return self._client is not None and self._client.alive

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _retry(self, delay: float) -> None:
        self._timer = asyncio.get_running_loop().call_later(delay, self._connect)

    def _connect(self) -> None:
        self._timer = None
        if self._gone or self._client is not None:
            return
        assert self._will is not None
        if not self._broker.reachable(self._name):
            self._retry(self._rng.uniform(*RECONNECT_S))
            return
        client = Client(self._name, self._rights, self._received, self._closed, self._will())
        if self._broker.connect(client):
            self._client = client
            self._put(self._events.Connected())

    def _received(self, topic: str, payload: bytes) -> None:
        self._put(self._events.Received(topic, payload))

    def _closed(self, reason: str) -> None:
        if self._gone:
            return
        self._client = None
        self._put(self._events.Disconnected(reason))
        self._retry(self._rng.uniform(*RECONNECT_S))

    def _put(self, event: Any) -> None:
        if self._gone:
            return
        try:
            self.inbox.put_nowait(event)
        except asyncio.QueueFull:
            client = self._client
            if client is not None:
                self._client = None
                client.alive = False
                self._broker.die(client)
                self._retry(self._rng.uniform(*RECONNECT_S))
