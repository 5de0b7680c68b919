"""Scanners on the floor: settings, real ptys and FIFOs, the whole agent, what the bench answers."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from edge_agent.agent import Agent
from edge_agent.bootstrap import scanners as wiring
from edge_agent.bootstrap.scanners import FloorScanners
from edge_agent.settings import Settings, check
from protocols.errors import Rejected
from tests.integration.test_scanner_hid import Bus
from tests.support.edge import PLAN, Floor, grant
from tests.support.edge_live import HandPrinter, ports_of, until
from virtual_warehouse.keyboard import KeyboardScanner
from virtual_warehouse.scanner import VirtualScanner

pytestmark = pytest.mark.integration

TASK = "TASK-DB2026AAAA-1"


class Hall:
    """One agent, the sockets of its box and what it told the bench."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.bus = Bus(folder)
        self.floor, self.telemetry = Floor(folder), Floor(folder, stream="telemetry")
        self.floor.resynced()
        self.floor.tell(grant())
        self.agent = Agent(PLAN, ports_of(self.floor, self.telemetry, HandPrinter()))
        self.told: list[tuple[str, str]] = []
        self.agent.live.ports = self.agent.live.ports.__class__(
            **{
                name: getattr(self.agent.live.ports, name)
                for name in self.agent.live.ports.__slots__
            }
            | {"feedback": lambda station, answer: self.told.append((station, answer.code))}
        )

    @contextlib.asynccontextmanager
    async def open(self, **values: Any) -> AsyncIterator[FloorScanners]:
        """The agent runs with these settings."""
        settings = hall_settings(**values)
        run = asyncio.create_task(self.agent.run())
        await self.agent.ready.wait()
        scanners = FloorScanners(settings, self.agent, self.bus.roots)
        for one in settings.scanners:
            scanners.add(one)
        scanners.start()
        try:
            yield scanners
        finally:
            await asyncio.to_thread(scanners.stop)
            self.agent.stop()
            await run

    def uses(self, port: str) -> bool:
        return any(
            row["port"] == port and row["connected"] for row in self.agent.status()["scanners"]
        )

    def codes(self) -> list[str]:
        return [code for _, code in self.told]


def hall_settings(**values: Any) -> Settings:
    return check({"site": "sha", "agent": "sha-1", "stations": [{"id": "S1"}], **values})


@pytest.fixture
async def hall(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Hall]:
    monkeypatch.setattr(wiring.serial, "ports", list)
    monkeypatch.setattr(wiring, "RESCAN_MS", 30)
    made = Hall(tmp_path)
    yield made
    for scanner in made.bus.scanners.values():
        scanner.__exit__()
    made.floor.core.close()
    made.telemetry.core.close()


async def test_a_wired_scanner_and_a_keyboard_scanner_work_on_one_task(hall: Hall) -> None:
    gun = hall.bus.plug("1.1")
    with VirtualScanner(link=hall.folder / "by-path" / "wired") as wired:
        scanners = [
            {"source": "gun-1", "kind": "hid", "path": gun, "station": "S1"},
            {"source": "gun-2", "path": wired.open(), "station": "S1", "suffix": "CR"},
        ]
        async with hall.open(scanners=scanners) as opened:
            await until(lambda: hall.uses(gun) and hall.uses(scanners[1]["path"]))
            hall.bus.scanners["1.1"].scan(TASK)
            await until(lambda: hall.told == [("S1", "picking")])
            wired.scan("SKU-A")
            await until(lambda: hall.told[1:] == [("S1", "picked")])
            assert opened.connected
            assert opened.stuck_ms() == 0


async def test_plugging_in_scanning_the_card_and_working_needs_no_settings(hall: Hall) -> None:
    async with hall.open():
        gun = hall.bus.plug("1.1")
        await until(
            lambda: len(hall.bus.opened) == 0 and bool(hall.agent.status()["unknown_scanners"])
        )
        hall.bus.scanners["1.1"].scan("STN-S1")
        await until(lambda: hall.told == [("S1", "scanner_bound")])
        await until(lambda: hall.uses(gun))
        hall.bus.scanners["1.1"].scan(TASK)
        await until(lambda: hall.codes() == ["scanner_bound", "picking"])
        assert hall.agent.status()["unknown_scanners"] == []


