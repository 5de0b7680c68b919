"""A whole agent on real brokers: what it writes arrives once, in order, whatever happens."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from cloud_core.domain.broker_access import BrokerAccess, BrokerAgent
from edge_agent.agent import Agent
from edge_agent.agent.parts import Ports
from edge_agent.bootstrap import SystemClock, SystemIds, connector
from edge_agent.domain.floor_plan import FloorPlan
from edge_agent.domain.label import LabelFields
from edge_agent.domain.printer_status import READY, PrinterStatus, SendOutcome
from edge_agent.journal.core import JournalCore
from edge_agent.journal.writer import ThreadJournal
from edge_agent.link import BrokerAddress, MqttLink
from edge_agent.ports import Connected, Disconnected, Received
from protocols import topics
from protocols.commands import ResyncDone
from protocols.errors import Unavailable
from tests.support.edge import cancel, grant, offer
from tests.support.mini_core import MiniCore
from virtual_warehouse.broker import EmbeddedBroker, MosquittoBroker, find_mosquitto

SITE, AGENT = "sha", "sha-1"
SHIPMENT = "DB2026AAAA-1"
# Forty of one item, faster than any hand: nothing here is a trigger that bounced.
PLAN = FloorPlan(
    site=SITE, agent=AGENT, printers=("label-1",), stations={"S1": "label-1"}, repeat_ms=0
)
WAIT_S = 20.0


class Paper:
    """A printer that always prints, and a maker that draws nothing."""

    def __init__(self) -> None:
        self.printed: list[bytes] = []

    async def status(self) -> PrinterStatus:
        return READY

    async def send(self, data: bytes, before_first_byte: Callable[[], bool]) -> SendOutcome:
        if not before_first_byte():
            return SendOutcome(0, len(data), READY, error="not_allowed")
        self.printed.append(data)
        return SendOutcome(len(data), len(data), READY, printed=True)

    async def close(self) -> None: ...

    def framed(self, fields: LabelFields, job_tag: str = "") -> bytes:
        return f"{fields.waybill} {fields.copy_mark}".encode()

    def preview_png(self, fields: LabelFields) -> bytes:
        return b""


@dataclass
class Site:
    """A running broker and what is connected to it."""

    broker: Any
    access: BrokerAccess
    address: tuple[str, int]
    folder: Path
    mqtt5: bool = False
    running: list[tuple[Agent, asyncio.Task[None], list[ThreadJournal]]] = field(
        default_factory=list
    )
    paper: Paper = field(default_factory=Paper)

    def link(self, secret: str = "", user: str = AGENT) -> MqttLink:
        known = secret or self.access.agents[0].secret
        host, port = self.address
        return MqttLink(
            BrokerAddress(host, port, user, user, known, mqtt5=self.mqtt5, keepalive_s=5)
        )

    async def start_agent(self) -> Agent:
        clock = SystemClock()
        journals = {}
        for stream in topics.STREAMS:
            path = self.folder / f"{stream}.db"
            core = JournalCore(connector(path), AGENT, stream, SystemIds().epoch)
            core.open(clock.now())
            journals[stream] = ThreadJournal(core, connector(path), clock)
            journals[stream].start(asyncio.get_running_loop())

        async def inline(work: Callable[[], bytes]) -> bytes:
            return work()

        ports = Ports(
            clock=clock, ids=SystemIds(), link=self.link(), journals=journals,
            printers={"label-1": self.paper}, makers={"label-1": self.paper}, run_blocking=inline,
        )  # fmt: skip
        agent = Agent(PLAN, ports)
        task = asyncio.create_task(agent.run())
        self.running.append((agent, task, list(journals.values())))
        await agent.ready.wait()
        return agent

    async def stop_agents(self) -> None:
        while self.running:
            agent, task, journals = self.running.pop()
            agent.stop()
            await task
            for journal in journals:
                await journal.stop()


@pytest.fixture(
    params=[(EmbeddedBroker, False), (MosquittoBroker, False), (MosquittoBroker, True)],
    ids=["nats", "mosquitto-3.1.1", "mosquitto-5"],
)
def broker(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Site]:
    kind, mqtt5 = request.param
    if kind is MosquittoBroker and find_mosquitto() is None:
        pytest.skip("NOT PROVED ON MOSQUITTO: it is not installed (apt-get install mosquitto)")
    access = BrokerAccess(
        secrets.token_urlsafe(32), (BrokerAgent(SITE, AGENT, secrets.token_urlsafe(32)),)
    )
    process = kind(tmp_path / "broker", access)
    try:
        yield Site(process, access, process.start(), tmp_path, mqtt5)
    finally:
        process.stop()


@pytest.fixture
async def site(broker: Site) -> AsyncIterator[Site]:
    yield broker
    await broker.stop_agents()


@pytest.fixture
def core(broker: Site) -> Iterator[MiniCore]:
    made = MiniCore(broker.address, broker.access.core_secret, SITE, AGENT)
    yield made
    made.stop()


async def until(condition: Callable[[], Any], what: str) -> None:
    try:
        async with asyncio.timeout(WAIT_S):
            while not condition():
                await asyncio.sleep(0.005)
    except TimeoutError:
        pytest.fail(f"never came: {what}")


async def test_an_order_from_offer_to_van_over_a_real_broker(site: Site, core: MiniCore) -> None:
    agent = await site.start_agent()
    await until(lambda: agent.live.welcomed, "the welcome")
    core.tell(offer())
    await until(lambda: "offer.accepted" in core.types(), "the accept")
    core.tell(grant())
    await until(lambda: "label.printed" in core.types(), "the label")
    for code in ("TASK-" + SHIPMENT, "SKU-A", "69SKU-A", "SKU-B", "TASK-" + SHIPMENT,
                 "69SKU-A", "SKU-A", "SKU-B", "WAAAA1", "LOAD-1"):  # fmt: skip
        answer = await agent.scan("S1", code, "scanner-1")
        assert answer.tone in ("ok", "warn"), answer
    await until(lambda: "parcel.handed_over" in core.types(), "the hand-over")
    assert site.paper.printed == [b"WAAAA1 "]
    seqs = [event.q for event in core.events()]
    assert seqs == list(range(1, len(seqs) + 1))
    assert agent.live.offset is not None
    await until(lambda: agent.status()["streams"]["floor"]["queued"] == 0, "all acknowledged")


async def test_a_broker_that_dies_and_comes_back_loses_nothing(site: Site, core: MiniCore) -> None:
    agent = await site.start_agent()
    await until(lambda: agent.live.welcomed, "the welcome")
    core.tell(grant(lines={"SKU-A": 40}))
    await until(lambda: "grant.stored" in core.types(), "the grant")
    await agent.scan("S1", "TASK-" + SHIPMENT, "scanner-1")
    for number in range(40):
        if number == 10:
            site.broker.kill()
        if number == 30:
            await asyncio.to_thread(site.broker.start)
        answer = await agent.scan("S1", "SKU-A", "scanner-1")
        assert answer.code in ("picked", "picked_all")
    await until(lambda: core.types().count("item.picked") == 40, "every pick")
    assert agent.live.inc > 0
    assert agent.live.count.connects >= 2


async def test_a_restarted_agent_goes_on_in_its_epoch(site: Site, core: MiniCore) -> None:
    agent = await site.start_agent()
    await until(lambda: agent.live.welcomed, "the welcome")
    core.tell(offer())
    await until(lambda: "offer.accepted" in core.types(), "the accept")
    await site.stop_agents()
    await until(lambda: core.states[-1].on is False, "the farewell")
    again = await site.start_agent()
    await until(lambda: again.live.welcomed, "the second welcome")
    core.tell(cancel(answer=False), cmd_id="x")
    await until(lambda: core.types()[-1] == "command.received", "the receipt")
    assert len({epoch for stream, epoch in core.rows if stream == "floor"}) == 1
    assert core.hellos[-1].inc > core.hellos[0].inc
    assert core.hellos[-1].boot == core.hellos[0].boot + 1


async def test_a_wiped_card_opens_a_new_epoch_and_prints_only_when_resynchronised(
    site: Site, core: MiniCore
) -> None:
    agent = await site.start_agent()
    await until(lambda: agent.live.welcomed, "the welcome")
    await site.stop_agents()
    for file in site.folder.glob("floor.db*"):
        file.unlink()
    core.resync = True
    again = await site.start_agent()
    await until(lambda: again.live.welcomed, "the second welcome")
    core.tell(grant())
    await until(lambda: "grant.stored" in core.types(), "the grant")
    assert not again.status()["resynced"]
    assert site.paper.printed == []
    core.tell(ResyncDone(again.live.floor.position.epoch))
    await until(lambda: site.paper.printed, "the label")


async def test_a_core_that_does_not_answer_is_asked_again_and_nothing_is_lost(
    site: Site, core: MiniCore
) -> None:
    agent = await site.start_agent()
    await until(lambda: agent.live.welcomed, "the welcome")
    core.deaf = True
    core.tell(offer())
    await until(lambda: agent.live.count.rewinds >= 1, "a rewind")
    assert agent.status()["streams"]["floor"]["queued"] >= 2
    core.deaf = False
    await until(lambda: "offer.accepted" in core.types(), "the accept")


async def test_a_wrong_secret_never_connects_and_says_why(site: Site) -> None:
    link = site.link("wrong-secret-of-some-length")
    await link.start(lambda: (topics.up(SITE, AGENT, "st"), b"{}"))
    await until(lambda: link.last_error, "a reason")
    assert link.inbox.empty()
    assert not link.publish(topics.up(SITE, AGENT, "hello"), b"{}")
    await link.stop()


async def test_a_refused_subscription_is_an_error_and_not_silence(site: Site) -> None:
    if site.broker.name == "mosquitto":
        return  # it grants every filter and withholds the messages instead
    link = site.link()
    await link.start(lambda: (topics.up(SITE, AGENT, "st"), b"{}"))
    assert isinstance(await link.inbox.get(), Connected)
    with pytest.raises(Unavailable):
        await link.subscribe(["v1/#"])
    await link.stop()


async def test_a_lost_line_is_told_and_the_will_speaks_for_us(site: Site) -> None:
    link, other = site.link(), MiniCore(site.address, site.access.core_secret, SITE, AGENT)
    incs = iter(range(1, 100))
    await link.start(
        lambda: (
            topics.up(SITE, AGENT, "st"),
            b'{"v":1,"a":"sha-1","on":false,"inc":%d}' % next(incs),
        )
    )
    assert isinstance(await link.inbox.get(), Connected)
    connection: Any = link._connection
    connection._client.socket().shutdown(2)
    assert isinstance(await link.inbox.get(), Disconnected)
    await until(lambda: other.states, "the will")
    assert (other.states[0].on, other.states[0].inc) == (False, 1)
    assert isinstance(await link.inbox.get(), Connected)
    await link.stop()
    other.stop()


async def test_a_dead_network_thread_is_noticed(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge_agent.link.WATCH_S", 0.1)
    link = site.link()
    await link.start(lambda: (topics.up(SITE, AGENT, "st"), b"{}"))
    assert isinstance(await link.inbox.get(), Connected)
    connection: Any = link._connection
    connection._client._thread_terminate = True
    connection._client.on_disconnect = None
    event = await link.inbox.get()
    assert isinstance(event, Disconnected)
    assert isinstance(await link.inbox.get(), Connected)
    await link.stop()


async def test_the_broker_is_told_every_byte_at_once(site: Site) -> None:
    import socket

    link = site.link()
    await link.start(lambda: (topics.up(SITE, AGENT, "st"), b"{}"))
    assert isinstance(await link.inbox.get(), Connected)
    await link.subscribe([topics.down_filter(SITE, AGENT)])
    connection: Any = link._connection
    sock = connection._client.socket()
    assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    other = MiniCore(site.address, site.access.core_secret, SITE, AGENT)
    other.tell(offer())
    event = await link.inbox.get()
    assert isinstance(event, Received)
    assert event.topic.endswith("/dn/cmd")
    await link.stop()
    other.stop()
