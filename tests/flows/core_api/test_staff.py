"""Staff look up an order by any of its numbers, cancel it, settle incidents; all is audited."""

from __future__ import annotations

from pathlib import Path

from cloud_core.api.doors import Limits
from cloud_core.store import schema as t
from tests.support.http_core import NOW_MS, HttpCore, events, order_event, until


async def placed(core: HttpCore, *native_ids: str) -> list[str]:
    """Push orders and return their global ids in the order of the native ones."""
    await core.push(events(*(order_event(native) for native in native_ids)))
    await until(lambda: len(core.rows(t.orders)) == len(native_ids))
    found = {row["native_id"]: row["id"] for row in core.rows(t.orders)}
    return [found[native] for native in native_ids]


async def test_an_order_is_found_by_any_of_its_numbers(core: HttpCore) -> None:
    (order_id,) = await placed(core, "S-1")
    shipment_id = f"{order_id}-1"
    with core.wired.engine.begin() as connection:
        connection.execute(t.shipment.update().values(waybill="YS0000000001"))
    for name in (order_id, order_id.lower(), "S-1", shipment_id, "YS0000000001"):
        answer = await core.client.get("/v1/orders", params={"q": name}, headers=core.key())
        assert [row["id"] for row in answer.json()["items"]] == [order_id], name
        detail = await core.client.get(f"/v1/orders/{name}", headers=core.key())
        assert detail.json()["id"] == order_id, name
    body = detail.json()
    assert body["contact"]["phone_masked"] == "100******01"
    assert "sealed" not in body["contact"]
    assert [line["sku"] for line in body["lines"]] == ["SKU-001"]
    assert body["shipments"][0]["decision"]["p"][0][0] == "HZ"
    assert body["shipments"][0]["reasons"][0].startswith("由")
    assert any(row["change"] == "created>paid" for row in body["trail"])
    assert body["track_url"].startswith("http://127.0.0.1:8080/t/")
    for name in (shipment_id, "YS0000000001"):
        shipment = await core.client.get(f"/v1/shipments/{name}", headers=core.key())
        assert (shipment.status_code, shipment.json()["id"]) == (200, shipment_id)


async def test_pages_of_orders_are_complete_and_do_not_overlap(core: HttpCore) -> None:
    ids = await placed(core, *(f"S-{number}" for number in range(7)))
    seen, cursor = [], ""
    while True:
        answer = await core.client.get(
            "/v1/orders", params={"limit": 3, "cursor": cursor}, headers=core.key()
        )
        seen += [row["id"] for row in answer.json()["items"]]
        cursor = answer.json()["next"]
        if not cursor:
            break
    assert sorted(seen) == sorted(ids)


async def test_orders_by_state_and_channel(core: HttpCore) -> None:
    await placed(core, "S-1", "S-2")
    for params, count in (
        ({"state": "offered"}, 2),
        ({"state": "delivered"}, 0),
        ({"state": "parked"}, 0),
        ({"channel": "demo-shop"}, 2),
        ({"channel": "other"}, 0),
    ):
        answer = await core.client.get("/v1/orders", params=params, headers=core.key())
        assert len(answer.json()["items"]) == count, params
    wrong = await core.client.get("/v1/orders", params={"state": "lost"}, headers=core.key())
    assert (wrong.status_code, wrong.json()["field"]) == (422, "state")
    wrong = await core.client.get("/v1/orders", params={"limit": 0}, headers=core.key())
    assert (wrong.status_code, wrong.json()["field"]) == (422, "limit")
    wrong = await core.client.get("/v1/orders", params={"cursor": "x"}, headers=core.key())
    assert (wrong.status_code, wrong.json()["field"]) == (422, "cursor")


async def test_a_cancel_is_done_once_and_audited(core: HttpCore) -> None:
    (order_id,) = await placed(core, "S-1")
    url = f"/v1/orders/{order_id}/cancel"
    assert (await core.client.post(url, headers=core.key("read"))).status_code == 403
    answer = await core.client.post(url, headers=core.key("write"))
    assert (answer.status_code, answer.json()["stop"]) == (200, "cancelled")
    again = await core.client.post(url, headers=core.key("write"))
    assert again.json()["stop"] == "cancelled"
    listed = await core.client.get("/v1/audit", headers=core.key())
    row = next(row for row in listed.json()["items"] if row["action"] == "order.cancel")
    assert (row["actor"], row["target"], row["source"]) == ("key:k-write", order_id, "127.0.0.1")
    missing = await core.client.post("/v1/orders/NOPE/cancel", headers=core.key("write"))
    assert (missing.status_code, missing.json()["code"]) == (404, "order_unknown")
    missing = await core.client.get("/v1/shipments/NOPE", headers=core.key())
    assert (missing.status_code, missing.json()["code"]) == (404, "shipment_unknown")


async def test_an_incident_is_closed_by_a_person_once(core: HttpCore) -> None:
    core.insert(
        t.incident,
        {"at_ms": NOW_MS, "kind": "handed_over_after_stop", "shipment_id": "X-1",
         "warehouse": "HZ", "token_epoch": 1, "token_n": 2},
    )  # fmt: skip
    (row,) = (await core.client.get("/v1/incidents", headers=core.key())).json()["items"]
    url = f"/v1/incidents/{row['id']}/resolve"
    assert (await core.client.post(url, headers=core.key("write"))).status_code == 200
    assert (await core.client.get("/v1/incidents", headers=core.key())).json()["items"] == []
    again = await core.client.post(url, headers=core.key("write"))
    assert (again.status_code, again.json()["code"]) == (404, "incident_unknown")
    assert "incident.resolved" in {row["action"] for row in core.rows(t.audit)}


