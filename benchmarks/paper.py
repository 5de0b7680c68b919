"""A label printer that only keeps time: when the first byte of each label came, and when it ended.

Speaks what the virtual printer speaks, on a thread with blocking sockets, so that its own clock
is not behind anybody's event loop.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from dataclasses import dataclass

from virtual_warehouse.heard import Label, Question
from virtual_warehouse.tspl_reader import TsplReader

READY, BUSY = b"\x00", b"\x20"
FULL = bytes((2, 0x40, 0x40, 0x40, 0x40, 3, 13, 10))
READ_BYTES = 65_536


@dataclass(frozen=True, slots=True)
class Sheet:
    """One label: CLOCK_MONOTONIC ns of its first and its last byte, and how many there were."""

    first_ns: int
    last_ns: int
    size: int


class Paper:
    """Listens on a free port; `sheets` grows. A label takes `print_s` to come out.

    `settled` counts the labels after which the printer was asked and said that it is ready again.
    """

    def __init__(self, print_s: float = 0.25) -> None:
        self.sheets: list[Sheet] = []
        self.settled = 0
        self._print_s = print_s
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._more = threading.Condition()
        threading.Thread(target=self._serve, name="paper", daemon=True).start()

    def close(self) -> None:
        """Switch it off."""
        self._listener.close()

    def wait(self, count: int, timeout_s: float = 10.0) -> Sheet:
        """The `count`-th label (from 1). Raises `TimeoutError`."""
        with self._more:
            if not self._more.wait_for(lambda: len(self.sheets) >= count, timeout_s):
                raise TimeoutError(f"label {count} did not come")
        return self.sheets[count - 1]

    def wait_settled(self, count: int, timeout_s: float = 10.0) -> None:
        """Wait until the asker knows that label `count` is done. Raises `TimeoutError`."""
        with self._more:
            if not self._more.wait_for(lambda: self.settled >= count, timeout_s):
                raise TimeoutError(f"nobody asked after label {count}")

    def _serve(self) -> None:
        while True:
            try:
                client, _peer = self._listener.accept()
            except OSError:
                return
            with client, contextlib.suppress(OSError):
                client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._talk(client)

    def _talk(self, client: socket.socket) -> None:
        reader = TsplReader()
        first_ns, size, done_at = 0, 0, 0.0
        while data := client.recv(READ_BYTES):
            now_ns = time.monotonic_ns()
            if not first_ns and not data.startswith(b"\x1b"):
                first_ns = now_ns
            size += len(data) if first_ns else 0
            for item in reader.feed(data):
                if isinstance(item, Question):
                    busy = time.monotonic() < done_at
                    short = BUSY if busy else READY
                    client.sendall(short if item.kind == "!?" else FULL)
                    if not busy:
                        self._settle()
                elif isinstance(item, Label):
                    self._note(Sheet(first_ns, now_ns, size))
                    first_ns, size, done_at = 0, 0, time.monotonic() + self._print_s

    def _note(self, sheet: Sheet) -> None:
        with self._more:
            self.sheets.append(sheet)
            self._more.notify_all()

    def _settle(self) -> None:
        with self._more:
            self.settled = len(self.sheets)
            self._more.notify_all()
