"""What the broker brings that is not for this bench, or is no message at all: said, not obeyed."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from hashlib import sha256
from pathlib import Path

import pytest

from edge_agent.agent.parts import Live
from edge_agent.agent.session import Session
from edge_agent.domain.label import PictureFields
from edge_agent.domain.print_job import PrintKey
from edge_agent.flows import label_text
from edge_agent.ports import Received
from protocols import chunks, codec, commands
from tests.support.edge import Floor, grant
from tests.support.edge_live import HandPrinter, live_of, until

PICTURE = b"\x89PNG\r\n\x1a\n" + bytes(200_000)


@pytest.fixture
def floor(tmp_path: Path) -> Floor:
    floor = Floor(tmp_path)
    floor.resynced()
    return floor


@contextlib.asynccontextmanager
async def listening(floor: Floor, folder: Path) -> AsyncIterator[Live]:
    """An agent that was welcomed and reads its line."""
    live = live_of(floor, Floor(folder, stream="telemetry"), HandPrinter())
    live.connected = live.welcomed = True
    task = asyncio.create_task(Session(live).listen())
    try:
        yield live
    finally:
        task.cancel()


async def test_a_command_for_another_warehouse_is_not_obeyed(floor: Floor, tmp_path: Path) -> None:
    payload = codec.encode_message(floor.command(grant()))
    async with listening(floor, tmp_path) as live:
        for topic in ("v1/bjs/sha-1/dn/cmd", "v1/sha/sha-2/dn/cmd", "v1/sha/sha-1/up/cmd", "x"):
            live.ports.link.inbox.put_nowait(Received(topic, payload))
        await until(lambda: live.count.messages_bad == 4)
        assert live.count.commands == 0
        live.ports.link.inbox.put_nowait(Received("v1/sha/sha-1/dn/cmd", payload))
        await until(lambda: live.count.commands == 1)
    assert floor.state("DB2026AAAA-1") == "granted"


async def test_a_picture_comes_over_the_line_in_parts(floor: Floor, tmp_path: Path) -> None:
    digest = sha256(PICTURE).hexdigest()
    order = floor.command(commands.PrintBlob(job="PIC-1", kind="png", digest=digest))
    async with listening(floor, tmp_path) as live:
        line = live.ports.link.inbox
        line.put_nowait(Received("v1/sha/sha-1/dn/blob", b"no chunk at all"))
        for part in reversed(chunks.split(PICTURE)):
            line.put_nowait(Received("v1/sha/sha-1/dn/blob", codec.encode_message(part)))
        line.put_nowait(Received("v1/sha/sha-1/dn/cmd", codec.encode_message(order)))
        await until(lambda: live.count.commands == 1)
        assert live.count.messages_bad == 1
    key = PrintKey("blob", "PIC-1", 1)
    drawn = floor.read(lambda db: label_text.fields_of(db, key, floor.plan))
    assert drawn == PictureFields(PICTURE)
