"""The untrusted broker keeps MQTT's few promises and none beyond."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from random import Random
from typing import Any

from cloud_core import ports as core_ports
from tests.simulation.broker import KEEPALIVE_S, FakeBroker, Rates, Rights, matches
from tests.simulation.links import SimLink
from tests.simulation.loop import SimLoop

AGENT = Rights(("v1/hz/a1/up/#",), ("v1/hz/a1/dn/#", "v1/core/st"))
CORE = Rights(("v1/+/+/dn/#", "v1/core/st"), ("v1/+/+/up/#",))


class Party:
    """Core and one agent, connected; what each received."""

    def __init__(self, rates: Rates) -> None:
        self.broker = FakeBroker(Random(1), rates)
        self.core = SimLink(self.broker, "core", CORE, core_ports, Random(2))
        self.agent = SimLink(self.broker, "a1", AGENT, core_ports, Random(3))

    async def begin(self) -> None:
        await self.core.start(lambda: ("v1/core/st", b"core gone"))
        await self.agent.start(lambda: ("v1/hz/a1/up/st", b"agent gone"))
        await asyncio.sleep(1)
        await self.core.subscribe(["v1/+/+/up/#"])
        await self.agent.subscribe(["v1/hz/a1/dn/#"])
        await asyncio.sleep(1)
        self.heard(self.core), self.heard(self.agent)

    def heard(self, link: SimLink) -> list[Any]:
        found = []
        while not link.inbox.empty():
            found.append(link.inbox.get_nowait())
        return found

    def payloads(self, link: SimLink) -> list[bytes]:
        return [e.payload for e in self.heard(link) if isinstance(e, core_ports.Received)]


def history(rates: Rates, tell: Callable[[Party], Coroutine[Any, Any, Any]]) -> Any:
    async def whole() -> Any:
        party = Party(rates)
        await party.begin()
        return await tell(party)

    loop = SimLoop(1)
    try:
        return loop.run_until_complete(whole())
    finally:
        loop.close()


def test_filters_match_as_mqtt_says() -> None:
    assert matches("v1/+/+/up/#", "v1/hz/a1/up/ev-floor")
    assert matches("v1/hz/a1/dn/#", "v1/hz/a1/dn")
    assert not matches("v1/+/+/up/#", "v1/hz/a1/dn/cmd")
    assert not matches("v1/core/st", "v1/core/st/x")


def test_messages_arrive_in_another_order_twice_or_not_at_all() -> None:
    async def tell(party: Party) -> list[bytes]:
        for number in range(200):
            assert party.agent.publish("v1/hz/a1/up/st", str(number).encode())
        await asyncio.sleep(60)
        return party.payloads(party.core)

    got = history(Rates(loss=0.1, twice=0.2, delay_s=0.5, slow=0.05), tell)
    assert got != sorted(got, key=int)
    assert len(set(got)) < 200 < len(got)


def test_a_topic_of_another_agent_is_refused_and_counted() -> None:
    async def tell(party: Party) -> tuple[list[bytes], int]:
        party.agent.publish("v1/hz/a2/up/hello", b"i am somebody else")
        party.agent.publish("v1/core/st", b"i am the core")
        await asyncio.sleep(5)
        return party.payloads(party.core), party.broker.count.refused

    assert history(Rates(), tell) == ([], 2)


def test_a_crash_ends_every_session_and_forgets_what_was_retained() -> None:
    async def tell(party: Party) -> tuple[list[str], list[bytes]]:
        party.agent.publish("v1/hz/a1/up/st", b"on", retain=True)
        await asyncio.sleep(1)
        party.heard(party.core)
        party.agent.publish("v1/hz/a1/up/st", b"in flight")
        party.broker.crash()
        party.broker.restart()
        await asyncio.sleep(90)
        kinds = [type(event).__name__ for event in party.heard(party.core)]
        await party.core.subscribe(["v1/+/+/up/#"])
        await asyncio.sleep(1)
        return kinds, party.payloads(party.core)

    assert history(Rates(), tell) == (["Disconnected", "Connected"], [])


def test_a_cut_line_looks_connected_until_the_keepalive_ends_then_the_will_speaks() -> None:
    async def tell(party: Party) -> tuple[bool, list[bytes], list[str]]:
        party.broker.cut("a1")
        believed = party.agent.publish("v1/hz/a1/up/st", b"into the void")
        await asyncio.sleep(KEEPALIVE_S * 2)
        noticed = [type(event).__name__ for event in party.heard(party.agent)]
        return believed, party.payloads(party.core), noticed

    assert history(Rates(), tell) == (True, [b"agent gone"], ["Disconnected"])
