"""Every language over every line, and every way a printer can fail in between."""

import asyncio
import os
import socket
import tempfile
import threading
import tty
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageChops

from edge_agent.domain.printer_status import PrinterLevel, SendOutcome, StatusProbe
from edge_agent.labels import LabelPress
from edge_agent.ports import PrinterWire
from edge_agent.printers import escpos, escpos_devices, tspl, zpl
from edge_agent.printers.device import DeviceWire
from edge_agent.printers.owner import PrinterOwner, SendTimes
from edge_agent.printers.serial_port import SerialWire
from edge_agent.printers.tcp import TcpWire
from tests.support.labels import FIELDS, renderer, template
from virtual_warehouse.printer import VirtualPrinter

pytestmark = pytest.mark.integration
FAST = SendTimes(
    connect_s=1.0, stall_s=0.3, answer_s=0.3, finish_s=2.0, settle_s=0.1, poll_s=0.01, quiet_s=0.05
)


@dataclass(frozen=True)
class Spoken:
    """A language as bootstrap would put it together, and the bytes of one waybill."""

    name: str
    probe: StatusProbe
    data: bytes


def spoken(name: str, frame: Any, probe: StatusProbe) -> Spoken:
    press = LabelPress(renderer(), template(), frame)
    return Spoken(name, probe, press.framed(FIELDS, "YT8800012345678-1"))


TSPL = spoken("tspl", tspl.frame, tspl.PROBE_BYTE)
ZPL = spoken("zpl", zpl.frame, zpl.PROBE)
ESCPOS = spoken("escpos", escpos.frame, escpos.PROBE)
LANGUAGES = pytest.mark.parametrize(
    "bench", [TSPL, ZPL, ESCPOS], indirect=True, ids=lambda s: s.name
)
NEWER = pytest.mark.parametrize("bench", [ZPL, ESCPOS], indirect=True, ids=lambda s: s.name)
ON_ZPL = pytest.mark.parametrize("bench", [ZPL], indirect=True, ids=["zpl"])
ON_ESCPOS = pytest.mark.parametrize("bench", [ESCPOS], indirect=True, ids=["escpos"])


@dataclass
class Bench:
    """A virtual printer of one language and the agent's owners of its line."""

    paper: VirtualPrinter
    language: Spoken
    owners: list[PrinterOwner] = field(default_factory=list)

    def tcp(self) -> PrinterWire:
        return TcpWire(self.paper.host, self.paper.port)

    def device(self) -> PrinterWire:
        path = self.paper.plug_in()
        return DeviceWire(lambda: path)

    def serial(self) -> PrinterWire:
        return SerialWire(self.paper.plug_in(), 115_200)

    def owner(self, wire: PrinterWire | None = None, times: SendTimes = FAST) -> PrinterOwner:
        made = PrinterOwner(wire or self.tcp(), self.language.probe, times)
        self.owners.append(made)
        return made

    async def send(self, owner: PrinterOwner) -> SendOutcome:
        return await owner.send(self.language.data, lambda: True)

    async def all_received(self) -> None:
        async with asyncio.timeout(5):
            while self.paper.bytes_received < len(self.language.data):
                await asyncio.sleep(0.005)


@pytest.fixture
async def bench(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Bench]:
    language: Spoken = request.param
    made = Bench(VirtualPrinter(tmp_path / "labels", language=language.name), language)
    await made.paper.start()
    yield made
    for owner in made.owners:
        await owner.close()
    await made.paper.stop()


@pytest.mark.parametrize("line", [Bench.tcp, Bench.device, Bench.serial])
@LANGUAGES
async def test_what_was_drawn_is_what_is_printed(
    bench: Bench, line: Callable[[Bench], PrinterWire]
) -> None:
    outcome = await bench.send(bench.owner(line(bench)))
    total = len(bench.language.data)
    assert (outcome.bytes_sent, outcome.total, outcome.error) == (total, total, "")
    assert outcome.printed
    await bench.paper.wait_printed(1)
    (label,) = bench.paper.printed
    assert label.waybill == FIELDS.waybill
    drawn = renderer().render(template(), FIELDS)
    with Image.open(label.path) as printed:
        differing = ImageChops.logical_xor(drawn, printed.convert("1")).convert("L")
    assert differing.histogram()[255] <= 3, "at most the dots that would have spelt a command"
    assert bench.paper.nonsense == []


@pytest.mark.parametrize("fault", ["paper_out", "cover_open", "paused"])
@NEWER
async def test_a_printer_in_trouble_gets_no_byte(bench: Bench, fault: str) -> None:
    setattr(bench.paper.faults, fault, True)
    owner = bench.owner()
    outcome = await bench.send(owner)
    assert (outcome.bytes_sent, outcome.error) == (0, "not_ready")
    assert outcome.status_after.code == fault
    bench.paper.faults.clear()
    assert (await bench.send(owner)).printed


