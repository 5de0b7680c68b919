"""One thread that reads every keyboard-style scanner of this machine.

It selects over all of them, decodes each with a decoder of its own and hands codes over; it never
waits for anybody, because the kernel keeps only about 64 events a reader and tears a code that is
not fetched in time. What is plugged in is found and opened by a thread of its own (`lookout`) and
comes through a wake-up pipe. Listed devices are grabbed, so that nothing else sees their keys. Any
other keyboard is left alone: it is listened to without a grab, and only for a station card.
"""

from __future__ import annotations

import contextlib
import logging
import os
import selectors
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from queue import SimpleQueue

from edge_agent.domain.scan import ScanEvent, ScanRefused
from edge_agent.domain.scanner_roster import Present
from edge_agent.scanners.hid.decoder import HidDecoder, HidRules
from edge_agent.scanners.hid.discovery import Plugged
from edge_agent.scanners.hid.lookout import (
    RESCAN_MS,
    HidWorld,
    Holding,
    InputDevice,
    Lookout,
    Opened,
    Seen,
)

__all__ = ["RESCAN_MS", "HidCalls", "HidReader", "HidWorld", "InputDevice"]

log = logging.getLogger(__name__)

TURN_MS = 1_000
"""Longest time between two beats."""
IDLE_LOOK_MS = 50


