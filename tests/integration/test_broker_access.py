"""At both brokers an agent speaks and hears for itself only, and the plain MQTT we need works."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from cloud_core.domain.broker_access import BrokerAccess, BrokerAgent
from protocols import limits, topics
from tests.support.mqtt_probe import REFUSED, Probe
from virtual_warehouse.broker import EmbeddedBroker, MosquittoBroker, find_mosquitto

SITE = "hz-01"
OWN_UP = topics.up(SITE, "bench-1", "st")
OWN_DOWN = topics.down(SITE, "bench-1", "cmd")
OTHER_UP = topics.up(SITE, "bench-2", "st")
OTHER_DOWN = topics.down(SITE, "bench-2", "cmd")
OTHER_SITE_UP = topics.up("sh-02", "bench-1", "st")

FOREIGN_PUBLISHES = [
    OTHER_UP, OTHER_DOWN, OWN_DOWN, OTHER_SITE_UP, topics.CORE_STATE_TOPIC, "v1/core/bench-1/up/st",
    "other", f"v1/{SITE}/bench-1/UP/st", "$JS/API/STREAM/NAMES",
    "$MQTT/sub/x", "$SYS/x",
]  # fmt: skip
FOREIGN_FILTERS = [
    f"v1/{SITE}/bench-2/dn/#", OTHER_DOWN, OTHER_UP, f"v1/{SITE}/+/dn/#", f"v1/{SITE}/+/dn/cmd",
    "v1/+/+/dn/#", "v1/+/bench-2/#", "v1/#", "#", "+/#", "+/+/+/+/+", f"v1/{SITE}/#", "v1/>",
    f"v1/{SITE}/*/dn/cmd", "$JS/#", "$MQTT/#", "$SYS/#",
]  # fmt: skip


def secret() -> str:
    return secrets.token_urlsafe(32)


@dataclass(frozen=True)
class Yard:
    """A running broker with the core and two agents admitted."""

    broker: Any
    address: tuple[str, int]
    access: BrokerAccess

    @property
    def core(self) -> Probe:
        return Probe(self.address, "core", self.access.core_secret)

    def agent(self, name: str, **more: Any) -> Probe:
        (account,) = [one for one in self.access.agents if one.agent == name]
        return Probe(self.address, name, account.secret, **more)


@pytest.fixture(scope="module", params=[EmbeddedBroker, MosquittoBroker], ids=lambda one: one.name)
def yard(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Yard]:
    if request.param is MosquittoBroker and find_mosquitto() is None:
        pytest.skip("NOT PROVED ON MOSQUITTO: it is not installed (apt-get install mosquitto)")
    access = BrokerAccess(
        secret(), (BrokerAgent(SITE, "bench-1", secret()), BrokerAgent(SITE, "bench-2", secret()))
    )
    broker = request.param(tmp_path_factory.mktemp(request.param.name), access)
    try:
        yield Yard(broker, broker.start(), access)
    finally:
        broker.stop()


# --- who gets in -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("user", "password"),
    [
        ("", ""), ("bench-1", "wrong"), ("bench-1", ""), ("core", "wrong"), ("bench-3", "any"),
        ("+", "any"), ("#", "any"),
    ],
)  # fmt: skip
def test_nobody_gets_in_without_the_right_secret(yard: Yard, user: str, password: str) -> None:
    with Probe(yard.address, user, password) as stranger:
        assert not stranger.connected
        assert stranger.answer != "Success"


def test_one_agents_secret_is_not_anothers(yard: Yard) -> None:
    other = yard.access.agents[1].secret
    with Probe(yard.address, "bench-1", other) as stranger:
        assert not stranger.connected


def test_the_secrets_are_readable_by_their_owner_only(yard: Yard) -> None:
    files = [path for path in yard.broker.directory.iterdir() if path.suffix != ".log"]
    written = [path for path in files if path.is_file()]
    assert written
    assert all(path.stat().st_mode & 0o077 == 0 for path in files)
    if yard.broker.name == "mosquitto":
        text = "".join(path.read_text(encoding="utf-8") for path in written)
        assert not any(account.secret in text for account in yard.access.agents)


# --- what an agent may not do ------------------------------------------------------------------


@pytest.mark.parametrize("topic", FOREIGN_PUBLISHES)
def test_an_agent_cannot_publish_for_another(yard: Yard, topic: str) -> None:
    mark = secrets.token_bytes(8)
    with yard.core as core, yard.agent("bench-2") as victim:
        assert core.subscribe("v1/#") == 1
        assert victim.subscribe(topics.down_filter(SITE, "bench-2")) == 1
        assert victim.subscribe(topics.CORE_STATE_TOPIC) == 1
        with yard.agent("bench-1") as forger:
            assert forger.connected
            forger.publish(topic, b"forged " + mark)
        with yard.agent("bench-1") as honest:
            assert honest.publish(OWN_UP, b"honest " + mark)
        assert core.publish(OTHER_DOWN, b"real " + mark)
        core.hear(OWN_UP, b"honest " + mark)
        victim.hear(OTHER_DOWN, b"real " + mark)
        assert [one for one in core.heard + victim.heard if one.payload == b"forged " + mark] == []


@pytest.mark.parametrize("topic_filter", FOREIGN_FILTERS)
def test_an_agent_cannot_read_anothers_messages(yard: Yard, topic_filter: str) -> None:
    mark = secrets.token_bytes(8)
    with yard.core as core, yard.agent("bench-2") as victim, yard.agent("bench-1") as agent:
        code = agent.subscribe(topic_filter)
        if yard.broker.name == "nats":
            assert code == REFUSED
        assert agent.subscribe(topics.down_filter(SITE, "bench-1")) == 1
        assert victim.publish(OTHER_UP, b"not yours " + mark)
        assert core.publish(OTHER_DOWN, b"not yours " + mark)
        assert core.publish(OWN_DOWN, b"yours " + mark)
        agent.hear(OWN_DOWN, b"yours " + mark)
        mine = {OWN_DOWN, topics.CORE_STATE_TOPIC}
        assert {one.topic for one in agent.heard} <= mine


def test_an_agent_cannot_read_anothers_retained_configuration(yard: Yard) -> None:
    other_config = topics.down(SITE, "bench-2", "cfg")
    own_config = topics.down(SITE, "bench-1", "cfg")
    with yard.core as core, yard.agent("bench-1") as agent:
        assert core.publish(other_config, b"theirs", retain=True)
        assert core.publish(own_config, b"mine", retain=True)
        for topic_filter in ("v1/+/+/dn/cfg", other_config, "#"):
            agent.subscribe(topic_filter)
        assert agent.subscribe(topics.down_filter(SITE, "bench-1")) == 1
        agent.hear(own_config, b"mine")
        assert {one.topic for one in agent.heard} == {own_config}
        for topic in (other_config, own_config):
            assert core.publish(topic, b"", retain=True)


@pytest.mark.parametrize("topic", [OTHER_UP, OTHER_DOWN, topics.CORE_STATE_TOPIC])
def test_an_agent_cannot_set_a_will_for_another(yard: Yard, topic: str) -> None:
    mark = secrets.token_bytes(8)
    with yard.core as core:
        assert core.subscribe("v1/#") == 1
        with yard.agent("bench-1", will=(topic, b"forged " + mark)) as forger:
            if forger.connected:
                forger.break_off()
        with yard.agent("bench-2", will=(OTHER_UP, b"real will " + mark)) as honest:
            honest.break_off()
        core.hear(OTHER_UP, b"real will " + mark)
        assert [one for one in core.heard if one.payload == b"forged " + mark] == []


def test_a_client_id_is_bound_to_its_user_on_mosquitto_only(yard: Yard) -> None:
    """The documented difference: on NATS an agent can throw another off, yet not read for it."""
    mark = secrets.token_bytes(8)
    with yard.core as core, yard.agent("bench-1") as agent:
        assert agent.subscribe(topics.down_filter(SITE, "bench-1")) == 1
        with yard.agent("bench-2", client_id=agent.client_id) as thief:
            assert thief.connected
            if yard.broker.name == "nats":
                agent.wait(lambda: not agent.connected, "being thrown off")
            assert core.publish(OWN_DOWN, b"for bench-1 " + mark)
            assert thief.subscribe(topics.down_filter(SITE, "bench-2")) == 1
            assert core.publish(OTHER_DOWN, b"for bench-2 " + mark)
            thief.hear(OTHER_DOWN, b"for bench-2 " + mark)
            assert {one.topic for one in thief.heard} == {OTHER_DOWN}
        if yard.broker.name == "mosquitto":
            agent.hear(OWN_DOWN, b"for bench-1 " + mark)
            assert agent.connected


# --- what everybody may do, and needs ----------------------------------------------------------


def test_the_core_reads_and_writes_everything_below_v1(yard: Yard) -> None:
    with yard.core as core, yard.agent("bench-1") as agent:
        assert core.subscribe(topics.ALL_UP_FILTER) == 1
        assert core.subscribe("v1/#") == 1
        assert agent.subscribe(topics.down_filter(SITE, "bench-1")) == 1
        assert agent.subscribe(topics.CORE_STATE_TOPIC) == 1
        for channel in topics.UP_CHANNELS:
            assert agent.publish(topics.up(SITE, "bench-1", channel), channel.encode())
            core.hear(topics.up(SITE, "bench-1", channel), channel.encode())
        for channel in topics.DOWN_CHANNELS:
            assert core.publish(topics.down(SITE, "bench-1", channel), channel.encode())
            agent.hear(topics.down(SITE, "bench-1", channel), channel.encode())
        assert core.publish(topics.CORE_STATE_TOPIC, b"on")
        agent.hear(topics.CORE_STATE_TOPIC, b"on")


def test_a_retained_state_waits_for_whoever_comes_later(yard: Yard) -> None:
    with yard.agent("bench-1") as agent:
        assert agent.publish(OWN_UP, b"birth", retain=True)
    with yard.core as core:
        assert core.publish(topics.CORE_STATE_TOPIC, b"core on", retain=True)
        assert core.subscribe(topics.ALL_UP_FILTER) == 1
        assert core.hear(OWN_UP).payload == b"birth"
        assert core.hear(OWN_UP).retained
        with yard.agent("bench-2") as late:
            assert late.subscribe(topics.CORE_STATE_TOPIC) == 1
            assert late.hear(topics.CORE_STATE_TOPIC).payload == b"core on"
        for topic in (OWN_UP, topics.CORE_STATE_TOPIC):
            assert core.publish(topic, b"", retain=True)


def test_a_will_comes_when_the_plug_is_pulled_and_stays_retained(yard: Yard) -> None:
    with yard.core as core:
        assert core.subscribe(topics.ALL_UP_FILTER) == 1
        with yard.agent("bench-1", will=(OWN_UP, b"off"), retain_will=True) as agent:
            assert agent.publish(OWN_UP, b"on", retain=True)
            core.hear(OWN_UP, b"on")
            agent.break_off()
        core.hear(OWN_UP, b"off")
    with yard.core as later:
        assert later.subscribe(topics.ALL_UP_FILTER) == 1
        assert later.hear(OWN_UP).payload == b"off"
        assert later.publish(OWN_UP, b"", retain=True)


def test_no_will_comes_after_an_orderly_goodbye(yard: Yard) -> None:
    mark = secrets.token_bytes(8)
    with yard.core as core:
        assert core.subscribe(topics.ALL_UP_FILTER) == 1
        with yard.agent("bench-1", will=(OWN_UP, b"off " + mark)):
            pass
        with yard.agent("bench-1") as again:
            assert again.publish(OWN_UP, b"back " + mark)
        core.hear(OWN_UP, b"back " + mark)
        assert [one for one in core.heard if one.payload == b"off " + mark] == []


def test_messages_flow_both_ways_in_order_without_delay_on_the_socket(yard: Yard) -> None:
    turns = [f"turn {n}".encode() for n in range(100)]
    with yard.core as core, yard.agent("bench-1") as agent:
        assert core.nodelay
        assert agent.nodelay
        assert core.subscribe(topics.ALL_UP_FILTER) == 1
        assert agent.subscribe(topics.down_filter(SITE, "bench-1")) == 1
        for turn in turns:
            assert core.publish(OWN_DOWN, turn)
            agent.hear(OWN_DOWN, turn)
            assert agent.publish(OWN_UP, turn)
            core.hear(OWN_UP, turn)
        assert [one.payload for one in agent.heard] == turns
        assert [one.payload for one in core.heard] == turns


def test_the_largest_message_of_the_wire_fits(yard: Yard) -> None:
    payload = secrets.token_bytes(limits.BATCH_BYTES_MAX)
    with yard.core as core, yard.agent("bench-1") as agent:
        assert core.subscribe(topics.ALL_UP_FILTER) == 1
        assert agent.publish(topics.up(SITE, "bench-1", "ev-floor"), payload)
        core.hear(topics.up(SITE, "bench-1", "ev-floor"), payload)


def test_a_message_above_every_bound_does_not_reach_the_core(yard: Yard) -> None:
    mark = secrets.token_bytes(8)
    with yard.core as core, yard.agent("bench-2") as neighbour:
        assert core.subscribe(topics.ALL_UP_FILTER) == 1
        with yard.agent("bench-1") as agent:
            assert not agent.publish(OWN_UP, bytes(3 * limits.BATCH_BYTES_MAX))
            assert not agent.connected
        assert neighbour.publish(OTHER_UP, mark)
        core.hear(OTHER_UP, mark)
        assert [len(one.payload) for one in core.heard] == [len(mark)]


# --- the life of the broker --------------------------------------------------------------------


def test_agents_come_and_go_while_the_broker_runs(yard: Yard) -> None:
    newcomer = BrokerAgent("sh-02", "bench-9", secret())
    more = replace(yard.access, agents=(*yard.access.agents, newcomer))
    with yard.core as core, yard.agent("bench-1") as agent:
        assert core.subscribe(topics.ALL_UP_FILTER) == 1
        yard.broker.admit(more)
        joined = Probe(yard.address, "bench-9", newcomer.secret)

        def got_in() -> bool:
            with Probe(yard.address, "bench-9", newcomer.secret) as first:
                return first.connected

        core.wait(got_in, "the newcomer admitted")
        with joined as fresh:
            assert fresh.publish(topics.up("sh-02", "bench-9", "st"), b"hello")
            core.hear(topics.up("sh-02", "bench-9", "st"), b"hello")
        assert core.connected
        assert agent.connected
        yard.broker.admit(yard.access)
        core.wait(lambda: not got_in(), "the newcomer shut out")
        assert agent.publish(OWN_UP, b"still here")
        core.hear(OWN_UP, b"still here")


def test_after_kill_9_the_broker_serves_on_the_same_port(yard: Yard, tmp_path: Path) -> None:
    broker = type(yard.broker)(tmp_path / "own", yard.access)
    address = broker.start()
    try:
        with Probe(address, "core", yard.access.core_secret) as core:
            assert core.subscribe(topics.ALL_UP_FILTER) == 1
            broker.kill()
            core.wait(lambda: not core.connected, "the loss of the broker")
        assert broker.pid is None
        assert broker.restart() == address
        secret_of_agent = yard.access.agents[0].secret
        with (
            Probe(address, "core", yard.access.core_secret) as core,
            Probe(address, "bench-1", secret_of_agent) as agent,
        ):
            assert core.subscribe(topics.ALL_UP_FILTER) == 1
            assert agent.publish(OWN_UP, b"again")
            core.hear(OWN_UP, b"again")
    finally:
        broker.stop()
