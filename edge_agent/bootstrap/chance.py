"""The kernel's clocks and real randomness: what the rest of the agent takes as arguments."""

from __future__ import annotations

import random
import secrets
import time
from pathlib import Path

from edge_agent.domain.moment import Now

NEVER_BEFORE_MS = 1_735_689_600_000
"""2025-01-01T00:00Z: no version of this program is older, no clock before it was ever set."""
STAMP = Path(__file__).with_name("built_at.txt")
"""The second of the build, written into the wheel by `setup.py`."""


def built_ms(stamp: Path = STAMP) -> int:
    """When this program's wheel was built, never before 2025; a checkout has no such time.

    The times of the installed files say nothing: a machine whose clock stood in 2099 when the
    agent was installed would for ever be held there.
    """
    try:
        found = int(stamp.read_text(encoding="ascii")) * 1000
    except (OSError, ValueError):
        found = 0
    return max(NEVER_BEFORE_MS, found)


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


def boot_no() -> int:
    """The number of one start; above any count of starts, which older versions sent."""
    return (1 << 20) + secrets.randbits(40)


def boot_id() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""
