"""Taking a shipment back over HTTP, and what became of its goods, said in the console."""

from __future__ import annotations

from cloud_core.store import schema as t
from tests.flows.core_api.test_staff import placed
from tests.support.console import Staffer
from tests.support.http_core import HttpCore


async def test_the_bare_address_leads_to_the_console(core: HttpCore) -> None:
    answer = await core.client.get("/", follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (303, "/console")


async def test_an_ungranted_shipment_comes_back_at_will(core: HttpCore) -> None:
    (order_id,) = await placed(core, "S-1")
    address = f"/v1/shipments/{order_id}-1/take-back"
    before = core.rows(t.shipment)[0]["token_n"]
    done = await core.client.post(address, json={"reason": "仓库停电"}, headers=core.key("write"))
    assert (done.status_code, done.json()["at_risk"]) == (200, False)
    assert core.rows(t.shipment)[0]["token_n"] > before, "whoever had it is fenced"


async def test_what_is_wrong_with_a_take_back_is_named(core: HttpCore) -> None:
    (order_id,) = await placed(core, "S-1")
    address = f"/v1/shipments/{order_id}-1/take-back"
    for path, body, key, status, code, field in (
        (address, {"reason": " "}, "write", 422, "reason_missing", "reason"),
        (address, {"reason": "x", "more": 1}, "write", 422, "request_invalid", "more"),
        (address, {"reason": "x"}, "read", 403, "scope_needed", "authorization"),
        ("/v1/shipments/NO-1/take-back", {"reason": "x"}, "write", 404, "shipment_unknown",
         "shipment_id"),
    ):  # fmt: skip
        answer = await core.client.post(path, json=body, headers=core.key(key))
        said = answer.json()
        assert (answer.status_code, said["code"]) == (status, code), answer.text
        assert said["field"], (said, field)
    assert core.rows(t.shipment)[0]["state"] == "offered"


async def test_goods_taken_back_at_risk_wait_for_a_person_to_say_where_they_are(
    core: HttpCore,
) -> None:
    (order_id,) = await placed(core, "S-1")
    with core.wired.engine.begin() as connection:
        connection.execute(t.shipment.update().values(state="granted", granted_ms=1))
    address = f"/v1/shipments/{order_id}-1/take-back"
    done = await core.client.post(address, json={"reason": "仓库停电"}, headers=core.key("write"))
    assert done.json()["at_risk"] is True
    (incident,) = core.rows(t.incident)
    assert incident["kind"] == "taken_back_at_risk"
    staff = Staffer(core)
    await staff.sign_in("write")
    action = f"/console/incidents/{incident['id']}/resolve"
    assert "货物去向" in await staff.see("/console/incidents")
    await staff.press("/console/incidents", action)
    assert core.rows(t.incident)[0]["resolved_ms"] is None, "nobody has said what became of them"
    await staff.press("/console/incidents", action, stock_effect="put_back")
    assert core.rows(t.incident)[0]["resolved_by"].startswith("key:")
    assert not [row for row in core.rows(t.hold) if row["state"] == "incident"]
