"""The buyer opens the link: parcels together, dates in China, nothing personal, nothing to run."""

from __future__ import annotations

import re
from pathlib import Path

from cloud_core.api.doors import Limits
from cloud_core.store import schema as t
from tests.support.http_core import NOW_MS, HttpCore

TOKEN = "AbCdEfGhIjKlMnOpQrStUv"
HOUR = 3_600_000


def fill_order(core: HttpCore, *, shipments: int = 1, **changes: object) -> None:
    """An order with its shipments put straight into the tables."""
    core.insert(
        t.orders,
        {"id": "DB2026TESTTEST", "channel": "demo-shop", "native_id": "SHOP-1", "state": "granted",
         "created_ms": NOW_MS, "paid_ms": NOW_MS + HOUR, "division_text": "浙江省杭州市余杭区",
         "track_token": TOKEN, "track_until_ms": NOW_MS + 90 * 24 * HOUR,
         "expected_ms": NOW_MS + 96 * HOUR, **changes},
    )  # fmt: skip
    core.insert(
        t.contact,
        {"order_id": "DB2026TESTTEST", "name_masked": "测*甲", "phone_masked": "100******01",
         "address_masked": "演示路*号*幢*室", "sealed": b"\x00"},
    )  # fmt: skip
    core.insert(t.order_line, {"order_id": "DB2026TESTTEST", "line_no": 1, "sku": "SKU-001",
                               "quantity": 2, "title": "毛巾<script>x</script>"})  # fmt: skip
    for number in range(1, shipments + 1):
        name = f"DB2026TESTTEST-{number}"
        core.insert(
            t.shipment,
            {"id": name, "order_id": "DB2026TESTTEST",
             "state": "in_transit" if number == 1 else "picking", "warehouse": "HZ",
             "carrier": "YS", "waybill": f"YS000000000{number}",
             "expected_ms": NOW_MS + (72 + 24 * number) * HOUR},
        )  # fmt: skip
        core.insert(t.shipment_line, {"shipment_id": name, "sku": "SKU-001", "quantity": number})
        codes = ("granted", "picking", "packed", "handed_over", "in_transit")
        for step, code in enumerate(codes if number == 1 else codes[:2]):
            core.insert(t.milestone, {"shipment_id": name, "at_ms": NOW_MS + (2 + step) * HOUR,
                                      "code": code})  # fmt: skip


async def test_one_parcel_with_its_timeline_and_expected_day(core: HttpCore) -> None:
    fill_order(core)
    page = await core.client.get(f"/t/{TOKEN}")
    assert page.status_code == 200
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    text = page.text
    for words in ("包裹运输中", "预计 11月25日 送达", "演示快运", "YS0000000001", "11月21日",
                  "16:00", "包裹已交给快递公司", "测*甲 100******01",
                  "浙江省杭州市余杭区演示路*号*幢*室",
                  "DB2026TESTTEST", "毛巾&lt;script&gt;"):  # fmt: skip
        assert words in text, words
    assert text.index("包裹运输中") < text.index("包裹已交给快递公司") < text.index("订单已付款")


async def test_several_parcels_stand_together(core: HttpCore) -> None:
    fill_order(core, shipments=2)
    text = (await core.client.get(f"/t/{TOKEN}")).text
    for words in ("2 个包裹，正在拣货", "包裹 1/2", "包裹 2/2", "YS0000000001", "YS0000000002",
                  "预计 11月25日 送达", "预计 11月26日 送达"):  # fmt: skip
        assert words in text, words


async def test_nothing_runs_loads_or_leaks(core: HttpCore) -> None:
    fill_order(core)
    page = await core.client.get(f"/t/{TOKEN}")
    assert "<script" not in page.text
    assert not re.search(r"(src|href)=", page.text), "the page asks for nothing else"
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert page.headers["referrer-policy"] == "no-referrer"
    assert page.headers["x-robots-tag"] == "noindex, nofollow"
    assert not re.search(r"1\d{10}", page.text)


async def test_the_style_hash_in_the_policy_is_that_of_the_page(core: HttpCore) -> None:
    import base64
    import hashlib

    fill_order(core)
    page = await core.client.get(f"/t/{TOKEN}")
    style = re.search(r"<style>(.*?)</style>", page.text, re.DOTALL)
    assert style
    digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    assert f"'sha256-{digest}'" in page.headers["content-security-policy"]


async def test_an_unchanged_page_costs_no_body(core: HttpCore) -> None:
    fill_order(core)
    first = await core.client.get(f"/t/{TOKEN}")
    etag = first.headers["etag"]
    assert "max-age" in first.headers["cache-control"]
    for given in (etag, f'W/{etag}, "other"', "*"):
        again = await core.client.get(f"/t/{TOKEN}", headers={"if-none-match": given})
        assert (again.status_code, again.content) == (304, b""), given
    core.insert(t.milestone, {"shipment_id": "DB2026TESTTEST-1", "at_ms": NOW_MS + 30 * HOUR,
                              "code": "out_for_delivery"})  # fmt: skip
    changed = await core.client.get(f"/t/{TOKEN}", headers={"if-none-match": etag})
    assert changed.status_code == 200


async def test_unknown_and_expired_links_have_clear_pages(core: HttpCore) -> None:
    fill_order(core, track_until_ms=NOW_MS)
    expired = await core.client.get(f"/t/{TOKEN}")
    assert (expired.status_code, "查询链接已过期" in expired.text) == (410, True)
    assert "DB2026TESTTEST" not in expired.text
    for path in ("/t/" + "x" * 22, "/t/short", "/t/%00%ff", "/t/" + "a" * 3000, "/t/a/b"):
        unknown = await core.client.get(path)
        assert (unknown.status_code, "没有找到这个订单" in unknown.text) == (404, True), path


async def test_a_cancelled_and_a_late_order_say_so(core: HttpCore) -> None:
    fill_order(core, stop="cancelled")
    assert "订单已取消" in (await core.client.get(f"/t/{TOKEN}")).text
    with core.wired.engine.begin() as connection:
        connection.execute(t.orders.update().values(stop=""))
    core.clock.advance(20 * 24 * 3600)
    assert "原预计 11月25日 送达" in (await core.client.get(f"/t/{TOKEN}")).text


async def test_too_many_looks_get_a_page_that_says_so(tmp_path: Path) -> None:
    found = HttpCore(tmp_path, Limits(anonymous_per_min=2))
    async with found.started():
        answers = [await found.client.get("/t/" + "x" * 22) for _ in range(3)]
        assert [answer.status_code for answer in answers] == [404, 404, 429]
        assert "查询太频繁了" in answers[2].text
        assert answers[2].headers["retry-after"] == "60"
