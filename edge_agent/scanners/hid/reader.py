"""One thread that reads every keyboard-style scanner of this machine.

It selects over all of them, decodes each with a decoder of its own and hands codes over; it never
waits for anybody, because the kernel keeps only about 64 events a reader and tears a code that is
not fetched in time. Listed devices are grabbed, so that nothing else sees their keys. Any other
keyboard is left alone: it is listened to without a grab, and only for a station card.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import selectors
import socket
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from edge_agent.domain.scan import ScanEvent, ScanRefused
from edge_agent.domain.scanner_roster import Present
from edge_agent.scanners.hid.decoder import HidDecoder, HidRules
from edge_agent.scanners.hid.discovery import Plugged

log = logging.getLogger(__name__)

TURN_MS = 1_000
"""Longest time between two beats."""
IDLE_LOOK_MS = 50
RESCAN_MS = 2_000
SETTLE_MS = 150
"""After news of a plug, so long until the devices are looked at: news come in bursts, and udev sets
its links a little after the kernel has the device."""


class InputDevice(Protocol):
    """One open device. Real: `records.RecordDevice`, `extension.EvdevDevice`."""

    is_fifo: bool

    def fileno(self) -> int: ...

    def grab(self) -> None: ...

    def read(self) -> Sequence[tuple[int, int, int, int]]: ...

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class HidCalls:
    """What the reader calls, all in its own thread: they must only enqueue.

    `scanned` and `refused` carry the port as source. `present` is told the whole picture whenever
    it changed. `failed`: a fault of ours ended the thread.
    """

    scanned: Callable[[ScanEvent], None]
    refused: Callable[[ScanRefused], None]
    present: Callable[[tuple[Present, ...]], None]
    failed: Callable[[BaseException], None]


@dataclass(slots=True)
class _Held:
    """An open device. `key` is what it was opened for: device and rules (None: cards only)."""

    plugged: Plugged
    device: InputDevice
    decoder: HidDecoder
    rules: HidRules | None
    read_ms: int = 0


@dataclass(frozen=True, slots=True)
class HidWorld:
    """Where devices come from. `find` gets the listed ports; `news` may be None (no netlink)."""

    find: Callable[[Iterable[str]], list[Plugged]]
    open: Callable[[str], InputDevice]
    clock_ms: Callable[[], int]
    news: Callable[[], socket.socket | None] = field(default=lambda: None)
    rescan_ms: int = RESCAN_MS


class HidReader:
    """The thread. `is_card` says which code of an unlisted device may pass; None opens none."""

    def __init__(
        self,
        world: HidWorld,
        calls: HidCalls,
        listed: Mapping[str, HidRules],
        is_card: Callable[[str], bool] | None = None,
    ) -> None:
        self._world = world
        self._calls = calls
        self._listed = dict(listed)
        self._is_card = is_card
        self._stopping = threading.Event()
        self._held: dict[str, _Held] = {}
        self._problems: dict[str, str] = {}
        self._told: tuple[Present, ...] | None = None
        self._due_ms = 0
        self._beat_ms = 0
        self._wake_out, self._wake_in = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._selector = selectors.DefaultSelector()
        self._thread: threading.Thread | None = None

    @property
    def beat_ms(self) -> int:
        """`clock_ms` of the last turn of the loop; older than a few seconds means it hangs."""
        return self._beat_ms

    def stuck_ms(self) -> int:
        """How long ago the thread should have come round again, 0 while it does."""
        late_ms = self._world.clock_ms() - self._beat_ms - TURN_MS
        return max(0, late_ms) if self._thread is not None and not self._stopping.is_set() else 0

    @property
    def running(self) -> bool:
        """Whether the thread is there."""
        return self._thread is not None and self._thread.is_alive()

    def start(self) -> None:
        """Begin reading what is there and what will be plugged in."""
        assert self._thread is None, "started twice"
        self._beat_ms = self._world.clock_ms()
        self._thread = threading.Thread(target=self._run, name="scanners hid", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop reading, give every device back; waits up to 2 s for the thread."""
        if self._stopping.is_set():
            return
        self._stopping.set()
        os.write(self._wake_in, b"w")
        if self._thread is not None:
            self._thread.join(2)
        if not self.running:
            self._selector.close()
            for end in (self._wake_out, self._wake_in):
                os.close(end)

    def allow(self, listed: Mapping[str, HidRules]) -> None:
        """The devices that are used from now on; called by the one who starts and stops."""
        self._listed = dict(listed)
        if not self._stopping.is_set():
            with contextlib.suppress(BlockingIOError):  # full: it will wake anyway
                os.write(self._wake_in, b"w")

    def _run(self) -> None:
        try:
            self._selector.register(self._wake_out, selectors.EVENT_READ, None)
            with contextlib.ExitStack() as closing:
                news = self._world.news()
                if news is not None:
                    closing.enter_context(news)
                    self._selector.register(news, selectors.EVENT_READ, news)
                while not self._stopping.is_set():
                    self._turn()
        except BaseException as error:
            log.exception("scanner.reader_failed")
            self._calls.failed(error)
        finally:
            for held in list(self._held.values()):
                self._close(held)

    def _turn(self) -> None:
        """Read what is readable, end what went quiet, look for devices when it is time."""
        now_ms = self._beat_ms = self._world.clock_ms()
        if now_ms >= self._due_ms:
            self._due_ms = now_ms + self._world.rescan_ms
            self._rescan()
        for ready, _mask in self._selector.select(self._wait_s(now_ms)):
            if isinstance(ready.data, _Held):
                self._read(ready.data)
            elif ready.data is None:
                os.read(self._wake_out, 4096)
                self._due_ms = 0
            else:
                self._hear(ready.data)
        self._look_idle()

    def _wait_s(self, now_ms: int) -> float:
        pending = any(held.decoder.pending for held in self._held.values())
        most = IDLE_LOOK_MS if pending else TURN_MS
        return max(0, min(most, self._due_ms - now_ms)) / 1000

    def _hear(self, news: socket.socket) -> None:
        """Something was plugged in or out; what exactly, the next look will show."""
        with contextlib.suppress(OSError):  # ENOBUFS too: news were lost, so look
            while news.recv(8192):
                pass
        self._due_ms = min(self._due_ms, self._world.clock_ms() + SETTLE_MS)

    def _read(self, held: _Held) -> None:
        try:
            records = held.device.read()
        except BlockingIOError:
            return
        except OSError:
            self._close(held)  # pulled out: ENODEV
            self._due_ms = 0
            return
        now_ms = self._world.clock_ms()
        held.read_ms = now_ms
        for kind, code, value, stamp_ms in records:
            self._hand_over(held, held.decoder.feed(kind, code, value, stamp_ms or now_ms))

    def _look_idle(self) -> None:
        """A device that had nothing for us in this turn and is in mid-code may have gone quiet."""
        now_ms = self._world.clock_ms()
        for held in self._held.values():
            if held.decoder.pending and now_ms - held.read_ms > IDLE_LOOK_MS:
                self._hand_over(held, held.decoder.idle(now_ms))

    def _hand_over(self, held: _Held, found: ScanEvent | ScanRefused | None) -> None:
        if found is None:
            return
        if held.rules is None:
            # Not ours: what is typed there stays unseen, unless it is a card of this warehouse.
            if isinstance(found, ScanEvent) and self._is_card and self._is_card(found.code):
                self._calls.scanned(found)
        elif isinstance(found, ScanEvent):
            self._calls.scanned(found)
        else:
            self._calls.refused(found)

    def _rescan(self) -> None:
        listed = self._listed
        there = {one.port: one for one in self._world.find(listed)}
        for port, held in list(self._held.items()):
            if (
                there.get(port) != held.plugged
                or listed.get(port) != held.rules
                or os.fstat(held.device.fileno()).st_nlink == 0
            ):
                self._close(held)
        for port, plugged in there.items():
            if port not in self._held and (port in listed or self._is_card is not None):
                self._open(plugged, listed.get(port))
        for port in self._problems.keys() - there.keys():
            del self._problems[port]
        self._tell(there)

    def _open(self, plugged: Plugged, rules: HidRules | None) -> None:
        """Open and, if it is listed, grab; what does not work is tried again at every look."""
        port = plugged.port
        device: InputDevice | None = None
        try:
            device = self._world.open(plugged.node)
            if rules is not None:
                device.grab()
        except OSError as error:
            if device is not None:
                device.close()
            problem = _PROBLEMS.get(error.errno or 0, "unreadable")
            if self._problems.get(port) != problem:
                log.warning("scanner.not_opened port=%s reason=%s", port, problem)
            self._problems[port] = problem
            return
        self._problems.pop(port, None)
        decoder = HidDecoder(port, rules)
        if not device.is_fifo:
            decoder.opened(self._world.clock_ms())
        held = self._held[port] = _Held(plugged, device, decoder, rules)
        self._selector.register(device.fileno(), selectors.EVENT_READ, held)
        log.info("scanner.opened port=%s grabbed=%s", port, rules is not None)

    def _close(self, held: _Held) -> None:
        port = held.plugged.port
        self._hand_over(held, held.decoder.abandon(self._world.clock_ms()))
        with contextlib.suppress(KeyError, ValueError, OSError):
            self._selector.unregister(held.device.fileno())
        held.device.close()
        del self._held[port]
        log.info("scanner.closed port=%s", port)

    def _tell(self, there: Mapping[str, Plugged]) -> None:
        present = tuple(
            Present(port, "hid", one.name, self._is_used(port), self._problems.get(port, ""))
            for port, one in sorted(there.items())
        )
        if present != self._told:
            self._told = present
            self._calls.present(present)

    def _is_used(self, port: str) -> bool:
        held = self._held.get(port)
        return held is not None and held.rules is not None


_PROBLEMS: dict[int, str] = {
    errno.EBUSY: "busy",
    errno.EACCES: "no_permission",
    errno.EPERM: "no_permission",
}
"""Why a device could not be opened: somebody else grabbed it, or we may not."""
