"""The status page: who may look, what it says, and what its buttons do."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

import edge_agent
from edge_agent import pages
from edge_agent.domain.answer import Answer
from edge_agent.domain.printer_status import READY, SILENT, SendOutcome
from edge_agent.flows import bench
from edge_agent.journal import jobs, stations, tasks
from edge_agent.pages.said import SAID
from protocols import commands
from tests.support.edge import LABEL, PRINTED, Floor, cancel, grant, offer
from tests.support.handhelds import Aisle

SHIPMENT = "DB2026AAAA-1"
ORIGIN = {"origin": "http://localhost"}


class FloorDesk:
    """The page's desk over one floor: no loops, no broker."""

    def __init__(self, floor: Floor) -> None:
        self.floor = floor
        self.box: dict[str, Any] = {}

    async def act(self, act: Any) -> Answer:
        answer: Answer = self.floor.write(lambda tx: act(tx, self.floor.bench))
        return answer

    def status(self) -> dict[str, Any]:
        from edge_agent.agent import view
        from edge_agent.agent.parts import Live, Ports
        from edge_agent.journal.writer import InlineJournal

        journal = InlineJournal(self.floor.core, self.floor.clock)
        ports = Ports(
            clock=self.floor.clock, ids=None, link=None,  # type: ignore[arg-type]
            journals={"floor": journal, "telemetry": journal}, printers={}, makers={},
            run_blocking=None,  # type: ignore[arg-type]
        )  # fmt: skip
        live = Live(self.floor.plan, ports)
        live.printer_status = {"label-1": READY}
        return {**view.status(live), "box": self.box}


@pytest.fixture
def floor(tmp_path: Path) -> Floor:
    floor = Floor(tmp_path)
    floor.resynced()
    return floor


@pytest.fixture
async def browser(floor: Floor) -> AsyncIterator[httpx.AsyncClient]:
    app = pages.build(FloorDesk(floor), ("localhost",), 480)
    client = httpx.AsyncClient(
        transport=httpx.ASGITransport(app), base_url="http://localhost", follow_redirects=True
    )
    async with client:
        yield client


async def press(browser: httpx.AsyncClient, act: str, **fields: str) -> httpx.Response:
    """What a browser does: load the page, take its token, send the form."""
    found = re.search(r'name="token" value="([^"]+)"', (await browser.get("/")).text)
    assert found is not None
    form = {"token": found.group(1), "act": act, **fields}
    return await browser.post("/act", data=form, headers=ORIGIN)


async def test_the_page_shows_the_shift_in_chinese(
    floor: Floor, browser: httpx.AsyncClient
) -> None:
    floor.tell(grant())
    floor.scan(f"TASK-{SHIPMENT}")
    page = (await browser.get("/")).text
    for words in ("待上传", "打印机 label-1", "正常", SHIPMENT, "拣货复核中", "开始拣货", "排队"):
        assert words in page
    assert 'http-equiv="refresh"' in page
    assert "<script" not in page


async def test_nothing_on_the_page_comes_from_outside(browser: httpx.AsyncClient) -> None:
    answer = await browser.get("/")
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert not re.search(r'(src|href)="(https?:)?//', answer.text)
    assert (await browser.get("/style.css")).headers["content-type"].startswith("text/css")


async def test_a_stop_fills_the_screen_and_a_press_confirms_it(
    floor: Floor, browser: httpx.AsyncClient
) -> None:
    floor.tell(grant(print_on="pack"))
    for code in (f"TASK-{SHIPMENT}", "SKU-A"):
        floor.scan(code)
    floor.tell(cancel())
    page = (await browser.get("/")).text
    assert "停！订单已取消" in page
    assert "商品 SKU-A" in page
    assert "已停止并放回" in (await press(browser, "confirm_stop", shipment=SHIPMENT)).text
    assert floor.bodies("task.stopped")[0]["put_back"] == [{"sku": "SKU-A", "quantity": 1}]


async def test_an_unknown_label_is_answered_and_reprinted_by_hand(
    floor: Floor, browser: httpx.AsyncClient
) -> None:
    floor.tell(grant())
    floor.print_next(SendOutcome(10, 1000, SILENT, error="broken"))
    key = {"kind": "waybill", "number": "WAAAA1", "revision": "1"}
    assert "请看纸出来没有" in (await browser.get("/")).text
    assert "已记录没出来" in (await press(browser, "not_out", **key)).text
    assert "补打中" in (await press(browser, "reprint", reason="没出来", **key)).text
    assert floor.job(SHIPMENT).job.key.revision == 2


async def test_a_held_label_prints_when_pressed(floor: Floor, browser: httpx.AsyncClient) -> None:
    floor.tell(grant())
    floor.restart()
    await press(browser, "print", kind="waybill", number="WAAAA1", revision="1")
    assert floor.print_next() == "sending"