async def test_faults_and_agents_are_listed_without_their_bytes(core: HttpCore) -> None:
    await core.push(events(order_event("S-1", lines=[{"sku": "NO-SUCH", "quantity": 1}])))
    await until(lambda: core.rows(t.quarantine))
    (row,) = (await core.client.get("/v1/quarantine", headers=core.key())).json()["items"]
    assert row["code"] == "sku_unknown"
    assert "body" not in row
    (alarm,) = (await core.client.get("/v1/alarms", headers=core.key())).json()["items"]
    assert alarm["kind"] == "quarantine"
    (agent,) = (await core.client.get("/v1/agents", headers=core.key())).json()["items"]
    assert (agent["id"], agent["online"]) == ("hz-a", 1)
    assert "secret_hash" not in agent


async def test_keys_are_hashed_refused_and_revoked(core: HttpCore) -> None:
    assert (await core.client.get("/v1/orders")).json()["code"] == "key_missing"
    for wrong in ("pk_" + "x" * 43, "nonsense", "pk_" + "我" * 43):
        headers = {"authorization": f"Bearer {wrong}".encode()}
        answer = await core.client.get("/v1/orders", headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (401, "key_unknown")
        assert answer.headers["www-authenticate"] == "Bearer"
    headers = core.key("read")
    assert (await core.client.get("/v1/orders", headers=headers)).status_code == 200
    (stored,) = [row for row in core.rows(t.api_key) if row["id"] == "k-read"]
    assert core.keys["read"] not in str(stored)
    assert stored["used_ms"] == NOW_MS
    core.wired.keys.revoke("k-read", NOW_MS, _by())
    answer = await core.client.get("/v1/orders", headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (401, "key_revoked")


async def test_a_key_and_a_guesser_are_slowed(tmp_path: Path) -> None:
    found = HttpCore(tmp_path, Limits(api_per_min=2, anonymous_per_min=2))
    async with found.started():
        good = [
            (await found.client.get("/v1/orders", headers=found.key())).status_code
            for _ in range(3)
        ]
        assert good == [200, 200, 429]
        bad = {"authorization": "Bearer pk_" + "x" * 43}
        guesses = [
            (await found.client.get("/v1/orders", headers=bad)).status_code for _ in range(3)
        ]
        assert guesses == [401, 401, 429]


async def test_a_proxys_word_counts_only_when_it_is_trusted(tmp_path: Path) -> None:
    for trusted, seen in ((frozenset({"127.0.0.1"}), "203.0.113.9"), (frozenset(), "127.0.0.1")):
        folder = tmp_path / seen
        folder.mkdir()
        found = HttpCore(folder, Limits(trusted_proxies=trusted))
        found.fill()
        found.add_channel()
        async with found.started():
            (order_id,) = await placed(found, "S-1")
            headers = {**found.key("write"), "x-forwarded-for": "10.9.9.9, 203.0.113.9"}
            await found.client.post(f"/v1/orders/{order_id}/cancel", headers=headers)
            sources = {r["source"] for r in found.rows(t.audit) if r["action"] == "order.cancel"}
            assert sources == {seen}


async def test_health_and_metrics(core: HttpCore) -> None:
    health = await core.client.get("/healthz")
    assert (health.status_code, health.json()["ok"]) == (200, True)
    await placed(core, "S-1")
    assert (await core.client.get("/metrics")).status_code == 401
    page = (await core.client.get("/metrics", headers=core.key())).text
    assert 'packline_orders{state="offered"} 1.0' in page
    assert 'packline_shop_events_total{channel="demo-shop",result="accepted"} 1.0' in page
    assert "packline_agents_online 1.0" in page
    assert 'packline_breaker{state="closed",warehouse="HZ"} 1.0' in page
    assert 'packline_holds{kind="shipment",state="held"} 1.0' in page
    assert 'packline_open{kind="notices_waiting"} 0.0' in page
    assert "packline_parked{" not in page
    await core.push(events(order_event("S-2", lines=[{"sku": "SKU-002", "quantity": 9_000}] * 12)))
    await until(lambda: len(core.rows(t.shipment)) == 2)
    page = (await core.client.get("/metrics", headers=core.key())).text
    assert 'packline_parked{reason="no_stock"} 1.0' in page
    core.wired.committer.stop()  # type: ignore[union-attr]
    unwell = await core.client.get("/healthz")
    assert (unwell.status_code, unwell.json()["checks"]["write_queue"]) == (503, "stopped")


async def test_unknown_addresses_and_methods_have_the_same_shape(core: HttpCore) -> None:
    for answer, status, code in (
        (await core.client.get("/v2/orders"), 404, "not_found"),
        (await core.client.delete("/v1/orders"), 405, "method_not_allowed"),
    ):
        assert (answer.status_code, answer.json()["code"]) == (status, code)


def _by():  # type: ignore[no-untyped-def]
    from tests.support.http_core import BY_TEST

    return BY_TEST


async def test_numbers_that_no_column_holds_are_refused_by_name(core: HttpCore) -> None:
    huge = "9" * 40
    paged = await core.client.get(f"/v1/orders?cursor={huge}:DB1", headers=core.key())
    assert (paged.status_code, paged.json()["field"]) == (422, "cursor")
    settled = await core.client.post(f"/v1/incidents/{huge}/resolve", headers=core.key("write"))
    assert (settled.status_code, settled.json()["field"]) == (422, "incident_id")
    assert core.rows(t.quarantine) == []
