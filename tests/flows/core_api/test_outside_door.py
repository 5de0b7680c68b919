"""A paid order asks the ERP first: the running core calls it, and a person may decide instead."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from cloud_core.api.outside import CheckSettled
from cloud_core.channels.external_check import CheckTarget, read_targets
from cloud_core.domain.commands import ApplyRules
from cloud_core.store import schema as t
from cloud_core.store.schema_breaker import breaker
from protocols.errors import Rejected
from tests.support.http_core import NOW_MS, HttpCore, events, order_event, until
from tests.support.web import serving

RULES = """
[[rules]]
name = "大额先问 ERP"
when = { amount_from_yuan = 200 }
then = { ask_first = "erp", ask_wait_ms = 600000, ask_fallback = "park" }
"""


class Erp:
    """Another system that says yes and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[dict[str, str], dict[str, Any]]] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        body, more = b"", True
        while more:
            part = await receive()
            body, more = body + part.get("body", b""), part.get("more_body", False)
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        self.asked.append((headers, json.loads(body)))
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b'{"verdict": "accept"}'})


async def pay(core: HttpCore, native: str = "S-1") -> dict[str, Any]:
    await core.wired.committer.submit(ApplyRules(RULES, "key:k1", "test"))
    await core.push(events(order_event(native, amount_fen=25_000)))
    await until(lambda: core.rows(t.outside_check))
    (check,) = core.rows(t.outside_check)
    return check


@pytest.fixture
async def asking(tmp_path: Path, database: str) -> AsyncIterator[tuple[HttpCore, Erp]]:
    """A core that knows where the ERP is."""
    erp = Erp()
    async with serving(erp) as url:
        systems = {"erp": CheckTarget(url, ("a-made-up-signing-secret",))}
        core = HttpCore(tmp_path, systems=systems)
        core.fill()
        core.add_channel()
        async with core.started():
            yield core, erp


async def test_a_yes_of_the_erp_sends_the_order_on(asking: tuple[HttpCore, Erp]) -> None:
    core, erp = asking
    check = await pay(core)
    async with asyncio.timeout(20):
        await until(lambda: core.rows(t.shipment)[0]["state"] == "offered", 20)
    headers, body = erp.asked[0]
    assert headers["idempotency-key"] == check["id"]
    assert (body["system"], body["amount_fen"]) == ("erp", 25_000)
    assert core.rows(t.outside_check)[0]["state"] == "accepted"


async def test_a_person_decides_when_the_system_is_not_there(core: HttpCore) -> None:
    check = await pay(core)
    listed = await core.client.get("/v1/outside-checks", headers=core.key())
    (row,) = listed.json()["items"]
    assert (row["id"], row["system"], row["state"]) == (check["id"], "erp", "waiting")
    path = f"/v1/outside-checks/{check['id']}"
    for verdict, state, parked in (
        ("refuse", "refused", "outside_refused"), ("accept", "accepted", ""),
    ):  # fmt: skip
        body = {"verdict": verdict, "text": "已电话确认"}
        answer = await core.client.post(path, json=body, headers=core.key("write"))
        assert answer.status_code == 200, answer.text
        assert CheckSettled.model_validate(answer.json()).state == state
        assert core.rows(t.shipment)[0]["parked"] == parked
    again = await core.client.post(path, json={"verdict": "refuse"}, headers=core.key("write"))
    assert again.json()["state"] == "accepted", "what went on is not taken back here"
    audited = [a for a in core.rows(t.audit) if a["action"] == "outside.settle"]
    assert [a["detail"] for a in audited][:2] == ["refuse: 已电话确认", "accept: 已电话确认"]
    rest = await core.client.get("/v1/outside-checks", headers=core.key())
    assert rest.json()["items"] == []


@pytest.mark.parametrize(
    ("name", "body", "scope", "status", "code"),
    [
        ("outside:nope", {"verdict": "accept"}, "write", 404, "check_unknown"),
        ("outside:nope", {"verdict": "perhaps"}, "write", 422, "verdict_unknown"),
        ("outside:nope", {"verdict": "accept", "x": 1}, "write", 422, "request_invalid"),
        ("outside:nope", {"verdict": "accept"}, "read", 403, "scope_needed"),
    ],
)
async def test_nonsense_is_refused_by_name(
    core: HttpCore, name: str, body: Any, scope: str, status: int, code: str
) -> None:
    path = f"/v1/outside-checks/{name}"
    answer = await core.client.post(path, json=body, headers=core.key(scope))
    assert (answer.status_code, answer.json()["code"]) == (status, code)


async def test_a_running_core_judges_the_breakers(tmp_path: Path, database: str) -> None:
    core = HttpCore(tmp_path)
    core.fill()
    core.insert(
        breaker,
        {
            "warehouse": "HZ", "state": "closed", "since_ms": NOW_MS - 9, "counted_from_ms": 0,
            "because": "[]", "trials": "[]", "forced": "open", "forced_until_ms": NOW_MS - 1,
            "forced_by": "key:k1", "forced_reason": "停电",
        },
    )  # fmt: skip
    async with core.started():
        await until(lambda: core.rows(breaker)[0]["forced"] == "")


@pytest.mark.parametrize(
    ("document", "field"),
    [
        ({"erp": "x"}, "erp"),
        ({"erp": {"url": "ftp://x", "secret": "s" * 16}}, "erp.url"),
        ({"erp": {"url": "https://erp.example", "secret": "short"}}, "erp.secret"),
        ({"erp": {"url": "https://erp.example", "secret": "s" * 16, "key": 1}}, "erp.key"),
    ],
)
def test_a_broken_list_of_systems_is_refused_by_field(document: Any, field: str) -> None:
    with pytest.raises(Rejected) as refused:
        read_targets(document)
    assert (refused.value.code, refused.value.field) == ("outside_file_broken", field)
