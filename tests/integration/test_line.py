"""The line with a knife: what passes, what stops, and what a cut does to both ends."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest

from virtual_warehouse.line import Line

pytestmark = pytest.mark.integration

Talk = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Office:
    """A line to a server that says everything back, and those who call through it."""

    def __init__(self, line: Line) -> None:
        self.line = line
        self.talks: list[Talk] = []

    async def call(self) -> Talk:
        self.talks.append(await asyncio.open_connection("127.0.0.1", self.line.port))
        return self.talks[-1]

    async def hang_up(self) -> None:
        for _reader, writer in self.talks:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()


@asynccontextmanager
async def an_office() -> AsyncIterator[Office]:

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65_536):
                writer.write(data)
                await writer.drain()
        except OSError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    line = Line("127.0.0.1", server.sockets[0].getsockname()[1], rng=random.Random(1))
    await line.start()
    office = Office(line)
    try:
        yield office
    finally:
        await office.hang_up()
        await line.stop()
        server.close()


async def said_back(talk: Talk, data: bytes) -> bytes:
    talk[1].write(data)
    async with asyncio.timeout(40):
        return await talk[0].readexactly(len(data))


async def nothing_comes(talk: Talk) -> bool:
    try:
        async with asyncio.timeout(0.2):
            await talk[0].read(1)
    except TimeoutError:
        return True
    return False


async def is_dead(talk: Talk) -> bool:
    """Whether the connection ends, by RST or by end of file."""
    try:
        async with asyncio.timeout(40):
            return await talk[0].read(1) == b""
    except ConnectionError:
        return True


async def test_a_whole_line_passes_everything_both_ways() -> None:
    async with an_office() as office:
        line = office.line
        talk = await office.call()
        data = random.Random(2).randbytes(300_000)
        assert await said_back(talk, data) == data
        assert line.bytes_up == line.bytes_down == len(data)
        assert line.open_connections == 1


async def test_a_cut_resets_and_turns_away_until_healed() -> None:
    async with an_office() as office:
        line = office.line
        talk = await office.call()
        assert await said_back(talk, b"before") == b"before"
        line.cut()
        assert not line.is_up
        assert await is_dead(talk)
        assert await is_dead(await office.call())
        assert line.refused == 1
        line.heal()
        assert await said_back(await office.call(), b"after") == b"after"


async def test_a_frozen_line_is_half_open_and_resumes_with_every_byte() -> None:
    async with an_office() as office:
        line = office.line
        talk = await office.call()
        assert await said_back(talk, b"1") == b"1"
        line.freeze()
        talk[1].write(b"waiting")
        late = await office.call()  # the kernel takes it; nobody answers
        late[1].write(b"hello?")
        assert await nothing_comes(talk)
        assert await nothing_comes(late)
        line.heal(resume=True)
        async with asyncio.timeout(40):
            assert await talk[0].readexactly(7) == b"waiting"
            assert await late[0].readexactly(6) == b"hello?"


async def test_a_healed_router_has_forgotten_frozen_connections() -> None:
    async with an_office() as office:
        line = office.line
        talk = await office.call()
        assert await said_back(talk, b"1") == b"1"
        line.freeze()
        talk[1].write(b"lost")
        line.heal()
        assert await is_dead(talk)
        assert await said_back(await office.call(), b"new") == b"new"


async def test_pieces_delays_and_a_drop_in_the_middle() -> None:
    async with an_office() as office:
        line = office.line
        line.faults.piece_bytes, line.faults.jitter_ms = 7, 1
        talk = await office.call()
        assert await said_back(talk, b"in many small pieces" * 3) == b"in many small pieces" * 3
        line.faults.drop_after_bytes = line.bytes_up + line.bytes_down + 50
        talk[1].write(b"x" * 500)
        seen = b""
        try:
            async with asyncio.timeout(40):
                while piece := await talk[0].read(65_536):
                    seen += piece
        except ConnectionError:
            pass
        assert len(seen) < 100, "the line was cut after about fifty bytes"
        assert line.faults.drop_after_bytes is None
        assert await said_back(await office.call(), b"again") == b"again"
