"""One agent in a process of its own: the real agent with real journals and the real line.

Only its people and its paper are missing: what a bench would report is written to the journal in
commits of 100 events, as fast as the disk takes it. Talks to the parent in JSON lines: one order
in, one answer out.
"""

from __future__ import annotations

import asyncio
import functools
import gc
import hashlib
import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from msgspec import Struct

from benchmarks import floor_work
from benchmarks.machine import percentile
from edge_agent import bootstrap
from edge_agent.agent import Agent
from edge_agent.agent.parts import Ports
from edge_agent.domain.floor_plan import FloorPlan
from edge_agent.domain.label import PaperFields
from edge_agent.domain.printer_status import READY, PrinterStatus, SendOutcome
from edge_agent.flows import print_label
from edge_agent.journal.core import JournalCore
from edge_agent.journal.tx import Tx
from edge_agent.journal.writer import ThreadJournal
from edge_agent.link import BrokerAddress, MqttLink
from protocols.events import PrinterChanged, ScanRefused

EVENTS_A_COMMIT = 100
STORED_A_COMMIT = 500
BATCH_MAX = 100
Row = tuple[str, Struct, str]


class NoPaper:
    """A printer that is well and is never asked to print."""

    async def status(self) -> PrinterStatus:
        return READY

    async def send(self, data: bytes, before_first_byte: Callable[[], bool]) -> SendOutcome:
        raise AssertionError("nothing prints here")

    async def close(self) -> None:
        """Nothing to close."""


class NoDrawing:
    """The label maker of a printer that never prints."""

    def framed(self, fields: PaperFields, job_tag: str = "") -> bytes:
        raise AssertionError("nothing is drawn here")

    def preview_png(self, fields: PaperFields) -> bytes:
        raise AssertionError("nothing is drawn here")


class Answers:
    """Lines from and to the parent."""

    async def start(self) -> None:
        loop = asyncio.get_running_loop()
        self._reader = asyncio.StreamReader()
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(self._reader), sys.stdin)

    async def ask(self) -> dict[str, Any]:
        """The next order; {"do": "stop"} when the parent is gone."""
        line = await self._reader.readline()
        order: dict[str, Any] = json.loads(line) if line else {"do": "stop"}
        return order

    @staticmethod
    def say(**values: Any) -> None:
        print(json.dumps(values), flush=True)


async def run(config: dict[str, Any]) -> None:
    """Be the agent until told to stop."""
    clock, ids = bootstrap.SystemClock(), bootstrap.SystemIds()
    loop = asyncio.get_running_loop()
    folder = Path(config["folder"])
    journals = {
        stream: _journal(folder / f"{stream}.sqlite", config["agent"], stream, clock, ids)
        for stream in ("floor", "telemetry")
    }
    for journal in journals.values():
        journal.start(loop)
    link = MqttLink(
        BrokerAddress(
            config["host"], config["port"], config["agent"], config["agent"], config["secret"]
        )
    )
    plan = FloorPlan(site=config["site"], agent=config["agent"], printers=("paper",),
                     telemetry_rows_max=10_000_000)  # fmt: skip
    ports = Ports(clock, ids, link, journals, {"paper": NoPaper()}, {"paper": NoDrawing()}, _unused)
    agent = Agent(plan, ports)
    running = asyncio.create_task(agent.run())
    gc.freeze()
    try:
        await _serve(agent, running)
    finally:
        agent.stop()
        await running
        for journal in journals.values():
            await journal.stop()


async def _serve(agent: Agent, running: asyncio.Task[None]) -> None:
    live, talk, done = agent.live, Answers(), set[str]()
    await talk.start()
    while True:
        order = await talk.ask()
        assert not running.done(), running.exception()
        if order["do"] == "stop":
            return
        if order["do"] == "welcomed":
            while not live.welcomed:
                assert not running.done(), running.exception()
                await asyncio.sleep(0.01)
            live.batch_max = BATCH_MAX
            talk.say(resynced=live.floor.read(lambda db: _resynced(db, live)))
        elif order["do"] == "granted":
            talk.say(granted=live.floor.read(floor_work.granted_count) - len(done))
        elif order["do"] == "telemetry":
            talk.say(**await _write(agent, "telemetry", list(_telemetry(order["events"]))))
        elif order["do"] == "store":
            talk.say(**await _store(agent, "telemetry", list(_varied(order["events"]))))
        elif order["do"] == "drained":
            talk.say(**await _drained(agent, "telemetry"))
        elif order["do"] == "paced":
            await _paced(agent, talk, order)
        elif order["do"] == "floor":
            rows = live.floor.read(lambda db: floor_work.remaining_work(db, done))
            talk.say(**await _write(agent, "floor", rows))


