"""A wired scanner made of a pseudo-terminal: what is "scanned" here reaches the agent as bytes.

Stands where the hardware stands; knows only what a scanner knows (a code and its suffix).
"""

from __future__ import annotations

import contextlib
import os
import tty
from pathlib import Path


class VirtualScanner:
    """`open()` gives the path the agent opens; `scan()` pulls the trigger.

    With `link`, a stable path that survives `unplug()` / `plug()` as a by-path link does. Codes
    scanned while nobody reads are lost when the agent opens the port, as with the real thing.
    """

    def __init__(self, suffix: bytes = b"\r", link: Path | None = None) -> None:
        self._suffix = suffix
        self._link = link
        self._master = -1
        self._slave = -1

    def open(self) -> str:
        """Plug in. Returns the path to give to the agent."""
        return self.plug()

    def plug(self) -> str:
        assert self._master < 0, "already plugged in"
        self._master, self._slave = os.openpty()
        # Our own handle on the slave keeps the line alive while no agent has it open.
        tty.setraw(self._slave)
        os.set_blocking(self._master, False)
        path = os.ttyname(self._slave)
        if self._link is None:
            return path
        self._link.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileNotFoundError):
            self._link.unlink()
        self._link.symlink_to(path)
        return str(self._link)

    def unplug(self) -> None:
        """Pull the cable: the agent's reads fail from now on."""
        if self._link is not None:
            with contextlib.suppress(FileNotFoundError):
                self._link.unlink()
        for descriptor in (self._slave, self._master):
            if descriptor >= 0:
                os.close(descriptor)
        self._master = self._slave = -1

    def scan(self, code: str) -> None:
        """One good read: the code and the suffix, at once. Raises `OSError` if unplugged."""
        self.send(code.encode("utf-8") + self._suffix)

    def send(self, data: bytes) -> None:
        """Raw bytes, for what no real scanner should ever send. At most one pty buffer (4 KB)."""
        if self._master < 0:
            raise OSError("scanner is unplugged")
        os.write(self._master, data)

    def close(self) -> None:
        if self._master >= 0:
            self.unplug()

    def __enter__(self) -> VirtualScanner:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()
