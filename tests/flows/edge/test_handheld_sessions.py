"""An operator who was taken out, or whose PIN was changed, is out of every handheld at once."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from edge_agent import cli
from edge_agent.cli.root import root
from edge_agent.domain import pin
from edge_agent.domain.handheld import HandheldRules
from edge_agent.journal import handhelds, stations
from edge_agent.pages import metrics
from edge_agent.pages.operators import FILE
from edge_agent.pages.sessions import Sessions
from tests.flows.edge.test_handheld_page import PAGE, TASK, Device
from tests.support.edge import grant
from tests.support.handhelds import OPERATOR, PIN, Aisle

Verb = Callable[..., None]


@pytest.fixture
async def aisle(tmp_path: Path) -> AsyncIterator[Aisle]:
    aisle = Aisle(tmp_path)
    async with aisle.working():
        aisle.floor.tell(grant(print_on="pack"))
        yield aisle


@pytest.fixture
def operator(aisle: Aisle) -> Verb:
    """`edge-agent operator …` as a supervisor types it while the agent runs."""
    folder = aisle.floor.path.parent
    config = folder / "edge.toml"
    config.write_text(f'site = "sha"\nagent = "sha-1"\ndata_dir = "{folder}"\n')

    def run(*words: str) -> None:
        assert cli.VERBS
        done = CliRunner().invoke(root, ["--config", str(config), "operator", *words])
        assert done.exit_code == 0, done.output

    return run


@contextlib.asynccontextmanager
async def at_work(aisle: Aisle) -> AsyncIterator[Device]:
    device = Device(aisle)
    async with device.http:
        await device.pair()
        await device.sign_in()
        yield device


async def refused(device: Device) -> str:
    """What the next scan is told, once the session does not count."""
    answer = await device.ask("do", code="SKU-A", page=PAGE, seq=50, at=500_000)
    assert (answer.status_code, answer.json()["code"]) == (403, "session_over")
    return str(answer.json()["zh"])


async def test_an_operator_who_was_removed_scans_nothing_more_on_any_handheld(
    aisle: Aisle, operator: Verb
) -> None:
    async with at_work(aisle) as one, at_work(aisle) as two:
        assert (await one.scan(TASK))["tone"] == "ok"
        operator("remove", OPERATOR)
        for device in (one, two):
            assert "工号已停用" in await refused(device)
            told = await device.told("open", page=PAGE)
            assert told["stage"] == "pin"
            assert "工号已停用" in told["said"]
            assert await device.no("sign-in", page=PAGE, operator=OPERATOR, pin=PIN) == "pin_wrong"
        assert aisle.seen("item.picked") == []


async def test_a_changed_pin_ends_what_the_old_one_opened_and_nobody_else(
    aisle: Aisle, operator: Verb
) -> None:
    operator("set", "7", "--pin", "9753")
    async with at_work(aisle) as one, at_work(aisle) as two:
        await two.told("sign-in", page=PAGE, operator="7", pin="9753")
        operator("set", OPERATOR, "--pin", "3691")
        assert "PIN 已改" in await refused(one)
        assert (await two.scan(TASK))["tone"] == "ok", "somebody else goes on"
        assert await one.no("sign-in", page=PAGE, operator=OPERATOR, pin=PIN) == "pin_wrong"
        assert (await one.sign_in("3691"))["stage"] == "work"
        assert (await one.told("open", page=PAGE))["stage"] == "work"


async def test_the_same_operator_added_again_does_not_revive_a_session(
    aisle: Aisle, operator: Verb
) -> None:
    async with at_work(aisle) as device:
        operator("remove", OPERATOR)
        operator("set", OPERATOR, "--pin", PIN)
        assert "重新登录" in await refused(device)


async def test_an_open_page_is_told_within_its_stream(aisle: Aisle, operator: Verb) -> None:
    async with aisle.served() as address, at_work(aisle) as device:
        cookies = "; ".join(f"{name}={value}" for name, value in device.http.cookies.items())
        port = int(address.rpartition(":")[2])
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        ask = f"GET /pda/events HTTP/1.1\r\nHost: localhost\r\nCookie: {cookies}\r\n\r\n"
        writer.write(ask.encode())
        async with asyncio.timeout(20):
            await reader.readuntil(b"event: state\n")
            operator("remove", OPERATOR)
            await reader.readuntil(b'event: over\ndata: {"code":"changed"}')
        writer.close()


async def test_a_handheld_in_a_drawer_is_signed_out_for_good(aisle: Aisle, operator: Verb) -> None:
    """No page asks: the watch makes the end durable, and the page says why when it is back."""
    watched = Sessions(aisle.agent, aisle.operators, HandheldRules())
    async with at_work(aisle) as device:
        await device.scan(TASK)
        watching = asyncio.create_task(watched.watch())
        operator("remove", OPERATOR)
        async with asyncio.timeout(20):
            while aisle.floor.read(handhelds.everyone)[0].operator:
                await asyncio.sleep(0.01)
        watching.cancel()
        (held,) = aisle.floor.read(handhelds.everyone)
        station = aisle.floor.read(lambda db: stations.get(db, held.station))
        assert (station.operator, station.shipment) == ("", "")
        assert aisle.agent.status()["handhelds"]["devices"][0]["operator"] == ""
        assert "工号已停用" in watched.said(held, "none")
        assert await device.no("do", code="X", page=PAGE, seq=9, at=1) == "session_over"


async def test_a_sign_in_that_was_under_way_with_the_old_pin_opens_nothing(
    aisle: Aisle, operator: Verb, monkeypatch: pytest.MonkeyPatch
) -> None:
    fits = pin.fits

    def slow(typed: str, stored: str) -> bool:
        fitted = fits(typed, stored)
        aisle.operators.remove(OPERATOR)
        return fitted

    async with at_work(aisle) as device:
        monkeypatch.setattr(pin, "fits", slow)
        await device.sign_in()
        assert "工号已停用" in await refused(device)


async def test_no_session_counts_while_the_file_of_operators_cannot_be_read(aisle: Aisle) -> None:
    file = aisle.floor.path.parent / FILE
    async with at_work(aisle) as device:
        whole = file.read_bytes()
        file.write_bytes(b"{")
        assert "读不了工号文件" in await refused(device)
        assert "读不了工号文件" in (await device.told("open", page=PAGE))["said"]
        file.write_bytes(whole)
        assert (await device.scan(TASK))["tone"] == "ok", "and they go on once it is whole again"


async def test_sessions_and_refusals_are_numbers_without_names(aisle: Aisle) -> None:
    async with at_work(aisle) as device:
        await Device(aisle).pair()
        await device.no("sign-in", page=PAGE, operator=OPERATOR, pin="0000")
        await device.http.get("/pda", headers={"host": "evil.example"})
        told = metrics.text(aisle.agent.status())
    for line in (
        'packline_edge_handhelds{state="paired"} 2',
        'packline_edge_handhelds{state="signed_in"} 1',
        'packline_edge_handhelds_refused_total{code="pin_wrong"} 1',
        'packline_edge_handhelds_refused_total{code="host"} 1',
    ):
        assert line in told.splitlines()
