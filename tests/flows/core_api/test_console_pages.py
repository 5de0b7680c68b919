"""What staff see on the console's pages and what pressing does; hostile words stay words."""

from __future__ import annotations

import json
import random

import pytest

from cloud_core.domain.urgency import OPEN, light
from cloud_core.store import schema as t
from cloud_core.store import schema_after as a
from cloud_core.store.console_views import PAGE_ROWS
from tests.flows.core_api.test_staff import placed
from tests.support.console import (
    Staffer,
    hidden,
    ids,
    next_page,
    order_row,
    return_row,
    shipment_row,
)
from tests.support.http_core import NOW_MS, HttpCore

HOUR = 3_600_000
HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>{{7*7}}"


@pytest.fixture
async def staff(core: HttpCore) -> Staffer:
    found = Staffer(core)
    await found.sign_in("write")
    return found


async def walk(staff: Staffer, address: str, kind: str) -> list[str]:
    """Every id of a list, page by page, none longer than it may be."""
    found: list[str] = []
    while address:
        page = await staff.see(address)
        shown = ids(page, kind)
        assert len(shown) <= PAGE_ROWS
        found += shown
        address = next_page(page)
    return found


async def test_an_order_from_the_shop_to_the_page(core: HttpCore, staff: Staffer) -> None:
    (order_id,) = await placed(core, "S-1")
    overview = await staff.see("/console")
    assert f"{order_id}-1" in overview
    assert "正常 1" in overview
    listed = await staff.see("/console/orders")
    for words in (order_id, "S-1", "已派仓", "浙江省杭州市余杭区"):
        assert words in listed, words
    page = await staff.see(f"/console/orders/{order_id.lower()}")
    for words in ("100******01", "测**乙", "待付款 → 已付款", "店铺 demo-shop", "演示毛巾",
                  f"{order_id}-1", "杭州仓"):  # fmt: skip
        assert words in page, words
    for clear in ("10000000001", "测试甲乙", "演示路1号"):
        assert clear not in page
    shipment = await staff.see(f"/console/shipments/{order_id}-1")
    for words in ("为什么这样派", "杭州仓", "演示毛巾", "已派仓"):
        assert words in shipment, words


async def test_an_order_is_found_by_any_number_and_by_its_phone(
    core: HttpCore, staff: Staffer
) -> None:
    (order_id,) = await placed(core, "S-1")
    with core.wired.engine.begin() as connection:
        connection.execute(t.shipment.update().values(waybill="YS0000000001"))
    here = f"/console/orders/{order_id}"
    for q, where in ((order_id, here), (order_id.lower(), here), ("S-1", here),
                     ("YS0000000001", here),
                     (f" {order_id}-1 ", f"/console/shipments/{order_id}-1")):  # fmt: skip
        answer = await staff.press("/console", "/console/search", q=q)
        assert (answer.status_code, answer.headers["location"]) == (303, where), q
        by_link = await staff.client.get("/console/search", params={"q": q})
        assert by_link.headers["location"] == where
    core.insert(a.return_ticket, return_row(1, order_id=order_id))
    core.insert(
        a.shipment_serial,
        {"shipment_id": f"{order_id}-1", "sku": "SKU-001", "serial": "sn-77", "at_ms": NOW_MS},
    )
    stock = "/console/stock?"
    for q, where in (
        (f"{order_id}-1@1", here), ("RET-T0000001", here), ("sn-77", here),
        ("SKU-002", f"{stock}sku=SKU-002"), ("hz", f"{stock}warehouse=HZ"),
    ):  # fmt: skip
        answer = await staff.press("/console", "/console/search", q=q)
        assert (answer.status_code, answer.headers.get("location")) == (303, where), q
    phone = await staff.press("/console", "/console/search", q="+86 100 0000 0001")
    assert ids(phone.text) == [order_id]
    assert "10000000001" not in phone.text.replace("DB", "")
    by_link = await staff.client.get("/console/search", params={"q": "10000000001"})
    assert ids(by_link.text) == [], "a phone never belongs into an address"
    digits = await staff.press("/console", "/console/search", q="0001")
    assert ids(digits.text) == [order_id]
    assert ids((await staff.press("/console", "/console/search", q="0009")).text) == []
    assert ids(await staff.see("/console/search?q=0001")) == []
    searched = [row for row in core.rows(t.audit) if row["action"] == "console.phone_searched"]
    assert [row["target"] for row in searched] == [""] * 3
    said = [row["detail"] for row in searched]
    assert said == ["1 个订单", "尾号，1 个订单", "尾号，0 个订单"]
    with core.wired.engine.begin() as connection:
        old = {"created_ms": NOW_MS - 31 * 24 * HOUR}
        connection.execute(t.orders.update().values(**old))
    late = await staff.press("/console", "/console/search", q="0001")
    assert ids(late.text) == [], "four digits find recent orders only"
    for q in ("没有", "' OR 1=1 --", "%", HOSTILE, "\x00x"):
        nothing = await staff.press("/console", "/console/search", q=q)
        assert (nothing.status_code, ids(nothing.text)) == (200, []), q
        assert "<script>alert" not in nothing.text


