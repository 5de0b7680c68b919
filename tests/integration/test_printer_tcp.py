"""Label to paper over a real socket, and every way a printer can fail in between."""

import asyncio
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from PIL import Image, ImageChops

from edge_agent.domain.printer_status import PrinterLevel, SendOutcome, StatusProbe
from edge_agent.labels import LabelPress
from edge_agent.printers import tspl
from edge_agent.printers.owner import PrinterOwner, SendTimes
from edge_agent.printers.tcp import TcpWire
from tests.support.labels import FIELDS, fields, renderer, template
from virtual_warehouse.printer import VirtualPrinter

pytestmark = pytest.mark.integration
FAST = SendTimes(
    connect_s=1.0, stall_s=0.3, answer_s=0.3, finish_s=3.0, settle_s=0.1, poll_s=0.01, quiet_s=0.02
)
PRESS = LabelPress(renderer(), template(), tspl.frame)
DATA = PRESS.framed(FIELDS, "YT8800012345678-1")


@dataclass
class Bench:
    """A virtual printer, the agent's transport to it, and a count of last checks."""

    paper: VirtualPrinter
    printers: list[PrinterOwner] = field(default_factory=list)
    checks: int = 0
    allow: bool = True

    def printer(
        self, probe: StatusProbe | None = tspl.PROBE_BYTE, times: SendTimes = FAST
    ) -> PrinterOwner:
        made = PrinterOwner(TcpWire(self.paper.host, self.paper.port), probe, times)
        self.printers.append(made)
        return made

    def last_check(self) -> bool:
        self.checks += 1
        return self.allow

    async def send(self, printer: PrinterOwner, data: bytes = DATA) -> SendOutcome:
        return await printer.send(data, self.last_check)


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    made = Bench(VirtualPrinter(tmp_path / "labels"))
    await made.paper.start()
    yield made
    for printer in made.printers:
        await printer.close()
    await made.paper.stop()


@pytest.mark.parametrize("probe", [tspl.PROBE_BYTE, tspl.PROBE_FULL])
async def test_what_was_drawn_is_what_is_printed(bench: Bench, probe: StatusProbe) -> None:
    outcome = await bench.send(bench.printer(probe))
    assert (outcome.bytes_sent, outcome.total, outcome.error) == (len(DATA), len(DATA), "")
    assert outcome.printed
    await bench.paper.wait_printed(1)
    (label,) = bench.paper.printed
    assert label.waybill == FIELDS.waybill
    assert FIELDS.tracking_url in label.codes
    assert label.remarks == ("YT8800012345678-1",)
    drawn = renderer().render(template(), FIELDS)
    with Image.open(label.path) as printed:
        assert label.path.name == f"{FIELDS.waybill}.png"
        assert ImageChops.logical_xor(drawn, printed.convert("1")).getbbox() is None
    assert bench.paper.nonsense == []


async def test_many_labels_over_one_kept_connection(bench: Bench) -> None:
    printer = bench.printer()
    numbers = [f"YT88000123456{n:02}" for n in range(8)]
    for number in numbers:
        outcome = await bench.send(printer, PRESS.framed(fields(waybill=number)))
        assert outcome.printed
    await bench.paper.wait_printed(8)
    assert [label.waybill for label in bench.paper.printed] == numbers


@pytest.mark.parametrize(
    ("fault", "code"),
    [("paper_out", "paper_out"), ("cover_open", "cover_open"), ("paused", "paused")],
)
async def test_a_printer_in_trouble_gets_no_byte(bench: Bench, fault: str, code: str) -> None:
    setattr(bench.paper.faults, fault, True)
    printer = bench.printer()
    outcome = await bench.send(printer)
    assert (outcome.bytes_sent, outcome.error) == (0, "not_ready")
    assert outcome.status_after.code == code
    assert bench.checks == 0, "the last check belongs to byte one only"
    bench.paper.faults.clear()
    assert (await bench.send(printer)).printed
    await bench.paper.wait_printed(1)
    assert bench.paper.count(FIELDS.waybill) == 1


async def test_the_last_check_stops_byte_one(bench: Bench) -> None:
    bench.allow = False
    outcome = await bench.send(bench.printer())
    assert (outcome.bytes_sent, outcome.error, bench.checks) == (0, "not_allowed", 1)
    assert bench.paper.bytes_received == len(tspl.QUERY_BYTE)


