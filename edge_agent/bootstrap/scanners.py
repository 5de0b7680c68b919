"""Puts the scanners together and leads their scans into the agent's loop.

Serial scanners have a thread each, keyboard-style ones share one; all of them only enqueue. Which
port is read follows the roster: settings, then what people adopted or bound by a station card.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import importlib
import logging
import os
import stat
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import replace
from typing import Any

from edge_agent.bootstrap.chance import SystemClock
from edge_agent.bootstrap.files import data_file
from edge_agent.domain.scan import ScanEvent, ScanRefused
from edge_agent.domain.scan_framing import FramingRules
from edge_agent.domain.scan_meaning import station_of_card
from edge_agent.domain.scanner_roster import Kind, Listed, Present, ScannerRoster
from edge_agent.scanners import serial
from edge_agent.scanners.hid import HidRules, discovery
from edge_agent.scanners.hid.decoder import SUFFIX_KEYS
from edge_agent.scanners.hid.reader import (
    RESCAN_MS,
    HidCalls,
    HidReader,
    HidWorld,
    InputDevice,
)
from edge_agent.scanners.hid.records import RecordDevice
from edge_agent.scanners.profile import ScannerProfile, checked, read_profile
from edge_agent.scanners.serial import SerialPort, SerialScanner
from edge_agent.settings import ScannerSetting, Settings

log = logging.getLogger(__name__)

SWITCH_S = 0.001
"""How long a thread with news waits for a busy one. With Python's 5 ms, one or two of 20 fast scans
were torn beside a loop that computes in 30 ms slices; with 1 ms none (tests/integration)."""
GENERIC: dict[Kind, str] = {"serial": "generic-serial", "hid": "generic-hid"}


def profile_of(setting: ScannerSetting) -> ScannerProfile:
    """Its profile, with what the settings say instead. Raises `Rejected` naming the key."""
    profile = read_profile(data_file("scanners", setting.profile or GENERIC[setting.kind]))
    return checked(replace(profile, **setting.changes))


def serial_rules(profile: ScannerProfile) -> FramingRules:
    """How a wired scanner's bytes are split."""
    return FramingRules(profile.suffix, profile.prefix)


def hid_rules(profile: ScannerProfile) -> HidRules:
    """How a keyboard-style scanner's keys are read."""
    none = profile.suffix == "NONE"
    suffixes = tuple(SUFFIX_KEYS) if profile.suffix in ("any", "NONE") else (profile.suffix,)
    return HidRules(suffixes, idle_ms=profile.idle_ms, idle_ends=none, prefix=profile.prefix)


def open_device(node: str) -> InputDevice:
    """One input node: through python-evdev where it was built and this is a device."""
    plain = stat.S_ISFIFO(os.stat(node).st_mode)
    made: InputDevice = RecordDevice(node) if plain else _device_class()(node)
    return made


@functools.cache
def _device_class() -> Callable[[str], InputDevice]:
    """The extension's reader, or ours of the same kernel records where it is not built."""
    found: Callable[[str], InputDevice] = RecordDevice
    try:
        found = importlib.import_module("edge_agent.scanners.hid.extension").EvdevDevice
    except Exception as error:  # not installed, or built for another machine
        log.info("scanner.without_extension reason=%s", error)
    log.info("scanner.reader_chosen reader=%s", found.__name__)
    return found


