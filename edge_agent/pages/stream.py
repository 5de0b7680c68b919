"""Server-sent events: a station's state, pushed when it changes, and a beat in between.

The beat lets the page know within seconds that its agent is gone (the line may be dead without a
word).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import msgspec
from starlette.responses import StreamingResponse

from edge_agent.pages.desk import Desk
from protocols.errors import Unavailable

LOOK_S = 0.25
"""How soon a change shows that is no answer to a scan; answers show at once."""
BEAT_S = 1.5


def events(desk: Desk, station: str, over: Callable[[], str]) -> StreamingResponse:
    """The stream of a station, until `over` says why not. Raises `Unavailable("screens_many")`."""
    if desk.board.is_full(station):
        raise Unavailable("screens_many", "打开的页面太多", "too many open pages", field="station")
    return StreamingResponse(
        _pushed(desk, station, over), media_type="text/event-stream",
        headers={"X-Accel-Buffering": "no"},
    )  # fmt: skip


async def _pushed(desk: Desk, station: str, over: Callable[[], str]) -> AsyncIterator[bytes]:
    loop = asyncio.get_running_loop()
    mark: object = None
    told_at = 0.0
    if desk.board.is_full(station):
        return  # others that asked at the same time took the last places
    with desk.board.watching(station) as woken:
        while not desk.board.closed:
            if reason := over():
                yield _event("over", {"code": reason})
                return
            woken.clear()
            now = desk.station_mark(station)
            if now != mark:
                mark, told_at = now, loop.time()
                yield _event("state", desk.at_station(station))
            elif loop.time() - told_at >= BEAT_S:
                told_at = loop.time()
                yield _event("beat", {})
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_S):
                    await woken.wait()


def _event(name: str, data: dict[str, Any]) -> bytes:
    return b"event: " + name.encode() + b"\ndata: " + msgspec.json.encode(data) + b"\n\n"