async def test_hostile_words_of_shops_stay_words(core: HttpCore, staff: Staffer) -> None:
    row = order_row(
        1, native_id=HOSTILE[:60], remark=HOSTILE, tags=HOSTILE, native_status=HOSTILE,
        channel="<b>x</b>", division_text=HOSTILE, ship_by_ms=NOW_MS + HOUR,
    )  # fmt: skip
    core.insert(t.orders, row)
    core.insert(t.contact, {"order_id": row["id"], "name_masked": HOSTILE,
                            "phone_masked": HOSTILE, "address_masked": HOSTILE})  # fmt: skip
    core.insert(t.order_line, {"order_id": row["id"], "line_no": 1, "sku": "<i>sku",
                               "quantity": 1, "title": HOSTILE})  # fmt: skip
    decision = {"candidates": [{"warehouse": HOSTILE, "name": HOSTILE, "why_zh": HOSTILE}],
                "parked_zh": HOSTILE, "chosen": ""}  # fmt: skip
    core.insert(t.shipment, shipment_row(1, parked="no_stock", decision=json.dumps(decision),
                                         waybill=HOSTILE[:40], label=HOSTILE[:10],
                                         ship_by_ms=NOW_MS + HOUR))  # fmt: skip
    core.insert(t.shipment_line, {"shipment_id": f"{row['id']}-1", "sku": "<i>sku", "quantity": 1})
    core.insert(t.trail, {"at_ms": NOW_MS, "subject": row["id"], "change": HOSTILE[:60],
                          "actor": HOSTILE[:60], "source": HOSTILE[:60],
                          "detail": HOSTILE})  # fmt: skip
    core.insert(t.incident, {"at_ms": NOW_MS, "kind": HOSTILE[:30], "shipment_id": f"{row['id']}-1",
                             "warehouse": HOSTILE[:60], "token_epoch": 1, "token_n": 1,
                             "stock_effect": HOSTILE, "detail": HOSTILE})  # fmt: skip
    core.insert(t.alarm, {"kind": HOSTILE[:30], "key": HOSTILE, "opened_ms": 1, "text": HOSTILE})
    core.insert(t.milestone, {"shipment_id": f"{row['id']}-1", "at_ms": NOW_MS, "code": "x",
                              "text": HOSTILE})  # fmt: skip
    for address in ("/console", "/console/orders", "/console/shipments", "/console/parked",
                    "/console/incidents", "/console/alarms", f"/console/orders/{row['id']}",
                    f"/console/shipments/{row['id']}-1"):  # fmt: skip
        page = await staff.see(address)
        assert "&lt;" in page, address
        for evil in ("<script>alert", "<img", "<i>sku", "<b>x", ">49<"):
            assert evil not in page, (address, evil)


@pytest.mark.parametrize("record", ["", "null", "[]", "{", '"x"', '{"candidates":[[]],"v":9}',
                                    '{"v":2,"p":7,"c":null,"parked":[]}'])  # fmt: skip
async def test_a_record_nobody_understands_breaks_no_page(
    core: HttpCore, staff: Staffer, record: str
) -> None:
    core.insert(t.orders, order_row(1))
    core.insert(t.shipment, shipment_row(1, decision=record, parked="no_stock"))
    assert "为什么这样派" in await staff.see("/console/shipments/DB2026T0000001-1")
    assert "没有一个仓库能发齐全部商品" in await staff.see("/console/parked")


