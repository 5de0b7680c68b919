"""Who may hold a connection to a page, and for how long: no caller keeps the others out."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Any

CONNECTIONS_MAX = 64
"""Connections of one page in all; of one handheld, see `pda_connections_per_device`."""
CROWDED = "connections"
HEAD_S = 10.0
"""How long a caller may take to say what it wants; who only holds a place loses it."""


class Quota:
    """How many connections one address may hold, so that no device takes every place."""

    _TOLD = (
        b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain\r\n"
        b"Content-Length: 21\r\nRetry-After: 5\r\nConnection: close\r\n\r\ntoo many connections\n"
    )

    def __init__(
        self, per_address: int = CONNECTIONS_MAX, refused: Callable[[], None] = lambda: None
    ) -> None:
        self._per_address = per_address
        self._refused = refused
        self._held: Counter[str] = Counter()

    def come(self, transport: Any) -> str:
        """A connection is there; one too many is told so and cut. Its address, for `gone`."""
        address = str((transport.get_extra_info("peername") or ("",))[0])
        self._held[address] += 1
        if self._held[address] > self._per_address:
            self._refused()
            transport.write(self._TOLD)
            # Not `close`: over TLS that waits half a minute for the other side's consent.
            transport.abort()
        return address

    def gone(self, address: str) -> None:
        """A connection of this address ended."""
        self._held[address] -= 1
        if self._held[address] <= 0:
            del self._held[address]


def prompt_protocol(quota: Quota) -> type[asyncio.Protocol]:
    """The server's protocol for callers that send a whole request head within `HEAD_S`.

    Uvicorn waits for the head without end and counts the connection: 64 silent ones of any device
    in the warehouse's network would keep every handheld out.
    """
    from uvicorn.protocols.http.auto import AutoHTTPProtocol

    class PromptProtocol(AutoHTTPProtocol):  # type: ignore[valid-type,misc]
        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            self._late: asyncio.TimerHandle | None = None
            self._address = quota.come(transport)
            self._wait()

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            self._wait()

        def connection_lost(self, exc: Exception | None) -> None:
            super().connection_lost(exc)
            quota.gone(self._address)
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
