"""A wired scanner on a serial port (USB CDC or RS-232), read by its own thread.

The thread only reads, frames and hands over; it survives unplugging and comes back with bounded
backoff. Open ports by path (`/dev/serial/by-path/...`): names and numbers move on re-plug.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import termios
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge_agent.domain.scan import ScanEvent, ScanRefused
from edge_agent.domain.scan_framing import FramingRules, ScanFramer

READ_BYTES = 4_096
PORTS = Path("/dev/serial/by-path")
PROBLEMS: dict[int, str] = {
    errno.EACCES: "no_permission",
    errno.EPERM: "no_permission",
    errno.EAGAIN: "busy",  # flock: another reader has it
    errno.EBUSY: "busy",
}
log = logging.getLogger(__name__)


def ports(folder: Path = PORTS) -> list[str]:
    """The serial ports that are there, by path; opens none (a port may be a printer's)."""
    try:
        return sorted(str(link) for link in folder.iterdir())
    except OSError:
        return []


@dataclass(frozen=True, slots=True)
class SerialPort:
    """Where and how to open. `idle_ms`: quiet time after which a code without suffix is dropped."""

    path: str
    baud: int = 115_200
    idle_ms: int = 300
    backoff_first_s: float = 0.1
    backoff_most_s: float = 5.0


class SerialScanner:
    """Implements `ports.Scanner`. `on_scan` and `on_refused` run in the reader thread.

    They must only enqueue (the caller wraps them in `loop.call_soon_threadsafe`). `clock_ms` is a
    monotonic clock in ms. `source` is the stable name of this port.
    """

    def __init__(
        self,
        port: SerialPort,
        source: str,
        *,
        on_scan: Callable[[ScanEvent], None],
        on_refused: Callable[[ScanRefused], None],
        clock_ms: Callable[[], int],
        rules: FramingRules | None = None,
        on_link: Callable[[bool], None] | None = None,
    ) -> None:
        self._port = port
        self._source = source
        self._on_scan = on_scan
        self._on_refused = on_refused
        self._on_link = on_link or (lambda _connected: None)
        self._clock_ms = clock_ms
        self._rules = rules or FramingRules()
        self._stopping = threading.Event()
        self._device: Any = None
        self._beat_ms = 0
        self.problem = ""
        """Why the port is not open (a key of `PROBLEMS_ZH`), "" when open or not there."""
        self._thread: threading.Thread | None = None

    @property
    def connected(self) -> bool:
        """Whether the port is open now."""
        return self._device is not None

    def stuck_ms(self) -> int:
        """How long ago the thread should have come round again, 0 while it does."""
        turn_ms = int(max(self._port.backoff_most_s, self._port.idle_ms / 1000) * 1000)
        late_ms = self._clock_ms() - self._beat_ms - turn_ms
        return max(0, late_ms) if self._thread is not None and not self._stopping.is_set() else 0

    def start(self) -> None:
        """Begin reading; a port that is not there yet is waited for."""
        assert self._thread is None, "started twice"
        self._beat_ms = self._clock_ms()
        self._thread = threading.Thread(
            target=self._run, name=f"scanner {self._source}", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """Stop reading and wait up to 2 s for the thread."""
        self._stopping.set()
        device = self._device
        if device is not None:
            with contextlib.suppress(Exception):
                device.cancel_read()
        if self._thread is not None:
            self._thread.join(2)

    def _run(self) -> None:
        import serial

        wait_s = self._port.backoff_first_s
        while not self._stopping.is_set():
            self._beat_ms = self._clock_ms()
            try:
                # Exclusive (flock): two readers of one port would each get half a code.
                device = serial.Serial(
                    self._port.path,
                    self._port.baud,
                    timeout=self._port.idle_ms / 1000,
                    exclusive=True,
                )
            except (OSError, ValueError, termios.error) as error:
                self._say_problem(PROBLEMS.get(getattr(error, "errno", None) or 0, ""))
                self._stopping.wait(wait_s)
                wait_s = min(wait_s * 2, self._port.backoff_most_s)
                continue
            wait_s = self._port.backoff_first_s
            self._read_until_gone(device, serial.SerialException)

    def _read_until_gone(self, device: Any, trouble: type[Exception]) -> None:
        framer = ScanFramer(self._source, self._rules)
        self._device = device
        self.problem = ""
        log.info("scanner.port_opened source=%s path=%s", self._source, self._port.path)
        self._on_link(True)
        try:
            while not self._stopping.is_set():
                self._beat_ms = self._clock_ms()
                data = device.read(1)
                if data:
                    data += device.read(min(device.in_waiting, READ_BYTES))
                elif not os.path.exists(self._port.path):
                    break  # a pty slave that was taken away can stay silent instead of failing
                now_ms = self._clock_ms()
                self._hand_over(framer.feed(data, now_ms) if data else framer.idle(now_ms))
        except (OSError, TypeError, termios.error, trouble):
            pass  # unplugged: the descriptor is dead, open again
        finally:
            self._device = None
            with contextlib.suppress(OSError, trouble):
                device.close()
            self._hand_over(framer.idle(self._clock_ms()))
            log.info("scanner.port_closed source=%s", self._source)
            self._on_link(False)

    def _say_problem(self, problem: str) -> None:
        if problem == self.problem:
            return
        self.problem = problem
        if problem:
            log.warning("scanner.not_opened source=%s reason=%s", self._source, problem)
        self._on_link(False)

    def _hand_over(self, found: list[ScanEvent | ScanRefused]) -> None:
        for item in found:
            if isinstance(item, ScanEvent):
                self._on_scan(item)
            else:
                self._on_refused(item)
