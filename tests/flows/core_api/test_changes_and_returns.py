"""Customer service over HTTP: cancel, another address, a return, and the lists of what waits."""

from __future__ import annotations

from typing import Any

import httpx

from cloud_core.api import changes, returns, shapes
from cloud_core.domain import commands as c
from cloud_core.store import schema as t
from cloud_core.store import schema_after as a
from cloud_core.store.engine import writer
from tests.support.console import Staffer
from tests.support.http_core import HttpCore, events, order_event, until

PLACE = {"name": "测试乙", "phone": "10000000002", "province": "浙江省", "city": "杭州市",
         "district": "余杭区", "detail": "演示路 9 号"}  # fmt: skip


async def order(core: HttpCore) -> str:
    await core.push(events(order_event("S-1")))
    await until(lambda: core.rows(t.shipment))
    return str(core.rows(t.orders)[0]["id"])


async def post(core: HttpCore, path: str, body: Any = None, key: str = "k1") -> httpx.Response:
    headers = core.key("write") | ({"idempotency-key": key} if key else {})
    return await core.client.post(path, json=body, headers=headers)


async def see(core: HttpCore, path: str) -> Any:
    answer = await core.client.get(path, headers=core.key("read"))
    assert answer.status_code == 200, answer.text
    return answer.json()


def leave(core: HttpCore, **values: Any) -> None:
    """The parcel is at a bench, or gone; how it got there is told elsewhere."""
    with writer(core.wired.engine).begin() as connection:
        connection.execute(t.shipment.update().values(agent="hz-1", **values))


async def test_another_address_before_the_grant_is_there_at_once(core: HttpCore) -> None:
    order_id = await order(core)
    path = f"/v1/orders/{order_id}/address"
    done = await post(core, path, {"receiver": PLACE, "reason": "搬家"})
    assert done.status_code == 200, done.text
    changes.AddressChanged.model_validate(done.json())
    assert [s["outcome"] for s in done.json()["shipments"]] == ["changed"]
    shown = (await see(core, f"/v1/orders/{order_id}"))["contact"]
    assert "9" not in shown["address_masked"]
    again = await post(core, path, {"receiver": PLACE, "reason": "搬家"})
    assert (again.content, again.headers["idempotent-replayed"]) == (done.content, "true")
    assert (await post(core, path, {"receiver": PLACE}, key="")).json()["code"] == (
        "idempotency_key_missing"
    )
    for body, code, field in (
        ({"receiver": {**PLACE, "phone": "123"}}, "phone_invalid", "receiver.phone"),
        ({"receiver": {**PLACE, "fax": "1"}}, "request_invalid", "receiver.fax"),
        ({"receiver": {"name": "测试乙", "phone": "10000000002", "detail": "某处"}},
         "address_flagged", "receiver"),
    ):  # fmt: skip
        refused = (await post(core, path, body, key=f"bad-{code}")).json()
        assert (refused["code"], refused["field"]) == (code, field)


async def test_a_phone_in_a_reason_is_kept_nowhere(core: HttpCore) -> None:
    """What customer service writes goes into the trail, the change and the bench's own events."""
    order_id = await order(core)
    leave(core, state="granted", waybill="YS0000000001")
    path = f"/v1/orders/{order_id}"
    moved = {"receiver": PLACE, "reason": "买家 100-0000-0002 要求改到公司"}
    assert (await post(core, f"{path}/address", moved)).status_code == 200
    off = {"reason": "买家 100 0000 0001 来电"}
    assert (await post(core, f"{path}/cancel", off, key="c1")).status_code == 200
    for table in t.metadata.sorted_tables:
        kept = str(core.rows(table))
        assert "0000-0002" not in kept, table.name
        assert "0000 0001" not in kept, table.name


async def test_an_order_is_found_by_the_new_phones_last_digits(core: HttpCore) -> None:
    order_id = await order(core)
    place = {**PLACE, "phone": "10000004321"}
    assert (await post(core, f"/v1/orders/{order_id}/address", {"receiver": place})).is_success
    wanted = core.wired.doors.console.last_digits_hash("4321")
    assert core.rows(t.contact)[0]["last4_hash"] == wanted


