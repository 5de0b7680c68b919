"""The core's line to the broker: paho in its own thread, a bounded inbox in the event loop.

Callbacks of paho's thread only enqueue. QoS 1 both ways, clean session, SUBACK checked, TCP_NODELAY
(Nagle and delayed acknowledgements together cost 44 ms a message). A full inbox drops the
connection: agents go back and repeat, nothing is half taken. Must not know topics or messages.

Waits are bounded by `asyncio.timeout`: `asyncio.wait_for` of Python 3.11 forgets a cancel that
comes together with the answer, and the program would never end
(github.com/python/cpython/issues/86296).
"""

from __future__ import annotations

import asyncio
import queue
import random
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from paho.mqtt.client import Client, MQTTMessage, MQTTMessageInfo
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from cloud_core import logs
from cloud_core.ports import Connected, Disconnected, LinkEvent, Received, Will
from protocols.errors import Unavailable

INBOX_MAX = 4_096
"""Messages between paho's thread and the core's loop; more means that the core cannot keep up."""
SUBACK_TIMEOUT_S = 10.0
RETRY_S = (1.1, 1.1, 2.0, 2.0, 3.0, 5.0)
"""Short, because warehouses wait for the one core; above a second, because NATS holds a client id
that comes back twice within one."""
RETRY_JITTER = 0.5
"""At most this share of a pause is added to it at random, so that a core and its agents, who lost
the broker in the same moment, do not knock in step."""
WATCHDOG_S = 5.0
CONNECT_TIMEOUT_S = 10.0
INFLIGHT_MAX = 512
QUEUED_MAX = 20_000
"""Messages handed to paho that the broker has not taken; more are refused and sent again later."""
FAREWELL_S = 2.0
_log = logs.get("link")


@dataclass(frozen=True, slots=True)
class LinkConfig:
    """Where the broker is and who we are there; empty TLS files mean a plain connection."""

    host: str
    port: int
    client_id: str
    username: str
    password: str
    keepalive_s: int
    ca_file: str = ""
    cert_file: str = ""
    key_file: str = ""


def pause_s(attempt: int, share: float) -> float:
    """Seconds before the next try after `attempt` failures in a row; `share` is random in 0..1.

    From 1.1 s, never less, up to 7.5 s.
    """
    assert attempt >= 0, attempt
    return RETRY_S[min(attempt, len(RETRY_S) - 1)] * (1 + RETRY_JITTER * share)


class NoLink:
    """A line that is never up: `mqtt_enabled = false`, and one-shot verbs of the command line."""

    def __init__(self) -> None:
        self.inbox: asyncio.Queue[LinkEvent] = asyncio.Queue()  # nothing ever comes

    async def start(self, will: Will) -> None:
        """Do nothing."""

    async def subscribe(self, filters: Sequence[str]) -> None:
        """Do nothing."""

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> bool:
        """Never."""
        return False

    async def stop(self) -> None:
        """Do nothing."""


