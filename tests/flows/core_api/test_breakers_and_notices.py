"""People see and set breakers, say who is told, and nobody sees a secret again."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from cloud_core.api.breakers import BreakerShown
from cloud_core.api.notify import Removed, TargetShown, TriedOut
from cloud_core.store import schema as t
from cloud_core.store.schema_breaker import notice_outbox, notify_target
from tests.support.http_core import HttpCore, until
from tests.support.robots import SECRET, Robots, robots

HOUR_MS = 3_600_000


@pytest.fixture
def away(core: HttpCore) -> Iterator[Robots]:
    with robots(core.clock.now_ms) as found:
        yield found


async def post(core: HttpCore, path: str, body: Any, scope: str = "write") -> Any:
    return await core.client.post(path, json=body, headers=core.key(scope))


async def test_a_breaker_is_seen_forced_and_freed(core: HttpCore) -> None:
    until_ms = core.clock.ms + HOUR_MS
    body = {"mode": "open", "reason": "停电", "until_ms": until_ms}
    answer = await post(core, "/v1/breakers/HZ", body)
    assert answer.status_code == 200
    BreakerShown.model_validate(answer.json())
    assert answer.json()["open"]
    listed = await core.client.get("/v1/breakers", headers=core.key())
    (row,) = listed.json()["items"]
    assert (row["forced"], row["forced_by"], row["forced_until_ms"]) == (
        "open", "key:k-write write", until_ms,
    )  # fmt: skip
    (audit,) = [a for a in core.rows(t.audit) if a["action"] == "breaker.forced"]
    assert audit["detail"] == "open: 停电"
    assert not (await post(core, "/v1/breakers/HZ", {"mode": "auto"})).json()["forced"]


@pytest.mark.parametrize(
    ("warehouse", "body", "status", "code", "field"),
    [
        ("XX", {"mode": "open", "reason": "x"}, 404, "warehouse_unknown", "warehouse"),
        ("HZ", {"mode": "ajar", "reason": "x"}, 422, "breaker_mode", "mode"),
        ("HZ", {"mode": "open"}, 422, "reason_missing", "reason"),
        ("HZ", {"mode": "open", "reason": "x", "until_ms": 5}, 422, "until_invalid", "until_ms"),
        ("HZ", {"reason": "x"}, 422, "request_invalid", "mode"),
        ("HZ", {"mode": "open", "why": "x"}, 422, "request_invalid", "why"),
    ],
)
async def test_nonsense_is_refused_by_field(
    core: HttpCore, warehouse: str, body: Any, status: int, code: str, field: str
) -> None:
    answer = await post(core, f"/v1/breakers/{warehouse}", body)
    assert (answer.status_code, answer.json()["code"], answer.json()["field"]) == (
        status, code, field,
    )  # fmt: skip


async def test_only_who_may_write_forces_and_only_an_admin_says_who_is_told(
    core: HttpCore,
) -> None:
    force = {"mode": "open", "reason": "x"}
    assert (await post(core, "/v1/breakers/HZ", force, "read")).status_code == 403
    target = {"name": "head", "kind": "log"}
    assert (await post(core, "/v1/notify/targets", target)).status_code == 403
    assert (await core.client.get("/v1/breakers")).status_code == 401


async def test_a_target_is_added_tested_told_and_removed(core: HttpCore, away: Robots) -> None:
    body = {
        "name": "head", "kind": "dingtalk", "url": away.dingtalk, "secret": SECRET,
        "mobiles": ["10000000001"], "warehouses": ["HZ"], "kinds": ["breaker"],
    }  # fmt: skip
    added = await post(core, "/v1/notify/targets", body, "admin")
    assert added.status_code == 201, added.text
    TargetShown.model_validate(added.json())
    tested = await post(core, "/v1/notify/targets/head/test", {}, "admin")
    TriedOut.model_validate(tested.json())
    assert tested.json() == {"name": "head", "done": True, "answer": "errcode 0: ok"}
    listed = (await core.client.get("/v1/notify/targets", headers=core.key())).text
    (row,) = core.rows(notify_target)
    for secret in (SECRET, "access_token", "10000000001"):
        assert secret not in added.text + listed + str(row) + str(core.rows(t.audit))
    again = await post(core, "/v1/notify/targets", body, "admin")
    assert (again.status_code, again.json()["code"]) == (409, "notify_exists")
    gone = await core.client.delete("/v1/notify/targets/head", headers=core.key("admin"))
    Removed.model_validate(gone.json())
    gone = await core.client.delete("/v1/notify/targets/head", headers=core.key("admin"))
    assert (gone.status_code, gone.json()["code"]) == (404, "notify_unknown")
    actions = [a["action"] for a in core.rows(t.audit) if a["action"].startswith("notify")]
    assert actions == ["notify.added", "notify.tested", "notify.removed"]


async def test_forcing_a_breaker_reaches_the_head_through_the_running_core(
    core: HttpCore, away: Robots
) -> None:
    core.insert(t.warehouse, {"id": "SZ", "site": "sz", "name": "深圳仓", "carrier": "YS"})
    for name, url in (("head", away.dingtalk), ("other-house", away.dingtalk)):
        warehouses = ["HZ"] if name == "head" else ["SZ"]
        body = {"name": name, "kind": "dingtalk", "url": url, "secret": SECRET,
                "warehouses": warehouses}  # fmt: skip
        assert (await post(core, "/v1/notify/targets", body, "admin")).status_code == 201
    await post(core, "/v1/breakers/HZ", {"mode": "open", "reason": "停电"})
    await until(lambda: [n for n in core.rows(notice_outbox) if n["result"] == "sent"], 20)
    (notice,) = core.rows(notice_outbox)
    assert (notice["target"], notice["attempts"]) == ("head", 1)
    (message,) = away.taken
    assert "杭州仓（HZ）" in message["markdown"]["title"]
    assert "停电" in message["markdown"]["text"]


async def test_what_a_refused_command_wanted_to_tell_is_not_told(
    core: HttpCore,
) -> None:
    body = {"name": "head", "kind": "log"}
    assert (await post(core, "/v1/notify/targets", body, "admin")).status_code == 201
    await post(core, "/v1/breakers/HZ", {"mode": "open"})  # no reason
    assert core.rows(notice_outbox) == []


async def test_words_name_the_person_and_say_what_counts(core: HttpCore) -> None:
    body = {"mode": "open", "reason": "停电"}
    forced = await core.client.post("/v1/breakers/HZ", json=body, headers=core.key("write"))
    assert forced.json()["state_zh"] == "人工暂停派单"
    (alarm,) = [row for row in core.rows(t.alarm) if row["kind"] == "breaker_forced"]
    assert "write（key:k-write） 人工暂停派单" in alarm["text"]
    (listed,) = (await core.client.get("/v1/breakers", headers=core.key("read"))).json()["items"]
    assert listed["state_zh"] == "人工暂停派单"


async def test_a_target_cannot_wait_for_what_never_comes(core: HttpCore) -> None:
    new = {"name": "a", "kind": "log"}
    for more, field in (({"kinds": ["nonsense"]}, "kinds"), ({"warehouses": ["X1"]}, "warehouses")):
        refused = await core.client.post(
            "/v1/notify/targets", json={**new, **more}, headers=core.key("admin")
        )
        assert (refused.json()["code"], refused.json()["field"]) == ("notify_filter", field)
    good = {**new, "kinds": ["breaker"], "warehouses": ["HZ"]}
    added = await core.client.post("/v1/notify/targets", json=good, headers=core.key("admin"))
    assert added.status_code == 201
