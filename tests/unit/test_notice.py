"""How notices are cut, paced, repeated and addressed; what a person may set up."""

from __future__ import annotations

import ast
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud_core.domain import notice as law
from cloud_core.notifiers import dingtalk
from protocols.errors import Rejected
from tests.house.tree import ROOT


def test_the_dingtalk_signature_is_the_documented_one() -> None:
    assert dingtalk.sign("SEC1", 1_767_225_600_000) == (
        "HPFHugH1A+acGr13GtVWd8qv0xuQH5+zzmm7/cG8mLk="
    )
    url = dingtalk.signed_url("https://robot.example/robot/send?access_token=t", "SEC1",
                              1_767_225_600_000)  # fmt: skip
    assert url.endswith(
        "&timestamp=1767225600000&sign=HPFHugH1A%2BacGr13GtVWd8qv0xuQH5%2Bzzmm7%2FcG8mLk%3D"
    )


@given(st.text(), st.integers(3, 200))
def test_a_cut_text_fits_and_is_whole_characters(text: str, most: int) -> None:
    cut = law.cut_bytes(text, most)
    assert len(cut.encode()) <= most
    assert cut == text or text.startswith(cut.removesuffix("…"))


@given(st.lists(st.floats(0, 30), max_size=200), st.integers(1, 100))
def test_never_more_than_the_limit_in_any_minute(waits: list[float], per_min: int) -> None:
    now, sent = 0.0, []
    bucket = law.Bucket(per_min, now)
    for wait in waits:
        now += wait
        while (more := bucket.wait_s(now)) > 0:
            now += more
        bucket.take()
        sent.append(now)
    for first in sent:
        assert sum(first <= at < first + 60 for at in sent) <= max(per_min, 2)


def test_retries_grow_to_ten_minutes_and_are_spread() -> None:
    assert [law.retry_ms(n, 1.0) for n in (0, 1, 2, 99)] == [5_000, 10_000, 20_000, 600_000]
    assert law.retry_ms(3, 0.0) == law.retry_ms(3, 1.0) // 2


def test_who_hears_of_what() -> None:
    assert law.hears((), (), "breaker", "HZ")
    assert law.hears(("breaker",), ("HZ",), "breaker", "HZ")
    assert law.hears((), ("HZ",), "core_down", "")  # of no warehouse: everybody
    assert not law.hears(("test",), (), "breaker", "HZ")
    assert not law.hears((), ("SZ",), "breaker", "HZ")


def test_an_address_is_shown_without_its_secrets() -> None:
    assert law.shown_url("https://robot.example/send?key=k") == "https://robot.example/…"
    assert law.shown_url("https://hook.example") == "https://hook.example"
    assert law.shown_url("") == ""


URL = "https://robot.example/send"


@pytest.mark.parametrize(
    ("check", "values", "code", "field"),
    [
        (law.check_target_name, ("Übel",), "notify_name", "name"),
        (law.check_target_kind, ("pigeon",), "notify_kind", "kind"),
        (law.check_style, ("html",), "notify_style", "style"),
        (law.check_target_url, ("webhook", "ftp://x"), "notify_url", "url"),
        (law.check_target_url, ("webhook", "http://[x"), "notify_url", "url"),
        (law.check_target_url, ("webhook", "http://a:b@host/x"), "notify_url", "url"),
        (law.check_target_url, ("log", URL), "notify_url", "url"),
        (law.check_target_url, ("dingtalk", URL), "notify_url", "url"),
        (law.check_target_url, ("dingtalk", URL + "?access_token="), "notify_url", "url"),
        (law.check_target_url, ("wecom", URL + "?access_token=x"), "notify_url", "url"),
        (law.check_target_secret, ("webhook", ""), "notify_secret", "secret"),
        (law.check_target_secret, ("wecom", "a-secret-here"), "notify_secret", "secret"),
        (law.check_target_secret, ("dingtalk", "has blank"), "notify_secret", "secret"),
        (law.check_mobiles, (["12ab"],), "notify_mobile", "mobiles"),
        (law.check_mobiles, ([str(10**9 + n) for n in range(21)],), "notify_mobile", "mobiles"),
        (law.check_filters, (["Breaker!"], []), "notify_filter", "kinds"),
        (law.check_filters, ([], ["a b"]), "notify_filter", "warehouses"),
    ],
)
def test_nonsense_is_refused_by_field(
    check: Callable[..., Any], values: tuple[Any, ...], code: str, field: str
) -> None:
    with pytest.raises(Rejected) as refused:
        check(*values)
    assert (refused.value.code, refused.value.field) == (code, field)


def test_every_kind_that_is_told_can_be_asked_for() -> None:
    told = set()
    for path in sorted((ROOT / "cloud_core").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name)):
                continue
            if node.func.id == "tell" and isinstance(node.args[1], ast.Constant):
                told.add(str(node.args[1].value))
    assert told == set(law.NOTICE_KINDS)
    manual = (ROOT / "docs" / "OPERATING.md").read_text(encoding="utf-8")
    assert all(f"`{kind}`" in manual for kind in told)