async def test_every_list_goes_on_page_by_page_and_misses_nothing(
    core: HttpCore, staff: Staffer
) -> None:
    count = PAGE_ROWS * 2 + 7
    orders, shipments = [], []
    for number in range(count):  # many share a limit, so that the id decides
        due = NOW_MS + (number % 5) * HOUR
        orders.append(order_row(number, ship_by_ms=due))
        shipments.append(shipment_row(number, ship_by_ms=due, parked="no_stock", paid_ms=5))
    with core.wired.engine.begin() as connection:
        connection.execute(t.orders.insert(), orders)
        connection.execute(t.shipment.insert(), shipments)
        connection.execute(t.stock.insert(), [
            {"warehouse": "HZ", "sku": f"P-{number:03d}", "shelf": 1} for number in range(count)
        ])  # fmt: skip
        connection.execute(t.incident.insert(), [
            {"at_ms": NOW_MS, "kind": "unknown_shipment", "shipment_id": f"I-{number}",
             "warehouse": "HZ", "token_epoch": 1, "token_n": 1} for number in range(count)
        ])  # fmt: skip
    listed = await walk(staff, "/console/orders", "orders")
    wanted = sorted(orders, key=lambda row: (row["ship_by_ms"], row["id"]))
    assert listed == [row["id"] for row in wanted]
    for address in (
        "/console/shipments?warehouse=HZ",
        "/console/parked",
        "/console/parked?reason=no_stock",
    ):
        assert len(set(await walk(staff, address, "shipments"))) == count, address
    newest = await walk(staff, "/console/incidents", "shipments")
    assert newest == [f"I-{number}" for number in reversed(range(count))]
    found = await walk(staff, "/console/stock?sku=P-&warehouse=HZ", "none")
    assert found == []
    second = await staff.see(next_page(await staff.see("/console/stock?sku=P-")))
    assert "P-050" in second
    assert "P-049<" not in second


async def test_the_long_trail_of_an_order_is_paged(core: HttpCore, staff: Staffer) -> None:
    core.insert(t.orders, order_row(1))
    rows = [{"at_ms": NOW_MS, "subject": "DB2026T0000001", "change": f"step-{number:03d}",
             "actor": "core"} for number in range(PAGE_ROWS + 5)]  # fmt: skip
    with core.wired.engine.begin() as connection:
        connection.execute(t.trail.insert(), rows)
    first = await staff.see("/console/orders/DB2026T0000001")
    assert ("step-054" in first, "step-004" in first) == (True, False)
    older = await staff.see(next_page(first))
    assert ("step-004" in older, "step-000" in older, "step-005" in older) == (True, True, False)


@pytest.mark.parametrize("address", [
    "/console/orders?after=x", "/console/orders?after=WzEsMl0",
    "/console/orders?after=" + "A" * 399,
    "/console/orders?after=%00", "/console/orders?state=lost", "/console/orders?light=blue",
    "/console/shipments?state=created", "/console/parked?after=WyJhIiwiYiJd",
    "/console/incidents?after=WyJhIl0", "/console/incidents?after=Wzk5OTk5OTk5OTk5OTk5OTk5OTk5XQ",
    "/console/stock?after=W10", "/console/agents?after=WzFd", "/console/orders/X?trail=WyJhIl0",
])  # fmt: skip
async def test_a_made_up_place_or_filter_is_refused_by_a_page(
    core: HttpCore, staff: Staffer, address: str
) -> None:
    answer = await staff.client.get(address)
    assert answer.status_code == 422, address
    assert answer.headers["content-type"].startswith("text/html")
    assert "没有成功" in answer.text


async def test_the_lists_know_the_colours_as_the_rule_does(core: HttpCore, staff: Staffer) -> None:
    chance = random.Random(7)
    wanted: dict[str, set[str]] = {"red": set(), "yellow": set(), "green": set(), "none": set()}
    orders, shipments = [], []
    for number in range(48):
        due = NOW_MS + chance.choice((-HOUR, 0, 1, 4 * HOUR, 4 * HOUR + 1, 40 * HOUR))
        state, stop = chance.choice(OPEN[1:]), chance.choice(("", "", "", "cancelled"))
        parked = chance.choice(("", "", "outside"))
        orders.append(order_row(number, ship_by_ms=due, state=state, stop=stop))
        shipments.append(
            shipment_row(number, ship_by_ms=due, state=state, stop=stop, parked=parked)
        )
        colour = light(state, stop, parked=bool(parked), ship_by_ms=due, now_ms=NOW_MS)
        wanted[colour].add(orders[-1]["id"])
    with core.wired.engine.begin() as connection:
        connection.execute(t.orders.insert(), orders)
        connection.execute(t.shipment.insert(), shipments)
    for name in ("red", "yellow", "green"):
        shown = ids(await staff.see(f"/console/orders?light={name}"))
        assert set(shown) == wanted[name], name
        shown = ids(await staff.see(f"/console/shipments?light={name}"), "shipments")
        assert {found.removesuffix("-1") for found in shown} == wanted[name], name
    counted = core.wired.doors.console.lists.overview(NOW_MS)["lights"]
    assert counted == {name: len(wanted[name]) for name in counted}
    stopped = ids(await staff.see("/console/orders?state=stopped"))
    assert set(stopped) == wanted["none"]


