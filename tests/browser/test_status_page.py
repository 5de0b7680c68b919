"""A packer looks at the agent's page on the bench's screen and presses what it offers."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from edge_agent import pages
from edge_agent.agent import view as agent_view
from edge_agent.domain.answer import Answer
from edge_agent.domain.printer_status import READY
from tests.support.browser import Browser
from tests.support.edge import PRINTED, Floor, cancel, grant
from tests.support.edge_live import HandPrinter, live_of
from tests.support.web import serving

DESK = (1280, 900)
SHIPMENT = "DB2026AAAA-1"


class Desk:
    """The page's view of one floor without loops."""

    def __init__(self, folder: Path) -> None:
        self.floor = Floor(folder)
        self.floor.resynced()
        self._live = live_of(self.floor, Floor(folder, stream="telemetry"), HandPrinter())
        self._live.printer_status = {"label-1": READY}

    async def act(self, act: Any) -> Answer:
        answer: Answer = self.floor.write(lambda tx: act(tx, self.floor.bench))
        return answer

    def status(self) -> dict[str, Any]:
        return agent_view.status(self._live)


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[tuple[Desk, str]]:
    found = Desk(tmp_path)
    async with serving(pages.build(found, ("127.0.0.1",), 480)) as address:
        yield found, address


async def test_the_shift_at_a_glance(
    browser: Browser, desk: tuple[Desk, str], tmp_path: Path
) -> None:
    floor, address = desk[0].floor, desk[1]
    floor.tell(grant())
    floor.scan(f"TASK-{SHIPMENT}")
    floor.print_next(PRINTED)
    view = await browser.view(*DESK, scripts=False)
    await view.open(address)
    await view.picture(tmp_path / "status.png")
    text = await view.text()
    for words in ("云端", "待上传", "打印机 label-1", "正常", SHIPMENT, "拣货复核中", "最近扫码",
                  "已打印"):  # fmt: skip
        assert words in text, (words, text)
    assert await view.overhang_px() <= 0
    assert view.hosts() == {address.removeprefix("http://")}
    assert view.complaints == []
    assert any("CJK" in font for font in await view.fonts("h2"))


async def test_a_stop_cannot_be_overlooked_and_is_confirmed_by_a_press(
    browser: Browser, desk: tuple[Desk, str], tmp_path: Path
) -> None:
    floor, address = desk[0].floor, desk[1]
    floor.tell(grant(print_on="pack"))
    for code in (f"TASK-{SHIPMENT}", "SKU-A"):
        floor.scan(code)
    floor.tell(cancel())
    view = await browser.view(*DESK, scripts=False)
    await view.open(address)
    await view.picture(tmp_path / "stop.png")
    assert "停！订单已取消" in await view.text()
    box = await view.value(
        "(b => [b.x + b.width / 2, b.y + b.height / 2])"
        "(document.querySelector('.stop button').getBoundingClientRect())"
    )
    assert 0 < box[0] < DESK[0]
    assert 0 < box[1] < DESK[1], "the button is on the screen without scrolling"
    view.loaded.clear()
    for kind in ("mousePressed", "mouseReleased"):
        await view.ask("Input.dispatchMouseEvent", type=kind, x=box[0], y=box[1],
                       button="left", clickCount=1)  # fmt: skip
    await view.loaded.wait()
    assert "已停止并放回" in await view.text()
    assert floor.bodies("task.stopped")[0]["put_back"] == [{"sku": "SKU-A", "quantity": 1}]
    assert view.complaints == []
