"""Tells the service manager that the agent is ready and alive (sd_notify(3)).

Alive means: the loop turns, the journals' writer threads are not at one commit for too long, and
no scanner's reader hangs. Whatever hangs stops the feeding; the service manager then starts the
agent again, and the journal's own recovery does the rest.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
from collections.abc import Callable, Mapping

log = logging.getLogger(__name__)

STUCK_MS_MAX = 20_000
"""A worn card may hold one sync for 5 to 10 s (reliability §5 no. 7); twice that is no sync."""

Pulse = Callable[[], int]
"""For how many ms a thread has not come back from what it does; 0 = it waits or works well."""


def hung(pulses: Mapping[str, Pulse]) -> list[str]:
    """Names of the threads that do not come back."""
    return [name for name, stuck_ms in pulses.items() if stuck_ms() > STUCK_MS_MAX]


async def beat(pulses: Mapping[str, Pulse]) -> None:
    """Feed the watchdog every third of its time (WATCHDOG_USEC) while nothing hangs."""
    usec = int(os.environ.get("WATCHDOG_USEC", "0") or 0)
    told: list[str] = []
    while usec:
        found = hung(pulses)
        if not found:
            tell_service_manager("WATCHDOG=1")
        elif found != told:
            log.error("watchdog.not_fed hung=%s", ",".join(found))
            tell_service_manager(f"STATUS=卡住: {', '.join(found)}")
        told = found
        await asyncio.sleep(usec / 3_000_000)


def tell_service_manager(text: str) -> None:
    """One datagram; without a service manager nothing happens."""
    target = os.environ.get("NOTIFY_SOCKET", "")
    if target:
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.sendto(text.encode(), target.replace("@", "\0", 1))
