"""A person connects a shop over HTTP: made, shown once, used, changed, paused, rotated, audited."""

from __future__ import annotations

from typing import Any

import pytest

from cloud_core.api import channel_shapes
from cloud_core.domain.signing import hmac_sha256_hex
from cloud_core.store import schema as t
from tests.support.http_core import NOW_MS, SECRET, HttpCore, events, order_event, until

URL = "/v1/master/channels"
NEW = {"name": "tea-shop", "dialect": "generic", "title": "演示茶铺",
       "write_back_url": "https://shop.example/packline"}  # fmt: skip


async def add(core: HttpCore, **changes: Any) -> dict[str, Any]:
    answer = await core.client.post(URL, json={**NEW, **changes}, headers=core.key("admin"))
    assert answer.status_code == 201, answer.text
    assert answer.headers["cache-control"] == "no-store"
    channel_shapes.ChannelMade.model_validate(answer.json())
    found: dict[str, Any] = answer.json()
    return found


async def change(core: HttpCore, name: str, **changes: Any) -> Any:
    return await core.client.patch(f"{URL}/{name}", json=changes, headers=core.key("admin"))


async def push(core: HttpCore, secret: str, native: str, channel: str = "tea-shop") -> int:
    body, stamp = events(order_event(native)), str(NOW_MS // 1000)
    sign = hmac_sha256_hex(secret, stamp.encode(), b".", body)
    return (await core.push(body, channel, sign=sign)).status_code


async def test_a_made_secret_is_shown_once_and_opens_the_door(core: HttpCore) -> None:
    made = await add(core)
    assert len(made["secret"]) == 43
    assert (made["live_secrets"], made["enabled"]) == (1, True)
    assert await push(core, made["secret"], "S-1") == 202
    shown = await core.client.get(f"{URL}/tea-shop", headers=core.key())
    assert shown.json() == {key: value for key, value in made.items() if key != "secret"}
    channel_shapes.ChannelShown.model_validate(shown.json())
    listed = await core.client.get(URL, headers=core.key())
    assert [row["name"] for row in listed.json()["items"]] == ["demo-shop", "douyin-a", "tea-shop"]
    for text in (shown.text, listed.text, str(core.rows(t.channel)), str(core.rows(t.audit))):
        assert made["secret"] not in text
        assert SECRET not in text


async def test_a_platforms_secret_is_taken_and_never_shown(core: HttpCore) -> None:
    made = await add(core, name="douyin-b", dialect="douyin", app_key="app-1",
                     secret="given-by-the-platform")  # fmt: skip
    assert (made["secret"], made["app_key"], made["live_secrets"]) == ("", "app-1", 1)
    assert core.wired.channels.get("douyin-b").secrets == ("given-by-the-platform",)


async def test_two_secrets_live_while_one_is_changed(core: HttpCore) -> None:
    secrets = [(await add(core))["secret"]]
    for live in (2, 2):
        answer = await core.client.post(f"{URL}/tea-shop/rotate-secret", headers=core.key("admin"))
        assert (answer.status_code, answer.json()["live_secrets"]) == (200, live), answer.text
        assert answer.headers["cache-control"] == "no-store"
        channel_shapes.SecretRotated.model_validate(answer.json())
        secrets.append(answer.json()["secret"])
    assert [await push(core, secret, f"S-{n}") for n, secret in enumerate(secrets)] == [
        401, 202, 202,
    ]  # fmt: skip
    given = await core.client.post(
        f"{URL}/tea-shop/rotate-secret", json={"secret": "one-from-outside"},
        headers=core.key("admin"),
    )  # fmt: skip
    assert given.json()["secret"] == ""
    assert await push(core, "one-from-outside", "S-9") == 202


async def test_columns_of_a_spreadsheet_follow_the_channels_mapping(core: HttpCore) -> None:
    await add(core)
    text = (
        "我店单号,付款时间,商品编码,数量,收货人,手机号,省,市,区,详细地址,心情\n"
        "F-1,2026-11-21 10:00:00,SKU-001,1,测试甲,10000000001,浙江省,杭州市,余杭区,演示路1号,好\n"
    )

    async def upload() -> Any:
        return await core.client.post(
            "/v1/channels/tea-shop/files", files={"file": ("o.csv", text.encode())},
            headers=core.key("write"),
        )  # fmt: skip

    assert (await upload()).json()["code"] == "header_unknown"
    changed = await change(core, "tea-shop", columns={"我店单号": "native_id", "心情": "-"})
    assert changed.json()["columns"] == {"我店单号": "native_id", "心情": "-"}
    assert changed.json()["title"] == "演示茶铺"  # what is not named stays
    assert (await upload()).status_code == 202


async def test_a_paused_channel_takes_and_tells_nothing_until_it_goes_on(core: HttpCore) -> None:
    secret = (await add(core))["secret"]
    assert (await change(core, "tea-shop", enabled=False)).json()["enabled"] is False
    assert await push(core, secret, "S-1") == 403
    call = {"id": "call-1", "channel": "tea-shop", "order_id": "X", "kind": "shipped",
            "body": "{}", "created_ms": NOW_MS, "due_ms": NOW_MS}  # fmt: skip
    core.insert(t.shop_outbox, call, {**call, "id": "call-2", "channel": "demo-shop"})
    await until(lambda: core.shop.calls)  # its neighbour is told meanwhile
    assert [told[0] for told in core.shop.calls] == ["demo-shop"]
    assert (await change(core, "tea-shop", enabled=True)).json()["enabled"] is True
    await until(lambda: len(core.shop.calls) == 2)
    assert core.shop.calls[1][0] == "tea-shop"
    assert await push(core, secret, "S-1") == 202


async def test_who_changed_what_is_written_down(core: HttpCore) -> None:
    await add(core)
    await change(core, "tea-shop", enabled=False, title="新名字")
    await core.client.post(f"{URL}/tea-shop/rotate-secret", headers=core.key("admin"))
    rows = [row for row in core.rows(t.audit) if row["target"] == "tea-shop"]
    assert [(row["action"], row["detail"]) for row in rows] == [
        ("channel.added", "generic"), ("channel.changed", "title,paused"),
        ("channel.secret_rotated", ""),
    ]  # fmt: skip
    assert {(row["actor"], row["source"]) for row in rows} == {("key:k-admin", "127.0.0.1")}


@pytest.mark.parametrize("scope", ["read", "write"])
async def test_only_an_admin_key_changes_a_channel(core: HttpCore, scope: str) -> None:
    key = core.key(scope)
    for answer in (
        await core.client.post(URL, json=NEW, headers=key),
        await core.client.patch(f"{URL}/demo-shop", json={"enabled": False}, headers=key),
        await core.client.post(f"{URL}/demo-shop/rotate-secret", headers=key),
    ):
        assert (answer.status_code, answer.json()["code"]) == (403, "scope_needed")
    assert (await core.client.get(URL, headers=key)).status_code == 200
    assert (await core.client.get(URL)).json()["code"] == "key_missing"
    assert core.wired.channels.get("demo-shop").secrets == (SECRET,)


@pytest.mark.parametrize(
    ("changes", "code", "field"),
    [
        ({"name": "Demo"}, "channel_name", "name"),
        ({"name": "demo-shop"}, "channel_exists", "channel"),
        ({"dialect": "martian"}, "dialect_unknown", "dialect"),
        ({"secret": "short"}, "secret_short", "secret"),
        ({"secret": "two words in it"}, "secret_invalid", "secret"),
        ({"title": "长" * 81}, "text_too_long", "title"),
        ({"app_key": "a" * 129}, "text_too_long", "app_key"),
        ({"write_back_url": "ftp://shop.example/"}, "url_invalid", "write_back_url"),
        ({"write_back_url": "https://me:pass@shop.example/"}, "url_invalid", "write_back_url"),
        ({"write_back_url": "https://shop.example:99999/"}, "url_invalid", "write_back_url"),
        ({"write_back_url": "https://[broken/"}, "url_invalid", "write_back_url"),
        ({"write_back_url": "https://shop.example/" + "x" * 500}, "url_invalid", "write_back_url"),
        ({"columns": {"单号": "numbre"}}, "mapping_broken", "columns.单号"),
        ({"columns": {" ": "-"}}, "mapping_broken", "columns. "),
        ({"columns": {f"列{n}": "-" for n in range(101)}}, "mapping_broken", "columns"),
        ({"colour": "red"}, "request_invalid", "colour"),
        ({"enabled": "yes"}, "request_invalid", "enabled"),
        ({"title": {"deep": {"er": 1}}}, "json_too_deep", "body"),
    ],
)
async def test_bad_set_ups_are_refused_by_field(
    core: HttpCore, changes: dict[str, Any], code: str, field: str
) -> None:
    answer = await core.client.post(URL, json={**NEW, **changes}, headers=core.key("admin"))
    assert (answer.json()["code"], answer.json()["field"]) == (code, field), answer.text
    assert answer.status_code == (409 if code == "channel_exists" else 422)
    assert "two words" not in answer.text
    assert len(core.rows(t.channel)) == 2


async def test_what_is_not_there_or_not_json_is_refused(core: HttpCore) -> None:
    key = core.key("admin")
    for answer, status, code in (
        (await change(core, "ghost", enabled=False), 404, "channel_unknown"),
        (await change(core, "demo-shop"), 422, "change_empty"),
        (await change(core, "demo-shop", secret="not-by-this-door"), 422, "request_invalid"),
        (await change(core, "demo-shop", dialect="douyin"), 422, "request_invalid"),
        (await change(core, "Demo", enabled=False), 422, "request_invalid"),
        (await core.client.get(f"{URL}/ghost", headers=key), 404, "channel_unknown"),
        (await core.client.post(f"{URL}/ghost/rotate-secret", headers=key), 404,
         "channel_unknown"),
        (await core.client.post(URL, content=b"{", headers=key), 400, "json_broken"),
        (await core.client.post(URL, headers=key), 422, "request_invalid"),
        (await core.client.post(URL, content=b"[]", headers=key), 422, "request_invalid"),
        (await core.client.post(URL, content=b"x" * 70_000, headers=key), 413, "body_too_large"),
    ):  # fmt: skip
        assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
    assert core.wired.channels.get("demo-shop").enabled
