"""One bench in a machine: two equal scanners, a serial one, a USB printer.

The agent is the installed one, run by its own unit. The core is the smallest that keeps rows.
Each step asserts what a person at the bench would notice.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec

from protocols import commands
from protocols.messages import Event, Token
from tests.hardware import machine
from tests.hardware.machine import GuestError, Setup, Vm
from tests.hardware.volatile_disk import VolatileDisk
from tests.support.mini_core import MiniCore

BOOT_S, WAIT_S = 300.0, 120.0
TEAR_S = 15.0
GUNS = ("bench-1", "bench-2")
SERIAL = "bench-3"
SETTINGS = """
repeat_ms = 0

[[stations]]
id = "bench-1"
printer = "label-1"

[[stations]]
id = "bench-2"
printer = "label-1"

[[stations]]
id = "bench-3"
printer = "label-1"

[[printers]]
name = "label-1"
device = "usb:5-1"
profile = "tspl-203-silent"

[[scanners]]
source = "gun-1"
station = "bench-1"
kind = "hid"
path = "/dev/input/by-path/platform-dummy_hcd.0-usb-0:1:1.0-event-kbd"

[[scanners]]
source = "gun-2"
station = "bench-2"
kind = "hid"
path = "/dev/input/by-path/platform-dummy_hcd.1-usb-0:1:1.0-event-kbd"

