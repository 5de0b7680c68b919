"""Reads a device through python-evdev, the compiled extension, where it was built.

Same calls as `records.RecordDevice`. Import this module only where `evdev` is there.
"""

from __future__ import annotations

import contextlib

import evdev

from edge_agent.scanners.hid.records import InputRecord, keep_boottime


class EvdevDevice:
    """One open node. Raises `OSError` when it cannot be opened, or is gone (errno 19 ENODEV)."""

    is_fifo = False

    def __init__(self, node: str) -> None:
        self._device = evdev.InputDevice(node)
        self._stamped = keep_boottime(self._device.fd)

    def fileno(self) -> int:
        """For `select`."""
        return int(self._device.fileno())

    def grab(self) -> None:
        """Take the device for us alone. Raises `OSError` (errno 16 EBUSY when somebody has it)."""
        self._device.grab()

    def read(self) -> list[InputRecord]:
        """What is there now. Raises `BlockingIOError` when there is nothing."""
        return [
            (one.type, one.code, one.value, self._ms(one.sec, one.usec))
            for one in self._device.read()
        ]

    def _ms(self, seconds: int, micros: int) -> int:
        return seconds * 1000 + micros // 1000 if self._stamped else 0

    def close(self) -> None:
        """Give the device back; closing ends the grab."""
        with contextlib.suppress(OSError):
            self._device.close()
