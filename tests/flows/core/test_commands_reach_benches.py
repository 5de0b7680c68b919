"""A command is sent until its bench has it, and only to benches that are known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cloud_core.bootstrap import Knobs, Ports, RandomIds, wire
from cloud_core.domain.change_commands import CancelOrder
from cloud_core.link import NoLink
from cloud_core.ports import Received
from cloud_core.store import key_file
from cloud_core.store import schema as t
from cloud_core.worker import Pace
from protocols import codec, topics
from protocols.messages import AgentState, Command
from tests.support.databases import open_database
from tests.support.http_core import HttpCore, QuietWriteBack, events, order_event, until


class LossyLine(NoLink):
    """Takes everything; remembers which commands were published where."""

    def __init__(self) -> None:
        super().__init__()
        self.commands: list[tuple[str, str]] = []
        self.states = 0

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> bool:
        self.states += topic == topics.CORE_STATE_TOPIC  # said again every few rounds
        if topic.endswith("/dn/cmd"):
            self.commands.append((topic, codec.decode(payload, Command).k))
        return True


def birth(core: HttpCore, site: str = "hz", agent: str = "hz-a") -> None:
    state = codec.encode(AgentState(1, agent, on=True, inc=3))
    core.wired.ports.link.inbox.put_nowait(Received(topics.up(site, agent, "st"), state))


@pytest.fixture
def core(tmp_path: Path) -> HttpCore:
    core = HttpCore(tmp_path)
    core.add_channel()
    core.fill()
    core.wired.core._link = core.line = LossyLine()  # type: ignore[attr-defined]
    core.wired.ports.link.inbox = core.line.inbox  # type: ignore[attr-defined]
    core.wired.core._pace = Pace(sweep_s=0.05, ingest_s=0.05, resend_s=0.1)
    return core


def sent(core: Any, kind: str) -> list[str]:
    return [topic for topic, found in core.line.commands if found == kind]


async def test_a_command_that_was_lost_comes_again_and_again(core: HttpCore) -> None:
    def sent_six_times() -> bool:
        core.clock.advance(0.05)
        return len(sent(core, "offer")) >= 6

    async with core.started():
        birth(core)
        await core.push(events(order_event("1")))
        await until(sent_six_times)


async def test_what_the_command_line_does_beside_a_serving_core_reaches_the_bench(
    core: HttpCore, tmp_path: Path
) -> None:
    async with core.started():
        birth(core)
        await core.push(events(order_event("1")))
        await until(lambda: sent(core, "offer"))
        with core.wired.engine.begin() as connection:
            connection.execute(t.outbox.update().values(received_ms=core.clock.ms))
        quiet = core.line.states + 2  # type: ignore[attr-defined]
        await until(lambda: core.line.states >= quiet)  # type: ignore[attr-defined]
        engine = open_database(tmp_path)
        ports = Ports(core.clock, RandomIds(), NoLink(), QuietWriteBack())
        beside = wire(engine, key_file.load(tmp_path / "master.key"), ports, Knobs(inline=True))
        order = core.rows(t.orders)[0]["id"]
        await beside.committer.submit(CancelOrder(order, "cancelled", "cli:test"))
        engine.dispose()
        await until(lambda: sent(core, "cancel"))


async def test_nothing_is_sent_to_a_site_that_is_not_the_agents(core: HttpCore) -> None:
    async with core.started():
        birth(core, site="elsewhere")
        await until(lambda: [q for q in core.rows(t.quarantine) if q["code"] == "agent_site"])
        await core.push(events(order_event("1")))
        await until(lambda: core.rows(t.outbox))
        birth(core)
        await until(lambda: sent(core, "offer"))
    assert {topic.split("/")[1] for topic, _ in core.line.commands} == {"hz"}  # type: ignore[attr-defined]
