"""Tells the service manager that the agent is ready and alive (sd_notify(3))."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket


async def beat() -> None:
    """Tell the service manager's watchdog that the loop turns (sd_notify(3), WATCHDOG_USEC)."""
    usec = int(os.environ.get("WATCHDOG_USEC", "0") or 0)
    while usec:
        tell_service_manager("WATCHDOG=1")
        await asyncio.sleep(usec / 3_000_000)


def tell_service_manager(text: str) -> None:
    target = os.environ.get("NOTIFY_SOCKET", "")
    if target:
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.sendto(text.encode(), target.replace("@", "\0", 1))