async def _write(agent: Agent, stream: str, rows: Sequence[Row]) -> dict[str, Any]:
    """Write all rows, 100 a commit, and wait until the core has acknowledged the last."""
    live = agent.live
    journal = live.ports.journals[stream]
    assert live.batch_max == BATCH_MAX
    batches, rewinds = live.count.batches, live.count.rewinds
    start = time.monotonic()
    for first in range(0, len(rows), EVENTS_A_COMMIT):
        part = rows[first : first + EVENTS_A_COMMIT]
        await journal.write(functools.partial(_append, rows=part))
        live.wake_upload[stream].set()
    written = time.monotonic()
    last = journal.position.last
    while live.senders[stream].acked < last:
        await asyncio.sleep(0.002)
    return {
        "events": len(rows), "start": start, "written": written, "end": time.monotonic(),
        "batches": live.count.batches - batches, "rewinds": live.count.rewinds - rewinds,
    }  # fmt: skip


async def _store(agent: Agent, stream: str, rows: Sequence[Row]) -> dict[str, Any]:
    """Write all rows, 500 a commit, and do not wait for anybody."""
    live = agent.live
    journal = live.ports.journals[stream]
    start = time.monotonic()
    for first in range(0, len(rows), STORED_A_COMMIT):
        part = rows[first : first + STORED_A_COMMIT]
        await journal.write(functools.partial(_append, rows=part))
    live.wake_upload[stream].set()
    return {"seconds": time.monotonic() - start, "queued": live.queued(stream),
            "used_bytes": journal.used_bytes}  # fmt: skip


async def _drained(agent: Agent, stream: str) -> dict[str, Any]:
    """Wait until the core holds every row."""
    live = agent.live
    while not live.welcomed or live.queued(stream):
        await asyncio.sleep(0.005)
    return {"end": time.monotonic(), "batches": live.count.batches, "rewinds": live.count.rewinds}


async def _paced(agent: Agent, talk: Answers, order: dict[str, Any]) -> None:
    """Numbered events from `first`, one a commit, at `rate` a second (0: as fast as it goes).

    Says each number once its commit is durable, and what each commit took at the end.
    """
    live, number = agent.live, int(order["first"])
    start, made, took_ms = time.monotonic(), 0, list[float]()
    while (now := time.monotonic()) - start < order["seconds"]:
        if order["rate"] and made >= (now - start) * order["rate"]:
            await asyncio.sleep(min(0.01, 1 / order["rate"]))
            continue
        row = ("scan.refused", ScanRefused("code_unknown", number, "scanner-1"), "p-1")
        await live.ports.journals["telemetry"].write(functools.partial(_append, rows=[row]))
        took_ms.append((time.monotonic() - now) * 1000)
        live.wake_upload["telemetry"].set()
        talk.say(accepted=number)
        made, number = made + 1, number + 1
    talk.say(done=made, p50_ms=percentile(took_ms, 50), p99_ms=percentile(took_ms, 99))


def _append(tx: Tx, rows: Sequence[Row]) -> None:
    for type_, body, station in rows:
        tx.append(type_, body, station=station)


def _telemetry(count: int) -> Iterator[Row]:
    """What a busy bench says about itself."""
    for number in range(count):
        if number % 4:
            yield "scan.refused", ScanRefused("code_unknown", 13, "scanner-1"), f"p-{number % 6}"
        else:
            yield "printer.changed", PrinterChanged("paper", "warn", "paper_low"), ""


def _varied(count: int) -> Iterator[Row]:
    """Rows that compress no better than scans of different shipments: each has 8 random signs."""
    for number in range(count):
        sign = hashlib.sha256(str(number).encode()).hexdigest()
        name = f"DB2026{sign[:8].upper()}-1"
        yield "scan.refused", ScanRefused("code_unknown", 6 + number % 30, name), f"p-{number % 6}"


def _resynced(db: Any, live: Any) -> bool:
    return print_label.may_print(db, live.floor.position.epoch)


def _journal(
    file: Path, agent: str, stream: str, clock: bootstrap.SystemClock, ids: bootstrap.SystemIds
) -> ThreadJournal:
    core = JournalCore(bootstrap.connector(file), agent, stream, ids.epoch)
    core.open(clock.now())
    assert core.db.execute("PRAGMA synchronous").fetchone()[0] == 2
    return ThreadJournal(core, bootstrap.connector(file), clock)


async def _unused(work: Callable[[], bytes]) -> bytes:
    raise AssertionError("nothing is drawn here")


if __name__ == "__main__":
    asyncio.run(run(json.loads(sys.argv[1])))