@dataclass(frozen=True, slots=True)
class HidCalls:
    """What the reader calls, in threads of its own: they must only enqueue.

    `scanned` and `refused` carry the port as source. `present` is told the whole picture whenever
    it changed. `failed`: a fault of ours ended a thread.
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


class HidReader:
    """The thread. `is_card` says which code of an unlisted device may pass; None opens none."""

    def __init__(
        self,
        world: HidWorld,
        calls: HidCalls,
        listed: Mapping[str, HidRules],
        is_card: Callable[[str], bool] | None = None,
    ) -> None:
        self._calls = calls
        self._is_card = is_card
        self._stopping = threading.Event()
        self._held: dict[str, _Held] = {}
        self._holding: Holding = {}
        self._told: tuple[Present, ...] | None = None
        self._beat_ms = 0
        self._seen: SimpleQueue[Seen] = SimpleQueue()
        self._wake_out, self._wake_in = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._selector = selectors.DefaultSelector()
        self._thread: threading.Thread | None = None
        self.lookout = Lookout(
            world, self._take_over, lambda: self._holding, calls.failed, all_=is_card is not None
        )
        self.lookout.allow(listed)

    @property
    def beat_ms(self) -> int:
        """`clock_ms` of the last turn of the loop; older than a few seconds means it hangs."""
        return self._beat_ms

    def stuck_ms(self) -> int:
        """How long ago one of the threads should have come round again, 0 while they do."""
        if self._thread is None or self._stopping.is_set():
            return 0
        late_ms = self._now_ms() - self._beat_ms - TURN_MS
        return max(0, late_ms, self.lookout.stuck_ms())

    @property
    def running(self) -> bool:
        """Whether both threads are there."""
        return self._reads and self.lookout.running

    @property
    def _reads(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    def start(self) -> None:
        """Begin reading what is there and what will be plugged in."""
        assert self._thread is None, "started twice"
        self._beat_ms = self._now_ms()
        self._thread = threading.Thread(target=self._run, name="scanners hid", daemon=True)
        self._thread.start()
        self.lookout.start()

    def stop(self) -> None:
        """Stop reading, give every device back; waits up to 2 s for each thread."""
        if self._stopping.is_set():
            return
        self._stopping.set()
        self._wake()
        if self._thread is not None:
            self._thread.join(2)
        self.lookout.stop()
        if not self._reads and not self.lookout.running:
            while not self._seen.empty():
                for opened in self._seen.get().opened:
                    opened.device.close()
            self._selector.close()
            for end in (self._wake_out, self._wake_in):
                os.close(end)

    def allow(self, listed: Mapping[str, HidRules]) -> None:
        """The devices that are used from now on; called by the one who starts and stops."""
        self.lookout.allow(listed)

    def _now_ms(self) -> int:
        return self.lookout.world.clock_ms()

    def _wake(self) -> None:
        with contextlib.suppress(OSError):  # full: it will wake anyway; closed: it has ended
            os.write(self._wake_in, b"w")

    def _take_over(self, seen: Seen) -> None:
        """In the lookout's thread: what it saw goes to ours."""
        self._seen.put(seen)
        self._wake()

    def _run(self) -> None:
        try:
            self._selector.register(self._wake_out, selectors.EVENT_READ, None)
            while not self._stopping.is_set():
                self._turn()
        except BaseException as error:
            log.exception("scanner.reader_failed")
            self._calls.failed(error)
        finally:
            for held in list(self._held.values()):
                self._close(held)

    def _turn(self) -> None:
        """Read what is readable, end what went quiet, take over what was seen."""
        self._beat_ms = self._now_ms()
        woken = False
        for ready, _mask in self._selector.select(self._wait_s()):
            if isinstance(ready.data, _Held):
                self._read(ready.data)
            else:
                woken = True
                os.read(self._wake_out, 4096)
        self._look_idle()
        while woken and not self._seen.empty():
            self._see(self._seen.get())

    def _wait_s(self) -> float:
        pending = any(held.decoder.pending for held in self._held.values())
        return (IDLE_LOOK_MS if pending else TURN_MS) / 1000

    def _read(self, held: _Held) -> None:
        try:
            records = held.device.read()
        except BlockingIOError:
            return
        except OSError:
            self._close(held)  # pulled out: ENODEV
            self.lookout.look()
            return
        now_ms = self._now_ms()
        held.read_ms = now_ms
        for kind, code, value, stamp_ms in records:
            self._hand_over(held, held.decoder.feed(kind, code, value, stamp_ms or now_ms))

    def _look_idle(self) -> None:
        """A device that had nothing for us in this turn and is in mid-code may have gone quiet."""
        now_ms = self._now_ms()
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

    def _see(self, seen: Seen) -> None:
        """Let go of what is gone or wanted otherwise, take what was opened, tell the picture."""
        for port, held in list(self._held.items()):
            self._keep_or_close(held, seen.there.get(port), seen.listed.get(port))
        for opened in seen.opened:
            self._take(opened)
        self._holding = {port: (held.plugged, held.rules) for port, held in self._held.items()}
        self.lookout.taken()
        self._tell(seen)

    def _keep_or_close(self, held: _Held, there: Plugged | None, rules: HidRules | None) -> None:
        if there != held.plugged:
            self._close(held)
        elif os.fstat(held.device.fileno()).st_nlink == 0:
            self._close(held)
            self.lookout.look()  # it was thought to be held, so nobody opened it
        elif rules is None or held.rules is None:
            if rules is not held.rules:
                self._close(held)
        elif rules != held.rules:
            self._hand_over(held, held.decoder.abandon(self._now_ms()))
            held.decoder, held.rules = HidDecoder(held.plugged.port, rules), rules

    def _take(self, opened: Opened) -> None:
        port, device = opened.plugged.port, opened.device
        before = self._held.get(port)
        if before is not None:
            self._close(before)
        decoder = HidDecoder(port, opened.rules)
        if not device.is_fifo:
            decoder.opened(self._now_ms())
        held = self._held[port] = _Held(opened.plugged, device, decoder, opened.rules)
        self._selector.register(device.fileno(), selectors.EVENT_READ, held)
        log.info("scanner.opened port=%s grabbed=%s", port, opened.rules is not None)

    def _close(self, held: _Held) -> None:
        port = held.plugged.port
        self._hand_over(held, held.decoder.abandon(self._now_ms()))
        with contextlib.suppress(KeyError, ValueError, OSError):
            self._selector.unregister(held.device.fileno())
        held.device.close()
        del self._held[port]
        self._holding = {key: one for key, one in self._holding.items() if key != port}
        log.info("scanner.closed port=%s", port)

    def _tell(self, seen: Seen) -> None:
        present = tuple(
            Present(port, "hid", one.name, self._is_used(port), seen.problems.get(port, ""))
            for port, one in sorted(seen.there.items())
        )
        if present != self._told:
            self._told = present
            self._calls.present(present)

    def _is_used(self, port: str) -> bool:
        held = self._held.get(port)
        return held is not None and held.rules is not None
