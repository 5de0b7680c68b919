"""Two `cloud-core serve` on one PostgreSQL: each serves its sites; one dies, the other takes over.

Real processes, a real broker, two agents played by hand that say hello whenever the core's state
says that a new life began, as real agents do.
"""

from __future__ import annotations

import asyncio
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import create_engine, text

from cloud_core.domain.broker_access import BrokerAccess, BrokerAgent
from cloud_core.domain.signing import hmac_sha256_hex
from cloud_core.store import broker_files
from cloud_core.store import schema as t
from protocols import chain, codec, topics
from protocols.messages import (
    AgentState,
    Command,
    CoreState,
    Hello,
    StreamPosition,
    Welcome,
)
from tests.support import databases, postgres
from tests.support.http_core import SECRET, HttpCore, events, order_event
from tests.support.mqtt_probe import Probe
from tests.support.plant import BrokerKind
from virtual_warehouse.broker import EmbeddedBroker, free_port
from virtual_warehouse.processes import Program, installed

SITES = {"hz": "hz-a", "sz": "sz-a"}
EPOCH = "00000000000000aa"
TAKE_OVER_S = 10.0
"""The promise: a site is served again this soon after its process was killed."""


pytestmark = pytest.mark.slow


@dataclass
class Hand:
    """An agent played by hand on a line of its own."""

    site: str
    probe: Probe
    inc: int = 0
    life: tuple[int, int] = (0, 0)
    welcomes: int = 0
    commands: dict[str, list[int]] = field(default_factory=dict)
    ended: threading.Event = field(default_factory=threading.Event)

    @property
    def agent(self) -> str:
        return SITES[self.site]

    def run(self) -> None:
        """Answer what is heard until the end of the test."""
        done = 0
        while not self.ended.wait(0.02):
            heard = self.probe.heard[done:]
            done += len(heard)
            for one in heard:
                self._take(one.topic, one.payload)

    def _take(self, topic: str, payload: bytes) -> None:
        if topic == topics.CORE_STATE_TOPIC:
            state = codec.decode(payload, CoreState)
            life = (state.core_epoch, state.inc)
            if state.on and life != self.life:
                self.life = life
                self.greet()
        elif topic == topics.down(self.site, self.agent, "welcome"):
            codec.decode(payload, Welcome)
            self.welcomes += 1
        elif topic == topics.down(self.site, self.agent, "cmd"):
            command = codec.decode(payload, Command)
            self.commands.setdefault(command.id, []).append(command.cs)

    def greet(self) -> None:
        self.inc += 1
        birth = codec.encode(AgentState(1, self.agent, on=True, inc=self.inc))
        head = chain.genesis(self.agent, "floor", EPOCH).hex()
        floor = StreamPosition("floor", EPOCH, 1, 1, head)
        hello = Hello(1, self.agent, self.inc, "test", [1], 1, "boot", 1, 1_000, [floor])
        client: Any = self.probe._client
        client.publish(topics.up(self.site, self.agent, "st"), birth, qos=1, retain=True)
        client.publish(topics.up(self.site, self.agent, "hello"), codec.encode(hello), qos=1)


