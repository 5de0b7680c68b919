"""The last answer at each station, and who watches it: what a screen shows at once.

Lives in memory only; a restart forgets which answer was last and loses nothing else.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

from edge_agent.domain.answer import Answer

WATCHERS_MAX = 32
"""Open screens and handheld pages together; each costs a task."""
STATION_WATCHERS_MAX = 6


@dataclass(frozen=True, slots=True)
class Shown:
    """The `n`-th answer of this run at a station; `n` 0 = none yet."""

    n: int = 0
    wall_ms: int = 0
    answer: Answer | None = None


class Board:
    """Owned by the loop; `show` never blocks."""

    def __init__(self) -> None:
        self._shown: dict[str, Shown] = {}
        self._watching: dict[asyncio.Event, str] = {}
        self.closed = False
        """The agent leaves: whoever watches ends."""

    def show(self, station: str, answer: Answer, wall_ms: int) -> None:
        """A new answer at a station."""
        self._shown[station] = Shown(self.at(station).n + 1, wall_ms, answer)
        for event, watched in self._watching.items():
            if watched == station:
                event.set()

    def at(self, station: str) -> Shown:
        """The newest answer at a station."""
        return self._shown.get(station, Shown())

    def close(self) -> None:
        """Let everybody who watches end now."""
        self.closed = True
        for event in self._watching:
            event.set()

    def is_full(self, station: str) -> bool:
        """Whether no further screen may watch this station."""
        same = sum(watched == station for watched in self._watching.values())
        return len(self._watching) >= WATCHERS_MAX or same >= STATION_WATCHERS_MAX

    @contextlib.contextmanager
    def watching(self, station: str) -> Iterator[asyncio.Event]:
        """An event that is set with each answer at the station."""
        event = asyncio.Event()
        self._watching[event] = station
        try:
            yield event
        finally:
            del self._watching[event]