async def test_a_bench_must_confirm_and_the_list_says_so(core: HttpCore) -> None:
    order_id = await order(core)
    leave(core, state="granted", waybill="YS0000000001")
    done = await post(core, f"/v1/orders/{order_id}/address", {"receiver": PLACE})
    assert [s["outcome"] for s in done.json()["shipments"]] == ["stopping"]
    (row,) = (await see(core, "/v1/changes?state=waiting"))["items"]
    assert (row["kind"], row["agent"]) == ("address", "hz-1")
    assert set(row) == set(changes.CHANGE_ROW)
    assert (await see(core, "/v1/changes?state=overdue"))["items"] == []
    core.clock.ms += 601_000
    await core.wired.committer.submit(c.Sweep())
    assert len((await see(core, "/v1/changes?state=overdue"))["items"]) == 1
    cancelled = await post(core, f"/v1/orders/{order_id}/cancel", {"reason": "refund"}, key="c1")
    shapes.Stopped.model_validate(cancelled.json())
    assert cancelled.json()["stop"] == "requested"
    assert (await post(core, f"/v1/orders/{order_id}/cancel", key="")).status_code == 200


async def test_what_left_is_refused_and_may_come_back(core: HttpCore) -> None:
    order_id = await order(core)
    early = await post(core, "/v1/returns", {"order_id": order_id})
    assert (early.status_code, early.json()["code"]) == (409, "return_not_shipped")
    leave(core, state="handed_over", handed_over_ms=core.clock.ms)
    refused = await post(core, f"/v1/orders/{order_id}/address", {"receiver": PLACE})
    assert (refused.status_code, refused.json()["code"]) == (409, "shipment_left")
    opened = await post(core, "/v1/returns", {"order_id": order_id, "reason": "电话 10000000001"})
    assert opened.status_code == 201, opened.text
    returns.Announced.model_validate(opened.json())
    name = opened.json()["id"]
    assert opened.headers["location"] == f"/v1/returns/{name}"
    again = await post(core, "/v1/returns", {"order_id": order_id, "reason": "电话 10000000001"})
    assert (again.json()["id"], again.headers["idempotent-replayed"]) == (name, "true")
    shown = await see(core, f"/v1/returns/{name}")
    returns.ReturnShown.model_validate(shown)
    assert shown["reason"] == "电话 ***"
    (row,) = (await see(core, "/v1/returns?state=announced"))["items"]
    assert set(row) == set(returns.RETURN_ROW)
    assert [cmd["kind"] for cmd in core.rows(t.outbox)][-1] == "return_ticket"
    off = await post(core, f"/v1/returns/{name}/void", {"reason": "买家撤回"}, key="")
    assert off.json() == {"id": name, "state": "void"}
    actions = [row["action"] for row in core.rows(t.audit)]
    assert {"return.open", "return.void"} <= set(actions)
    assert (await see(core, "/v1/serials/SN-404"))["items"] == []
    assert core.rows(a.return_ticket)[0]["state"] == "void"


async def test_the_console_shows_what_waits_and_calls_a_return_off(core: HttpCore) -> None:
    staff = Staffer(core)
    await staff.sign_in("write")
    assert "没有等待确认的请求" in await staff.see("/console/returns")
    order_id = await order(core)
    leave(core, state="granted", waybill="YS0000000001")
    await post(core, f"/v1/orders/{order_id}/address", {"receiver": PLACE, "reason": "搬<b>家"})
    core.clock.ms += 601_000
    await core.wired.committer.submit(c.Sweep())
    page = await staff.see("/console/returns")
    for words in ("改地址", "搬&lt;b&gt;家", "1 个超时", "超 1 秒"):
        assert words in page, words
    assert "变更未确认" in await staff.see("/console/alarms")
    leave(core, state="handed_over", handed_over_ms=core.clock.ms, stop="", handling_ms=184_000)
    name = (await post(core, "/v1/returns", {"order_id": order_id})).json()["id"]
    page = await staff.see("/console/returns?state=announced")
    for words in (name, "待退回", "工单未打印", "3 分钟"):
        assert words in page, words
    done = await staff.press("/console/returns", "/console/returns", id=name)
    assert done.headers["location"] == "/console/returns?said=return_void"
    assert "已作废" in await staff.see("/console/returns?state=void")
    assert "没有退货" in await staff.see("/console/returns")


async def test_what_was_refused_is_not_in_the_audit(core: HttpCore) -> None:
    order_id = await order(core)
    refused = await post(core, "/v1/returns", {"order_id": order_id}, "r1")
    assert (refused.status_code, refused.json()["code"]) == (409, "return_not_shipped")
    assert (await post(core, "/v1/returns/RET-NOTTHERE/void")).status_code == 404
    path = f"/v1/orders/{order_id}/cancel"
    assert (await post(core, path, {"reason": "refund"}, "c1")).status_code == 200
    assert (await post(core, path, {"reason": "refund"}, "c1")).status_code == 200
    assert (await post(core, path, {"reason": "other"}, "c1")).status_code == 409
    told = [(row["action"], row["target"], row["actor"]) for row in core.rows(t.audit)]
    assert [row for row in told if row[0] != "test"] == [("order.cancel", order_id, "key:k-write")]
