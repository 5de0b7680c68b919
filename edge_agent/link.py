"""The line to the broker: paho on its own thread behind the `Link` port.

Callbacks only hand over to the loop. Every connection gets a client of its own, so that nothing a
dead connection had queued is ever sent by the next one; what is not acknowledged by the core is
sent again by the sender. Knows no message of the wire. Facts about paho 2 are from its sources
(`Client.publish`, `Client.loop_forever`) and its issues 704 and 894: an exception in a callback
kills the network thread while `is_connected()` stays true, hence the watchdog.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import ssl
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import paho.mqtt.client as paho
import tenacity
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode

from edge_agent.ports import Connected, Disconnected, LinkEvent, Received, Will
from protocols import limits
from protocols.errors import Unavailable

log = logging.getLogger(__name__)

INBOX_MAX = 1_000
INBOX_RESERVE = 16
"""Places kept for connection events, so that a flood of messages cannot hide a lost line."""
INFLIGHT_MAX = 20
QUEUED_MAX = 4 * limits.WINDOW_BATCHES
CONNECT_S = 10.0
SUBACK_S = 15.0
WATCH_S = 5.0
FLUSH_S = 0.5
RETRY_FIRST_S = 0.5
RETRY_MOST_S = 30.0


@dataclass(frozen=True, slots=True)
class BrokerAddress:
    """Where the broker is and who we are there. Empty file names: no TLS, no client certificate.

    `client_id` is the agent's id: brokers that name clients by their user require it.
    """

    host: str
    port: int
    client_id: str
    username: str = ""
    password: str = ""
    ca_file: str = ""
    cert_file: str = ""
    key_file: str = ""
    mqtt5: bool = False
    keepalive_s: int = 30


class MqttLink:
    """Implements `ports.Link`."""

    def __init__(self, address: BrokerAddress) -> None:
        self.inbox: asyncio.Queue[LinkEvent] = asyncio.Queue(INBOX_MAX + INBOX_RESERVE)
        self.dropped = 0
        self.last_error = ""
        self._address = address
        self._connection: _Connection | None = None
        self._task: asyncio.Task[None] | None = None

    async def start(self, will: Will) -> None:
        """See `Link.start`. An empty will topic means no will."""
        assert self._task is None, "started twice"
        self._task = asyncio.create_task(self._keep_connected(will), name="link")

    async def subscribe(self, filters: Sequence[str]) -> None:
        """See `Link.subscribe`. A refused subscription also ends the connection: ask again."""
        connection = self._connection
        if connection is None:
            raise Unavailable("link_down", "没有连接", "not connected")
        try:
            await connection.subscribe(filters)
        except Unavailable:
            connection.end("subscription refused")
            raise

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> bool:
        """See `Link.publish`."""
        connection = self._connection
        return connection is not None and connection.publish(topic, payload, retain)

    async def stop(self) -> None:
        """Disconnect politely (no will) and end the thread."""
        task, self._task = self._task, None
        if task is None:
            return
        if self._connection is not None:
            await self._connection.flush()
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task

    async def _keep_connected(self, will: Will) -> None:
        while True:
            try:
                await self._one_connection(will)
            except Exception:
                # The floor works without the line, so a fault of ours here must not end the shift.
                log.exception("link.failed")
            await asyncio.sleep(RETRY_FIRST_S)

    async def _one_connection(self, will: Will) -> None:
        connection = await self._connect(will)
        self._connection = connection
        self._put(Connected())
        reason = "stopped"
        try:
            reason = await connection.ended()
        finally:
            self._connection = None
            self._put(Disconnected(reason))
            await connection.close()

    async def _connect(self, will: Will) -> _Connection:
        """Try until the broker takes us: exponential backoff with jitter, at most 30 s apart."""
        retrying = tenacity.AsyncRetrying(
            wait=tenacity.wait_exponential_jitter(
                multiplier=RETRY_FIRST_S, max=RETRY_MOST_S, jitter=1
            ),
            retry=tenacity.retry_if_exception_type((OSError, ValueError)),
            before_sleep=self._log_retry,
        )
        async for attempt in retrying:
            with attempt:
                connection = _Connection(self._address, will(), self._received)
                try:
                    await connection.open()
                except BaseException:
                    await connection.close()
                    raise
                return connection
        raise AssertionError("retries without end ended")

    def _log_retry(self, state: tenacity.RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        self.last_error = str(error)
        log.warning("link.connect_failed attempt=%d reason=%s", state.attempt_number, error)

    def _received(self, topic: str, payload: bytes) -> None:
        if self.inbox.qsize() >= INBOX_MAX:
            self.dropped += 1  # whoever sent it sends it again
            return
        self._put(Received(topic, payload))

    def _put(self, event: LinkEvent) -> None:
        try:
            self.inbox.put_nowait(event)
        except asyncio.QueueFull:
            self.dropped += 1
            if self._connection is not None:
                self._connection.end("inbox full")


class _Connection:
    """One client, one connection, one network thread. Everything but callbacks is on the loop."""

    def __init__(self, address: BrokerAddress, will: tuple[str, bytes], received: Any) -> None:
        self._address = address
        self._received = received
        self._loop = asyncio.get_running_loop()
        self._accepted: asyncio.Future[None] = self._loop.create_future()
        self._end: asyncio.Future[str] = self._loop.create_future()
        self._subscriptions: dict[int, asyncio.Future[bool]] = {}
        self._thread: threading.Thread | None = None
        self._client = self._build(will)

    async def open(self) -> None:
        """Connect and wait for CONNACK. Raises `OSError` with the reason."""
        address = self._address
        await asyncio.to_thread(
            self._client.connect, address.host, address.port, address.keepalive_s
        )
        before = set(threading.enumerate())
        self._client.loop_start()
        self._thread = next(iter(set(threading.enumerate()) - before), None)
        # A door that opens and shuts at once (a proxy before a dead broker) is an answer as well.
        answers: set[asyncio.Future[Any]] = {self._accepted, self._end}
        await asyncio.wait(answers, timeout=CONNECT_S, return_when=asyncio.FIRST_COMPLETED)
        if self._accepted.done():
            self._accepted.result()
            return
        raise ConnectionError(self._end.result() if self._end.done() else "no CONNACK")

    async def ended(self) -> str:
        """Wait for the end of the connection; its reason. Watches the network thread."""
        while True:
            done, _ = await asyncio.wait({self._end}, timeout=WATCH_S)
            if done:
                return self._end.result()
            if self._thread is not None and not self._thread.is_alive():
                return "network thread died"

    def end(self, reason: str) -> None:
        """Give the connection up."""
        if not self._end.done():
            self._end.set_result(reason)

    async def subscribe(self, filters: Sequence[str]) -> None:
        """Raises `Unavailable` unless the broker grants every filter."""
        code, number = self._client.subscribe([(name, 1) for name in filters])
        if code != MQTTErrorCode.MQTT_ERR_SUCCESS or number is None:
            raise Unavailable("link_down", "没有连接", "not connected")
        answer: asyncio.Future[bool] = self._loop.create_future()
        self._subscriptions[number] = answer
        try:
            async with asyncio.timeout(SUBACK_S):
                granted = await answer
        except TimeoutError as error:
            raise Unavailable("suback_missing", "订阅没有应答", "no SUBACK") from error
        finally:
            self._subscriptions.pop(number, None)
        if not granted:
            raise Unavailable("subscription_refused", "订阅被拒绝", "subscription refused")

    def publish(self, topic: str, payload: bytes, retain: bool) -> bool:
        """Hand over to paho; False when it is not connected or its bound is reached."""
        if self._end.done() or not self._client.is_connected():
            return False
        info = self._client.publish(topic, payload, qos=1, retain=retain)
        return bool(info.rc == MQTTErrorCode.MQTT_ERR_SUCCESS)

    async def flush(self) -> None:
        """Give the last messages a moment to leave."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(FLUSH_S):
                while self._client.want_write():
                    await asyncio.sleep(0.01)

    async def close(self) -> None:
        """Say goodbye and end the thread."""
        self.end("closed")
        for answer in self._subscriptions.values():
            if not answer.done():
                answer.set_result(False)
        self._client.disconnect()
        await asyncio.to_thread(self._client.loop_stop)

    def _build(self, will: tuple[str, bytes]) -> paho.Client:
        address = self._address
        version = paho.MQTTv5 if address.mqtt5 else paho.MQTTv311
        client = paho.Client(
            CallbackAPIVersion.VERSION2,
            client_id=address.client_id,
            clean_session=None if address.mqtt5 else True,
            protocol=version,
            reconnect_on_failure=False,
        )
        client.connect_timeout = CONNECT_S
        client.max_inflight_messages_set(INFLIGHT_MAX)
        client.max_queued_messages_set(QUEUED_MAX)
        if address.username:
            client.username_pw_set(address.username, address.password or None)
        if address.ca_file:
            context = ssl.create_default_context(cafile=address.ca_file)
            if address.cert_file:
                context.load_cert_chain(address.cert_file, address.key_file or None)
            client.tls_set_context(context)
        topic, payload = will
        if topic:
            client.will_set(topic, payload, qos=1, retain=True)
        client.on_socket_open = _no_delay
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_subscribe = self._on_subscribe
        client.on_message = self._on_message
        return client

    # Callbacks run on paho's thread: they hand over and return, and never raise.

    def _on_connect(self, _c: Any, _u: Any, _f: Any, reason: Any, _p: Any = None) -> None:
        self._hand_over(self._connack, bool(reason.is_failure), str(reason))

    def _on_disconnect(self, _c: Any, _u: Any, _f: Any, reason: Any, _p: Any = None) -> None:
        self._hand_over(self.end, str(reason))

    def _on_subscribe(self, _c: Any, _u: Any, number: int, reasons: Any, _p: Any = None) -> None:
        granted = not any(reason.is_failure for reason in reasons)
        self._hand_over(self._suback, number, granted)

    def _on_message(self, _c: Any, _u: Any, message: paho.MQTTMessage) -> None:
        with contextlib.suppress(UnicodeDecodeError):
            self._hand_over(self._received, message.topic, message.payload)

    def _hand_over(self, call: Any, *values: Any) -> None:
        # A closed loop means the process ends; nobody listens any more.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(call, *values)

    def _connack(self, failed: bool, reason: str) -> None:
        if self._accepted.done():
            return
        if failed:
            self._accepted.set_exception(ConnectionError(f"refused: {reason}"))
        else:
            self._accepted.set_result(None)

    def _suback(self, number: int, granted: bool) -> None:
        answer = self._subscriptions.get(number)
        if answer is not None and not answer.done():
            answer.set_result(granted)


def _no_delay(_client: Any, _userdata: Any, sock: Any) -> None:
    """Small messages must not wait for the peer's delayed ACK (tcp(7), TCP_NODELAY)."""
    with contextlib.suppress(OSError, AttributeError):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
