"""A bare MQTT client for tests about brokers: it records what it is told and waits for conditions.

It knows nothing of Packline's links; what it shows is what the broker does.
"""

from __future__ import annotations

import secrets
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

WAIT_S = 15.0
REFUSED = 0x80


@dataclass(frozen=True, slots=True)
class Heard:
    """One received message."""

    topic: str
    payload: bytes
    retained: bool


@dataclass(frozen=True, slots=True)
class Certificates:
    """PEM files of a client: whom it trusts, and who it is (both empty = nobody in particular)."""

    ca_file: str
    cert_file: str = ""
    key_file: str = ""


@dataclass(slots=True)
class Probe:
    """A connection attempt of `user`; `connected` tells whether the broker took it."""

    address: tuple[str, int]
    user: str
    secret: str
    client_id: str = ""
    will: tuple[str, bytes] | None = None
    retain_will: bool = False
    tls: Certificates | None = None
    heard: list[Heard] = field(default_factory=list)
    answer: str = ""
    dropped: int = 0
    _granted: dict[int, list[int]] = field(default_factory=dict)
    _acked: set[int] = field(default_factory=set)
    _client: mqtt.Client = field(init=False)

    def __post_init__(self) -> None:
        # NATS holds a client id that came back twice within a second for a second more, and closes
        # the connection without an answer; mosquitto makes the user name the client id anyway.
        self.client_id = self.client_id or f"{self.user or 'nobody'}-{secrets.token_hex(4)}"
        self._client = mqtt.Client(
            CallbackAPIVersion.VERSION2,
            client_id=self.client_id,
            protocol=mqtt.MQTTv311,
            reconnect_on_failure=False,
        )
        if self.user:
            self._client.username_pw_set(self.user, self.secret)
        if self.tls is not None:
            certificate = (self.tls.cert_file or None, self.tls.key_file or None)
            self._client.tls_set(self.tls.ca_file, *certificate)
        if self.will is not None:
            self._client.will_set(*self.will, qos=1, retain=self.retain_will)
        self._client.on_socket_open = self._opened
        self._client.on_connect = self._connected
        self._client.on_disconnect = self._lost
        self._client.on_message = self._message
        self._client.on_subscribe = self._subscribed
        self._client.on_publish = self._published

    def __enter__(self) -> Probe:
        self._client.connect(*self.address, keepalive=10)
        self._client.loop_start()
        self.wait(lambda: bool(self.answer) or self.dropped > 0, "an answer to CONNECT")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    @property
    def connected(self) -> bool:
        """Whether the broker accepted the connection and it still stands."""
        return self.answer == "Success" and self.dropped == 0

    @property
    def nodelay(self) -> bool:
        """Whether the socket sends small packets at once."""
        sock: Any = self._client.socket()
        return bool(sock and sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))

    def subscribe(self, topic: str) -> int:
        """Subscribe with QoS 1; the SUBACK code, `REFUSED` also if the connection went."""
        _, mid = self._client.subscribe(topic, qos=1)
        assert mid is not None
        self.wait(lambda: mid in self._granted or self.dropped > 0, f"SUBACK for {topic}")
        return self._granted.get(mid, [REFUSED])[0]

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> bool:
        """Publish with QoS 1 and wait for the PUBACK; False if the connection went instead."""
        mid = self._client.publish(topic, payload, qos=1, retain=retain).mid
        self.wait(lambda: mid in self._acked or self.dropped > 0, f"PUBACK for {topic}")
        return mid in self._acked

    def hear(self, topic: str, payload: bytes | None = None) -> Heard:
        """Wait for a message on `topic` (with `payload`) and return it."""

        def found() -> list[Heard]:
            return [
                one for one in self.heard if one.topic == topic and payload in (None, one.payload)
            ]

        self.wait(lambda: bool(found()), f"{payload!r} on {topic}")
        return found()[0]

    def break_off(self) -> None:
        """Lose the connection without DISCONNECT, as a pulled plug does."""
        sock: Any = self._client.socket()
        assert sock is not None
        sock.shutdown(socket.SHUT_RDWR)
        self.wait(lambda: self.dropped > 0, "the connection to go")

    def wait(self, condition: Callable[[], bool], what: str) -> None:
        """Wait until `condition` holds; fail naming what did not come."""
        deadline = time.monotonic() + WAIT_S
        while not condition():
            assert time.monotonic() < deadline, f"{self.user or 'nobody'} did not get {what}"
            time.sleep(0.005)

    def _opened(self, _client: mqtt.Client, _data: Any, sock: Any) -> None:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def _connected(self, _c: Any, _d: Any, _flags: Any, reason: Any, _props: Any) -> None:
        self.answer = str(reason)

    def _lost(self, _c: Any, _d: Any, _flags: Any, _reason: Any, _props: Any) -> None:
        self.dropped += 1

    def _message(self, _client: mqtt.Client, _data: Any, message: mqtt.MQTTMessage) -> None:
        self.heard.append(Heard(message.topic, bytes(message.payload), message.retain))

    def _subscribed(self, _c: Any, _d: Any, mid: int, codes: Any, _props: Any) -> None:
        self._granted[mid] = [code.value for code in codes]

    def _published(self, _c: Any, _d: Any, mid: int, _reason: Any, _props: Any) -> None:
        self._acked.add(mid)
