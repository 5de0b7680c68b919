"""A keyboard-style scanner made of a FIFO: codes become the kernel's input records, key by key.

Knows what such a scanner and the kernel's input buffer do, with tables of its own: it is the other
end of the agent's reader and shares nothing with it. The FIFO stands where an event device does.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import struct
import termios
from collections.abc import Callable
from pathlib import Path

EV_SYN, EV_KEY, EV_MSC = 0, 1, 4
SYN_REPORT, SYN_DROPPED, MSC_SCAN = 0, 3, 4
ENTER, TAB, SHIFT, CTRL, ALT = 28, 15, 42, 29, 56
KERNEL_EVENTS = 64
"""Events the kernel keeps for one reader; one more throws them all away (drivers/input/evdev.c)."""

_RECORD = struct.Struct("@llHHi")
_ROWS = ((2, "1234567890-="), (16, "qwertyuiop[]"), (30, "asdfghjkl;'`"), (43, "\\zxcvbnm,./"))
_KEYS = {char: first + at for first, row in _ROWS for at, char in enumerate(row)} | {" ": 57}
_OVER = dict(zip('!@#$%^&*()_+{}:"~|<>?', "1234567890-=[];'`\\,./", strict=True))
_PAD = dict(zip("7894561230", (71, 72, 73, 75, 76, 77, 79, 80, 81, 82), strict=True))


class KeyboardScanner:
    """`plug()` makes the FIFO; `scan()` types a code; `unplug()` takes the device away.

    `pause` is called after each report: the time one takes on the wire. With `overflow`, what is
    not read in time is lost as the kernel loses it: all of it, with a SYN_DROPPED in its place.
    """

    def __init__(
        self,
        path: Path,
        *,
        suffix: int = ENTER,
        pause: Callable[[], None] = lambda: None,
        overflow: bool = False,
    ) -> None:
        self.path = path
        self._suffix = suffix
        self._pause = pause
        self._overflow = overflow
        self._descriptor = -1

    def plug(self) -> str:
        """Plug in. Returns the path to give to the agent."""
        assert self._descriptor < 0, "already plugged in"
        self.path.parent.mkdir(parents=True, exist_ok=True)
        os.mkfifo(self.path)
        self._descriptor = os.open(self.path, os.O_RDWR | os.O_NONBLOCK)
        return str(self.path)

    def unplug(self) -> None:
        """Pull the cable."""
        self.path.unlink(missing_ok=True)
        os.close(self._descriptor)
        self._descriptor = -1

    def scan(self, code: str) -> None:
        """One good read. Characters that are on no key come as Alt and four digits."""
        for char in code:
            self.type(char)
        self.tap(self._suffix)

    def type(self, char: str) -> None:
        """One character, as a scanner set to the US layout sends it."""
        if char == "\x1d":
            self.hold(CTRL, _KEYS["]"])
        elif char.isascii() and char.isupper():
            self.hold(SHIFT, _KEYS[char.lower()])
        elif char in _OVER:
            self.hold(SHIFT, _KEYS[_OVER[char]])
        elif char in _KEYS:
            self.tap(_KEYS[char])
        else:
            self.hold(ALT, *(_PAD[digit] for digit in f"{ord(char):04d}"))

    def hold(self, key: int, *keys: int) -> None:
        """Keys under a held one."""
        self.report(key, 1)
        self.tap(*keys)
        self.report(key, 0)

    def tap(self, *keys: int) -> None:
        """Down and up."""
        for key in keys:
            self.report(key, 1)
            self.report(key, 0)

    def report(self, key: int, value: int) -> None:
        """One report of the device: scan code, key, and the kernel's full stop."""
        self.send((EV_MSC, MSC_SCAN, key), (EV_KEY, key, value), (EV_SYN, SYN_REPORT, 0))
        self._pause()

    def send(self, *events: tuple[int, int, int]) -> None:
        """Raw events. Raises `OSError` when unplugged, or full and not set to overflow."""
        if self._descriptor < 0:
            raise OSError("scanner is unplugged")
        data = b"".join(_RECORD.pack(0, 0, *event) for event in events)
        if self._overflow and self._unread() + len(events) > KERNEL_EVENTS:
            with contextlib.suppress(BlockingIOError):
                os.read(self._descriptor, 1 << 16)
            data = _RECORD.pack(0, 0, EV_SYN, SYN_DROPPED, 0) + data
        os.write(self._descriptor, data)

    def _unread(self) -> int:
        waiting = struct.unpack("@i", fcntl.ioctl(self._descriptor, termios.FIONREAD, b"\0" * 4))
        return int(waiting[0]) // _RECORD.size

    def __enter__(self) -> KeyboardScanner:
        return self

    def __exit__(self, *_error: object) -> None:
        if self._descriptor >= 0:
            self.unplug()
