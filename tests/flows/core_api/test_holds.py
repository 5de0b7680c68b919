"""A shop's checkout over HTTP: hold, pay, give up; every answer again under the same key."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from cloud_core.domain.hold_commands import ExpireHolds
from cloud_core.store import schema as t
from tests.support.console import Staffer
from tests.support.http_core import HttpCore, events, order_event, until

ONE = {"lines": [{"sku": "SKU-001", "quantity": 2}], "order_ref": "CART-1"}


async def hold(core: HttpCore, body: Any = None, key: str = "k1", **more: Any) -> httpx.Response:
    headers = {**core.key("holds"), "idempotency-key": key}
    return await core.client.post("/v1/holds", json=body or ONE, headers=headers, **more)


async def confirm(core: HttpCore, name: str, key: str) -> httpx.Response:
    headers = {**core.key("holds"), "idempotency-key": key}
    return await core.client.post(f"/v1/holds/{name}/confirm", headers=headers)


async def test_a_basket_from_hold_to_the_paid_order(core: HttpCore) -> None:
    held = await hold(core)
    assert held.status_code == 201
    body = held.json()
    assert held.headers["location"] == f"/v1/holds/{body['id']}"
    assert body["lines"] == [{"warehouse": "HZ", "sku": "SKU-001", "quantity": 2}]
    assert body["expires_ms"] == core.clock.ms + 900_000
    assert (await confirm(core, body["id"], "c1")).json()["state"] == "confirmed"
    await core.push(events(order_event("S-1", hold=body["id"])))
    await until(lambda: core.rows(t.shipment))
    shown = await core.client.get(f"/v1/holds/{body['id']}", headers=core.key("holds"))
    assert (shown.json()["state"], shown.json()["order_ref"]) == ("moved", "CART-1")
    (stock,) = [row for row in core.rows(t.stock) if row["sku"] == "SKU-001"]
    assert stock["held"] == 2


async def test_a_repeat_gets_the_stored_status_and_body(core: HttpCore) -> None:
    first, again = await hold(core), await hold(core)
    assert (first.status_code, first.content) == (again.status_code, again.content)
    assert again.headers["idempotent-replayed"] == "true"
    assert "idempotent-replayed" not in first.headers
    other = await hold(core, {"lines": [{"sku": "SKU-001", "quantity": 3}]})
    assert (other.status_code, other.json()["code"]) == (409, "idempotency_conflict")
    too_many = {"lines": [{"sku": "SKU-001", "quantity": 9999}]}
    for n in range(10):
        await hold(core, too_many, f"big-{n}")
    short, short_again = await hold(core, too_many, "s"), await hold(core, too_many, "s")
    assert short.status_code == 409
    assert short.json()["code"] == "stock_short"
    assert short.json()["details"] == [{"sku": "SKU-001", "wanted": 9999, "available": 8}]
    assert short.content == short_again.content


async def test_many_baskets_each_on_its_own(core: HttpCore) -> None:
    body = {"holds": [ONE, {"lines": [{"sku": "NOPE", "quantity": 1}]}, ONE]}
    answer = await hold(core, body)
    assert answer.status_code == 200
    found = answer.json()
    assert (found["held"], found["refused"]) == (2, 1)
    assert found["holds"][1]["code"] == "sku_unknown"
    assert found["holds"][1]["field"] == "holds[1].lines[0].sku"


async def test_a_key_is_needed_and_bounded(core: HttpCore) -> None:
    bare = await core.client.post("/v1/holds", json=ONE, headers=core.key("holds"))
    assert (bare.status_code, bare.json()["code"]) == (400, "idempotency_key_missing")
    for key in ("", "x" * 129, "with space"):
        answer = await hold(core, key=key)
        assert (answer.status_code, answer.json()["code"]) == (400, "idempotency_key_invalid")
    assert core.rows(t.hold) == []


@pytest.mark.parametrize(
    ("body", "code", "field"),
    [
        ({"lines": []}, "lines_missing", "lines"),
        ({"lines": [{"sku": "NOPE", "quantity": 1}]}, "sku_unknown", "lines[0].sku"),
        ({"lines": [{"sku": "SKU-001", "quantity": 0}]}, "quantity_range", "lines[0].quantity"),
        ({"lines": [{"sku": "SKU-001", "quantity": -1}]}, "quantity_range", "lines[0].quantity"),
        (
            {"lines": [{"sku": "SKU-001", "quantity": 10**30}]},
            "quantity_range",
            "lines[0].quantity",
        ),
        ({"lines": [{"sku": "SKU-001", "quantity": "2"}]}, "field_type", "lines[0].quantity"),
        (
            {"lines": [{"sku": "SKU-001", "quantity": 1}, {"sku": "SKU-001", "quantity": 1}]},
            "sku_duplicate",
            "lines[1].sku",
        ),
        ({**ONE, "ttl_s": 9}, "ttl_range", "ttl_s"),
        ({**ONE, "ttl_s": 99_999}, "ttl_range", "ttl_s"),
        ({**ONE, "ttl": 60}, "field_type", "ttl"),
        ({"holds": []}, "holds_too_many", "holds"),
        ({"holds": [ONE] * 501}, "holds_too_many", "holds"),
        ({"holds": [ONE], "lines": ONE["lines"]}, "field_type", "holds"),
        ({**ONE, "order_ref": "x" * 65}, "text_too_long", "order_ref"),
    ],
)
async def test_bad_baskets_name_their_field(
    core: HttpCore, body: Any, code: str, field: str
) -> None:
    answer = await hold(core, body)
    assert (answer.json()["code"], answer.json()["field"]) == (code, field)
    assert answer.status_code in (409, 422)
    assert [row["held"] for row in core.rows(t.stock)] == [0, 0]


async def test_too_late_is_said_clearly(core: HttpCore) -> None:
    name = (await hold(core, {**ONE, "ttl_s": 10})).json()["id"]
    core.clock.advance(10)
    late = await confirm(core, name, "c")
    assert (late.status_code, late.json()["code"]) == (409, "hold_expired")
    assert late.json()["field"] == "id"
    assert (await confirm(core, name, "c")).content == late.content
    gone = await core.client.delete(f"/v1/holds/{name}", headers=core.key("holds"))
    assert (gone.status_code, gone.json()["state"]) == (200, "expired")
    assert (gone.json()["code"], gone.json()["field"]) == ("hold_expired", "id")


async def test_giving_up_twice_is_once_and_a_paid_one_stays(core: HttpCore) -> None:
    one, paid = (await hold(core)).json()["id"], (await hold(core, key="k2")).json()["id"]
    await confirm(core, paid, "c")
    told = []
    for _ in range(3):
        answer = await core.client.delete(f"/v1/holds/{one}", headers=core.key("holds"))
        assert (answer.status_code, answer.json()["state"]) == (200, "released")
        told.append((answer.json().get("code", ""), answer.json().get("field", "")))
    assert told == [("", ""), ("hold_released", "id"), ("hold_released", "id")]
    kept = await core.client.delete(f"/v1/holds/{paid}", headers=core.key("holds"))
    assert (kept.status_code, kept.json()["code"]) == (409, "hold_confirmed")
    assert kept.json()["field"] == "id"
    again = await confirm(core, one, "c2")
    assert (again.status_code, again.json()["code"]) == (409, "hold_released")
    assert again.json()["field"] == "id"
    where = f"/v1/holds/{paid}?confirmed=true"
    assert (await core.client.delete(where, headers=core.key("holds"))).status_code == 403
    freed = await core.client.delete(where, headers=core.key("admin"))
    assert freed.json()["state"] == "released"
    assert "hold.release_confirmed" in [row["action"] for row in core.rows(t.audit)]
    nobody = await core.client.delete("/v1/holds/H0000000000000", headers=core.key("holds"))
    assert (nobody.status_code, nobody.json()["code"]) == (404, "hold_unknown")
    assert nobody.json()["field"] == "id"
    odd = await core.client.delete("/v1/holds/DB1-1@2", headers=core.key("holds"))
    assert odd.status_code == 422


async def test_narrow_keys_open_only_their_door(core: HttpCore) -> None:
    assert (await core.client.get("/v1/orders", headers=core.key("holds"))).status_code == 403
    assert (await core.client.get("/v1/orders", headers=core.key("stock"))).status_code == 403
    headers = {**core.key("stock"), "idempotency-key": "k"}
    assert (await core.client.post("/v1/holds", json=ONE, headers=headers)).status_code == 403
    assert (await core.client.get("/v1/stock/SKU-001", headers=core.key("holds"))).is_success
    assert (await core.client.get("/v1/stock/SKU-001")).status_code == 401


async def test_what_expired_may_be_sold_again(core: HttpCore) -> None:
    await hold(core, {"lines": [{"sku": "SKU-002", "quantity": 9999}], "ttl_s": 60})
    headers = core.key("stock")
    before = (await core.client.get("/v1/stock/SKU-002", headers=headers)).json()["available"]
    core.clock.advance(60)
    await core.wired.committer.submit(ExpireHolds())
    after = (await core.client.get("/v1/stock/SKU-002", headers=headers)).json()["available"]
    assert (before, after) == (90_001, 100_000)


async def test_a_basket_names_a_channel_that_is_there(core: HttpCore) -> None:
    none = await hold(core, {**ONE, "channel": "nope"}, "c-1")
    assert (none.status_code, none.json()["field"]) == (404, "channel")
    many = await hold(core, {"holds": [ONE, {**ONE, "channel": "nope"}]}, "c-2")
    assert (many.status_code, many.json()["field"]) == (404, "holds[1].channel")
    assert (await hold(core, {**ONE, "channel": "demo-shop"}, "c-3")).status_code == 201


async def test_a_wrong_field_is_named(core: HttpCore) -> None:
    more = (await hold(core, {**ONE, "sku": "A"}, "f-1")).json()
    assert (more["field"], more["message_zh"]) == ("sku", "字段 sku 多余")
    less = (await hold(core, {"holds": [{"lines": [{"sku": "A"}]}]}, "f-2")).json()
    assert less["field"] == "holds[0].lines[0].quantity"
    assert less["message_zh"] == "字段 holds[0].lines[0].quantity 缺失"


async def test_a_misspelt_hold_is_said_in_the_answer(core: HttpCore) -> None:
    event = order_event("S-9", hold_id="H01KAYW4ZD7Q8M5N2P3R4S5T6V")
    event["order"]["lines"][0]["color"] = "red"
    pushed = (await core.push(events(event, order_event("S-10")))).json()
    assert pushed["accepted"] == 2
    assert pushed["ignored"] == [
        {"native_id": "S-9", "fields": ["order.hold_id", "order.lines[0].color"]}
    ]
    await until(lambda: len(core.rows(t.shipment)) == 2)
    assert [row["key"] for row in core.rows(t.alarm) if row["kind"] == "fields_ignored"] == [
        "demo-shop"
    ]


async def test_the_document_shows_the_body_of_a_push(core: HttpCore) -> None:
    found = (await core.client.get("/openapi.json")).json()
    body = found["paths"]["/v1/channels/{channel}/events"]["post"]["requestBody"]
    shown = body["content"]["application/json"]
    order = shown["schema"]["properties"]["events"]["items"]["properties"]["order"]
    assert "hold_unclaimed" in order["properties"]["hold"]["description"]
    assert shown["example"]["events"][0]["order"]["hold"].startswith("H")


async def test_a_hold_and_a_native_id_are_found_as_people_type_them(core: HttpCore) -> None:
    body = {**ONE, "channel": "demo-shop", "order_ref": "Shop-7A"}
    name = (await hold(core, body, "n-1")).json()["id"]
    assert core.wired.views.orders(q=name, before=None, limit=5) == []
    await core.push(events(order_event("SHOP-7A")))
    await until(lambda: core.rows(t.shipment))
    await core.push(events(order_event("Shop-7A")))
    await until(lambda: len(core.rows(t.shipment)) == 2)
    (found,) = core.wired.views.orders(q=name.lower(), before=None, limit=5)
    assert found["native_id"] == "Shop-7A"
    (found,) = core.wired.views.orders(q="shop-7a", before=None, limit=5)
    assert found["native_id"] == "SHOP-7A"
    shown = await core.client.get("/v1/shipments/Shop-7A", headers=core.key("read"))
    assert shown.status_code == 200
    assert (
        await core.client.get("/v1/shipments/nope", headers=core.key("read"))
    ).status_code == 404


async def test_the_console_shows_a_hold_that_no_order_has_taken(core: HttpCore) -> None:
    staff = Staffer(core)
    await staff.sign_in("write")
    name = (await hold(core, {**ONE, "channel": "demo-shop"}, "p-1")).json()["id"]
    page = await staff.see(f"/console/search?q={name.lower()}")
    assert name in page
    assert "已占用，等待付款" in page
