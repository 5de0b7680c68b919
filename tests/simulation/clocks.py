"""Clocks and names of the simulated machines: virtual time, skewed, stepped, and seeded ids."""

from __future__ import annotations

import asyncio
from random import Random

from edge_agent.domain.moment import Now
from tests.simulation.plan import START_WALL_MS

_BASE32 = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


class CoreClock:
    """The core's one clock is right by definition."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop

    def now_ms(self) -> int:
        return START_WALL_MS + int(self._loop.time() * 1000)


class EdgeClock:
    """A Pi's clocks: the wall clock jumps and may start in 1970, the other counts since boot."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._booted_s = loop.time()
        self.skew_ms = 0

    def boot(self) -> None:
        """The machine (not the process) starts again."""
        self._booted_s = self._loop.time()

    def now(self) -> Now:
        now_s = self._loop.time()
        mono_ms = 5_000 + int((now_s - self._booted_s) * 1000)
        return Now(max(0, START_WALL_MS + int(now_s * 1000) + self.skew_ms), mono_ms)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class SeededIds:
    """Every id of one program, both sides' `Ids` ports."""

    def __init__(self, rng: Random) -> None:
        self._rng = rng

    def epoch(self) -> str:
        return f"{self._rng.getrandbits(64):016x}"

    def jitter(self) -> float:
        return self._rng.random()

    def order_id(self, now_ms: int) -> str:
        return "DB2026" + self._word(8)

    def track_token(self) -> str:
        return self._word(22)

    def command_id(self, now_ms: int) -> str:
        return f"{now_ms:013d}" + self._word(13)

    def _word(self, length: int) -> str:
        return "".join(self._rng.choices(_BASE32, k=length))