@ON_ZPL
async def test_silence_of_a_zebra_without_paper_is_trouble_not_health(bench: Bench) -> None:
    """Row 7: by its manual such a printer does not answer at all."""
    bench.paper.faults.silent_on_trouble = bench.paper.faults.paper_out = True
    outcome = await bench.send(bench.owner())
    assert (outcome.bytes_sent, outcome.error) == (0, "no_answer")
    assert outcome.status_after.level is PrinterLevel.UNKNOWN


@pytest.mark.parametrize("line", [Bench.tcp, Bench.device])
@NEWER
async def test_stale_bytes_never_answer_the_next_question(
    bench: Bench, line: Callable[[Bench], PrinterWire]
) -> None:
    """Row 8: an automatic status, or the rest of an older answer, comes before the true one."""
    bench.paper.faults.stale = b"\x14\x00\x00\x0f"
    bench.paper.faults.paper_out = True
    assert (await bench.owner(line(bench)).status()).code == "paper_out"


@pytest.mark.parametrize(
    ("bench", "line"),
    [(TSPL, Bench.tcp), (ZPL, Bench.serial), (ESCPOS, Bench.device)],
    indirect=["bench"],
    ids=["tspl-tcp", "zpl-serial", "escpos-device"],
)
async def test_an_answer_that_comes_late_is_not_taken_for_a_newer_one(
    bench: Bench, line: Callable[[Bench], PrinterWire]
) -> None:
    owner = bench.owner(line(bench))
    assert (await owner.status()).level is PrinterLevel.OK
    bench.paper.faults.answer_ms = 700
    assert (await owner.status()).level is PrinterLevel.UNKNOWN
    bench.paper.faults.answer_ms = 0
    bench.paper.faults.paper_out = True
    async with asyncio.timeout(5):
        while (status := await owner.status()).level is PrinterLevel.UNKNOWN:
            await asyncio.sleep(0.01)
    assert status.code == "paper_out", "the old answer said all was well"


@NEWER
async def test_a_label_that_prints_though_the_link_died_is_unknown_never_failed(
    bench: Bench,
) -> None:
    """Rows 1 and 4: everything had left when the line went, and the paper still comes out."""
    bench.paper.faults.reset_after_bytes = len(bench.language.data) + len(
        bench.language.probe.query
    )
    outcome = await bench.send(bench.owner())
    assert outcome.bytes_sent == len(bench.language.data)
    assert not outcome.printed
    assert outcome.status_after.level is PrinterLevel.UNKNOWN
    await bench.paper.wait_printed(1)
    assert bench.paper.count(FIELDS.waybill) == 1


@NEWER
async def test_paper_that_runs_out_under_a_label_is_never_called_printed(bench: Bench) -> None:
    """Row 6: the printer prints it again by itself when there is paper; we send nothing more."""
    bench.paper.faults.print_ms = 300
    owner = bench.owner()
    sending = asyncio.create_task(bench.send(owner))
    await bench.all_received()
    bench.paper.faults.paper_out = True
    outcome = await sending
    assert (outcome.status_after.code, outcome.printed) == ("paper_out", False)
    bench.paper.faults.print_ms = 20
    async with asyncio.timeout(5):
        while not bench.paper.spoiled:
            await asyncio.sleep(0.01)
    received = bench.paper.bytes_received
    bench.paper.faults.clear()
    await bench.paper.wait_printed(1)
    assert bench.paper.count(FIELDS.waybill) == 1
    assert bench.paper.bytes_received == received


@ON_ESCPOS
async def test_a_word_that_comes_late_is_told_once_and_not_lost(bench: Bench) -> None:
    """Row 2: paper is put in after the label was given up as unknown, and it comes out."""
    bench.paper.faults.paper_out = False
    bench.paper.faults.print_ms = 200
    owner = bench.owner()
    sending = asyncio.create_task(bench.send(owner))
    await bench.all_received()
    bench.paper.faults.paper_out = True
    assert not (await sending).printed
    assert not (await owner.status()).proved
    bench.paper.faults.print_ms = 10
    bench.paper.faults.clear()
    await bench.paper.wait_printed(1)
    async with asyncio.timeout(5):
        while not (await owner.status()).proved:
            await asyncio.sleep(0.01)
    assert not (await owner.status()).proved


@NEWER
async def test_a_slow_printer_is_waited_for_and_a_mute_one_not_guessed_about(bench: Bench) -> None:
    bench.paper.faults.read_bytes_s = 2_000_000
    owner = bench.owner()
    assert (await bench.send(owner)).printed
    bench.paper.faults.clear()
    bench.paper.faults.mute = True
    outcome = await bench.send(owner)
    assert (outcome.bytes_sent, outcome.error) == (0, "no_answer")


