"""A whole agent in one process without a broker: real journals, a still link, printers by hand."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from edge_agent.agent.parts import Live, Ports
from edge_agent.domain.label import LabelFields, PaperFields
from edge_agent.domain.printer_status import READY, PrinterStatus, SendOutcome
from edge_agent.journal.writer import InlineJournal
from edge_agent.ports import LinkEvent, Will
from tests.support.edge import Floor


@dataclass
class HandPrinter:
    """Says what it is told to say; `sent` are the labels that began, `gate` lets them end."""

    says: PrinterStatus = READY
    sent: list[bytes] = field(default_factory=list)
    asked: int = 0
    gate: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.gate.set()

    async def status(self) -> PrinterStatus:
        self.asked += 1
        return self.says

    async def send(self, data: bytes, before_first_byte: Callable[[], bool]) -> SendOutcome:
        if not before_first_byte():
            return SendOutcome(0, len(data), self.says, error="not_allowed")
        self.sent.append(data)
        await self.gate.wait()
        return SendOutcome(len(data), len(data), READY, printed=True)

    async def close(self) -> None:
        pass


class PlainMaker:
    """A label is its waybill number and mark, another paper its kind."""

    def framed(self, fields: PaperFields, job_tag: str = "") -> bytes:
        if isinstance(fields, LabelFields):
            return f"{fields.waybill} {fields.copy_mark} {job_tag}".encode()
        return f"{fields.kind} {job_tag}".encode()

    def preview_png(self, fields: PaperFields) -> bytes:
        raise NotImplementedError


class StillLink:
    """A line that is never there."""

    def __init__(self) -> None:
        self.inbox: asyncio.Queue[LinkEvent] = asyncio.Queue()

    async def start(self, will: Will) -> None:
        pass

    async def subscribe(self, filters: Sequence[str]) -> None:
        pass

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> bool:
        return False

    async def stop(self) -> None:
        pass


class FixedIds:
    def epoch(self) -> str:
        return "f" * 16

    def jitter(self) -> float:
        return 0.5


async def _at_once(work: Callable[[], bytes]) -> bytes:
    return work()


def ports_of(floor: Floor, telemetry: Floor, printer: HandPrinter) -> Ports:
    """The ports of an agent over two open floors."""
    return Ports(
        clock=floor.clock,
        ids=FixedIds(),
        link=StillLink(),
        journals={
            "floor": InlineJournal(floor.core, floor.clock),
            "telemetry": InlineJournal(telemetry.core, floor.clock),
        },
        printers=dict.fromkeys(floor.plan.printers, printer),
        makers=dict.fromkeys(floor.plan.printers, PlainMaker()),
        run_blocking=_at_once,
    )


def live_of(floor: Floor, telemetry: Floor, printer: HandPrinter) -> Live:
    """The agent's state with nothing running; `core_seen` as on the floor."""
    live = Live(replace(floor.plan), ports_of(floor, telemetry, printer))
    live.core_seen = floor.core_seen
    return live


async def until(true: Callable[[], bool], seconds: float = 30.0) -> None:
    """Wait for a condition, at most so long. Raises `TimeoutError`."""
    async with asyncio.timeout(seconds):
        while not true():
            await asyncio.sleep(0.005)
