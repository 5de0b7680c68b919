"""The agent as its pages see it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Protocol, TypeVar

from edge_agent.domain.answer import Answer
from edge_agent.flows.bench import Bench
from edge_agent.journal.tx import Tx
from edge_agent.ports import Connection

T = TypeVar("T")
Act = Callable[[Tx, Bench], Answer]
Step = Callable[[Tx, str, str, Bench], Answer]


class StatusDesk(Protocol):
    """What the status page alone needs."""

    def status(self) -> dict[str, Any]: ...

    async def act(self, act: Act) -> Answer: ...


class Board(Protocol):
    """Who watches which station; `closed` when the agent leaves."""

    @property
    def closed(self) -> bool: ...

    def is_full(self, station: str) -> bool: ...

    def watching(self, station: str) -> AbstractContextManager[asyncio.Event]: ...


class Desk(Protocol):
    """See `agent.Agent`, whose methods these are."""

    @property
    def board(self) -> Board: ...

    def status(self) -> dict[str, Any]: ...

    async def act(self, act: Act, station: str = "") -> Answer: ...

    async def scan(
        self, station: str, code: str, source: str, numbered: Step | None = None
    ) -> Answer: ...

    async def refuse_scan(self, station: str, reason: str, source: str) -> Answer: ...

    async def adopt_scanner(self, port: str, station: str) -> Answer: ...

    def refused_handheld(self, code: str) -> None: ...

    async def write(self, work: Callable[[Tx], T]) -> T: ...

    def read(self, work: Callable[[Connection], T]) -> T: ...

    def now_ms(self) -> int: ...

    def clock_text(self, wall_ms: int) -> str: ...

    def at_station(self, station: str) -> dict[str, Any]: ...

    def station_mark(self, station: str) -> object: ...