class PahoLink:
    """One connection at a time; a new paho client for each, so that each carries a new will."""

    def __init__(self, config: LinkConfig, rng: random.Random | None = None) -> None:
        """`rng` spreads the pauses between two tries; seeded by the system unless given."""
        self._config, self._rng = config, rng or random.Random()
        self.inbox: asyncio.Queue[LinkEvent] = asyncio.Queue(INBOX_MAX)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._will: Will | None = None
        self._client: Client | None = None
        self._connected = False
        self._task: asyncio.Task[None] | None = None
        self._lost = asyncio.Event()
        self._subacks: dict[int, asyncio.Future[list[int]]] = {}

    async def start(self, will: Will) -> None:
        """Begin to connect and keep connected; returns at once."""
        self._loop = asyncio.get_running_loop()
        self._will = will
        self._task = asyncio.create_task(self._keep_connected(), name="link")

    async def stop(self) -> None:
        """Publish the will ourselves (a clean goodbye discards it) and end."""
        client = self._client
        if client is not None and self._connected and self._will is not None:
            topic, payload = self._will()
            said = client.publish(topic, payload, qos=1, retain=True)
            await asyncio.to_thread(_wait_until_sent, said)
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None
        await self._close()

    async def subscribe(self, filters: Sequence[str]) -> None:
        """Subscribe with QoS 1 and wait for the SUBACK.

        Raises `Unavailable` `link_down`, `subscribe_refused` or `subscribe_timeout`.
        """
        client, loop = self._client, self._loop
        if client is None or loop is None or not self._connected:
            raise _down()
        answered: asyncio.Future[list[int]] = loop.create_future()
        code, mid = client.subscribe([(name, 1) for name in filters])
        if code != MQTTErrorCode.MQTT_ERR_SUCCESS or mid is None:
            raise _down()
        self._subacks[mid] = answered
        try:
            async with asyncio.timeout(SUBACK_TIMEOUT_S):
                codes = await answered
        except TimeoutError as error:
            self._lost.set()
            raise Unavailable(
                "subscribe_timeout", "订阅没有回应", "the broker did not answer a subscribe"
            ) from error
        finally:
            self._subacks.pop(mid, None)
        if any(code >= 0x80 for code in codes):
            self._lost.set()  # without it nobody would be heard: connect again, later
            raise Unavailable(
                "subscribe_refused", "消息代理拒绝订阅，请检查权限配置",
                f"the broker refused a subscription: {codes}",
            )  # fmt: skip

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> bool:
        """Hand a message to paho; False when the line is down (nothing is queued then)."""
        client = self._client
        if client is None or not self._connected:
            return False
        return client.publish(topic, payload, qos=1, retain=retain).rc == 0

    # --- one connection after the other --------------------------------------------------------

    async def _keep_connected(self) -> None:
        attempt = 0
        while True:
            self._lost.clear()
            try:
                await asyncio.to_thread(self._connect)
            except Exception as error:  # whatever it is, this task is the only one that reconnects
                _log.info("link.connect_failed", error=repr(error))
                await self._close()
                await asyncio.sleep(pause_s(attempt, self._rng.random()))
                attempt += 1
                continue
            was_up = await self._watch()
            attempt = 0 if was_up else attempt + 1
            await self._close()
            await asyncio.sleep(pause_s(attempt, self._rng.random()))

    async def _watch(self) -> bool:
        """Wait for the end of this connection; whether it ever was up.

        Besides paho's own word, a connection that is not up in time or whose thread died is over.
        """
        was_up = False
        waited_s = 0.0
        while not self._lost.is_set():
            try:
                async with asyncio.timeout(WATCHDOG_S):
                    await self._lost.wait()
            except TimeoutError:
                waited_s += WATCHDOG_S
            was_up = was_up or self._connected
            if not self._connected and waited_s > CONNECT_TIMEOUT_S:
                _log.warning("link.watchdog_fired", waited_s=waited_s)
                break
        return was_up

    def _connect(self) -> None:
        assert self._will is not None
        config = self._config
        client = Client(
            CallbackAPIVersion.VERSION2, config.client_id, clean_session=True,
            protocol=MQTTProtocolVersion.MQTTv311, reconnect_on_failure=False,
        )  # fmt: skip
        client.max_inflight_messages_set(INFLIGHT_MAX)
        client.max_queued_messages_set(QUEUED_MAX)
        client.connect_timeout = CONNECT_TIMEOUT_S
        if config.username:
            client.username_pw_set(config.username, config.password or None)
        if config.ca_file:
            client.tls_set(config.ca_file, config.cert_file or None, config.key_file or None)
        topic, payload = self._will()
        client.will_set(topic, payload, qos=1, retain=True)
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_message = self._on_message
        client.on_subscribe = self._on_subscribe
        client.on_socket_open = self._on_socket
        self._client = client
        client.connect(config.host, config.port, keepalive=config.keepalive_s)
        client.loop_start()

    async def _close(self) -> None:
        client, self._client = self._client, None
        was_up, self._connected = self._connected, False
        for answered in self._subacks.values():
            if not answered.done():  # whoever waits for it goes on: a cancel would end its loop
                answered.set_exception(_down())
        self._subacks.clear()
        if client is not None:
            client.on_message = client.on_disconnect = None
            await asyncio.to_thread(self._end, client)
        if was_up:
            self._put(Disconnected("closed"))

    @staticmethod
    def _end(client: Client) -> None:
        client.disconnect()
        client.loop_stop()

    # --- callbacks, in paho's thread: they only enqueue ------------------------------------------

    @staticmethod
    def _on_socket(client: Client, userdata: Any, sock: Any) -> None:
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except OSError:
            _log.info("link.nodelay_failed")

    def _on_connect(
        self, client: Client, userdata: Any, flags: Any, reason: ReasonCode,
        properties: Properties | None,
    ) -> None:  # fmt: skip
        self._soon(self._connected_with, client, reason.value, str(reason))

    def _on_disconnect(
        self, client: Client, userdata: Any, flags: Any, reason: ReasonCode,
        properties: Properties | None,
    ) -> None:  # fmt: skip
        self._soon(self._disconnected, client, str(reason))

    def _on_message(self, client: Client, userdata: Any, message: MQTTMessage) -> None:
        self._soon(self._received, client, Received(message.topic, bytes(message.payload)))

    def _on_subscribe(
        self, client: Client, userdata: Any, mid: int, codes: list[ReasonCode],
        properties: Properties | None,
    ) -> None:  # fmt: skip
        self._soon(self._subscribed, mid, [code.value for code in codes])

    def _soon(self, call: Any, *values: Any) -> None:
        assert self._loop is not None
        try:
            self._loop.call_soon_threadsafe(call, *values)
        except RuntimeError:
            return  # the loop is closed; the program is ending

    # --- the same events, in the loop ------------------------------------------------------------

    def _connected_with(self, client: Client, code: int, reason: str) -> None:
        if client is not self._client:
            return
        if code != 0:
            _log.warning("link.refused", reason=reason)
            self._lost.set()
            return
        self._connected = True
        self._put(Connected())

    def _disconnected(self, client: Client, reason: str) -> None:
        if client is not self._client:
            return
        was_up, self._connected = self._connected, False
        self._lost.set()
        if was_up:
            self._put(Disconnected(reason))

    def _received(self, client: Client, message: Received) -> None:
        if client is self._client and self._connected:
            self._put(message)

    def _subscribed(self, mid: int, codes: list[int]) -> None:
        answered = self._subacks.get(mid)
        if answered is not None and not answered.done():
            answered.set_result(codes)

    def _put(self, event: LinkEvent) -> None:
        try:
            self.inbox.put_nowait(event)
        except asyncio.QueueFull:
            # Whatever follows would be out of order: end this connection, agents repeat.
            _log.warning("link.inbox_full", waiting=self.inbox.qsize())
            self._connected = False
            self._lost.set()


