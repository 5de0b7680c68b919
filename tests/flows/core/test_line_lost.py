"""The broker goes away at a bad moment: the core connects again and still hears its warehouses."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from cloud_core.bootstrap import running
from cloud_core.link import LinkConfig, PahoLink
from cloud_core.store import schema as t
from protocols import codec, topics
from protocols.messages import AgentState
from tests.support.http_core import HttpCore, until

CONNACK = b"\x20\x02\x00\x00"


class RudeBroker:
    """Just enough MQTT 3.1.1: hangs up on the first SUBSCRIBE, is well-behaved afterwards."""

    def __init__(self, says: bytes) -> None:
        self._says, self.subscribed = says, 0
        self._server: asyncio.Server | None = None

    async def start(self) -> tuple[str, int]:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        host, port = self._server.sockets[0].getsockname()[:2]
        return host, port

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                kind, body = await _packet(reader)
                if kind == 1:
                    writer.write(CONNACK)
                elif kind == 8:
                    self.subscribed += 1
                    if self.subscribed == 1:
                        return
                    writer.write(b"\x90\x03" + body[:2] + b"\x01")
                    writer.write(self._says)
        except asyncio.IncompleteReadError:
            return
        finally:
            writer.close()


async def _packet(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    first = (await reader.readexactly(1))[0]
    size, shift = 0, 0
    while True:
        byte = (await reader.readexactly(1))[0]
        size, shift = size | (byte & 127) << shift, shift + 7
        if byte < 128:
            return first >> 4, await reader.readexactly(size)


def _published(topic: str, payload: bytes) -> bytes:
    body = struct.pack(">H", len(topic)) + topic.encode() + payload
    assert len(body) < 128
    return bytes([0x30, len(body)]) + body


@pytest.fixture
async def broker() -> AsyncIterator[RudeBroker]:
    state = AgentState(1, "hz-a", on=True, inc=7, sw="heard")
    broker = RudeBroker(_published(topics.up("hz", "hz-a", "st"), codec.encode(state)))
    yield broker
    await broker.stop()


async def test_a_broker_that_hangs_up_during_a_subscribe_does_not_deafen_the_core(
    broker: RudeBroker, tmp_path: Path
) -> None:
    core = HttpCore(tmp_path)
    core.fill()
    host, port = await broker.start()
    core.wired.core._link = PahoLink(LinkConfig(host, port, "core", "", "", 5))
    async with running(core.wired):
        await until(lambda: any(row["sw"] == "heard" for row in core.rows(t.agent_state)))
    assert broker.subscribed == 2
