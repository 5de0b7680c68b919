"""Reads the kernel's input records with the standard library: a device of `/dev/input`, or a FIFO.

One record is a `struct input_event` of `linux/input.h`: two longs of time, type, code, value. The
FIFO takes the same records, so that everything above this works without a device. Knows no key.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
import struct
from collections.abc import Iterator

RECORD = struct.Struct("@llHHi")
RECORDS_A_READ = 256
CLOCK_BOOTTIME = 7
"""`clockid_t` of the agent's monotonic clock (linux/time.h)."""

InputRecord = tuple[int, int, int, int]
"""Type, code, value, and the kernel's CLOCK_BOOTTIME in ms (0 when it does not say)."""


def _request(direction: int, number: int, size: int) -> int:
    """An ioctl number of type 'E' (asm-generic/ioctl.h); direction 1 writes, 2 reads."""
    return direction << 30 | size << 16 | ord("E") << 8 | number


EVIOCGRAB = _request(1, 0x90, struct.calcsize("@i"))
EVIOCSCLOCKID = _request(1, 0xA0, struct.calcsize("@i"))


def keep_boottime(descriptor: int) -> bool:
    """Have the kernel stamp events with CLOCK_BOOTTIME; False where it cannot (a FIFO)."""
    try:
        fcntl.ioctl(descriptor, EVIOCSCLOCKID, struct.pack("@i", CLOCK_BOOTTIME))
    except OSError:
        return False
    return True


def split(data: bytes, *, stamped: bool) -> Iterator[InputRecord]:
    """Whole records of `data`, in order. `len(data)` must be a multiple of the record size."""
    for seconds, micros, kind, code, value in RECORD.iter_unpack(data):
        yield kind, code, value, seconds * 1000 + micros // 1000 if stamped else 0


class RecordDevice:
    """One open node. Raises `OSError` when it cannot be opened, or is gone (errno 19 ENODEV)."""

    def __init__(self, node: str) -> None:
        # Read-write keeps a FIFO open while nobody types; a device only needs reading.
        self.is_fifo = stat.S_ISFIFO(os.stat(node).st_mode)
        flags = os.O_RDWR if self.is_fifo else os.O_RDONLY
        self._descriptor = os.open(node, flags | os.O_NONBLOCK | os.O_CLOEXEC)
        self._stamped = not self.is_fifo and keep_boottime(self._descriptor)
        self._torn = b""

    def fileno(self) -> int:
        """For `select`."""
        return self._descriptor

    def grab(self) -> None:
        """Take the device for us alone. Raises `OSError` (errno 16 EBUSY when somebody has it)."""
        if not self.is_fifo:
            fcntl.ioctl(self._descriptor, EVIOCGRAB, 1)

    def read(self) -> list[InputRecord]:
        """What is there now, at most 256 records. Raises `BlockingIOError` when there is none."""
        data = self._torn + os.read(self._descriptor, RECORD.size * RECORDS_A_READ)
        whole = len(data) - len(data) % RECORD.size
        self._torn = data[whole:]
        return list(split(data[:whole], stamped=self._stamped))

    def close(self) -> None:
        """Give the device back; closing ends the grab."""
        with contextlib.suppress(OSError):
            os.close(self._descriptor)
