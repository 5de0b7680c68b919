"""Tells the service manager that the core is ready and alive (sd_notify(3))."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Callable


async def beat(is_alive: Callable[[], bool]) -> None:
    """Feed the watchdog (WATCHDOG_USEC) from the event loop, while `is_alive` says so.

    Waiting for a database server that is away is alive: a restart would not bring it back.
    """
    usec = int(os.environ.get("WATCHDOG_USEC", "0") or 0)
    while usec and is_alive():
        tell_service_manager("WATCHDOG=1")
        await asyncio.sleep(usec / 3_000_000)


def tell_service_manager(text: str) -> None:
    """Send one notification; nothing without a service manager."""
    target = os.environ.get("NOTIFY_SOCKET", "")
    if target:
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.sendto(text.encode(), target.replace("@", "\0", 1))
