"""The pages' listening socket: a device that walks out of the Wi-Fi does not keep its place."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from edge_agent.bootstrap import page


async def hello(_request: Any) -> PlainTextResponse:
    return PlainTextResponse("hello")


async def asked(port: int, beginning: bytes = b"GET / HTTP/1.1\r\n") -> bytes:
    """The first line of an answer, "" while nobody listens."""
    with contextlib.suppress(OSError):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(beginning + b"Host: x\r\nConnection: close\r\n\r\n")
        line = await reader.readline()
        writer.close()
        return line
    return b""


async def until_served(port: int) -> None:
    async with asyncio.timeout(20):
        while b"200" not in await asked(port):
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("said", [b"", b"GET / HT"])
async def test_callers_that_never_ask_do_not_keep_others_out(
    monkeypatch: pytest.MonkeyPatch, said: bytes
) -> None:
    monkeypatch.setattr(page, "HEAD_S", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    served = asyncio.create_task(
        page._serve(lambda: Starlette(routes=[Route("/", hello)]), "127.0.0.1", port)
    )
    await until_served(port)
    silent = [await asyncio.open_connection("127.0.0.1", port) for _ in range(70)]
    for _, writer in silent:
        writer.write(said)
    await until_served(port)
    for _, writer in silent:
        writer.close()
    served.cancel()
    await asyncio.gather(served, return_exceptions=True)


def test_accepted_connections_give_up_on_a_silent_peer() -> None:
    with page.listener("127.0.0.1", 0) as listening:
        caller = socket.create_connection(listening.getsockname())
        accepted, _ = listening.accept()
        with caller, accepted:
            gone_ms = accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT)
            at_once = accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    assert gone_ms == page.GONE_MS
    assert at_once, "an answer does not wait for the one before it to be confirmed"