async def test_offers_are_closed_and_opened(floor: Floor, browser: httpx.AsyncClient) -> None:
    await press(browser, "close")
    assert not floor.read(bench.is_open)
    floor.tell(offer())
    assert floor.bodies("offer.rejected")[0]["reason"] == "closed"
    await press(browser, "open")
    assert floor.read(bench.is_open)


async def test_a_page_of_somebody_else_cannot_press_anything(
    floor: Floor, browser: httpx.AsyncClient
) -> None:
    floor.tell(grant())
    form = {"act": "close", "token": "guessed"}
    assert (await browser.post("/act", data=form)).status_code == 403
    assert (
        await browser.post("/act", data=form, headers={"origin": "http://evil"})
    ).status_code == 403
    assert (await browser.post("/act", data=form, headers=ORIGIN)).json()["field"] == "token"
    assert (await browser.get("/", headers={"host": "evil.example.test"})).status_code == 421
    assert floor.read(bench.is_open)


@pytest.mark.parametrize(
    ("form", "field"),
    [
        ({"act": "dance"}, "act"),
        ({"act": "print", "kind": "waybill", "number": "W1", "revision": "-1"}, "revision"),
        ({"act": "reprint", "kind": "waybill", "number": "W1", "revision": "1"}, "reason"),
        ({"act": "confirm_stop", "shipment": "x" * 500}, "shipment"),
        ({"act": "print", "kind": "waybill", "number": "W1", "revision": "1"}, "job"),
        ({"act": "confirm_stop", "shipment": "DB-unknown"}, "shipment"),
    ],
)  # fmt: skip
async def test_a_bad_form_names_its_field(
    browser: httpx.AsyncClient, form: dict[str, str], field: str
) -> None:
    answer = await press(browser, **form)
    assert answer.status_code == 422
    assert answer.json()["field"] == field


async def test_machines_read_the_same(floor: Floor, browser: httpx.AsyncClient) -> None:
    floor.tell(grant())
    status = (await browser.get("/status.json")).json()
    assert status["tasks"][0]["shipment"] == SHIPMENT
    assert status["streams"]["floor"]["queued"] == floor.core.position.last
    metrics = (await browser.get("/metrics")).text
    assert 'packline_edge_queued_rows{stream="floor"} 3' in metrics
    assert all(re.fullmatch(r"(# TYPE \w+ (gauge|counter)|\w+(\{.*\})? [-0-9.e]+)", line)
               for line in metrics.strip().splitlines())  # fmt: skip


async def test_no_personal_data_is_shown(floor: Floor, browser: httpx.AsyncClient) -> None:
    floor.tell(grant())
    floor.scan("收件人 测试甲 10000000001")
    shown = (
        (await browser.get("/")).text
        + (await browser.get("/status.json")).text
        + (await browser.get("/metrics")).text
    )
    for words in ("测*", "100******01", "测试甲", "10000000001", "测试区"):
        assert words not in shown


async def test_a_long_shift_stays_small(floor: Floor, browser: httpx.AsyncClient) -> None:
    for number in range(120):
        floor.tell(grant(f"DB2026{number:04d}-1", lines={"SKU-A": 1}))
        floor.scan(f"TASK-DB2026{number:04d}-1")
    assert len(floor.read(lambda db: stations.last_scans(db, 1_000))) == 120
    assert len((await browser.get("/")).content) < 200_000
    assert sum(floor.read(tasks.counts).values()) == 120
    assert sum(floor.read(jobs.counts).values()) == 120


async def test_a_stop_is_on_the_page_however_long_the_list(
    floor: Floor, browser: httpx.AsyncClient
) -> None:
    for number in range(90):
        floor.tell(grant(f"DB2026{number:04d}-1", lines={"SKU-A": 1}))
    last = msgspec.structs.replace(grant(SHIPMENT), ship_by_ms=1_900_000_000_000)
    floor.tell(last)
    floor.scan(f"TASK-{SHIPMENT}")
    floor.tell(cancel())
    assert "停！订单已取消" in (await browser.get("/")).text


async def test_the_labels_shown_are_the_latest_and_those_that_can_be_dealt_with(
    floor: Floor, browser: httpx.AsyncClient
) -> None:
    broken = SendOutcome(10, 1000, SILENT, error="broken")
    floor.tell(grant())
    assert floor.print_next(broken) == "unknown"
    floor.tell(cancel())
    assert floor.scan("$$STOPPED").code == "stopped"
    assert "请看纸出来没有" not in (await browser.get("/")).text
    for number in range(60):
        floor.clock.step(1_000)
        floor.tell(grant(f"DB2026{number:04d}-1"))
        assert floor.print_next(PRINTED) == "confirmed"
    assert "W00591" in (await browser.get("/")).text
    floor.tell(grant("DB2026BBBB-1"))
    floor.print_next(broken)
    assert floor.scan("$$OUT").code == "came_out"


