"""A buyer opens the link of a shipped order on a phone that runs no scripts."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from cloud_core.domain import commands as c
from cloud_core.store import schema as t
from protocols import events as e
from protocols.commands import OfferLine
from protocols.messages import Token
from tests.support.browser import Browser, View
from tests.support.core import FloorAgent
from tests.support.http_core import HttpCore, events, order_event, until
from tests.support.web import serving

PHONE = (390, 844)
SMALL_PHONE = (320, 568)
T1 = Token(1, 1)
PERSONAL = ("测试甲乙", "10000000001", "演示路1号2幢301室")
"""What the shop told us in clear and no page may show."""


class Shop:
    """A core on loopback with one order that goes the whole way."""

    def __init__(self, core: HttpCore, address: str) -> None:
        self.core, self.address = core, address
        self.agent = FloorAgent("hz-a", "hz")

    async def ship(self) -> str:
        """Sell, accept, pick, pack, hand over; returns the tracking link's path."""
        core = self.core
        await core.wired.committer.submit(c.GreetAgent("hz", "hz-a", self.agent.hello()))
        assert (await core.push(events(order_event("SHOP-1")))).status_code == 202
        await until(lambda: core.rows(t.shipment))
        (order,), (shipment,) = core.rows(t.orders), core.rows(t.shipment)
        lines = [OfferLine("SKU-001", 2)]
        names = (order["id"], "demo-shop", "SHOP-1")
        await self.report("offer.accepted", e.OfferAccepted(shipment["id"], T1, *names, lines))
        waybill = core.rows(t.shipment)[0]["waybill"]
        for kind, body in (
            ("task.started", e.TaskStarted(shipment["id"], T1)),
            ("item.picked", e.ItemPicked(shipment["id"], T1, "SKU-001", 2)),
            ("parcel.packed", e.ParcelPacked(shipment["id"], T1, waybill)),
            ("parcel.handed_over",
             e.ParcelHandedOver(shipment["id"], T1, waybill, *names, lines)),
        ):  # fmt: skip
            core.clock.advance(1_800)
            await self.report(kind, body)
        assert core.rows(t.shipment)[0]["state"] == "handed_over"
        return f"/t/{order['track_token']}"

    async def report(self, kind: str, body: Any) -> None:
        row = self.agent.event(kind, body, self.core.clock.ms)
        await self.core.wired.committer.submit(self.agent.batch([row]))


@pytest.fixture
async def shop(tmp_path: Path) -> AsyncIterator[Shop]:
    core = HttpCore(tmp_path)
    core.fill()
    core.insert(t.waybill, {"number": "YS0000000001", "carrier": "YS", "state": "free"})
    core.add_channel()
    async with core.started(), serving(core.app) as address:
        yield Shop(core, address)


async def look(browser: Browser, url: str, size: tuple[int, int], picture: Path) -> View:
    view = await browser.view(*size, phone=True, scripts=False)
    await view.open(url)
    await view.picture(picture)
    return view


async def test_a_shipped_order_on_a_phone(browser: Browser, shop: Shop, tmp_path: Path) -> None:
    url = shop.address + await shop.ship()
    view = await look(browser, url, PHONE, tmp_path / "tracking.png")
    text = await view.text()
    for words in ("包裹已发出", "预计 11月25日 送达", "包裹已交给快递公司", "仓库已打包",
                  "订单已付款", "12:00", "演示快运", "YS0000000001", "演示毛巾", "测**乙",
                  "100******01", "浙江省杭州市余杭区演示路*号*幢*室"):  # fmt: skip
        assert words in text, (words, text)
    assert text.index("包裹已交给快递公司") < text.index("仓库已打包"), "the newest stands first"
    source = await view.value("document.documentElement.outerHTML")
    assert not [word for word in PERSONAL if word in source]
    assert view.hosts() == {shop.address.removeprefix("http://")}
    assert view.complaints == []
    assert any("CJK" in font for font in await view.fonts("h1")), "Chinese is drawn, not boxes"


async def test_nobody_scrolls_sideways_on_any_phone(
    browser: Browser, shop: Shop, tmp_path: Path
) -> None:
    url = shop.address + await shop.ship()
    for size in (PHONE, SMALL_PHONE, (844, 390)):
        view = await look(browser, url, size, tmp_path / f"tracking-{size[0]}.png")
        assert await view.overhang_px() <= 0, size


async def test_an_unknown_link_says_so_on_a_page_of_its_own(
    browser: Browser, shop: Shop, tmp_path: Path
) -> None:
    view = await look(browser, f"{shop.address}/t/{'x' * 22}", PHONE, tmp_path / "unknown.png")
    assert "链接" in await view.text()
    assert await view.overhang_px() <= 0
    assert view.hosts() == {shop.address.removeprefix("http://")}


async def test_the_test_itself_would_see_what_must_not_be(browser: Browser, tmp_path: Path) -> None:
    """A page with every fault: the checks above are no use if they see none of them."""

    async def faulty(scope: Any, receive: Any, send: Any) -> None:
        page = (
            "<!doctype html><body style='width:2000px'>宽<script>document.title='ran'</script>"
            "<img src='http://127.0.0.2:9/elsewhere.png'></body>"
        )
        headers = [(b"content-type", b"text/html; charset=utf-8")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": page.encode()})

    async with serving(faulty) as address:
        view = await look(browser, address, PHONE, tmp_path / "faulty.png")
        assert await view.overhang_px() > 0
        assert "127.0.0.2:9" in view.hosts()
        assert view.complaints
        assert await view.value("document.title") == "", "no script ran"
