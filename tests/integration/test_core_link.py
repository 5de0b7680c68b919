"""A whole core on real brokers: it is heard, hears, comes back, and says goodbye."""

from __future__ import annotations

import asyncio
import dataclasses
import secrets
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from cloud_core.api.doors import Limits
from cloud_core.bootstrap import running
from cloud_core.doctor import probe
from cloud_core.domain.broker_access import BrokerAccess, BrokerAgent
from cloud_core.link import LinkConfig, PahoLink
from cloud_core.store import schema as t
from cloud_core.store.loop_reads import begin_life
from protocols import chain, codec, topics
from protocols.messages import AgentState, CoreState, Hello, StreamPosition, Welcome
from tests.support.http_core import HttpCore, events, order_event, until
from tests.support.mqtt_probe import Probe
from virtual_warehouse.broker import Broker, EmbeddedBroker, MosquittoBroker, find_mosquitto

SITE, AGENT, EPOCH = "hz", "hz-a", "00000000000000aa"


@dataclasses.dataclass
class Line:
    """A broker, the accounts on it, and a core that is connected to it."""

    broker: Broker
    access: BrokerAccess
    address: tuple[str, int]
    core: HttpCore
    link: PahoLink

    def agent(self) -> Probe:
        return Probe(self.address, AGENT, self.access.agents[0].secret)


def config_of(address: tuple[str, int], secret: str) -> LinkConfig:
    return LinkConfig(*address, "core", "core", secret, 5)


@pytest.fixture(params=[EmbeddedBroker, MosquittoBroker], ids=["nats", "mosquitto"])
async def line(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Line]:
    kind: Callable[..., Broker] = request.param
    if kind is MosquittoBroker and find_mosquitto() is None:
        pytest.skip("NOT PROVED ON MOSQUITTO: it is not installed (apt-get install mosquitto)")
    access = BrokerAccess(
        secrets.token_urlsafe(32), (BrokerAgent(SITE, AGENT, secrets.token_urlsafe(32)),)
    )
    broker = kind(tmp_path / "broker", access)
    address = await asyncio.to_thread(broker.start)
    core = HttpCore(tmp_path, Limits())
    core.fill()
    core.add_channel()
    link = PahoLink(config_of(address, access.core_secret))
    core.wired.core._link = link  # the only part of the set-up that another port replaces
    begin_life(core.wired.engine)
    try:
        async with running(core.wired):
            yield Line(broker, access, address, core, link)
    finally:
        await asyncio.to_thread(broker.stop)


def hello() -> bytes:
    head = chain.genesis(AGENT, "floor", EPOCH).hex()
    floor = StreamPosition("floor", EPOCH, 1, 1, head)
    return codec.encode(Hello(1, AGENT, 1, "test", [1], 1, "boot", 1, 1_000, [floor]))


def state_in(probe_: Probe) -> CoreState:
    return codec.decode(probe_.heard[-1].payload, CoreState)


async def threaded(call: Callable[[], Any]) -> Any:
    return await asyncio.to_thread(call)


async def test_birth_hello_welcome_and_an_offer(line: Line) -> None:
    with await threaded(line.agent().__enter__) as agent:
        assert await threaded(lambda: agent.subscribe(topics.down_filter(SITE, AGENT))) == 1
        assert await threaded(lambda: agent.subscribe(topics.CORE_STATE_TOPIC)) == 1
        heard = await threaded(lambda: agent.hear(topics.CORE_STATE_TOPIC))
        assert codec.decode(heard.payload, CoreState).on
        birth = codec.encode(AgentState(1, AGENT, on=True, inc=1))
        await threaded(lambda: agent.publish(topics.up(SITE, AGENT, "st"), birth, retain=True))
        await threaded(lambda: agent.publish(topics.up(SITE, AGENT, "hello"), hello()))
        heard = await threaded(lambda: agent.hear(topics.down(SITE, AGENT, "welcome")))
        assert codec.decode(heard.payload, Welcome).inc == 1
        command = line.core.wired.ingest.stored("demo-shop", "event", events(order_event("S-1")))
        await line.core.wired.committer.submit(command)
        line.core.wired.core.message_stored()
        commands = topics.down(SITE, AGENT, "cmd")
        await threaded(lambda: agent.wait(
            lambda: any(b'"offer"' in h.payload for h in agent.heard if h.topic == commands),
            "an offer",
        ))  # fmt: skip


async def test_a_broker_that_dies_finds_the_core_again(line: Line) -> None:
    await until(lambda: line.link._connected)
    line.broker.kill()
    await until(lambda: not line.link._connected)
    assert not line.link.publish("v1/core/st", b"{}")
    await threaded(line.broker.restart)
    with await threaded(line.agent().__enter__) as watcher:
        await threaded(lambda: watcher.subscribe(topics.CORE_STATE_TOPIC))
        await threaded(lambda: watcher.wait(
            lambda: bool(watcher.heard) and state_in(watcher).on, "the core's new birth"
        ))  # fmt: skip


async def test_a_core_that_stops_says_so_and_one_that_is_cut_off_is_told_of(line: Line) -> None:
    with await threaded(line.agent().__enter__) as watcher:
        await threaded(lambda: watcher.subscribe(topics.CORE_STATE_TOPIC))
        await threaded(lambda: watcher.wait(
            lambda: bool(watcher.heard) and state_in(watcher).on, "the birth"
        ))  # fmt: skip
        await line.link.stop()
        await threaded(lambda: watcher.wait(lambda: not state_in(watcher).on, "the farewell"))


async def test_every_small_packet_leaves_at_once(line: Line) -> None:
    import socket

    await until(lambda: line.link._connected)
    client = line.link._client
    assert client is not None
    sock: Any = client.socket()
    assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


async def test_the_doctor_tells_a_wrong_password_and_a_missing_right(line: Line) -> None:
    good = config_of(line.address, line.access.core_secret)
    assert await threaded(lambda: probe(good, [topics.ALL_UP_FILTER])) == ""
    wrong = dataclasses.replace(good, password="x" * 30)
    assert await threaded(lambda: probe(wrong, [topics.ALL_UP_FILTER]))
    if isinstance(line.broker, EmbeddedBroker):  # mosquitto grants any filter and then is silent
        agent = dataclasses.replace(good, username=AGENT, password=line.access.agents[0].secret)
        assert await threaded(lambda: probe(agent, [topics.ALL_UP_FILTER]))


async def test_messages_of_nobody_and_nonsense_are_quarantined(line: Line) -> None:
    with await threaded(line.agent().__enter__) as agent:
        await threaded(lambda: agent.subscribe(topics.CORE_STATE_TOPIC))
        await threaded(lambda: agent.hear(topics.CORE_STATE_TOPIC))  # said after it subscribed
        topic = topics.up(SITE, AGENT, "hello")
        for payload in (b"", b"{", b"[" * 1000, b"\x78\x9c" + b"\xff" * 40, b'{"v":9}'):
            await threaded(lambda payload=payload: agent.publish(topic, payload))
        await until(lambda: len(line.core.rows(t.quarantine)) >= 5)
        assert {row["source"] for row in line.core.rows(t.quarantine)} == {f"agent:{AGENT}"}