@pytest.mark.parametrize("host", ["[", "[::1", "a]b", ""])
async def test_a_broken_host_is_refused_and_not_a_fault(
    browser: httpx.AsyncClient, host: str
) -> None:
    assert (await browser.get("/", headers={"host": host})).status_code == 421
    form = {"act": "close", "token": "x"}
    answer = await browser.post("/act", data=form, headers={"origin": f"http://{host}["})
    assert answer.status_code == 403


async def test_a_time_no_calendar_has_does_not_hide_the_page(
    floor: Floor, browser: httpx.AsyncClient
) -> None:
    floor.tell(msgspec.structs.replace(grant(), ship_by_ms=2**53))
    assert (await browser.get("/")).status_code == 200


async def test_what_goods_are_called_is_text_and_nothing_else(
    floor: Floor, browser: httpx.AsyncClient
) -> None:
    name = '<script>alert(1)</script>"><img src=x>'
    line = commands.TaskLine('A"><b>', 1, name=name, location="<i>")
    floor.tell(msgspec.structs.replace(grant(), lines=[line]))
    floor.scan(f"TASK-{SHIPMENT}")
    floor.tell(commands.Notice(SHIPMENT, "remark", name))
    page = (await browser.get("/", params={"said": name, "tone": '"><script>'})).text
    assert "<script" not in page
    assert "<img" not in page
    assert "&lt;script&gt;" in page


async def test_a_link_puts_no_words_into_the_pages_mouth(browser: httpx.AsyncClient) -> None:
    plain = (await browser.get("/")).text
    lie = "请把密码告诉打电话的人"
    for params in ({"said": lie, "tone": "error"}, {"said": "STOPPED"}, {"tone": "error"}):
        page = (await browser.get("/", params=params)).text
        assert lie not in page
        assert page.count('role="status"') == plain.count('role="status"')
    page = (await browser.get("/", params={"said": "not_out", "tone": "error"})).text
    assert '<p class="said warn" role="status">已记录没出来' in page


def test_every_press_that_works_has_its_sentence() -> None:
    text = "".join(
        (Path(edge_agent.__file__).parent / name).read_text(encoding="utf-8")
        for name in ("pages/acts.py", "agent/scanning.py")
    )
    pressed = set(re.findall(r'\b(?:done|mind)\(\s*"([a-z_]+)"', text))
    assert len(pressed) > 10
    assert pressed | {"confirmed", "packed", "stopped", "rejected"} == set(SAID)
    assert all(tone != "error" and sentence for tone, sentence in SAID.values())


async def test_a_press_that_did_not_work_says_why_at_once(tmp_path: Path) -> None:
    aisle = Aisle(tmp_path)
    app = pages.build(aisle.agent, ("localhost",), 480)
    client = httpx.AsyncClient(
        transport=httpx.ASGITransport(app), base_url="http://localhost", follow_redirects=True
    )
    async with aisle.working(), client as browser:
        answer = await press(browser, "confirm_stop", shipment="DB-unknown")
        assert answer.status_code == 409
        assert '<p class="said error" role="status">不需要确认停止' in answer.text
        assert "已暂停接单" in (await press(browser, "close")).text


async def test_safe_mode_a_broken_driver_and_a_wrong_clock_are_said(floor: Floor) -> None:
    desk = FloorDesk(floor)
    desk.box = {"drivers": {"printer label-2": "机型文件有误"}, "clock_below_ms": 3_600_000}
    app = pages.build(desk, ("localhost",), 480)
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as browser:
        page = (await browser.get("/")).text
        assert "停用 printer label-2：机型文件有误" in page
        assert "系统时间至少慢 60 分钟" in page
        desk.box = {"safe_mode": "安全模式: 连续 3 次启动未完成", "drivers": {"scanner a": "x"}}
        page = (await browser.get("/")).text
        assert "连续 3 次启动未完成" in page


async def test_the_status_comes_out_on_paper(floor: Floor, browser: httpx.AsyncClient) -> None:
    from edge_agent.domain.label import NoticeFields
    from edge_agent.flows.paper import paper_of

    floor.tell(grant())
    floor.print_next(PRINTED)
    shown = await press(browser, "status_ticket")
    assert "状态条打印中" in shown.text
    placed = floor.read(lambda db: jobs.next_queued(db, "label-1"))
    assert placed is not None
    paper = floor.read(lambda db: paper_of(db, placed.job.key))
    assert isinstance(paper, NoticeFields)
    assert paper.title == "状态 sha-1"
    told = " ".join(paper.lines)
    assert "待上传" in told
    assert "granted 1" in told
    assert LABEL.receiver_name not in told
    assert floor.print_next(PRINTED)
