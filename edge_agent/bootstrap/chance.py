"""The kernel's clocks and real randomness: what the rest of the agent takes as arguments."""

from __future__ import annotations

import random
import secrets
import time
from pathlib import Path

from edge_agent.domain.moment import Now

RELEASED_MS = 1_795_305_600_000
"""When this version was made (2026-11-22T00:00Z): no clock that stands before it is right."""


class SystemClock:
    """The kernel's clocks."""

    def now(self) -> Now:
        """See `ports.Clock.now`."""
        return Now(
            time.time_ns() // 1_000_000, time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000
        )


class SystemIds:
    """Real randomness."""

    def __init__(self) -> None:
        self._spread = random.SystemRandom()

    def epoch(self) -> str:
        """See `ports.Ids.epoch`."""
        return secrets.token_hex(8)

    def jitter(self) -> float:
        """See `ports.Ids.jitter`."""
        return self._spread.random()


def boot_id() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""
