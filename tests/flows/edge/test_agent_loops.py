"""The agent's own loops over real journals: printing, upkeep, start and farewell."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edge_agent.agent import Agent, printing
from edge_agent.agent.session import Session
from edge_agent.agent.upkeep import Upkeep
from edge_agent.bootstrap.scanners import FloorScanners
from edge_agent.domain import sender
from edge_agent.domain.answer import Answer
from edge_agent.domain.printer_status import READY, PrinterLevel, PrinterStatus, SendOutcome
from edge_agent.domain.scan import ScanEvent
from edge_agent.flows import greet, print_label, purge, upload
from edge_agent.flows import work as work_flow
from edge_agent.journal import rows
from edge_agent.settings import ScannerSetting, Settings
from protocols import chain, codec
from protocols.messages import Ack, Hello, StreamHave, Welcome
from tests.support.edge import Floor, grant, hand_over
from tests.support.edge_live import HandPrinter, StillLink, live_of, ports_of, until

SHIPMENT = "DB2026AAAA-1"
PAPER_OUT = PrinterStatus(PrinterLevel.ERROR, "paper_out", "缺纸")


@pytest.fixture
def floor(tmp_path: Path) -> Floor:
    floor = Floor(tmp_path)
    floor.resynced()
    return floor


@pytest.fixture
def telemetry(tmp_path: Path) -> Floor:
    return Floor(tmp_path, stream="telemetry")


@asynccontextmanager
async def running(loop: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    task = asyncio.create_task(loop)
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def test_a_full_journal_whose_labels_are_due_makes_room_and_works_again(
    floor: Floor, telemetry: Floor
) -> None:
    floor.tell(grant())
    hand_over(floor)
    for number in range(50):
        floor.tell(grant(f"DB2026{number:04d}-1"))
    floor.write(lambda tx: rows.set_acked(tx.db, 1, tx.head.last))
    floor.clock.step(25 * purge.HOUR_MS)
    floor.core = floor.open(quota_bytes=floor.core.used_bytes)
    live = live_of(floor, telemetry, HandPrinter())
    async with running(Upkeep(live, Session(live)).run()):
        await until(lambda: not live.floor.full)
    assert floor.scan("TASK-DB20260000-1").tone == "ok"
    assert floor.bodies("personal.purged") == [{"shipments": [SHIPMENT]}]


async def test_a_printer_is_looked_after_while_the_stations_never_rest(
    floor: Floor, telemetry: Floor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(printing, "POLL_S", 0.05)
    floor.tell(grant())
    printer = HandPrinter()
    live = live_of(floor, telemetry, printer)
    live.printer_status["label-1"] = PAPER_OUT
    async with running(printing.PrintWorker(live, "label-1").run()):
        await until(lambda: str(floor.job(SHIPMENT).job.state) == "held")

        def scanned_again() -> bool:
            live.ring_printers()  # as every scan does
            return bool(printer.sent)

        await until(scanned_again)
    assert len(printer.sent) == 1


class RefilledPrinter(HandPrinter):
    """Paper ends under the label; somebody puts new paper in, and only then it says "printed"."""

    async def send(self, data: bytes, before_first_byte: Callable[[], bool]) -> SendOutcome:
        outcome = await super().send(data, before_first_byte)
        return replace(outcome, printed=False, status_after=PAPER_OUT)


async def test_a_late_word_of_the_printer_lands_on_its_label(
    floor: Floor, telemetry: Floor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(printing, "POLL_S", 0.02)
    floor.tell(grant())
    printer = RefilledPrinter()
    live = live_of(floor, telemetry, printer)
    async with running(printing.PrintWorker(live, "label-1").run()):
        await until(lambda: str(floor.job(SHIPMENT).job.state) == "unknown")
        printer.says = replace(READY, proved=True)
        await until(lambda: str(floor.job(SHIPMENT).job.state) == "confirmed")
    job = floor.job(SHIPMENT).job
    assert (job.evidence, job.key.revision, len(printer.sent)) == ("printer", 1, 1)


async def test_telemetry_without_room_does_not_stop_the_floor(
    floor: Floor, telemetry: Floor
) -> None:
    telemetry.core = telemetry.open(quota_bytes=telemetry.core.used_bytes)
    floor.tell(grant())
    printer = HandPrinter()
    agent = Agent(floor.plan, ports_of(floor, telemetry, printer))
    agent.live.core_seen = True
    async with running(agent.run()):
        await agent.ready.wait()
        assert (await agent.scan("S1", "6900000000000", "gun")).code == "code_unknown"
        assert (await agent.scan("S1", f"TASK-{SHIPMENT}", "gun")).tone == "ok"
        floor.write(print_label.core_heard)
        agent.live.ring_printers()
        await until(lambda: bool(printer.sent))


async def test_leaving_the_agent_begins_no_label(floor: Floor, telemetry: Floor) -> None:
    floor.tell(grant())
    floor.tell(grant("DB2026BBBB-1"))
    printer = HandPrinter()
    printer.gate.clear()
    live = live_of(floor, telemetry, printer)
    async with running(printing.PrintWorker(live, "label-1").run()):
        await until(lambda: bool(printer.sent))
        live.leaving = True
        printer.gate.set()
        await until(lambda: not live.printing)
        live.ring_printers()
        await until(lambda: str(floor.job(SHIPMENT).job.state) == "confirmed")
    assert len(printer.sent) == 1
    assert str(floor.job("DB2026BBBB-1").job.state) == "queued"


async def test_a_label_held_just_before_the_welcome_prints_after_it(
    floor: Floor, telemetry: Floor
) -> None:
    """The printer's commit may stand between the welcome's own commit and its last step."""
    floor.tell(grant())
    floor.core_seen = False
    live = live_of(floor, telemetry, HandPrinter())
    session = Session(live)
    live.connected = True
    session._asked.add(1)
    have = {
        name: StreamHave(name, journal.position.epoch, 0, chain.genesis(
            "sha-1", name, journal.position.epoch).hex())
        for name, journal in live.ports.journals.items()
    }  # fmt: skip
    welcome = Welcome(1, 1, live.inc, 0, 1, list(have.values()))
    plain_write = live.write

    async def write(work: Any) -> Any:
        result = await plain_write(work)
        if isinstance(result, greet.Greeted):
            assert floor.print_next() == "held"
        return result

    live.write = write  # type: ignore[method-assign]
    await session._welcome(welcome)
    assert str(floor.job(SHIPMENT).job.state) == "queued"


class LostHellos(StillLink):
    """Takes everything and keeps the hellos to look at; who loses them is the test."""

    def __init__(self) -> None:
        super().__init__()
        self.hellos: list[Hello] = []

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> bool:
        if topic.endswith("/hello"):
            self.hellos.append(codec.decode(payload, Hello))
        return True


async def test_a_restored_core_hears_a_hello_of_its_new_life_whatever_is_lost(
    floor: Floor, telemetry: Floor
) -> None:
    """The answer to a second, older hello ended the asking; the core waited for ever."""
    live = live_of(floor, telemetry, HandPrinter())
    link = LostHellos()
    live.ports = replace(live.ports, link=link)
    session = Session(live)
    live.connected = True

    def welcome(hello: Hello) -> Welcome:
        have = [
            StreamHave(at.stream, at.epoch, 0, chain.genesis("sha-1", at.stream, at.epoch).hex())
            for at in hello.streams
        ]
        return Welcome(1, 9, hello.inc, 0, hello.mono_ms, have)

    for _ in range(2):
        floor.clock.step(7)
        session._hello()
    await session._welcome(welcome(link.hellos[0]))
    assert session._greet.is_set()
    floor.clock.step(7)
    session._hello()  # this one is lost
    await session._welcome(welcome(link.hellos[1]))
    assert not live.welcomed
    floor.clock.step(7)
    session._hello()
    assert link.hellos[-1].core_epoch == 9
    await session._welcome(welcome(link.hellos[-1]))
    assert live.welcomed


async def test_a_late_copy_of_an_older_ack_takes_nothing_back(
    floor: Floor, telemetry: Floor
) -> None:
    """The agent would show a backlog that the core has had for hours."""
    floor.tell(grant())
    live = live_of(floor, telemetry, HandPrinter())
    session = Session(live)
    at = live.floor.position
    live.senders["floor"] = sender.start((sender.Leg(at.epoch_no, at.epoch, 0),), 8)
    live.welcomed = True

    def ack(have: int) -> Ack:
        held = floor.core.db.execute("SELECT hash FROM row WHERE seq=?", (have,)).fetchone()[0]
        return Ack(1, "floor", at.epoch, have, held.hex(), 0)

    session._ack(ack(at.last))
    session._ack(ack(1))
    await Upkeep(live, session)._remember_acks()
    assert live.floor.read(upload.queued) == 0


async def test_an_impatient_second_scan_before_the_tone_is_not_a_second_item(
    floor: Floor, telemetry: Floor
) -> None:
    floor.tell(grant())
    floor.scan(f"TASK-{SHIPMENT}")
    agent = Agent(replace(floor.plan, repeat_ms=0), ports_of(floor, telemetry, HandPrinter()))
    disk = asyncio.Event()
    plain_write = agent.live.write

    async def slow_write(work: Any) -> Any:
        await disk.wait()
        return await plain_write(work)

    agent.live.write = slow_write  # type: ignore[method-assign]
    first = asyncio.create_task(agent.scan("S1", "SKU-A", "gun"))
    await asyncio.sleep(0)
    assert (await agent.scan("S1", "SKU-A", "gun")).code == "repeat"
    disk.set()
    assert (await first).code == "picked"
    assert (await agent.scan("S1", "SKU-A", "gun")).code == "picked"
    assert len(floor.events("item.picked")) == 2


@pytest.mark.parametrize("waybill", ["9" * 40, "SF 1234/5#甲"])
async def test_any_waybill_number_of_the_wire_gets_a_tag_the_printer_takes(
    floor: Floor, telemetry: Floor, waybill: str
) -> None:
    floor.tell(grant(waybill=waybill))
    printer = HandPrinter()
    live = live_of(floor, telemetry, printer)
    async with running(printing.PrintWorker(live, "label-1").run()):
        await until(lambda: bool(printer.sent))
    tag = printer.sent[0].decode().rsplit(" ", 1)[1]
    assert re.fullmatch(r"[A-Za-z0-9_-]{1,40}", tag)


async def test_a_scan_that_makes_us_fail_ends_the_agent_and_is_not_silent(
    floor: Floor, telemetry: Floor, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fault(*_given: object) -> Answer:
        raise AssertionError("a fault of ours")

    monkeypatch.setattr(work_flow, "scan", fault)
    agent = Agent(floor.plan, ports_of(floor, telemetry, HandPrinter()))
    scanners = FloorScanners(Settings(site="sha", agent="sha-1", scanner_adopt=False), agent)
    scanners.add(ScannerSetting(source="gun", station="S1", path="/dev/null"))
    run = asyncio.create_task(agent.run())
    await agent.ready.wait()
    scanners.start()
    scanners._scanned(ScanEvent("/dev/null", "SKU-A", 0))
    with pytest.raises(ExceptionGroup):
        await asyncio.wait_for(run, 30)
    scanners._scanned(ScanEvent("/dev/null", "SKU-A", 0))
    await asyncio.sleep(0)
    scanners.stop()
