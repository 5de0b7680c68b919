"""A shop pushes orders: what is good becomes an order, what is bad is named, nothing is doubled."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

from cloud_core.api.doors import Limits
from cloud_core.store import schema as t
from tests.support.http_core import HttpCore, events, order_event, until


async def test_a_paid_order_is_stored_answered_and_owned(core: HttpCore) -> None:
    answer = await core.push(events(order_event("S-1")))
    assert answer.status_code == 202, answer.text
    assert answer.json()["accepted"] == 1
    assert answer.json()["problems"] == []
    (order,) = await until(lambda: core.rows(t.orders))
    assert (order["native_id"], order["province"]) == ("S-1", "330000")
    (shipment,) = core.rows(t.shipment)
    assert (shipment["state"], shipment["warehouse"]) == ("offered", "HZ")
    assert [row["kind"] for row in core.rows(t.outbox)] == ["offer"]


async def test_the_same_body_again_has_one_effect(core: HttpCore) -> None:
    body = events(order_event("S-1"))
    assert (await core.push(body)).status_code == 202
    await until(lambda: core.rows(t.orders))
    again = await core.push(body)
    assert (again.status_code, again.json()["duplicate"]) == (200, True)
    assert len(core.rows(t.raw_message)) == 1
    assert len(core.rows(t.shipment)) == 1


async def test_the_same_event_in_another_body_has_one_effect(core: HttpCore) -> None:
    await core.push(events(order_event("S-1")))
    await until(lambda: core.rows(t.orders))
    core.clock.advance(60)
    both = await core.push(events(order_event("S-1"), order_event("S-2")))
    assert (both.status_code, both.json()["accepted"]) == (202, 2)
    await until(lambda: len(core.rows(t.orders)) == 2)
    assert len(core.rows(t.shipment)) == 2
    assert core.rows(t.quarantine) == []


async def test_a_reused_id_with_other_content_is_a_conflict_for_that_event_only(
    core: HttpCore,
) -> None:
    await core.push(events(order_event("S-1")))
    await until(lambda: core.rows(t.orders))
    other = order_event("S-9")
    other["id"] = "evt-S-1"
    mixed = await core.push(events(order_event("S-2"), other))
    assert mixed.status_code == 202
    (problem,) = mixed.json()["problems"]
    assert (problem["code"], problem["status"], problem["position"], problem["field"]) == (
        "id_reused", 409, 1, "events[1].id",
    )  # fmt: skip
    alone = await core.push(events({**other, "kind": "created"}))
    assert (alone.status_code, alone.json()["code"]) == (409, "id_reused")
    await until(lambda: len(core.rows(t.orders)) == 2)
    assert {row["native_id"] for row in core.rows(t.orders)} == {"S-1", "S-2"}


async def test_a_bad_event_names_its_field_and_its_neighbours_go_through(core: HttpCore) -> None:
    absurd = order_event("S-2", lines=[{"sku": "SKU-001", "quantity": -3}])
    answer = await core.push(events(order_event("S-1"), absurd, {"id": 5}, order_event("S-3")))
    assert (answer.status_code, answer.json()["accepted"]) == (202, 2)
    assert [(p["position"], p["code"], p["field"], p["status"])
            for p in answer.json()["problems"]] == [
        (1, "quantity_range", "events[1].order.lines[0].quantity", 422),
        (2, "field_type", "events[2].id", 422),
    ]  # fmt: skip
    await until(lambda: len(core.rows(t.orders)) == 2)
    assert {row["code"] for row in core.rows(t.quarantine)} == {"quantity_range", "field_type"}


async def test_only_bad_events_are_422_and_kept_in_quarantine(core: HttpCore) -> None:
    answer = await core.push(events(order_event("S-1", lines=[])))
    assert (answer.status_code, answer.json()["code"]) == (422, "events_refused")
    assert answer.json()["details"][0]["code"] == "lines_missing"
    await until(lambda: core.rows(t.quarantine))
    assert core.rows(t.orders) == []


async def test_an_unknown_sku_is_quarantined_with_an_alarm(core: HttpCore) -> None:
    unknown = order_event("S-1", lines=[{"sku": "NO-SUCH", "quantity": 1}])
    assert (await core.push(events(unknown, order_event("S-2")))).status_code == 202
    await until(lambda: core.rows(t.orders))
    (row,) = core.rows(t.quarantine)
    assert (row["code"], row["field"]) == ("sku_unknown", "lines[0].sku")
    assert [a["kind"] for a in core.rows(t.alarm) if a["closed_ms"] is None] == ["quarantine"]


async def test_requests_that_no_shop_of_ours_signed_leave_nothing(core: HttpCore) -> None:
    body = events(order_event("S-1"))
    old = str(core.clock.ms // 1000 - 400)
    cases = [
        (await core.push(body, sign="0" * 64), 401, "signature_wrong"),
        (await core.push(body, sign=""), 401, "signature_missing"),
        (await core.push(body, stamp=old), 401, "timestamp_stale"),
        (await core.push(body, stamp="soon"), 401, "timestamp_broken"),
        (await core.push(body, "no-such-shop"), 404, "channel_unknown"),
        (await core.push(body, "NOT A NAME"), 422, "request_invalid"),
    ]
    for answer, status, code in cases:
        assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
        assert set(answer.json()) == {"code", "field", "message_zh", "message_en", "details"}
    assert core.rows(t.raw_message) == []


async def test_what_a_shop_signed_and_nobody_can_read_is_refused_and_kept_for_people(
    core: HttpCore,
) -> None:
    body = events(order_event("S-1"))
    cases = [
        (body[:-2], 400, "json_broken"),
        (b"[" * 100_000 + b"]" * 100_000, 422, "json_too_deep"),
        (b"{}", 422, "events_missing"),
        (events(*range(501)), 422, "events_too_many"),
        (b"\xff\xfe" + body, 400, "json_broken"),
    ]
    for sent, status, code in [*cases, cases[0]]:  # the shop's line says the first one twice
        answer = await core.push(sent)
        assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
        assert set(answer.json()) == {"code", "field", "message_zh", "message_en", "details"}
    assert (await core.push(body)).status_code == 202, "its neighbour goes through"
    await until(lambda: len(core.rows(t.quarantine)) >= len(cases) and core.rows(t.orders))
    await until(lambda: all(row["processed_ms"] for row in core.rows(t.raw_message)))
    assert [row["code"] for row in core.rows(t.quarantine)] == [code for _, _, code in cases]
    assert len(core.rows(t.raw_message)) == len(cases) + 1
    (alarm,) = core.rows(t.alarm)
    assert (alarm["kind"], alarm["key"], alarm["count"]) == ("quarantine", "channel:demo-shop", 5)


async def test_an_altered_byte_breaks_the_signature(core: HttpCore) -> None:
    from cloud_core.domain.signing import hmac_sha256_hex
    from tests.support.http_core import SECRET

    body = events(order_event("S-1"))
    sign = hmac_sha256_hex(SECRET, str(core.clock.ms // 1000).encode(), b".", body)
    altered = body.replace(b'"quantity": 2', b'"quantity": 9')
    assert altered != body
    answer = await core.push(altered, sign=sign)
    assert (answer.status_code, answer.json()["field"]) == (401, "x-packline-signature")


async def test_ten_megabytes_are_refused_while_they_come_in(core: HttpCore) -> None:
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        while sent < 10_000_000:
            sent += 65_536
            yield b" " * 65_536

    answer = await core.client.post("/v1/channels/demo-shop/events", content=endless())
    assert (answer.status_code, answer.json()["code"]) == (413, "body_too_large")
    assert sent < 6_000_000, "the rest was not read"


async def test_a_rotated_secret_keeps_the_old_one_alive(core: HttpCore) -> None:
    from tests.support.http_core import BY_TEST

    core.wired.channels.rotate("demo-shop", "the-next-secret", BY_TEST)
    assert (await core.push(events(order_event("S-1")))).status_code == 202
    core.wired.channels.rotate("demo-shop", "one-more-secret", BY_TEST)
    assert (await core.push(events(order_event("S-2")))).status_code == 401


async def test_douyin_gets_its_own_answer_and_bad_messages_are_quarantined(core: HttpCore) -> None:
    broken = [{"tag": "101", "msg_id": "m-1", "data": "not json"}]
    answer = await core.push_douyin(json.dumps(broken).encode())
    assert (answer.status_code, answer.json()) == (200, {"code": 0, "msg": "success"})
    await until(lambda: core.rows(t.quarantine))
    assert (await core.push_douyin(b"[]", "demo-shop")).status_code == 401


async def test_a_channel_that_asks_too_often_is_slowed(tmp_path: Path) -> None:
    found = HttpCore(tmp_path, Limits(channel_per_min=3))
    found.add_channel()
    async with found.started():
        statuses = [(await found.push(b"{}")).status_code for _ in range(4)]
        assert statuses == [422, 422, 422, 429]
        found.clock.advance(60)
        assert (await found.push(b"{}")).status_code == 422


async def test_no_clear_personal_data_stands_in_the_database(core: HttpCore, database: str) -> None:
    await core.push(events(order_event("S-1")))
    await until(lambda: core.rows(t.orders))
    (contact,) = core.rows(t.contact)
    assert (contact["name_masked"], contact["phone_masked"]) == ("测**乙", "100******01")
    if database == "sqlite":
        everything = (core.folder / "core.sqlite").read_bytes()
        everything += (core.folder / "core.sqlite-wal").read_bytes()
    else:
        every = [core.rows(table) for table in t.metadata.sorted_tables]
        everything = repr(every).encode() + b"".join(
            row["body"] for row in core.rows(t.raw_message)
        )
    for clear in ("测试甲乙", "10000000001", "301室"):
        assert clear.encode() not in everything, clear


async def test_a_message_left_by_a_crash_is_processed_after_the_next_start(tmp_path: Path) -> None:
    before = HttpCore(tmp_path, inline=True)
    before.fill()
    before.add_channel()
    command = before.wired.ingest.stored("demo-shop", "event", events(order_event("S-1")))
    before.wired.commit_core.commit([command])
    before.wired.engine.dispose()
    after = HttpCore(tmp_path)
    async with after.started():
        await until(lambda: after.rows(t.orders))
        assert after.rows(t.raw_message)[0]["processed_ms"] is not None
