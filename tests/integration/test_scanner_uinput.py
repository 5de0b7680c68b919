"""Keyboard-style scanners the kernel itself made (uinput): both readers, grab, unplug, dropped."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from edge_agent.domain.scan import ScanEvent, ScanRefused
from edge_agent.domain.scanner_roster import Present
from edge_agent.scanners.hid import discovery
from edge_agent.scanners.hid.decoder import HidRules
from edge_agent.scanners.hid.reader import HidCalls, HidReader, HidWorld, InputDevice
from edge_agent.scanners.hid.records import RecordDevice
from virtual_warehouse.keyboard import ENTER, KeyboardScanner

pytestmark = pytest.mark.integration


def usable() -> bool:
    try:
        os.close(os.open("/dev/uinput", os.O_WRONLY | os.O_NONBLOCK))
    except OSError:
        return False
    return True


if not usable():
    pytest.skip(
        "NO /dev/uinput HERE: grab, SYN_DROPPED and unplug of a real input device were NOT tested; "
        "`make hardware` does it in a virtual machine",
        allow_module_level=True,
    )
evdev = pytest.importorskip("evdev", reason="python-evdev is not built here")


class KernelScanner(KeyboardScanner):
    """The same typist on a device of the kernel."""

    def __init__(self, phys: str) -> None:
        super().__init__(path=discovery.Roots().dev, suffix=ENTER)
        keys = {evdev.ecodes.EV_KEY: list(range(1, 120))}
        self.device: Any = evdev.UInput(keys, name="Barcode Reader", phys=phys)

    def send(self, *events: tuple[int, int, int]) -> None:
        for kind, code, value in events:
            self.device.write(kind, code, value)


def opened_by_evdev(node: str) -> InputDevice:
    from edge_agent.scanners.hid.extension import EvdevDevice

    return EvdevDevice(node)


class Told:
    def __init__(self) -> None:
        self.codes: list[tuple[str, str]] = []
        self.refused: list[str] = []
        self.present: tuple[Present, ...] = ()

    def calls(self) -> HidCalls:
        return HidCalls(self.scanned, self.refuse, self.see, lambda error: None)

    def scanned(self, scan: ScanEvent) -> None:
        self.codes.append((scan.source, scan.code))

    def refuse(self, refused: ScanRefused) -> None:
        self.refused.append(refused.reason)

    def see(self, present: tuple[Present, ...]) -> None:
        self.present = present

    def uses(self, *ports: str) -> bool:
        return {one.port for one in self.present if one.used} >= set(ports)


def until(true: Callable[[], bool], timeout_s: float = 10.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not true():
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.005)


def boot_ms() -> int:
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000


@pytest.fixture(params=[RecordDevice, opened_by_evdev], ids=["standard library", "python-evdev"])
def desk(request: pytest.FixtureRequest) -> Iterator[tuple[Told, HidReader]]:
    told = Told()
    world = HidWorld(discovery.find, request.param, boot_ms, discovery.open_uevents, 100)
    ports = {f"phys:packline-{side}/input0": HidRules() for side in "ab"}
    reader = HidReader(world, told.calls(), ports)
    reader.start()
    yield told, reader
    reader.stop()


def test_two_like_scanners_of_the_kernel_are_told_apart_grabbed_and_may_be_pulled(
    desk: tuple[Told, HidReader],
) -> None:
    told, _ = desk
    a, b = KernelScanner("packline-a/input0"), KernelScanner("packline-b/input0")
    ports = ("phys:packline-a/input0", "phys:packline-b/input0")
    until(lambda: told.uses(*ports))
    time.sleep(0.4)  # a real scanner is not scanned in the moment it is plugged in
    with pytest.raises(OSError, match=str(errno.EBUSY)):
        evdev.InputDevice(a.device.device.path).grab()
    a.scan("SF1040-A")
    b.scan("YT88\x1dB")
    until(lambda: len(told.codes) == 2)
    assert sorted(told.codes) == [(ports[0], "SF1040-A"), (ports[1], "YT88\x1dB")]
    a.type("x")
    a.device.close()
    until(lambda: told.refused == ["incomplete"])
    until(lambda: not told.uses(ports[0]))
    b.device.close()