class Pair:
    """The database, the broker, two programs and two hands."""

    def __init__(self, folder: Path, kind: BrokerKind) -> None:
        agents = tuple(BrokerAgent(s, a, secrets.token_urlsafe(32)) for s, a in SITES.items())
        first, second = secrets.token_urlsafe(32), secrets.token_urlsafe(32)
        self.access = BrokerAccess(first, agents, (second,))
        self.broker = kind(folder / "broker", self.access)
        self.folder = folder
        self.programs: dict[str, Program] = {}
        self.doors: dict[str, str] = {}
        self.hands: dict[str, Hand] = {}

    def start(self) -> None:
        address = self.broker.start()
        self._fill()
        for user, secret in self.access.cores:
            self._start_core(user, secret, address)
        both = ["core", "core-1"]
        self.until(lambda: sorted(self.holders().values()) == both, "a share for each", 30)
        for account in self.access.agents:
            probe = Probe(address, account.agent, account.secret).__enter__()
            hand = self.hands[account.site] = Hand(account.site, probe)
            threading.Thread(target=hand.run, daemon=True).start()
            probe.subscribe(topics.down_filter(account.site, account.agent))
            probe.subscribe(topics.CORE_STATE_TOPIC)
        self.until(lambda: all(h.welcomes for h in self.hands.values()), "both welcomed", 20)

    def stop(self) -> None:
        for hand in self.hands.values():
            hand.ended.set()
            hand.probe.__exit__(None, None, None)
        for program in self.programs.values():
            program.kill()
        self.broker.stop()

    def _fill(self) -> None:
        core = HttpCore(self.folder, inline=True)
        core.fill()
        core.add_channel()
        core.insert(t.warehouse, {"id": "SZ", "site": "sz", "name": "深圳仓", "carrier": "YS"})
        core.insert(t.agent, {"id": "sz-a", "warehouse": "SZ"})
        core.insert(t.sku, {"id": "SKU-SZ", "name": "深圳杯"})
        core.insert(t.stock, {"warehouse": "SZ", "sku": "SKU-SZ", "shelf": 1_000})

    def _start_core(self, user: str, secret: str, address: tuple[str, int]) -> None:
        folder = self.folder / user
        folder.mkdir()
        broker_files.write_secret(folder / "broker.secret", secret)
        port = free_port()
        (folder / "core.toml").write_text(
            f'data_dir = "{folder}"\nhttp_port = {port}\n'
            f'database_url = "{databases.url_of(self.folder)}"\n'
            f'master_key_file = "{self.folder / "master.key"}"\n'
            f'mqtt_username = "{user}"\nmqtt_port = {address[1]}\nmqtt_keepalive_s = 5\n'
            f'mqtt_password_file = "{folder / "broker.secret"}"\n'
            "channel_rate_per_min = 100000\n",
            encoding="utf-8",
        )
        command = [installed("cloud-core"), "--config", str(folder / "core.toml"), "serve"]
        self.programs[user] = Program(user, command, folder / "log")
        self.doors[user] = f"http://127.0.0.1:{port}"
        self.programs[user].start()

        async def well() -> bool:
            return await asyncio.to_thread(answers, self.doors[user])

        asyncio.run(self.programs[user].wait_until(well))

    def holders(self) -> dict[str, str]:
        """Which program serves which site, by what the database says of live leases."""
        now = "(extract(epoch FROM clock_timestamp()) * 1000)"
        rows = self.ask(f"SELECT site, holder FROM lease WHERE until_ms > {now}")
        names = {str(p.pid): user for user, p in self.programs.items()}
        return {site: names.get(who.split("-")[-2], "?") for site, who in rows if site in SITES}

    def ask(self, sql: str) -> list[Any]:
        engine = create_engine(databases.url_of(self.folder))
        try:
            with engine.connect() as connection:
                return list(connection.execute(text(sql)))
        finally:
            engine.dispose()

    def push(self, user: str, native: str, sku: str) -> None:
        """A paid order through the door of one process."""
        body = events(order_event(native, lines=[{"sku": sku, "quantity": 1, "price_fen": 1}]))
        stamp = str(int(time.time()))
        sign = hmac_sha256_hex(SECRET, stamp.encode(), b".", body)
        headers = {"x-packline-timestamp": stamp, "x-packline-signature": sign}
        url = f"{self.doors[user]}/v1/channels/demo-shop/events"
        answer = httpx.post(url, content=body, headers=headers, trust_env=False)
        assert answer.status_code < 300, answer.text

    def offers(self, site: str) -> dict[str, list[int]]:
        """The offers an agent heard: command id to the numbers it came with."""
        commands = dict(self.hands[site].commands)
        return {name: numbers for name, numbers in commands.items() if name.startswith("offer")}

    def until(self, well: Callable[[], Any], what: str, seconds: float) -> float:
        """Wait for a condition; the seconds it took."""
        began = time.monotonic()
        while not well():
            logs = {user: program.log_tail() for user, program in self.programs.items()}
            assert time.monotonic() - began < seconds, f"{what} did not come: {logs}"
            time.sleep(0.05)
        return time.monotonic() - began


def answers(door: str) -> bool:
    try:
        return httpx.get(f"{door}/healthz", trust_env=False).status_code < 500
    except httpx.HTTPError:
        return False


@contextmanager
def started(folder: Path, kind: BrokerKind) -> Iterator[Pair]:
    try:
        with databases.running_on("postgresql"):
            found = Pair(folder, kind)
            try:
                found.start()
                yield found
            finally:
                found.stop()
    except postgres.NoServer as missing:
        pytest.skip(str(missing))


@pytest.fixture
def pair(tmp_path: Path, broker_kind: BrokerKind) -> Iterator[Pair]:
    """On each broker: who is connected, and what waits for whom, is the broker's to say."""
    with started(tmp_path, broker_kind) as found:
        yield found


@pytest.fixture
def plain_pair(tmp_path: Path) -> Iterator[Pair]:
    """For what only the database decides."""
    with started(tmp_path, EmbeddedBroker) as found:
        yield found


def test_a_killed_process_is_replaced_and_no_command_is_lost_or_doubled(
    pair: Pair, say: Callable[[str], None]
) -> None:
    holders = pair.holders()
    skus = {"hz": "SKU-001", "sz": "SKU-SZ"}
    other = {"core": "core-1", "core-1": "core"}
    for site, sku in skus.items():  # through the door of the process that does not serve the site
        pair.push(other[holders[site]], f"first-{site}", sku)
    for site in skus:
        pair.until(lambda site=site: len(pair.offers(site)) == 1, f"the offer for {site}", 10)  # type: ignore[misc]
    victim = holders["hz"]
    before = pair.hands["hz"].welcomes
    pair.programs[victim].kill()
    pair.push(other[victim], "second-hz", skus["hz"])
    took = pair.until(
        lambda: pair.hands["hz"].welcomes > before, "hz welcomed again", TAKE_OVER_S
    )  # fmt: skip
    pair.until(lambda: len(pair.offers("hz")) == 2, "the second offer", 10)
    assert set(pair.holders().values()) == {other[victim]}
    numbers = [set(heard) for heard in pair.offers("hz").values()]
    assert all(len(heard) == 1 for heard in numbers), "a command keeps its number"
    assert len(set.union(*numbers)) == 2
    assert [row[0] for row in pair.ask("SELECT count(*) FROM shipment")] == [3]
    say(f"a site was served again {took:.1f} s after its process was killed")


def test_who_comes_later_is_given_a_share(plain_pair: Pair) -> None:
    pair = plain_pair
    pair.programs["core-1"].kill()
    alone = {"hz": "core", "sz": "core"}
    pair.until(lambda: pair.holders() == alone, "one process with everything", TAKE_OVER_S)
    pair.programs["core-1"].start()
    pair.until(lambda: set(pair.holders().values()) == {"core", "core-1"}, "both again", 30)
