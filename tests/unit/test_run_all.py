"""What runs beside the agent: the watchdog is fed from its real threads, safe mode ends by itself.

`serving._run_all` puts the parts together; here the agent is one that only waits, so that a part
left out is seen at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest

from cloud_core.bootstrap import heartbeat as core_heartbeat
from edge_agent.agent import Agent
from edge_agent.agent.clock import FlooredClock
from edge_agent.bootstrap import serving, starts
from edge_agent.bootstrap.box import Box
from edge_agent.bootstrap.chance import SystemClock
from edge_agent.bootstrap.heartbeat import STUCK_MS_MAX, hung
from edge_agent.bootstrap.scanners import FloorScanners
from edge_agent.domain import start
from edge_agent.domain.moment import ClockFloor
from edge_agent.domain.start import StartRecord
from edge_agent.journal.writer import ThreadJournal
from edge_agent.settings import Settings
from protocols.topics import STREAMS
from tests.unit.test_box import Watch


class WaitingAgent:
    """Ready at once; runs until it is stopped."""

    def __init__(self) -> None:
        self.ready = asyncio.Event()
        self.stopped = asyncio.Event()

    async def run(self) -> None:
        self.ready.set()
        await self.stopped.wait()

    def stop(self) -> None:
        self.stopped.set()


class Thread:
    """A writer or a reader that can be made to hang."""

    def __init__(self) -> None:
        self.late_ms = 0

    def stuck_ms(self) -> int:
        return self.late_ms

    def stop(self) -> None:
        """As a scanner has it."""


def settings_at(folder: Path) -> Settings:
    given = {"site": "sha", "agent": "sha-1", "data_dir": str(folder), "page_enabled": False}
    return msgspec.convert(given, Settings)


def box(safe_zh: str = "") -> Box:
    return Box(FlooredClock(SystemClock(), ClockFloor()), safe_zh)


async def test_the_watchdog_sees_every_journal_writer_and_the_scanners_reader(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent, reader, ended = WaitingAgent(), Thread(), asyncio.Event()
    writers = {stream: Thread() for stream in STREAMS}
    watched: asyncio.Future[Mapping[str, Any]] = asyncio.get_running_loop().create_future()

    async def beat(pulses: Mapping[str, Any]) -> None:
        watched.set_result(pulses)

    monkeypatch.setattr(serving, "beat", beat)
    monkeypatch.setattr(serving, "start_scanners", lambda *_: [reader])
    running = asyncio.create_task(serving._run_all(
        settings_at(tmp_path), cast(Agent, agent), box(),
        cast(dict[str, ThreadJournal], writers), ended,
    ))  # fmt: skip
    pulses = await asyncio.wait_for(watched, 10)
    assert hung(pulses) == []
    for thread, name in (
        (writers["floor"], "journal floor"), (writers["telemetry"], "journal telemetry"),
        (reader, "scanner 0"),
    ):  # fmt: skip
        thread.late_ms = STUCK_MS_MAX + 1
        assert hung(pulses) == [name]
        thread.late_ms = 0
    assert callable(FloorScanners.stuck_ms), "the reader the agent really has can tell"
    agent.stop()
    await running


async def test_safe_mode_ends_by_itself_for_one_try(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(start.UNFINISHED_MAX):
        starts.begin(tmp_path, "boot-1")
    record = starts.begin(tmp_path, "boot-1")
    assert record is not None
    assert start.RETRY_S == 900.0, "what page and doctor promise: 15 minutes"
    monkeypatch.setattr(start, "RETRY_S", 0.05)
    agent = WaitingAgent()
    await asyncio.wait_for(
        serving._run_all(
            settings_at(tmp_path), cast(Agent, agent), box("安全模式"), {}, asyncio.Event()
        ), 10,
    )  # fmt: skip
    assert agent.stopped.is_set(), "the service manager starts it anew"
    assert starts.begin(tmp_path, "boot-1") is None, "with its drivers"
    assert starts.begin(tmp_path, "boot-1") is not None, "and safe again should that fail too"


async def test_an_ordinary_start_is_not_ended_by_the_retry(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(start, "RETRY_S", 0.0)
    monkeypatch.setattr(serving, "start_scanners", lambda *_: [])
    agent = WaitingAgent()
    running = asyncio.create_task(serving._run_all(
        settings_at(tmp_path), cast(Agent, agent), box(), {}, asyncio.Event()
    ))  # fmt: skip
    await asyncio.wait_for(agent.ready.wait(), 10)
    for _ in range(20):
        await asyncio.sleep(0)
    assert not agent.stopped.is_set()
    assert starts.read(tmp_path) == StartRecord()
    agent.stop()
    await running


async def test_the_core_feeds_its_watchdog_while_its_write_queue_lives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    watch = Watch(tmp_path, monkeypatch)
    alive = [True]
    beating = asyncio.create_task(core_heartbeat.beat(lambda: alive[0]))
    await watch.until("WATCHDOG=1")
    await watch.until("WATCHDOG=1")
    alive[0] = False
    await asyncio.wait_for(beating, 10)  # it stops by itself, so the service manager sees it
    watch.told()
    await asyncio.sleep(0)
    assert watch.told() == []
    watch.close()


async def test_without_a_watchdog_the_core_feeds_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WATCHDOG_USEC", raising=False)
    await asyncio.wait_for(core_heartbeat.beat(lambda: True), 10)
