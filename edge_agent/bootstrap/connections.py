"""Who may hold a connection to a page, and for how long: no caller keeps the others out."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections import Counter
from collections.abc import Callable
from typing import Any

CONNECTIONS_MAX = 64
"""Connections of one page in all; of one handheld, see `pda_connections_per_device`."""
CROWDED = "connections"
HEAD_S = 10.0
"""How long a caller may take to say what it wants; who only holds a place loses it."""
_CROWDED = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain\r\nContent-Length: 21\r\n"
    b"Retry-After: 5\r\nConnection: close\r\n\r\ntoo many connections\n"
)


class Quota:
    """How many connections one address may hold, so that no device takes every place."""

    def __init__(self, per_address: int, refused: Callable[[], None] = lambda: None) -> None:
        self._per_address = per_address
        self._refused = refused
        self._held: Counter[str] = Counter()

    def come(self, address: str) -> bool:
        """Whether one more has its place; it is then given back by `gone`."""
        if self._held[address] >= self._per_address:
            self._refused()
            return False
        self._held[address] += 1
        return True

    def gone(self, address: str) -> None:
        """A connection of this address ended."""
        self._held[address] -= 1
        if self._held[address] <= 0:
            del self._held[address]


class SharedListener(socket.socket):
    """A listening socket that gives each address its share, and cuts what is above it.

    Counted as it is accepted: a caller that never begins its TLS holds a place too, and is known to
    no protocol for a minute.
    """

    def __init__(self, opened: socket.socket, quota: Quota) -> None:
        super().__init__(fileno=opened.detach())
        self._quota = quota

    def accept(self) -> tuple[socket.socket, Any]:
        """See `socket.accept`. Raises `ConnectionAbortedError` (asyncio goes on) for one cut."""
        came, where = super().accept()
        address = str(where[0])
        if self._quota.come(address):
            return _Placed(came, self._quota, address), where
        with contextlib.suppress(OSError):
            came.setblocking(False)
            came.send(_CROWDED)  # read by a person only without TLS; there is no other word
        came.close()
        raise ConnectionAbortedError(f"{address} holds its share already")


class _Placed(socket.socket):
    """A connection that gives its place back when it is closed."""

    def __init__(self, came: socket.socket, quota: Quota, address: str) -> None:
        super().__init__(fileno=came.detach())
        self._place: tuple[Quota, str] | None = (quota, address)

    def close(self) -> None:
        """See `socket.close`."""
        super().close()
        place, self._place = self._place, None
        if place:
            place[0].gone(place[1])


def prompt_protocol() -> type[asyncio.Protocol]:
    """The server's protocol for callers that send a whole request head within `HEAD_S`.

    Uvicorn waits for the head without end and counts the connection: 64 silent ones of any device
    in the warehouse's network would keep every handheld out.
    """
    from uvicorn.protocols.http.auto import AutoHTTPProtocol

    class PromptProtocol(AutoHTTPProtocol):  # type: ignore[valid-type,misc]
        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            self._late: asyncio.TimerHandle | None = None
            self._wait()

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            self._wait()

        def connection_lost(self, exc: Exception | None) -> None:
            super().connection_lost(exc)
            if self._late is not None:
                self._late.cancel()

        def _wait(self) -> None:
            if not self._no_request():
                if self._late is not None:
                    self._late.cancel()
                self._late = None
            elif self._late is None:
                self._late = asyncio.get_running_loop().call_later(HEAD_S, self._give_up)

        def _no_request(self) -> bool:
            return self.cycle is None or bool(self.cycle.response_complete)

        def _give_up(self) -> None:
            self._late = None
            if self._no_request():
                self.transport.close()

    return PromptProtocol
