"""What is known of the box itself while the agent runs: safe mode, drivers, clock, wear."""

from __future__ import annotations

import os
from collections import deque
from pathlib import Path
from typing import Any

from edge_agent.agent.clock import FlooredClock

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS


def written_bytes() -> int:
    """Bytes this process made the kernel send to storage (proc(5), `write_bytes`), 0 if unknown."""
    try:
        for line in Path("/proc/self/io").read_text(encoding="ascii").splitlines():
            if line.startswith("write_bytes:"):
                return int(line.split()[1])
    except (OSError, ValueError):
        return 0
    return 0


class Wear:
    """Bytes written, as a day's worth: over the last 24 h, or over the run while it is shorter."""

    def __init__(self, mono_ms: int) -> None:
        self._seen: deque[tuple[int, int]] = deque([(mono_ms, written_bytes())])

    def per_day(self, mono_ms: int) -> int:
        """Bytes a day; looked at hourly, so that 25 numbers are kept."""
        now_bytes = written_bytes()
        if mono_ms - self._seen[-1][0] >= HOUR_MS:
            self._seen.append((mono_ms, now_bytes))
        while len(self._seen) > 1 and mono_ms - self._seen[1][0] >= DAY_MS:
            self._seen.popleft()
        since_ms, since_bytes = self._seen[0]
        passed_ms = max(mono_ms - since_ms, 60_000)
        return (now_bytes - since_bytes) * DAY_MS // passed_ms


class Box:
    """Filled by bootstrap while it wires, read by page and metrics."""

    def __init__(self, clock: FlooredClock, safe_zh: str = "") -> None:
        self.safe_zh = safe_zh
        self.drivers: dict[str, str] = {}
        """Device -> why its driver is not used."""
        self._clock = clock
        self._started_ms = clock.now().mono_ms
        self._wear = Wear(self._started_ms)

    def health(self) -> dict[str, Any]:
        """Plain values; `clock_below_ms` > 0: the machine's own clock is wrong by at least that."""
        mono_ms = self._clock.now().mono_ms
        return {
            "safe_mode": self.safe_zh,
            "root": os.geteuid() == 0,
            "drivers": dict(self.drivers),
            "clock_below_ms": self._clock.below_ms(),
            "running_ms": mono_ms - self._started_ms,
            "written_bytes": written_bytes(),
            "written_bytes_per_day": self._wear.per_day(mono_ms),
        }
