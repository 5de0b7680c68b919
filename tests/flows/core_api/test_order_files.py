"""Orders from a spreadsheet: the same order by push and by file is one order."""

from __future__ import annotations

import io
import zipfile

from cloud_core.store import schema as t
from tests.support.http_core import HttpCore, events, order_event, until

HEADER = "订单号,付款时间,商品编码,数量,收货人,手机号,省,市,区,详细地址\n"
PLACE = "浙江省,杭州市,余杭区,演示路1号2幢301室\n"
ROW = "{0},2026-11-21 10:00:00,SKU-001,{1},测试甲,10000000001," + PLACE
URL = "/v1/channels/demo-shop/files"


def sheet(*rows: tuple[str, object]) -> str:
    return HEADER + "".join(ROW.format(*row) for row in rows)


async def test_rows_become_orders_and_bad_ones_are_reported(core: HttpCore) -> None:
    text = sheet(("F-1", 1), ("F-2", -4), ("F-3", "=1+1"), ("F-4", 2))
    answer = await core.client.post(
        URL, files={"file": ("orders.csv", text.encode("gb18030"))}, headers=core.key("write")
    )
    assert answer.status_code == 202, answer.text
    report = answer.json()
    assert report["accepted"] == 2
    assert [row["position"] for row in report["problems"]] == [3, 4]
    await until(lambda: len(core.rows(t.orders)) == 2)
    again = await core.client.post(
        f"{URL}?name=orders.csv", content=text.encode("gb18030"), headers=core.key("write")
    )
    assert (again.status_code, again.json()["duplicate"]) == (200, True)
    assert len(core.rows(t.orders)) == 2


async def test_the_same_order_by_push_and_by_file_is_one(core: HttpCore) -> None:
    await core.push(events(order_event("F-1")))
    await until(lambda: core.rows(t.orders))
    answer = await core.client.post(
        f"{URL}?name=o.csv", content=sheet(("F-1", 2), ("F-2", 1)).encode(),
        headers=core.key("write"),
    )  # fmt: skip
    assert answer.status_code == 202, answer.text
    await until(lambda: len(core.rows(t.orders)) == 2)
    assert len(core.rows(t.shipment)) == 2


async def test_a_dry_run_changes_nothing(core: HttpCore) -> None:
    answer = await core.client.post(
        f"{URL}?name=o.csv&dry_run=true", content=sheet(("F-1", 2)).encode(),
        headers=core.key("write"),
    )  # fmt: skip
    assert (answer.status_code, answer.json()["dry_run"]) == (200, True)
    assert core.rows(t.raw_message) == []


async def test_files_that_are_none_are_refused_by_code(core: HttpCore) -> None:
    bomb = io.BytesIO()
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("[Content_Types].xml", "<x/>")
        archive.writestr("xl/worksheets/sheet1.xml", b"0" * 60_000_000)
    half = "订单号,".encode() + "数量\n".encode("gb18030")
    cases = {
        "broken.xlsx": b"PK\x03\x04 this is not a workbook",
        "bomb.xlsx": bomb.getvalue(),
        "empty.csv": b"",
        "mixed.csv": half,
        "picture.png": b"\x89PNG\r\n\x1a\n",
    }
    for name, raw in cases.items():
        answer = await core.client.post(URL, files={"file": (name, raw)}, headers=core.key("write"))
        assert answer.status_code in (400, 413, 422), (name, answer.text)
        assert answer.json()["code"] not in ("internal", "request_invalid"), (name, answer.text)
        assert answer.json()["message_zh"]
    assert core.rows(t.raw_message) == []


async def test_a_form_without_the_file_and_a_broken_form_are_named(core: HttpCore) -> None:
    other = await core.client.post(URL, files={"wrong": ("a.csv", b"x")}, headers=core.key("write"))
    assert (other.status_code, other.json()["code"]) == (422, "file_missing")
    broken = await core.client.post(
        URL, content=b"nonsense",
        headers={**core.key("write"), "content-type": "multipart/form-data; boundary=x"},
    )  # fmt: skip
    assert (broken.status_code, broken.json()["code"]) == (400, "multipart_broken")


async def test_uploading_needs_a_key_that_may_write(core: HttpCore) -> None:
    content = sheet(("F-1", 1)).encode()
    nobody = await core.client.post(f"{URL}?name=o.csv", content=content)
    assert (nobody.status_code, nobody.json()["code"]) == (401, "key_missing")
    reader = await core.client.post(f"{URL}?name=o.csv", content=content, headers=core.key("read"))
    assert (reader.status_code, reader.json()["code"]) == (403, "scope_needed")
    assert core.rows(t.raw_message) == []