async def test_a_serial_scanner_is_adopted_on_the_page_and_only_then_opened(
    hall: Hall, monkeypatch: pytest.MonkeyPatch
) -> None:
    with VirtualScanner(link=hall.folder / "by-path" / "wired") as wired:
        port = wired.open()
        monkeypatch.setattr(wiring.serial, "ports", lambda: [port])
        async with hall.open():
            await until(lambda: bool(hall.agent.status()["unknown_scanners"]))
            assert [one["kind"] for one in hall.agent.status()["unknown_scanners"]] == ["serial"]
            answer = await hall.agent.adopt_scanner(port, "S1")
            assert answer.tone == "ok"
            await until(lambda: hall.uses(port))
            wired.scan(TASK)
            await until(lambda: "picking" in hall.codes())
            await hall.agent.adopt_scanner(port, "")
            await until(lambda: not hall.uses(port))


async def test_without_adoption_nothing_unlisted_is_opened(hall: Hall) -> None:
    listed = hall.bus.plug("1.1")
    hall.bus.plug("1.2")
    scanners = [{"source": "gun-1", "kind": "hid", "path": listed, "station": "S1"}]
    async with hall.open(scanners=scanners, scanner_adopt=False):
        await until(lambda: hall.uses(listed))
        hall.bus.scanners["1.2"].scan("STN-S1")
        hall.bus.scanners["1.1"].scan(TASK)
        await until(lambda: hall.codes() == ["picking"])


async def test_pulled_out_it_says_so_and_put_back_it_works_on(hall: Hall) -> None:
    gun = hall.bus.plug("1.1")
    scanners = [{"source": "gun-1", "kind": "hid", "path": gun, "station": "S1"}]
    async with hall.open(scanners=scanners):
        await until(lambda: hall.uses(gun))
        hall.bus.scanners["1.1"].type("T")
        hall.bus.unplug("1.1")
        await until(lambda: hall.told == [("S1", "incomplete")])
        await until(lambda: not hall.uses(gun))
        hall.bus.plug("1.1")
        await until(lambda: hall.uses(gun))
        hall.bus.scanners["1.1"].scan(TASK)
        await until(lambda: hall.codes()[1:] == ["picking"])


async def test_a_fifo_of_the_settings_is_a_scanner(hall: Hall) -> None:
    with KeyboardScanner(hall.folder / "gun") as gun:
        path = gun.plug()
        scanners = [{"source": "gun-1", "kind": "hid", "path": path, "station": "S1"}]
        async with hall.open(scanners=scanners):
            await until(lambda: hall.uses(path))
            gun.scan(TASK)
            await until(lambda: hall.codes() == ["picking"])


@pytest.mark.parametrize(
    "path",
    ["/dev/input/event3", "/dev/input/by-id/usb-Barcode-event-kbd", "/dev/ttyACM0",
     "/dev/ttyUSB1", "/dev/serial/by-id/usb-Barcode"],
)  # fmt: skip
def test_pitfall_18_a_name_that_moves_on_re_plug_is_refused(path: str) -> None:
    """By-id is one link for two scanners of a model, event numbers swap."""
    with pytest.raises(Rejected) as refused:
        hall_settings(scanners=[{"source": "gun", "path": path, "station": "S1"}])
    assert refused.value.field == "scanners"
    assert "by-path" in refused.value.zh


async def test_a_profile_that_cannot_be_used_is_named_and_the_others_go_on(hall: Hall) -> None:
    broken = hall.folder / "mine.toml"
    broken.write_text('name = "x"\nspeed = 1\n', encoding="utf-8")
    settings = hall_settings(
        scanners=[
            {"source": "a", "path": "/x", "station": "S1", "profile": str(broken)},
            {"source": "b", "path": "/y", "station": "S1", "suffix": "TAB"},
            {"source": "c", "path": "/z", "station": "S1"},
        ]
    )
    scanners = FloorScanners(settings, hall.agent, hall.bus.roots)
    fields = []
    for one in settings.scanners:
        try:
            scanners.add(one)
        except Rejected as error:
            fields.append(error.field)
    assert fields == ["aim_ids", "suffix"]
    assert list(scanners._listed) == ["/z"]


def test_an_extension_that_was_built_for_another_machine_is_done_without(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(name: str) -> Any:
        raise OSError("wrong ELF class")

    wiring._device_class.cache_clear()
    monkeypatch.setattr(wiring.importlib, "import_module", broken)
    with caplog.at_level("INFO"):
        assert wiring._device_class() is wiring.RecordDevice
    assert "wrong ELF class" in caplog.text
    wiring._device_class.cache_clear()
