"""One thread that looks which keyboard-style scanners are plugged in and opens them.

Looking through `/dev` and `/sys`, opening and grabbing may take as long as a hub takes to settle;
the thread that reads (`reader`) never waits for it. What was seen goes over as one `Seen`, and the
next look begins when the reader has taken it. Decodes nothing, reads no key.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import select
import socket
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from edge_agent.scanners.hid.decoder import HidRules
from edge_agent.scanners.hid.discovery import Plugged

log = logging.getLogger(__name__)

RESCAN_MS = 2_000
LOOK_MS = 5_000
"""A look that takes longer than this is late."""
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
class HidWorld:
    """Where devices come from. `find` gets the listed ports; `news` may be None (no netlink)."""

    find: Callable[[Iterable[str]], list[Plugged]]
    open: Callable[[str], InputDevice]
    clock_ms: Callable[[], int]
    news: Callable[[], socket.socket | None] = field(default=lambda: None)
    rescan_ms: int = RESCAN_MS


@dataclass(frozen=True, slots=True)
class Opened:
    """A device to read from now on: grabbed if it has rules (None: for cards only)."""

    plugged: Plugged
    device: InputDevice
    rules: HidRules | None


@dataclass(frozen=True, slots=True)
class Seen:
    """One look: everything there by port, what is listed, what was opened, what would not open."""

    there: Mapping[str, Plugged]
    listed: Mapping[str, HidRules]
    opened: tuple[Opened, ...]
    problems: Mapping[str, str]


Holding = Mapping[str, tuple[Plugged, HidRules | None]]
"""What the reader reads now, by port; replaced as a whole, so any thread may look at it."""


class Lookout:
    """The thread. `give` takes a `Seen` over and must only enqueue; `taken` then lets it go on.

    `holding` is asked at each look; with `all_` unlisted devices are opened as well.
    """

    def __init__(
        self,
        world: HidWorld,
        give: Callable[[Seen], None],
        holding: Callable[[], Holding],
        failed: Callable[[BaseException], None],
        *,
        all_: bool,
    ) -> None:
        self.world = world
        self._give = give
        self._holding = holding
        self._failed = failed
        self._all = all_
        self._listed: Mapping[str, HidRules] = {}
        self._problems: dict[str, str] = {}
        self._taken = threading.Event()
        self._stopping = threading.Event()
        self._since_ms = 0
        self._wake_out, self._wake_in = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._thread: threading.Thread | None = None

    @property
    def running(self) -> bool:
        """Whether the thread is there."""
        return self._thread is not None and self._thread.is_alive()

    def stuck_ms(self) -> int:
        """For how long a look is late, 0 while none is."""
        since = self._since_ms
        if not since or self._stopping.is_set():
            return 0
        return max(0, self.world.clock_ms() - since - LOOK_MS)

    def start(self) -> None:
        """Look now, at every plug, and every `rescan_ms`."""
        self._thread = threading.Thread(target=self._run, name="scanners look", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread; waits up to 2 s for it."""
        self._stopping.set()
        self._taken.set()
        if self._thread is not None:
            self.look()
            self._thread.join(2)
        if not self.running:
            for end in (self._wake_out, self._wake_in):
                os.close(end)

    def look(self) -> None:
        """Look again at once."""
        with contextlib.suppress(OSError):  # full: it will wake anyway; closed: it has ended
            os.write(self._wake_in, b"w")

    def allow(self, listed: Mapping[str, HidRules]) -> None:
        """The devices that are used from now on."""
        self._listed = dict(listed)
        if not self._stopping.is_set():
            self.look()

    def taken(self) -> None:
        """The reader has what was given."""
        self._taken.set()

    def _run(self) -> None:
        try:
            with contextlib.ExitStack() as closing:
                news = self.world.news()
                if news is not None:
                    closing.enter_context(news)
                while not self._stopping.is_set():
                    self._hand_over()
                    self._wait(news)
        except BaseException as error:
            log.exception("scanner.lookout_failed")
            self._since_ms = 0
            self._failed(error)

    def _wait(self, news: socket.socket | None) -> None:
        """Until the next look is due: a call, a plug that has settled, or `rescan_ms`."""
        due_ms = self.world.clock_ms() + self.world.rescan_ms
        ends = [self._wake_out] if news is None else [self._wake_out, news.fileno()]
        while not self._stopping.is_set():
            left_ms = due_ms - self.world.clock_ms()
            ready = select.select(ends, [], [], left_ms / 1000)[0] if left_ms > 0 else []
            if self._wake_out in ready:
                os.read(self._wake_out, 4096)
                return
            if not ready:
                return
            with contextlib.suppress(OSError):  # ENOBUFS too: news were lost, so look
                while news is not None and news.recv(8192):
                    pass
            due_ms = min(due_ms, self.world.clock_ms() + SETTLE_MS)

    def _hand_over(self) -> None:
        self._since_ms = self.world.clock_ms()
        seen = self._look()
        self._since_ms = 0
        if self._stopping.is_set():  # a look that outlived the reader: nobody takes these over
            for opened in seen.opened:
                opened.device.close()
            return
        self._taken.clear()
        self._give(seen)
        # Before it is taken, `holding` is old: a device would be opened twice, and found busy.
        while not self._stopping.is_set() and not self._taken.wait(1):
            pass

    def _look(self) -> Seen:
        listed, holding = self._listed, self._holding()
        there = {one.port: one for one in self.world.find(listed)}
        opened: list[Opened] = []
        for port, plugged in there.items():
            rules = listed.get(port)
            if (rules is not None or self._all) and _is_to_open(holding.get(port), plugged, rules):
                device = self._opened(plugged, rules)
                if device is not None:
                    opened.append(Opened(plugged, device, rules))
        for port in self._problems.keys() - there.keys():
            del self._problems[port]
        return Seen(there, listed, tuple(opened), dict(self._problems))

    def _opened(self, plugged: Plugged, rules: HidRules | None) -> InputDevice | None:
        """Open and, if it is listed, grab; what does not work is tried again at every look."""
        port = plugged.port
        device: InputDevice | None = None
        try:
            device = self.world.open(plugged.node)
            if rules is not None:
                device.grab()
        except OSError as error:
            if device is not None:
                device.close()
            problem = _PROBLEMS.get(error.errno or 0, "unreadable")
            if self._problems.get(port) != problem:
                log.warning("scanner.not_opened port=%s reason=%s", port, problem)
            self._problems[port] = problem
            return None
        self._problems.pop(port, None)
        return device


def _is_to_open(
    held: tuple[Plugged, HidRules | None] | None, plugged: Plugged, rules: HidRules | None
) -> bool:
    """Another device, or one that must be grabbed or given back; other rules alone are not that."""
    if held is None or held[0] != plugged:
        return True
    return (held[1] is None) != (rules is None)


_PROBLEMS: dict[int, str] = {
    errno.EBUSY: "busy",
    errno.EACCES: "no_permission",
    errno.EPERM: "no_permission",
}
"""Why a device could not be opened: somebody else grabbed it, or we may not."""
