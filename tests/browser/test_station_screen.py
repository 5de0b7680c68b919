"""The screen at a bench, and what the status page adds: adopt a scanner, pair a handheld."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import zxingcpp
from PIL import Image

from edge_agent import pages
from edge_agent.agent import Agent
from edge_agent.domain.scanner_roster import Present
from edge_agent.pages.pairing import PairingCodes
from protocols import commands
from tests.browser.test_status_page import DESK
from tests.support.browser import Browser, View
from tests.support.edge import Floor, cancel, grant
from tests.support.edge_live import HandPrinter, ports_of
from tests.support.handhelds import shows, tone
from tests.support.web import serving

SHIPMENT = "DB2026AAAA-1"
DOOR = "http://192.0.2.7:8091/pda"
PORT = "/dev/input/by-path/platform-usb-0:1.2:1.0-event-kbd"


class Bench:
    """One agent with its loops, its floor, and the status page's address."""

    def __init__(self, floor: Floor, agent: Agent, address: str) -> None:
        self.floor, self.agent, self.address = floor, agent, address

    async def scan(self, code: str) -> None:
        await self.agent.scan("S1", code, "gun-1")


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    floor = Floor(tmp_path)
    floor.resynced()
    agent = Agent(floor.plan, ports_of(floor, Floor(tmp_path, stream="telemetry"), HandPrinter()))
    door = pages.HandheldDoor(PairingCodes(lambda below: 0), DOOR)
    running = asyncio.create_task(agent.run())
    await agent.ready.wait()
    async with serving(pages.build(agent, ("127.0.0.1",), 480, door)) as address:
        yield Bench(floor, agent, address)
        agent.board.close()
    agent.stop()
    await running


async def click(view: View, selector: str) -> None:
    """Press what is there with the mouse and wait for the page that follows."""
    box = await view.value(
        "(b => [b.x + b.width / 2, b.y + b.height / 2])"
        f"(document.querySelector({selector!r}).getBoundingClientRect())"
    )
    view.loaded.clear()
    for kind in ("mousePressed", "mouseReleased"):
        await view.ask("Input.dispatchMouseEvent", type=kind, x=box[0], y=box[1],
                       button="left", clickCount=1)  # fmt: skip
    async with asyncio.timeout(20):
        await view.loaded.wait()


async def test_a_bench_sees_each_answer_large_and_confirms_a_stop(
    browser: Browser, bench: Bench, tmp_path: Path
) -> None:
    bench.floor.tell(grant(print_on="pack"))
    view = await browser.view(*DESK)
    await view.open(f"{bench.address}/station/S1")
    text = await shows(view, "待拣 1 单")
    assert "剩 23 小时 59 分" in text
    await bench.scan(f"TASK-{SHIPMENT}")
    text = await shows(view, "开始拣货")
    assert await tone(view) == "ok"
    for words in ("A-1", "0/2", "商品 SKU-A", "剩 23 小时 59 分"):
        assert words in text, words
    await view.picture(tmp_path / "station.png")
    await bench.scan("NOTHING-KNOWN")
    await shows(view, "不属于本单")
    assert await tone(view) == "error"
    colour = "getComputedStyle(document.querySelector('.answer')).backgroundColor"
    assert await view.value(colour) == "rgb(179, 20, 11)"
    size = "parseFloat(getComputedStyle(document.querySelector('.answer')).fontSize)"
    assert await view.value(size) >= 64, "read from across the bench"
    await view.picture(tmp_path / "station-error.png")
    bench.floor.tell(commands.Notice(SHIPMENT, "refund", "买家申请退款"))
    await shows(view, "停！买家申请退款")
    await click(view, ".stop button")
    await shows(view, "0/2")
    await bench.scan("SKU-A")
    bench.floor.tell(cancel())
    await shows(view, "停!")
    await view.picture(tmp_path / "station-stop.png")
    await click(view, ".stop button")
    await shows(view, "待拣 0 单")
    assert bench.floor.bodies("task.stopped")[0]["put_back"] == [{"sku": "SKU-A", "quantity": 1}]
    assert await view.overhang_px() <= 0
    assert view.complaints == []
    assert view.hosts() == {bench.address.removeprefix("http://")}


async def test_an_unknown_scanner_is_adopted_and_a_handheld_paired_from_the_page(
    browser: Browser, bench: Bench, tmp_path: Path
) -> None:
    bench.agent.live.scanners.see("hid", (Present(PORT, "hid", "Demo Scanner 2D"),))
    view = await browser.view(*DESK, scripts=False)
    await view.open(bench.address)
    text = await view.text()
    for words in ("未绑定", "Demo Scanner 2D", "还没有配对 PDA", "存储"):
        assert words in text, words
    await click(view, "form:has([name=port]) button")
    assert "扫描枪已绑定到工位 S1" in await view.text()
    assert bench.agent.live.scanners.station_of(PORT) == "S1"
    await view.open(bench.address)
    await click(view, "form[action='/pair'] button")
    assert "2222-2222" in await view.text()
    shot = tmp_path / "pair.png"
    await view.picture(shot)
    (found,) = zxingcpp.read_barcodes(Image.open(shot))
    assert found.text == f"{DOOR}#pair=22222222"
    assert await view.overhang_px() <= 0
    assert [one for one in view.complaints if "favicon" not in one] == []