async def test_paper_that_runs_out_under_a_label_is_never_called_printed(bench: Bench) -> None:
    bench.paper.faults.print_ms = 400
    printer = bench.printer()
    sending = asyncio.create_task(bench.send(printer))
    async with asyncio.timeout(30):
        while bench.paper.bytes_received < len(DATA):
            await asyncio.sleep(0.005)
    bench.paper.faults.paper_out = True
    outcome = await sending
    assert outcome.bytes_sent == len(DATA)
    assert (outcome.status_after.code, outcome.printed) == ("paper_out", False)


async def test_a_printer_that_never_answers_is_not_guessed_about(bench: Bench) -> None:
    bench.paper.faults.mute = True
    outcome = await bench.send(bench.printer())
    assert (outcome.bytes_sent, outcome.error) == (0, "no_answer")
    assert outcome.status_after.level is PrinterLevel.UNKNOWN


async def test_a_model_known_to_be_silent_prints_without_proof(bench: Bench) -> None:
    bench.paper.faults.mute = True
    outcome = await bench.send(bench.printer(probe=None))
    assert outcome.bytes_sent == len(DATA)
    assert not outcome.printed
    await bench.paper.wait_printed(1)


async def test_a_connection_cut_mid_label_says_how_much_may_have_left(bench: Bench) -> None:
    bench.paper.faults.reset_after_bytes = 40_000
    printer = bench.printer()
    outcome = await bench.send(printer)
    assert outcome.error == "broken"
    assert 0 < outcome.bytes_sent <= len(DATA)
    assert not outcome.printed
    assert bench.paper.count(FIELDS.waybill) == 0
    assert (await bench.send(printer)).printed, "the next label opens a new connection"


async def test_a_printer_that_stops_reading_stalls_with_little_in_flight(bench: Bench) -> None:
    printer = bench.printer()
    assert (await printer.status()).level is PrinterLevel.OK
    data = DATA * 20
    loop = asyncio.get_running_loop()

    def freeze() -> bool:
        bench.paper.faults.half_open = True
        return True

    started_s = loop.time()
    outcome = await printer.send(data, freeze)
    assert outcome.error == "stalled"
    assert 0 < outcome.bytes_sent < len(data)
    assert loop.time() - started_s < 5
    bench.paper.faults.clear()


async def test_stale_bytes_are_not_taken_for_the_answer(bench: Bench) -> None:
    printer = bench.printer()
    bench.paper.faults.stale = b"\x00\x00\x00\x00"
    bench.paper.faults.paper_out = True
    status = await printer.status()
    assert status.code == "paper_out"


async def test_nobody_there_is_offline_not_an_exception() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        printer = PrinterOwner(TcpWire("127.0.0.1", taken.getsockname()[1]), tspl.PROBE_BYTE, FAST)
        status = await printer.status()
        outcome = await printer.send(DATA, lambda: True)
    assert (status.level, status.code) == (PrinterLevel.UNKNOWN, "offline")
    assert (outcome.bytes_sent, outcome.error) == (0, "offline")


async def test_a_printer_switched_off_and_on_is_found_again(bench: Bench) -> None:
    printer = bench.printer()
    assert (await bench.send(printer)).printed
    await bench.paper.stop()
    assert (await bench.send(printer)).error in ("offline", "no_answer")
    again = VirtualPrinter(bench.paper.folder / "again", port=bench.paper.port)
    await again.start()
    try:
        assert (await bench.send(printer)).printed
        await again.wait_printed(1)
    finally:
        await printer.close()
        await again.stop()


async def test_two_askers_share_one_owner_and_never_mix(bench: Bench) -> None:
    printer = bench.printer()
    results = await asyncio.gather(
        bench.send(printer), *(printer.status() for _ in range(5)), bench.send(printer)
    )
    sent = [result for result in results if isinstance(result, SendOutcome)]
    assert all(outcome.printed for outcome in sent)
    await bench.paper.wait_printed(2)
    assert bench.paper.nonsense == []


async def test_a_second_agent_waits_its_turn_at_a_one_client_printer(bench: Bench) -> None:
    """Row 14 of the pitfall list."""
    first, second = bench.printer(), bench.printer()
    assert (await bench.send(first)).printed
    assert (await second.status()).code == "no_answer"
    await first.close()
    assert (await second.status()).level is PrinterLevel.OK


async def test_cancelling_a_send_leaves_no_half_open_conversation(bench: Bench) -> None:
    bench.paper.faults.print_ms = 500
    printer = bench.printer(times=replace(FAST, finish_s=5))
    sending = asyncio.create_task(bench.send(printer))
    async with asyncio.timeout(30):
        while bench.paper.bytes_received < len(DATA):
            await asyncio.sleep(0.005)
    sending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sending
    assert (await printer.status()).level is PrinterLevel.OK
