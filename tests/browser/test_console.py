"""Staff at a desk and on a phone: sign in by typing, look around, press; scripts are not needed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from cloud_core.pages.console import REFRESH_S
from cloud_core.store import schema as t
from cloud_core.store import schema_after as a
from tests.browser.test_tracking_page import PHONE
from tests.support.browser import Browser, View
from tests.support.console import change_row, order_row, return_row, shipment_row
from tests.support.http_core import NOW_MS, HttpCore
from tests.support.web import serving

DESK = (1280, 900)
HOUR = 3_600_000
PAGES = ("", "/orders", "/shipments", "/parked", "/stock", "/incidents", "/alarms", "/breakers",
         "/returns", "/agents", "/orders/DB2026T0000001",
         "/shipments/DB2026T0000001-1")  # fmt: skip


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[tuple[HttpCore, str]]:
    core = HttpCore(tmp_path)
    core.fill()
    core.add_channel()
    core.key("write")
    for number, due in enumerate((-2, 1, 30)):
        core.insert(t.orders, order_row(number, ship_by_ms=NOW_MS + due * HOUR))
        core.insert(t.shipment, shipment_row(number, ship_by_ms=NOW_MS + due * HOUR))
    core.insert(a.change_request, change_row(1, level=1))
    core.insert(a.return_ticket, return_row(1, state="accepted", level=1, due_ms=NOW_MS - HOUR))
    core.insert(a.return_ticket, return_row(2))
    core.insert(t.incident, {"at_ms": NOW_MS, "kind": "unknown_shipment", "warehouse": "HZ",
                             "shipment_id": "DB2026T0000001-1", "token_epoch": 1,
                             "token_n": 1})  # fmt: skip
    async with core.started(), serving(core.app) as address:
        yield core, address


async def type_key(view: View, core: HttpCore, address: str) -> None:
    """Open the console and type the key as a person does: into the field, then Enter."""
    await view.open(f"{address}/console")
    assert "登录控制台" in await view.text()
    await view.ask("Input.insertText", text=core.keys["write"])
    await press_enter(view)


async def press_enter(view: View) -> None:
    view.loaded.clear()
    enter = {"key": "Enter", "code": "Enter", "windowsVirtualKeyCode": 13, "text": "\r"}
    await view.ask("Input.dispatchKeyEvent", type="keyDown", **enter)
    await view.ask("Input.dispatchKeyEvent", type="keyUp", **enter)
    async with asyncio.timeout(30):
        await view.loaded.wait()


@pytest.mark.parametrize("phone", [False, True], ids=["desk", "phone"])
async def test_every_page_fits_and_needs_no_script(
    browser: Browser, house: tuple[HttpCore, str], tmp_path: Path, *, phone: bool
) -> None:
    core, address = house
    view = await browser.view(*(PHONE if phone else DESK), phone=phone, scripts=False)
    await type_key(view, core, address)
    text = await view.text()
    for words in ("待发货", "超时或受阻 1", "临近 1", "正常 1", "超 2 小时", "剩 1 小时"):
        assert words in text, (words, text)
    for page in PAGES:
        await view.open(f"{address}/console{page}")
        await view.picture(tmp_path / f"console{page.replace('/', '-')}.png")
        assert await view.overhang_px() <= 0, page
    assert view.hosts() == {address.removeprefix("http://")}
    assert view.complaints == []


async def test_an_incident_is_settled_without_a_script(
    browser: Browser, house: tuple[HttpCore, str]
) -> None:
    core, address = house
    view = await browser.view(*DESK, scripts=False)
    await type_key(view, core, address)
    await view.open(f"{address}/console/incidents")
    await view.value("document.querySelector('td.acts button').focus()")
    await press_enter(view)
    assert "事件已处理完毕" in await view.text()
    assert core.rows(t.incident)[0]["resolved_by"] == "key:k-write"


@pytest.mark.slow
async def test_the_script_shows_what_is_new_and_spoils_nothing_typed(
    browser: Browser, house: tuple[HttpCore, str]
) -> None:
    core, address = house
    view, typing = await browser.view(*DESK), await browser.view(*DESK)
    for one in (view, typing):  # both stand on a screen of their own
        await one.ask("Emulation.setFocusEmulationEnabled", enabled=True)
    await type_key(view, core, address)
    await typing.open(f"{address}/console/breakers")
    await typing.value("document.querySelector('[name=reason]').value = '停电检修'")
    core.insert(
        t.alarm, {"kind": "short_pick", "key": "k", "opened_ms": NOW_MS, "text": "刚刚缺拣"}
    )
    core.insert(t.warehouse, {"id": "GZ", "site": "gz", "name": "广州仓"})
    assert not await view.value("document.hidden")
    assert not await typing.value("document.hidden")
    async with asyncio.timeout(60):
        while "刚刚缺拣" not in await view.text():
            await asyncio.sleep(0.2)
        while await typing.value("performance.now()") < 1_000 * (REFRESH_S + 2):
            await asyncio.sleep(0.2)
    assert "广州仓" not in await typing.text(), "a page that is being filled in stands still"
    assert await typing.value("document.querySelector('[name=reason]').value") == "停电检修"
    assert [complaint for complaint in view.complaints if "favicon" not in complaint] == []
