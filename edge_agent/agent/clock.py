"""The agent's clock: the machine's, never below what is certainly over.

A Pi without a battery wakes in 1970. The floor lifts what the agent stamps and judges with; the
machine's own clock, which TLS checks certificates with, is not ours to change here.
"""

from __future__ import annotations

from edge_agent.domain import moment
from edge_agent.domain.moment import ClockFloor, Now
from edge_agent.ports import Clock


class FlooredClock:
    """Implements `ports.Clock` over another one. Replaced as a whole, so any thread may read."""

    def __init__(self, raw: Clock, floor: ClockFloor, built_ms: int = 0) -> None:
        self._raw = raw
        self._built_ms = built_ms
        self.floor = floor

    def now(self) -> Now:
        """See `ports.Clock.now`; the wall clock is not below the floor."""
        return self.floor.lift(self._raw.now())

    def told(self, core_ms: int, mono_ms: int) -> None:
        """The core's time (ms UTC) at a moment of CLOCK_BOOTTIME."""
        self.floor = moment.floor_told(
            self.floor, built_ms=self._built_ms, core_ms=core_ms, mono_ms=mono_ms
        )

    def below_ms(self) -> int:
        """How far the machine's own wall clock stands below the floor now, 0 if it does not."""
        raw = self._raw.now()
        return max(0, self.floor.at(raw.mono_ms) - raw.wall_ms)
