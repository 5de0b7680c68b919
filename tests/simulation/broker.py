"""A broker nobody can trust and the links to it: QoS 1 as MQTT promises it, which is not much.

A publish that the client library took (`True`) is on its way, no more: it is lost when the
connection breaks, when the broker forgets, or by chance; it may come twice, late (hours), and
after a later one. Sessions are clean. The network of each client is cut in one or both
directions, or goes silent while the client believes it is connected, until its keepalive ends.
Retained messages die with a broker that did not keep them. Knows no message of the product.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

KEEPALIVE_S = 90.0
RECONNECT_S = (1.0, 60.0)


@dataclass(slots=True)
class Rates:
    """How bad the network of a seed is: probabilities a message, seconds."""

    loss: float = 0.0
    twice: float = 0.0
    much_later: float = 0.0
    delay_s: float = 0.05
    slow: float = 0.0
    """Share of messages that take `delay_s` × 100: these overtake and are overtaken."""


@dataclass(slots=True)
class Wire:
    """The network between one client and the broker."""

    up: bool = True
    down: bool = True

    @property
    def whole(self) -> bool:
        return self.up and self.down


@dataclass(frozen=True, slots=True)
class Rights:
    """Topic filters one client may publish to and subscribe to."""

    publish: tuple[str, ...]
    subscribe: tuple[str, ...]


@dataclass(slots=True, eq=False)
class Client:
    """One connected (or half-open) session as the broker sees it."""

    name: str
    rights: Rights
    deliver: Callable[[str, bytes], None]
    closed: Callable[[str], None]
    will: tuple[str, bytes] | None
    filters: list[str] = field(default_factory=list)
    alive: bool = True


def matches(filter_: str, topic: str) -> bool:
    """MQTT filter matching with `+` and a trailing `#` (MQTT 5.0 §4.7)."""
    want, have = filter_.split("/"), topic.split("/")
    for index, part in enumerate(want):
        if part == "#":
            return True
        if index >= len(have) or part not in ("+", have[index]):
            return False
    return len(want) == len(have)


@dataclass(slots=True)
class Count:
    """What the broker did, for the fault ledger."""

    published: int = 0
    delivered: int = 0
    lost: int = 0
    twice: int = 0
    much_later: int = 0
    overtaken: int = 0
    refused: int = 0
    crashes: int = 0


class FakeBroker:
    """All sessions of one history. `watch` sees every payload that anybody publishes (P12)."""

    def __init__(self, rng: Random, rates: Rates) -> None:
        self.rng = rng
        self.rates = rates
        self.up = True
        self.persists = False
        self.count = Count()
        self.wires: dict[str, Wire] = {}
        self.watch: Callable[[str, str, bytes], None] = lambda client, topic, payload: None
        self.in_flight = 0
        self._clients: dict[str, Client] = {}
        self._retained: dict[str, bytes] = {}

    def wire(self, name: str) -> Wire:
        return self.wires.setdefault(name, Wire())

    def reachable(self, name: str) -> bool:
        return self.up and self.wire(name).whole

    def connect(self, client: Client) -> bool:
        """Open a clean session; an older one of the same name is taken over, its will published."""
        if not self.reachable(client.name):
            return False
        old = self._clients.get(client.name)
        if old is not None:
            self._end(old, "taken over", with_will=True)
        self._clients[client.name] = client
        return True

    def subscribe(self, client: Client, filters: list[str]) -> bool:
        """Grant the filters the client may read and send it what is retained there."""
        if not client.alive or not self.reachable(client.name):
            return False
        for filter_ in filters:
            if filter_ not in client.rights.subscribe:
                self.count.refused += 1
                return False
            client.filters.append(filter_)
            for topic in sorted(self._retained):
                if matches(filter_, topic):
                    self._send(client, topic, self._retained[topic], 0.0)
        return True

    def publish(self, client: Client, topic: str, payload: bytes, retain: bool) -> None:
        """Take one publish from a client that believes it is connected."""
        if not any(matches(right, topic) for right in client.rights.publish):
            self.count.refused += 1
            return
        self.count.published += 1
        self.watch(client.name, topic, payload)
        if self.rng.random() < self.rates.loss:
            self.count.lost += 1
            return
        self._later(self._delay(), self._arrive, client, topic, payload, retain)
        if self.rng.random() < self.rates.twice:
            self.count.twice += 1
            self._later(self._delay(), self._arrive, client, topic, payload, retain)
        if self.rng.random() < self.rates.much_later:
            self.count.much_later += 1
            self._later(self.rng.uniform(60, 12 * 3600), self._stray, client, topic, payload)

    def leave(self, client: Client) -> None:
        """A clean DISCONNECT: the will is not published."""
        self._end(client, "left", with_will=False)

    def die(self, client: Client) -> None:
        """The client's process or machine is gone; the broker notices by its keepalive."""
        client.alive = False
        self._later(self.rng.uniform(0.1, KEEPALIVE_S * 1.5), self._end, client, "gone", True)

    def crash(self) -> None:
        """Everything in flight and every session is gone; retained ones unless persisted."""
        self.up = False
        self.count.crashes += 1
        if not self.persists:
            self._retained.clear()
        for client in list(self._clients.values()):
            client.alive = False
            client.closed("broker crashed")
        self._clients.clear()

    def restart(self) -> None:
        self.up = True

    # --- inside -------------------------------------------------------------------------------

    def _later(self, delay: float, call: Callable[..., None], *args: object) -> None:
        asyncio.get_running_loop().call_later(delay, call, *args)

    def _delay(self) -> float:
        mean = self.rates.delay_s * (100 if self.rng.random() < self.rates.slow else 1)
        return self.rng.expovariate(1 / mean)

    def _arrive(self, client: Client, topic: str, payload: bytes, retain: bool) -> None:
        current = self._clients.get(client.name) is client
        if not (current and self.up and self.wire(client.name).up):
            self.count.lost += 1
            return
        self._route(topic, payload, retain)

    def _stray(self, client: Client, topic: str, payload: bytes) -> None:
        """The same bytes once more, hours later, as a client library's redelivery would."""
        if self.up:
            self._route(topic, payload, retain=False)

    def _route(self, topic: str, payload: bytes, retain: bool) -> None:
        if retain:
            self._retained[topic] = payload
        for name in sorted(self._clients):
            client = self._clients[name]
            if any(matches(filter_, topic) for filter_ in client.filters):
                self._send(client, topic, payload, self._delay())

    def _send(self, client: Client, topic: str, payload: bytes, delay: float) -> None:
        self.in_flight += 1
        self._later(delay, self._hand_over, client, topic, payload)
        if self.rng.random() < self.rates.twice:
            self.count.twice += 1
            self.in_flight += 1
            self._later(delay + self._delay(), self._hand_over, client, topic, payload)

    def _hand_over(self, client: Client, topic: str, payload: bytes) -> None:
        self.in_flight -= 1
        current = client.alive and self._clients.get(client.name) is client
        if current and self.wire(client.name).down:
            self.count.delivered += 1
            client.deliver(topic, payload)
        else:
            self.count.lost += 1

    def _end(self, client: Client, reason: str, with_will: bool) -> None:
        if self._clients.get(client.name) is client:
            del self._clients[client.name]
            if with_will and client.will is not None and self.up:
                self._route(*client.will, retain=True)
        if client.alive:
            client.alive = False
            client.closed(reason)

    def cut(self, name: str, *, up: bool = True, down: bool = True) -> None:
        """Cut the network of one client; both sides notice by keepalive, at different times."""
        wire = self.wire(name)
        wire.up, wire.down = wire.up and not up, wire.down and not down
        client = self._clients.get(name)
        if client is not None:
            for side in (self._broker_notices, self._client_notices):
                self._later(self.rng.uniform(KEEPALIVE_S / 2, KEEPALIVE_S * 1.5), side, client)

    def heal(self, name: str) -> None:
        wire = self.wire(name)
        wire.up = wire.down = True

    def _broker_notices(self, client: Client) -> None:
        if self._clients.get(client.name) is client and not self.wire(client.name).whole:
            del self._clients[client.name]
            if client.will is not None and self.up:
                self._route(*client.will, retain=True)

    def _client_notices(self, client: Client) -> None:
        gone = self._clients.get(client.name) is not client or not self.wire(client.name).whole
        if client.alive and gone:
            client.alive = False
            client.closed("keepalive")