[[scanners]]
source = "gun-3"
station = "bench-3"
kind = "serial"
path = "/dev/serial/by-path/pci-0000:00:01.0-usb-0:1:1.0-port0"
"""


@dataclass(slots=True)
class Result:
    """What the stage counted, and its figures."""

    boots: int = 0
    scans: int = 0
    mixed: int = 0
    labels: int = 0
    refused: int = 0
    figures: dict[str, float] = field(default_factory=dict)


class Floor:
    """The machine, the core beside it, and what was scanned where."""

    def __init__(
        self, setup: Setup, core: MiniCore, disk: VolatileDisk, say: Callable[[str], None]
    ) -> None:
        self.setup, self.core, self.disk, self.say = setup, core, disk, say
        self.result = Result()
        self.scanned: dict[str, Counter[str]] = {name: Counter() for name in (*GUNS, SERIAL)}
        self.vm: Vm | None = None
        self._orders = 0
        self._errors = 0
        """Refusals the agent of now has counted and we know of."""

    # -- the machine -------------------------------------------------------------------------

    def boot(self, *, rtc: str = "utc") -> float:
        """Switch on, plug the devices in, wait for the agent; seconds to its hello."""
        hellos, begun = len(self.core.hellos), time.monotonic()
        vm = self.vm = machine.start(replace(self.setup, rtc=rtc))
        vm.bench("ping", timeout_s=BOOT_S)
        vm.bench("devices")
        self.until(lambda: len(self.core.hellos) > hellos, "the agent's hello", BOOT_S)
        self.result.boots += 1
        seconds = time.monotonic() - begun
        self.wait_for_guns(restarted=True)
        return seconds

    def wait_for_guns(self, *, restarted: bool = False) -> None:
        """Until the agent has every scanner open; what is typed before that nobody hears.

        `restarted`: it is another process, whose count of refusals begins at zero.
        """
        if restarted:
            self._errors = 0
        self.until(
            lambda: (
                all(one["connected"] for one in self.status("scanners"))
                and len(self.status("scanners")) == len(self.scanned)
            ),
            "every scanner connected",
        )

    def cut(self) -> None:
        """The power goes; the disk's cache with it."""
        assert self.vm is not None
        self.vm.kill()
        self.disk.power_cut()
        self.vm = None

    def inside(self) -> Vm:
        assert self.vm is not None, "switched off"
        return self.vm

    def status(self, part: str) -> Any:
        """One part of the agent's own status page, asked from inside."""
        ask = (
            "import json,urllib.request as u;"
            "r=u.urlopen('http://127.0.0.1:8090/status.json',timeout=20);"
            f"print(json.dumps(json.load(r)['{part}']))"
        )
        # The page opens a little after the agent takes scans.
        wait = "for n in $(seq 120); do ss -ltn | grep -q ':8090 ' && break; sleep 0.5; done"
        return json.loads(self.inside().sh(f'{wait}; python3 -c "{ask}"'))

    def until(self, true: Callable[[], Any], what: str, seconds: float = WAIT_S) -> None:
        """Wait for a condition; fails with the agent's last lines."""
        deadline = time.monotonic() + seconds
        while not true():
            if time.monotonic() > deadline:
                raise GuestError(f"did not come: {what}\n{self._last_lines()}")
            time.sleep(0.05)

    def _last_lines(self) -> str:
        try:
            return self.inside().sh("journalctl -b --no-pager -u packline-edge | tail -25")
        except (GuestError, OSError) as error:
            return f"{error}\n{self.inside().log()[-1500:]}"

    # -- work --------------------------------------------------------------------------------

    def order(self, skus: list[str], *, print_on: str = "pack") -> str:
        """The core grants one shipment; its number. `print_on="grant"` prints a label at once."""
        self._orders += 1
        shipment = f"DB2026V{self._orders:03d}-1"
        self.core.tell(commands.Grant(
            shipment=shipment, token=Token(1, 1), order=shipment[:-2], channel="shop",
            native_id=f"N-{self._orders}", waybill=f"WV{self._orders:04d}", carrier="test-express",
            label=commands.LabelText(
                carrier_name="测试快递", receiver_name="测*", receiver_phone="100******01",
                receiver_address="测试省测试市测试区****",
            ),
            lines=[commands.TaskLine(sku, 500, name=sku, barcodes=[sku]) for sku in skus],
            ship_by_ms=4_000_000_000_000, print_on=print_on,
        ))  # fmt: skip
        self.until(lambda: self.holds(shipment), f"{shipment} at the agent")
        return shipment

    def holds(self, shipment: str) -> bool:
        return any(shipment.encode() in bytes(event.d) for event in self.core.events())

    def picks(self, station: str = "") -> list[Event]:
        return [
            event for event in self.core.events()
            if event.t == "item.picked" and station in ("", event.s)
        ]  # fmt: skip

    def scan(self, codes: dict[str, list[str]]) -> None:
        """Both keyboard scanners at once (`bench-1`, `bench-2`), then the serial one."""
        hid = {str(GUNS.index(name)): found for name, found in codes.items() if name in GUNS}
        if hid:
            self.inside().bench("scan", codes=hid, timeout_s=300)
        for code in codes.get(SERIAL, []):
            self.inside().gun(f"{code}\r".encode())
            time.sleep(0.05)
        for name, found in codes.items():
            counted = [code for code in found if not code.startswith("TASK-")]
            self.scanned[name].update(counted)
            self.result.scans += len(counted)

    def all_there(self) -> bool:
        return len(self.picks()) >= sum(sum(one.values()) for one in self.scanned.values())

    def check_scans(self) -> None:
        """Every scan is at its own station, each as often as it was made.

        A code that the kernel tore is refused with the error tone; the packer then scans it again.
        One that is missing without having been refused is a scan lost.
        """
        with contextlib.suppress(GuestError):
            self.until(self.all_there, "every scan at the core", TEAR_S)
        strange, missing = self._differences()
        if missing and not strange:
            self._scan_refused_again(missing)
            self.until(self.all_there, "every scan at the core")
            strange, missing = self._differences()
        self.result.mixed += strange + sum(one.total() for one in missing.values())
        if self.result.mixed:
            raise GuestError(f"scans mixed: {strange} strange, missing {missing}")

    def _differences(self) -> tuple[int, dict[str, Counter[str]]]:
        """(picks nobody scanned there, scans without a pick by station)."""
        found: dict[str, Counter[str]] = {name: Counter() for name in self.scanned}
        for event in self.picks():
            found[event.s][msgspec.json.decode(event.d)["sku"]] += 1
        strange = sum((found[name] - made).total() for name, made in self.scanned.items())
        missing = {name: made - found[name] for name, made in self.scanned.items()}
        return strange, {name: one for name, one in missing.items() if one}

    def _scan_refused_again(self, missing: dict[str, Counter[str]]) -> None:
        count = sum(one.total() for one in missing.values())
        errors = self.status("counters")["scans"].get("error", 0)
        told, self._errors = errors - self._errors, errors
        if told < count:
            self.result.mixed += count
            raise GuestError(f"{missing} missing, only {told} scans were refused")
        self.result.refused += count
        for name, codes in missing.items():
            self.scanned[name] -= codes
            self.result.scans -= codes.total()
        self.scan({name: list(codes.elements()) for name, codes in missing.items()})