@ON_ESCPOS
async def test_a_clone_that_returns_no_process_id_is_sent_but_not_confirmed(bench: Bench) -> None:
    """Row 25: a false "printed" ships parcels; only evidence confirms."""
    bench.paper.faults.no_echo = True
    times = SendTimes(finish_s=0.2, settle_s=0.05, poll_s=0.01)
    outcome = await bench.send(bench.owner(times=times))
    assert (outcome.error, outcome.printed) == ("", False)
    assert outcome.status_after.level is PrinterLevel.OK
    await bench.paper.wait_printed(1)


@ON_ESCPOS
async def test_paper_that_ends_soon_is_told_before_it_ends(bench: Bench) -> None:
    bench.paper.faults.paper_low = True
    owner = bench.owner()
    status = await owner.status()
    assert (status.level, status.code) == (PrinterLevel.WARN, "paper_low")
    assert (await bench.send(owner)).printed


@pytest.mark.parametrize("line", [Bench.device, Bench.serial])
@pytest.mark.parametrize("bench", [TSPL], indirect=True, ids=["tspl"])
async def test_a_device_that_stops_reading_stalls_with_little_in_flight(
    bench: Bench, line: Callable[[Bench], PrinterWire]
) -> None:
    """Row 5: what the kernel hides is small, and the count says how much may have left."""
    owner = bench.owner(line(bench))
    assert (await owner.status()).level is PrinterLevel.OK

    def freeze() -> bool:
        bench.paper.faults.half_open = True
        return True

    outcome = await owner.send(bench.language.data, freeze)
    assert outcome.error == "stalled"
    assert 0 < outcome.bytes_sent < len(bench.language.data)
    bench.paper.faults.clear()


@pytest.mark.parametrize("bench", [TSPL], indirect=True, ids=["tspl"])
async def test_one_program_owns_a_serial_printer(bench: Bench) -> None:
    """Row 9: two writers on one line mix their labels."""
    path = bench.paper.plug_in()
    first = bench.owner(SerialWire(path, 115_200))
    second = bench.owner(SerialWire(path, 115_200))
    assert (await first.status()).level is PrinterLevel.OK
    assert (await second.status()).code == "offline"
    await first.close()
    assert (await second.status()).level is PrinterLevel.OK


@pytest.mark.parametrize("serial", [False, True], ids=["usb", "serial"])
async def test_a_mute_model_that_is_unplugged_is_not_called_ready(serial: bool) -> None:
    near, far = os.openpty()
    tty.setraw(far)
    path = os.ttyname(far)
    wire: PrinterWire = SerialWire(path, 115_200) if serial else DeviceWire(lambda: path)
    owner = PrinterOwner(wire, None, FAST)
    assert (await owner.status()).level is PrinterLevel.OK
    os.close(near)
    assert (await owner.status()).code == "offline"
    outcome = await owner.send(TSPL.data, lambda: True)
    assert (outcome.bytes_sent, outcome.error) == (0, "offline")
    await owner.close()
    os.close(far)


@pytest.mark.parametrize("missing", [DeviceWire, partial(SerialWire, baud=9_600)])
async def test_an_unplugged_printer_is_offline_not_an_exception(missing: Any) -> None:
    place = "/dev/usb/lp-none"
    wire = missing(place) if isinstance(missing, partial) else missing(lambda: place)
    owner = PrinterOwner(wire, tspl.PROBE_BYTE, FAST)
    assert (await owner.status()).code == "offline"
    outcome = await owner.send(TSPL.data, lambda: True)
    assert (outcome.bytes_sent, outcome.error) == (0, "offline")


async def test_a_connection_that_comes_too_late_is_closed_again() -> None:
    """Row 14: one left half open locks a one-client printer until somebody switches it off."""
    ours, theirs = socket.socketpair()
    late = threading.Event()

    def opener() -> socket.socket:
        late.wait(5)
        return ours

    owner = PrinterOwner(TcpWire("", 0, opener), tspl.PROBE_BYTE, SendTimes(connect_s=0.05))
    assert (await owner.status()).code == "offline"
    late.set()
    assert await asyncio.to_thread(theirs.recv, 1) == b""
    theirs.close()


@ON_ESCPOS
async def test_python_escpos_opens_the_line_and_every_byte_is_ours(bench: Bench) -> None:
    before = set(Path(tempfile.gettempdir()).iterdir())
    escpos_devices.load()
    opener = partial(escpos_devices.open_socket, bench.paper.host, bench.paper.port, 1.0)
    outcome = await bench.send(bench.owner(TcpWire("", 0, opener)))
    assert outcome.printed
    assert bench.paper.bytes_received >= len(bench.language.data)
    left = {path.name for path in set(Path(tempfile.gettempdir()).iterdir()) - before}
    assert not [name for name in left if "escpos" in name], "the library's folder is gone again"
    gone = partial(escpos_devices.open_socket, "127.0.0.1", 1, 0.2)
    assert (await bench.owner(TcpWire("", 0, gone)).status()).code == "offline"
    path = bench.paper.plug_in()
    serial = bench.owner(SerialWire(path, 115_200, escpos_devices.open_serial))
    assert (await bench.send(serial)).printed
