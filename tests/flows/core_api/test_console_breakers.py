"""A person shuts a warehouse out, lets it in by force, and lets it be, from the console."""

from __future__ import annotations

import json

import pytest

from cloud_core.store import schema as t
from cloud_core.store.engine import writer
from cloud_core.store.schema_breaker import breaker
from tests.support.console import Staffer
from tests.support.http_core import NOW_MS, HttpCore, until

HERE = "/console/breakers"


@pytest.fixture
async def staff(core: HttpCore) -> Staffer:
    found = Staffer(core)
    await found.sign_in("write")
    return found


async def test_a_force_is_shown_audited_and_taken_back(core: HttpCore, staff: Staffer) -> None:
    assert "从未熔断" in await staff.see(HERE)
    done = await staff.press(HERE, HERE, mode="open", reason="停电<b>检修", hours="2")
    assert done.headers["location"] == f"{HERE}?said=forced"
    page = await staff.see(done.headers["location"])
    for words in ("熔断设置已生效", "人工暂停派单", "停电&lt;b&gt;检修", "员工密钥 k-write",
                  "至 11-21 12:00"):  # fmt: skip
        assert words in page, words
    await staff.press(HERE, HERE, mode="closed", reason="已恢复", hours="")
    assert "直到人工恢复自动" in await staff.see(HERE)
    await staff.press(HERE, HERE, mode="auto", reason="", hours="")
    assert "正常接单" in await staff.see(HERE)
    forced = [row for row in core.rows(t.audit) if row["action"] == "breaker.forced"]
    assert [row["target"] for row in forced] == ["HZ"] * 3


async def test_an_opening_by_lateness_says_why_and_until_when(
    core: HttpCore, staff: Staffer
) -> None:
    row = {"warehouse": "HZ", "state": "open", "since_ms": NOW_MS, "until_ms": NOW_MS + 7_200_000,
           "openings": 1, "counted_from_ms": 0, "capped": 1,
           "because": json.dumps([["L-1", 1, False], ["L-2", 2, False]])}  # fmt: skip
    await until(lambda: core.rows(breaker))  # the running core has judged once
    with writer(core.wired.engine).begin() as connection:
        connection.execute(breaker.update().values(**row))
    page = await staff.see(HERE)
    for words in ("熔断（暂停派单）", "11-21 12:00", "剩 2 小时", "L-1", "L-2", "已达上限"):
        assert words in page, words
    with writer(core.wired.engine).begin() as connection:
        connection.execute(breaker.update().values(state="closed", until_ms=None, because="[]"))
    page = await staff.see(HERE)
    assert "连续超时，仍在接单" in page
    assert "正常接单" not in page, "one that only the cap keeps in is not shown as well"


@pytest.mark.parametrize(
    "fields",
    [{"mode": "open", "reason": " "}, {"mode": "ajar", "reason": "x"}, {"mode": "open",
     "reason": "x", "hours": "-1"}, {"mode": "open", "reason": "x", "hours": "9" * 5000},
     {"mode": "open", "reason": "x", "hours": "0"}, {"mode": "open", "reason": "x",
     "warehouse": "NOPE"}],
)  # fmt: skip
async def test_a_wrong_force_changes_nothing(
    core: HttpCore, staff: Staffer, fields: dict[str, str]
) -> None:
    answer = await staff.press(HERE, HERE, **fields)
    assert 400 <= answer.status_code < 500
    assert answer.headers["content-type"].startswith("text/html")
    assert all(row["forced"] == "" for row in core.rows(breaker))