def _down() -> Unavailable:
    return Unavailable("link_down", "与消息代理断开", "not connected to the broker")


def _wait_until_sent(said: MQTTMessageInfo) -> None:
    try:
        said.wait_for_publish(FAREWELL_S)
    except (ValueError, RuntimeError):
        _log.info("link.farewell_failed")


def read_password(file: Path | None) -> str:
    """The first line of a password file, "" without one. Raises `Unavailable`."""
    if file is None:
        return ""
    try:
        return file.read_text(encoding="utf-8").splitlines()[0].strip()
    except (OSError, IndexError) as error:
        raise Unavailable(
            "mqtt_password_missing", f"无法读取消息代理密码文件 {file}",
            f"cannot read the broker password file {file}", field="mqtt_password_file",
        ) from error  # fmt: skip


def probe(config: LinkConfig, filters: Sequence[str], timeout_s: float = 5.0) -> str:
    """Log in and subscribe once; "" when the broker allows it, else why not. Blocks up to twice
    `timeout_s`; for the doctor only."""
    heard: queue.SimpleQueue[tuple[str, int]] = queue.SimpleQueue()
    client = Client(CallbackAPIVersion.VERSION2, f"{config.client_id}-doctor", clean_session=True)
    client.connect_timeout = timeout_s
    if config.username:
        client.username_pw_set(config.username, config.password or None)
    if config.ca_file:
        client.tls_set(config.ca_file, config.cert_file or None, config.key_file or None)
    client.on_connect = lambda c, u, flags, reason, properties: heard.put(
        (str(reason), reason.value)
    )
    client.on_subscribe = lambda c, u, mid, codes, properties: heard.put(
        ("subscribe refused", max(code.value for code in codes))
    )
    try:
        client.connect(config.host, config.port, keepalive=config.keepalive_s)
        client.loop_start()
        reason, code = heard.get(timeout=timeout_s)
        if code != 0:
            return reason
        client.subscribe([(name, 1) for name in filters])
        reason, code = heard.get(timeout=timeout_s)
        return reason if code >= 0x80 else ""
    except (OSError, ValueError) as error:
        return str(error)
    except queue.Empty:
        return "no answer"
    finally:
        client.disconnect()
        client.loop_stop()
