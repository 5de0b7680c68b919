"""The least a core must do for an agent, over a real broker: greet, keep rows, acknowledge.

Checks the chain of every batch and keeps what it was sent; knows no order and no stock.
"""

from __future__ import annotations

import itertools
import secrets
import threading
import time
from collections.abc import Callable
from typing import Any

import msgspec
import paho.mqtt.client as mqtt
from msgspec import Struct
from paho.mqtt.enums import CallbackAPIVersion

from protocols import chain, codec, commands, limits, topics
from protocols.events import CommandReceived
from protocols.messages import (
    Ack,
    AgentState,
    Batch,
    Command,
    CoreState,
    Event,
    Hello,
    StreamHave,
    Welcome,
)

WAIT_S = 20.0


class MiniCore:
    """One agent's core. `deaf` = rows are not taken; `tell` sends a command.

    Like the real one it sends what has no receipt again behind each welcome.
    """

    def __init__(self, address: tuple[str, int], secret: str, site: str, agent: str) -> None:
        self.site, self.agent = site, agent
        self.rows: dict[tuple[str, str], list[bytes]] = {}
        self.hellos: list[Hello] = []
        self.states: list[AgentState] = []
        self.deaf = False
        self.resync = False
        self.inc = 1
        self._numbers = itertools.count(1)
        self._unconfirmed: dict[str, Command] = {}
        self._lock = threading.Lock()
        self._client = mqtt.Client(
            CallbackAPIVersion.VERSION2, client_id=f"core-{secrets.token_hex(4)}",
            protocol=mqtt.MQTTv311,
        )  # fmt: skip
        self._client.username_pw_set("core", secret)
        self._client.on_message = self._message
        self._client.on_connect = self._connected
        self._client.reconnect_delay_set(1, 2)
        self._subscribed = threading.Event()
        self._client.on_subscribe = lambda *_: self._subscribed.set()
        self._client.connect(*address, keepalive=10)
        self._client.loop_start()
        assert self._subscribed.wait(WAIT_S), "the broker did not take the core"

    def stop(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def tell(self, body: Struct, *, cmd_id: str = "") -> str:
        """Send one command; returns its id."""
        number = next(self._numbers)
        kind = next(k for k, struct in commands.COMMANDS.items() if struct is type(body))
        command = Command(
            v=1, id=cmd_id or f"cmd-{number}", cs=number, k=kind, sent_ms=self._now(),
            core_epoch=1, d=codec.raw(body),
        )  # fmt: skip
        with self._lock:
            self._unconfirmed[command.id] = command
        self._publish("cmd", command)
        return command.id

    def events(self, stream: str = "floor") -> list[Event]:
        """Every row taken, in the order of its epoch."""
        with self._lock:
            kept = [row for (name, _), rows in self.rows.items() if name == stream for row in rows]
        return [codec.decode_event(row) for row in kept]

    def types(self, stream: str = "floor") -> list[str]:
        return [event.t for event in self.events(stream)]

    def wait(self, condition: Callable[[], Any], what: str) -> None:
        """Poll until `condition` holds; fail naming what did not come."""
        deadline = time.monotonic() + WAIT_S
        while not condition():
            assert time.monotonic() < deadline, f"the core did not see {what}"
            time.sleep(0.005)

    def _connected(self, *_: Any) -> None:
        self._client.subscribe(topics.ALL_UP_FILTER, qos=1)
        state = CoreState(v=1, on=True, core_epoch=1, inc=self.inc)
        self._client.publish(topics.CORE_STATE_TOPIC, codec.encode(state), qos=1, retain=True)

    def _message(self, _client: Any, _data: Any, message: mqtt.MQTTMessage) -> None:
        topic = topics.parse(message.topic)
        payload = bytes(message.payload)
        if topic.channel == "st":
            self.states.append(codec.decode(payload, AgentState))
        elif topic.channel == "hello":
            self._greet(codec.decode(payload, Hello))
        elif not self.deaf:
            self._take(topics.stream_of(topic.channel), codec.decode(payload, Batch))

    def _greet(self, hello: Hello) -> None:
        self.hellos.append(hello)
        told = []
        for position in hello.streams:
            for epoch in (position.epoch, *(kept.epoch for kept in position.kept)):
                have, digest = self._have(position.stream, epoch)
                fork = epoch == position.epoch and have >= position.next
                told.append(StreamHave(position.stream, epoch, have, digest.hex(), fork=fork))
        welcome = Welcome(
            v=1, core_epoch=1, inc=hello.inc, srv_ms=self._now(), echo_mono_ms=hello.mono_ms,
            streams=told, resync=self.resync and hello.fresh,
        )  # fmt: skip
        self._publish("welcome", welcome)
        with self._lock:
            again = list(self._unconfirmed.values())
        for command in again:
            self._publish("cmd", command)

    def _take(self, stream: str, batch: Batch) -> None:
        with self._lock:
            rows = self.rows.setdefault((stream, batch.e), [])
            have, digest = self._have(stream, batch.e)
            if batch.s <= have + 1:
                before = chain.extend(chain.genesis(self.agent, stream, batch.e), rows)
                expected = before[batch.s - 2] if batch.s > 1 else chain.genesis(
                    self.agent, stream, batch.e
                )  # fmt: skip
                assert batch.h == expected.hex(), "a batch that does not continue the chain"
                new = [bytes(row) for row in batch.ev][have - batch.s + 1 :]
                rows += new
                self._confirm(new)
            have, digest = self._have(stream, batch.e)
        ack = Ack(limits.VERSION, stream, batch.e, have, digest.hex(), self._now())
        self._publish("ack", ack)

    def _confirm(self, rows: list[bytes]) -> None:
        for event in map(codec.decode_event, rows):
            if event.t == "command.received":
                receipt = msgspec.json.decode(event.d, type=CommandReceived)
                for cmd_id in (*receipt.ids, *(refusal.id for refusal in receipt.refused)):
                    self._unconfirmed.pop(cmd_id, None)

    def _have(self, stream: str, epoch: str) -> tuple[int, bytes]:
        rows = self.rows.get((stream, epoch), [])
        start = chain.genesis(self.agent, stream, epoch)
        return len(rows), chain.extend(start, rows)[-1] if rows else start

    def _publish(self, channel: str, message: Struct) -> None:
        topic = topics.down(self.site, self.agent, channel)
        self._client.publish(topic, codec.encode_message(message), qos=1)

    @staticmethod
    def _now() -> int:
        return time.time_ns() // 1_000_000