async def test_stock_is_filtered_and_says_what_may_still_be_sold(
    core: HttpCore, staff: Staffer
) -> None:
    core.insert(t.warehouse, {"id": "GZ", "site": "gz", "name": "广州仓"})
    core.insert(
        t.stock,
        {"warehouse": "GZ", "sku": "SKU-001", "shelf": 7, "picked": 2, "held": 5, "safety": 4},
        {"warehouse": "GZ", "sku": "A_1", "shelf": 1},
        {"warehouse": "GZ", "sku": "AB1", "shelf": 1},
    )  # fmt: skip
    page = await staff.see("/console/stock?warehouse=GZ&short=1")
    assert page.count("<tr>") == 2
    assert '<td data-l="可售" class="num strong late">0</td>' in page
    both = await staff.see("/console/stock?sku=SKU-001")
    assert ("广州仓" in both, "杭州仓" in both, "SKU-002" in both) == (True, True, False)
    literal = await staff.see("/console/stock?sku=A_")
    assert ("A_1" in literal, "AB1" in literal) == (True, False), "no wildcards from outside"


async def test_who_was_refused_says_why_and_is_asked_again_by_a_press(
    core: HttpCore, staff: Staffer
) -> None:
    (order_id,) = await placed(core, "S-1")
    name = f"{order_id}-1"
    (row,) = core.rows(t.shipment)
    refusal = {"v": 2, "rules": 0, "hit": [], "to": "", "g": 1, "q": [], "p": [], "flags": [],
               "c": [[row["warehouse"], "rejected:no_printer"]], "parked": "rejected", "tags": [],
               "priority": 0}  # fmt: skip
    core.update(t.shipment, state="routed", parked="rejected", parked_ms=NOW_MS, warehouse="",
                agent="", deadline_ms=None, decision=json.dumps(refusal))  # fmt: skip
    action = f"/console/parked/{name}/retry"
    page = await staff.see("/console/parked")
    assert "该仓已拒单（没有配置打印机）" in page
    assert "不用人工重试" not in page
    done = await staff.client.post(action, data=hidden(page, action))
    assert done.headers["location"] == "/console/parked?said=retried"
    assert "已重新派出" in await staff.see(done.headers["location"])
    again = await staff.client.post(action, data=hidden(page, action))
    assert again.headers["location"] == "/console/parked?said=not_parked"
    assert [r["action"] for r in core.rows(t.audit)].count("shipment.retried") == 1


async def test_what_a_replay_brought_back_says_that_the_decision_was_not_kept(
    core: HttpCore, staff: Staffer
) -> None:
    (order_id,) = await placed(core, "S-1")
    core.update(t.shipment, decision='{"reattached":true}')
    page = await staff.see(f"/console/shipments/{order_id}-1")
    assert "恢复前的派仓记录没有保留" in page
    assert "还没有派仓记录" not in page


async def test_an_incident_is_settled_by_a_press_once(core: HttpCore, staff: Staffer) -> None:
    core.insert(t.incident, {"at_ms": NOW_MS, "kind": "handed_over_after_stop",
                             "shipment_id": "X-1", "warehouse": "HZ", "token_epoch": 1,
                             "token_n": 2})  # fmt: skip
    action = f"/console/incidents/{core.rows(t.incident)[0]['id']}/resolve"
    form = hidden(await staff.see("/console/incidents"), action)
    done = await staff.client.post(action, data=form)
    assert done.headers["location"] == "/console/incidents?said=resolved"
    assert "事件已处理完毕" in await staff.see(done.headers["location"])
    again = await staff.client.post(action, data=form)
    assert again.headers["location"] == "/console/incidents?said=gone"
    audited = [row for row in core.rows(t.audit) if row["action"] == "incident.resolved"]
    assert [(row["actor"], row["source"]) for row in audited] == [("key:k-write", "127.0.0.1")]
    assert "没有事件" in await staff.see("/console/incidents")
    assert "员工密钥 k-write" in await staff.see("/console/incidents?all=1")


async def test_what_a_page_says_comes_from_no_address(core: HttpCore, staff: Staffer) -> None:
    page = await staff.see("/console?said=您已被封号")
    assert "封号" not in page


async def test_an_unknown_order_is_a_page_not_json(core: HttpCore, staff: Staffer) -> None:
    for address, words in (("/console/orders/NOPE", "没有这个订单"),
                           ("/console/shipments/NOPE", "没有这个发货单"),
                           ("/console/orders/%3Cscript%3E", "没有这个订单")):  # fmt: skip
        page = await staff.see(address, 404)
        assert words in page
        assert "<script>" not in page.replace("<script src", "")