class FloorScanners:
    """Every scanner of the agent, as one `ports.Scanner`; made, started and stopped once.

    `agent` is the agent or whoever refuses in its place: `ready`, `live.later`, `live.scanners`
    and `scanners` (a `ScannerDoor`) are used of it.
    """

    def __init__(self, settings: Settings, agent: Any, roots: discovery.Roots | None = None):
        self._agent = agent
        self._roots = roots
        self._loop = asyncio.get_running_loop()
        self._roster: ScannerRoster = agent.live.scanners
        self._adopt = settings.scanner_adopt
        self._stations = frozenset(one.id for one in settings.stations)
        self._not_ours = {one.device for one in settings.printers}
        self._clock = SystemClock()
        self._listed: dict[str, Listed] = {}
        self._profiles: dict[str, ScannerProfile] = {}
        self._serial: dict[str, SerialScanner] = {}
        self._ports: tuple[str, ...] = ()
        self._hid: HidReader | None = None

    def add(self, setting: ScannerSetting) -> None:
        """Take a scanner of the settings. Raises `Rejected` for a profile that cannot be used."""
        self._profiles[setting.path] = profile_of(setting)
        self._listed[setting.path] = Listed(
            setting.source, setting.path, setting.kind, setting.station
        )

    @property
    def connected(self) -> bool:
        """Whether any scanner is read now."""
        return any(row["connected"] for row in self._roster.rows())

    def stuck_ms(self) -> int:
        """The longest time one of the threads has not come round; see `heartbeat`."""
        hid_ms = self._hid.stuck_ms() if self._hid is not None else 0
        return max([hid_ms, *(one.stuck_ms() for one in self._serial.values())])

    def start(self) -> None:
        """Begin with what the roster uses; follow it from now on."""
        self._roster.list_(self._listed.values())
        self._agent.scanners.changed = self._follow
        if any(profile.aim_ids for profile in self._profiles.values()):
            # Reading GS1 takes a tenth of a second to import: not in the first packer's scan.
            self._loop.run_in_executor(None, importlib.import_module, "biip")
        if self._adopt or self._roster.used("hid"):
            self._hid = self._hid_reader()
            self._hid.start()
        self._follow()

    def stop(self) -> None:
        """Stop every thread; waits up to 2 s for each."""
        for one in [self._hid, *self._serial.values()]:
            if one is not None:
                one.stop()

    def _follow(self) -> None:
        """Read exactly the ports that the roster uses; on the loop."""
        used = self._roster.used("serial")
        for port in [port for port in self._serial if port not in used]:
            self._loop.run_in_executor(None, self._serial.pop(port).stop)
        for port in [port for port in used if port not in self._serial]:
            self._serial[port] = self._serial_scanner(port)
            self._serial[port].start()
        if self._hid is not None:
            self._hid.allow({port: self._hid_rules(port) for port in self._roster.used("hid")})
        self._see_serial()

    def _profile(self, port: str, kind: Kind) -> ScannerProfile:
        found = self._profiles.get(port)
        if found is None or found.kind != kind:
            found = self._profiles[port] = read_profile(data_file("scanners", GENERIC[kind]))
        return found

    def _hid_rules(self, port: str) -> HidRules:
        return hid_rules(self._profile(port, "hid"))

    def _hid_reader(self) -> HidReader:
        calls = HidCalls(
            scanned=self._scanned,
            refused=self._refused,
            present=lambda present: self._enqueue(self._roster.see, "hid", present),
            failed=lambda error: self._enqueue(self._begin, _fail(error)),
        )
        world = HidWorld(self._find, open_device, self._mono_ms, discovery.open_uevents, RESCAN_MS)
        listed = {port: self._hid_rules(port) for port in self._roster.used("hid")}
        return HidReader(world, calls, listed, self._is_card if self._adopt else None)

    def _serial_scanner(self, port: str) -> SerialScanner:
        profile = self._profile(port, "serial")
        return SerialScanner(
            SerialPort(port, profile.baud, profile.idle_ms),
            port,
            on_scan=self._scanned,
            on_refused=self._refused,
            clock_ms=self._mono_ms,
            rules=serial_rules(profile),
            on_link=lambda _connected: self._enqueue(self._see_serial),
        )

    def _find(self, listed: Iterable[str]) -> list[discovery.Plugged]:
        """In the reader's thread: what is plugged in; serial ports are looked up on the way."""
        ports = tuple(port for port in serial.ports() if port not in self._not_ours)
        if self._adopt and ports != self._ports:
            self._ports = ports
            self._enqueue(self._see_serial)
        return discovery.find(listed, self._roots)

    def _see_serial(self) -> None:
        there = dict.fromkeys([*self._serial, *self._ports])
        self._roster.see("serial", tuple(self._serial_row(port) for port in there))

    def _serial_row(self, port: str) -> Present:
        one = self._serial.get(port)
        name = port.rpartition("/")[2]
        if one is None:
            return Present(port, "serial", name)
        return Present(port, "serial", name, one.connected, one.problem)

    def _is_card(self, code: str) -> bool:
        return station_of_card(code) in self._stations

    def _mono_ms(self) -> int:
        return self._clock.now().mono_ms

    def _scanned(self, event: ScanEvent) -> None:
        self._enqueue(self._say, self._agent.scanners.scanned, event.source, event.code)

    def _refused(self, event: ScanRefused) -> None:
        self._enqueue(self._say, self._agent.scanners.refused, event.source, event.reason)

    def _say(self, call: Callable[[str, str], Coroutine[Any, Any, Any]], *what: str) -> None:
        self._begin(call(*what))

    def _begin(self, work: Coroutine[Any, Any, Any]) -> None:
        if self._agent.ready.is_set():
            self._agent.live.later(work)  # a fault of ours ends the agent, never a silent scan
        else:
            work.close()  # the agent has left: no tone, no scan

    def _enqueue(self, call: Callable[..., None], *what: Any) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: the program ends
            self._loop.call_soon_threadsafe(call, *what)


async def _fail(error: BaseException) -> None:
    raise error
