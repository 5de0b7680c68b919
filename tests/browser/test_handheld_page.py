"""A packer works with a handheld: a phone-sized Chromium, a scanner that types like a keyboard."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from edge_agent.flows import handheld as flow
from edge_agent.journal import handhelds
from protocols import commands
from tests.support.browser import Browser, View
from tests.support.edge import cancel, grant
from tests.support.handhelds import (
    OPERATOR,
    PIN,
    RULES,
    Aisle,
    give_text,
    press_key,
    shows,
    tap,
    tone,
    type_code,
)

SMALL = (360, 640)
TALL = (412, 915)
SHIPMENT = "DB2026AAAA-1"
TASK = f"TASK-{SHIPMENT}"
TICKET = "RET-2026ABCD"
RETURN = commands.ReturnTicket(
    ticket=TICKET, order="DB2026AAAA", channel="shop", native_id="N-1", inspect_s=14_400,
    name="测**", phone="100******01",
    lines=[
        commands.ReturnLine("SKU-A", 2, name="演示毛巾", barcodes=["69SKU-A"], location="A-03-2"),
        commands.ReturnLine("SKU-B", 1, name="演示水杯", barcodes=["69SKU-B"]),
    ],
)  # fmt: skip


@pytest.fixture
async def aisle(tmp_path: Path) -> AsyncIterator[Aisle]:
    aisle = Aisle(tmp_path)
    aisle.floor.tell(grant(print_on="pack"))
    async with aisle.working():
        yield aisle


async def signed_in(
    browser: Browser, aisle: Aisle, address: str, size: tuple[int, int] = SMALL
) -> View:
    """A paired handheld with its operator, as the QR code and the keypad do it."""
    view = await browser.view(*size, phone=True)
    await view.open(f"{address}/pda#pair={aisle.code()}")
    await shows(view, "请输入工号")
    await type_code(view, OPERATOR)
    await shows(view, "请输入PIN")
    await type_code(view, PIN)
    await shows(view, "待拣 1 单")
    return view


async def answered(view: View) -> None:
    """Wait until the handheld keeps no scan back."""
    async with asyncio.timeout(20):
        while await view.value("sessionStorage.getItem('kept')") != "[]":
            await asyncio.sleep(0.02)


async def test_a_shift_on_a_small_phone(browser: Browser, aisle: Aisle, tmp_path: Path) -> None:
    async with aisle.served() as address:
        view = await browser.view(*SMALL, phone=True)
        await view.open(f"{address}/pda")
        await shows(view, "配对这台 PDA")
        await type_code(view, f"{address}/pda#pair={aisle.code()}")
        await shows(view, "请输入工号")
        for key in (*OPERATOR, "确定", *PIN, "确定"):
            await tap(view, key)
        await shows(view, "待拣 1 单")
        await tap(view, "A-1")
        await shows(view, "开始拣货")
        await give_text(view, "SKU-A")
        await shows(view, "1/2")
        await view.picture(tmp_path / "pick.png")
        await type_code(view, "SKU-B")
        await view.value("document.activeElement.blur()")
        await type_code(view, "69SKU-A")
        await shows(view, "拣齐")
        await tap(view, "开始复核")
        await type_code(view, "SOMETHING-ELSE")
        await shows(view, "不属于本单")
        assert await tone(view) == "error"
        height = "document.querySelector('.answer.red').getBoundingClientRect().height"
        assert await view.value(height) == SMALL[1], "an error fills the screen"
        await view.picture(tmp_path / "error.png")
        for code in ("SKU-A", "SKU-A", "SKU-B"):
            await type_code(view, code)
        await shows(view, "已打包")
        assert await tone(view) == "ok"
        await view.picture(tmp_path / "packed.png")
        assert await view.overhang_px() <= 0
        assert view.hosts() == {address.removeprefix("http://")}
        assert view.complaints == []
        assert any("CJK" in font for font in await view.fonts(".answer p"))
        source = str(await view.value("document.documentElement.outerHTML"))
        assert "测*" not in source, "nobody is named on the handheld"
    assert [body["sku"] for body in aisle.seen("item.picked")] == ["SKU-A", "SKU-B", "SKU-A"]
    assert aisle.seen("parcel.packed")[0]["operator"] == OPERATOR


async def test_the_first_characters_after_load_are_never_lost(
    browser: Browser, aisle: Aisle
) -> None:
    gate = asyncio.Event()
    gate.set()
    inner = aisle.app

    async def slow(scope: Any, receive: Any, send: Any) -> None:
        if scope["path"].endswith("/pda.js"):
            await gate.wait()
        await inner(scope, receive, send)

    aisle.app = slow  # type: ignore[assignment]
    async with aisle.served() as address:
        view = await signed_in(browser, aisle, address)
        gate.clear()
        await view.ask("Network.setCacheDisabled", cacheDisabled=True)
        view.loaded.clear()
        await view.ask("Page.navigate", url=f"{address}/pda?again")
        async with asyncio.timeout(20):
            while not await view.value("!!(window.early && document.body)"):
                await asyncio.sleep(0)
        assert not await view.value("document.querySelector('header')"), "nothing runs yet"
        for key in TASK[:7]:
            await press_key(view, key)
        gate.set()
        async with asyncio.timeout(20):
            await view.loaded.wait()
        await type_code(view, TASK[7:])
        await shows(view, "开始拣货")
    assert len(aisle.seen("task.started")) == 1


async def test_pitfalls_15_20_21_no_keyboard_pops_up_and_no_pause_cuts_a_code(
    browser: Browser, aisle: Aisle
) -> None:
    """Rows 15, 20 and 21 of the print-and-scan pitfalls, and devices that flag or hide keys."""
    async with aisle.served() as address:
        view = await signed_in(browser, aisle, address)
        field = "document.getElementById('scan')"
        assert await view.value(f"{field}.inputMode") == "none"
        assert not await view.value(f"{field}.readOnly")
        assert await view.value(f"document.activeElement === {field}")
        await view.value(f"window.focused = 0; {field}.addEventListener('focus', () => focused++)")
        for key in TASK[:9]:
            await press_key(view, key)
        aisle.agent.live.welcomed = True  # the page is drawn anew in the middle of the code
        await asyncio.sleep(0.4)
        await type_code(view, TASK[9:])
        await shows(view, "开始拣货")
        for key in "SKU-A":  # no key at all: Android says 229, the text comes by itself
            unknown = {"key": "Unidentified", "windowsVirtualKeyCode": 229}
            await view.ask("Input.dispatchKeyEvent", type="rawKeyDown", **unknown)
            await view.ask("Input.insertText", text=key)
        await press_key(view, "Enter")
        await shows(view, "1/2")
        for key in "SKU-B":  # the Alt flag on every key
            values = {"key": key, "windowsVirtualKeyCode": ord(key), "modifiers": 1}
            await view.ask("Input.dispatchKeyEvent", type="keyDown", text=key, **values)
            await view.ask("Input.dispatchKeyEvent", type="keyUp", **values)
        for code in ("", "SKU-A"):  # and the next code at once behind it
            await type_code(view, code)
        await shows(view, "拣齐")
        assert await view.value("focused") == 0, "nobody takes the focus again while codes come"
        await press_key(view, "9")
        await shows(view, "没有收到结束符")
        assert await tone(view) == "error"
        assert view.complaints == []
    assert [body["sku"] for body in aisle.seen("item.picked")] == ["SKU-A", "SKU-B", "SKU-A"]


async def test_a_lost_agent_is_said_at_once_and_no_scan_counts_twice(
    browser: Browser, aisle: Aisle, tmp_path: Path
) -> None:
    swallow: list[str] = []
    inner = aisle.app

    async def lossy(scope: Any, receive: Any, send: Any) -> None:
        """Does what it is asked and loses the answer of the next request to these paths."""

        async def nowhere(message: Any) -> None:
            pass

        if scope["path"] in swallow:
            swallow.remove(scope["path"])
            await inner(scope, receive, nowhere)
            raise ConnectionResetError
        await inner(scope, receive, send)

    aisle.app = lossy  # type: ignore[assignment]
    async with aisle.served() as address:
        port = int(address.rpartition(":")[2])
        view = await signed_in(browser, aisle, address)
        await type_code(view, TASK)
        await shows(view, "开始拣货")
        swallow.append("/pda/do")
        await type_code(view, "SKU-A")
        await answered(view)
        assert await tone(view) == "ok"
        assert len(aisle.seen("item.picked")) == 1, "sent twice, counted once"
    text = await shows(view, "与代理断开")
    assert await tone(view) == "pending"
    for _ in range(2):
        await type_code(view, "SKU-B")
        await shows(view, "未确认")
        assert await tone(view) == "pending"
        assert not await view.value("!!document.querySelector('.answer.green')")
    text = await shows(view, "2 条扫码未确认")
    assert "SKU-B" in text
    await view.picture(tmp_path / "pending.png")
    await type_code(view, "SKU-A")
    await shows(view, "这一步的扫码已满")
    assert await tone(view) == "error"
    assert len(aisle.seen("item.picked")) == 1, "nothing counted meanwhile"
    async with aisle.served(port):
        await shows(view, "已拣够")
        assert "与代理断开" not in await view.text()
        await type_code(view, "SKU-A")
        await shows(view, "拣齐")
        aisle.floor.clock.step(RULES.idle_ms)
        await shows(view, "太久没有操作")
        (held,) = aisle.floor.read(handhelds.everyone)
        aisle.floor.write(lambda tx: flow.unpair(tx, held.id))
        await type_code(view, OPERATOR)
        await type_code(view, PIN)
        await shows(view, "配对这台 PDA")
    assert [body["sku"] for body in aisle.seen("item.picked")] == ["SKU-A", "SKU-B", "SKU-A"]


async def test_a_stop_a_return_and_a_count_in_the_dark(
    browser: Browser, aisle: Aisle, tmp_path: Path
) -> None:
    aisle.floor.tell(RETURN)
    async with aisle.served() as address:
        view = await signed_in(browser, aisle, address, TALL)
        dark = [{"name": "prefers-color-scheme", "value": "dark"}]
        await view.ask("Emulation.setEmulatedMedia", features=dark)
        await type_code(view, TASK)
        await type_code(view, "SKU-A")
        await shows(view, "1/2")
        aisle.floor.tell(commands.Notice(SHIPMENT, "refund", "买家申请退款"))
        await shows(view, "停！买家申请退款")
        assert await tone(view) == "error"
        await tap(view, "知道了")
        await shows(view, "A-1")
        aisle.floor.tell(cancel())
        text = await shows(view, "停!")
        assert "商品 SKU-A ×1 → A-1" in text
        assert await tone(view) == "error"
        await view.picture(tmp_path / "stop-dark.png")
        await tap(view, "已放回")
        await shows(view, "已停止并放回")
        await tap(view, "退货")
        await type_code(view, TICKET)
        await shows(view, "已签收")
        await type_code(view, "69SKU-A")
        await tap(view, "合格")
        await shows(view, "放回 A-03-2")
        await type_code(view, "69SKU-B")
        await tap(view, "不合格")
        await tap(view, "破损")
        await shows(view, "还剩 1 件")
        await view.picture(tmp_path / "return-dark.png")
        await tap(view, "结束")
        await tap(view, "没有退回")
        await shows(view, "质检完成")
        await tap(view, "盘点")
        await type_code(view, "69SKU-A")
        await shows(view, "1 件")
        await tap(view, "2")
        await shows(view, "12 件")
        await tap(view, "确认")
        await shows(view, "已盘点")
        assert await view.overhang_px() <= 0
        assert view.complaints == []
    (closed,) = aisle.seen("return.closed")
    assert closed["outcome"] == "partial"
    assert aisle.seen("stock.counted")[0]["counts"] == [{"sku": "SKU-A", "shelf": 12}]
    assert aisle.seen("task.stopped")
