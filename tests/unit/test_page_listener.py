"""The pages' listening socket: a device that walks out of the Wi-Fi does not keep its place."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from edge_agent.bootstrap import connections, page
from edge_agent.bootstrap.connections import Quota
from tests.support.certificates import certificate


async def hello(_request: Any) -> PlainTextResponse:
    return PlainTextResponse("hello")


async def asked(port: int, source: str = "127.0.0.1") -> bytes:
    """The first line of an answer to one of loopback's addresses, "" while nobody listens."""
    with contextlib.suppress(OSError):
        reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(source, 0))
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        line = await reader.readline()
        writer.close()
        return line
    return b""


async def until_served(port: int, source: str = "127.0.0.1") -> None:
    async with asyncio.timeout(20):
        while b"200" not in await asked(port, source):
            await asyncio.sleep(0.02)


async def until_opened(port: int) -> None:
    async with asyncio.timeout(20):
        while True:
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", port), timeout=5).close()
                return
            await asyncio.sleep(0.02)


@contextlib.asynccontextmanager
async def opened(
    quota: Quota | None = None, keys: tuple[str, str] = ("", "")
) -> AsyncIterator[int]:
    """The port of a page that is served as the agent serves it."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    served = asyncio.create_task(
        page._serve(
            lambda: Starlette(routes=[Route("/", hello)]), "127.0.0.1", port, keys, quota=quota
        )
    )
    await (until_opened(port) if keys[0] else until_served(port))
    try:
        yield port
    finally:
        served.cancel()
        await asyncio.gather(served, return_exceptions=True)


@pytest.mark.parametrize("said", [b"", b"GET / HT"])
async def test_callers_that_never_ask_do_not_keep_others_out(
    monkeypatch: pytest.MonkeyPatch, said: bytes
) -> None:
    monkeypatch.setattr(connections, "HEAD_S", 0.3)
    async with opened() as port:
        silent = [await asyncio.open_connection("127.0.0.1", port) for _ in range(70)]
        for _, writer in silent:
            writer.write(said)
        await until_served(port)
        for _, writer in silent:
            writer.close()


async def test_one_device_takes_no_more_than_its_share_and_locks_nobody_out() -> None:
    """It opens 200 connections that it holds: those above its eight are cut at once."""
    cut: list[int] = []
    async with opened(Quota(8, lambda: cut.append(1))) as port:
        greedy = [
            await asyncio.open_connection("127.0.0.1", port, local_addr=("127.0.0.2", 0))
            for _ in range(200)
        ]
        async with asyncio.timeout(20):
            for reader, _ in greedy[8:]:
                with contextlib.suppress(ConnectionError):
                    assert b"503" in await reader.readline()
        assert len(cut) == 192
        assert b"200" in await asked(port), "another device is served"
        assert b"200" not in await asked(port, "127.0.0.2")
        for reader, writer in greedy[:8]:
            writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            assert b"200" in await reader.readline(), "what it has within its share goes on"
        for _, writer in greedy:
            writer.close()
        await until_served(port, "127.0.0.2")


async def test_one_device_that_never_begins_its_tls_is_cut_at_once_too(tmp_path: Path) -> None:
    keys = certificate(tmp_path)
    async with opened(Quota(2), keys) as port:
        silent = [
            await asyncio.open_connection("127.0.0.1", port, local_addr=("127.0.0.2", 0))
            for _ in range(40)
        ]
        async with asyncio.timeout(20):
            for reader, _ in silent[2:]:
                with contextlib.suppress(ConnectionError):
                    await reader.read()
            context = ssl.create_default_context(cafile=keys[0])
            _, another = await asyncio.open_connection("127.0.0.1", port, ssl=context)
        for _, writer in silent:
            writer.close()
        another.close()


def test_accepted_connections_give_up_on_a_silent_peer() -> None:
    with page.listener("127.0.0.1", 0) as listening:
        caller = socket.create_connection(listening.getsockname())
        accepted, _ = listening.accept()
        with caller, accepted:
            gone_ms = accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT)
            at_once = accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    assert gone_ms == page.GONE_MS
    assert at_once, "an answer does not wait for the one before it to be confirmed"
