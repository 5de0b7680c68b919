"""Who gets in at the staff console, and what a stranger, a foreign page or a thief does not."""

from __future__ import annotations

import re
from pathlib import Path

import httpx
import pytest

from cloud_core.api.doors import SIGN_INS_PER_MIN, Limits
from cloud_core.domain.access import ApiKey, key_hash, key_text
from cloud_core.domain.console_session import SESSION_MS, SESSIONS_PER_KEY_MAX, session_hash
from cloud_core.store import schema as t
from cloud_core.store.schema_console import console_session
from tests.support.console import Staffer, hidden
from tests.support.http_core import BY_TEST, NOW_MS, HttpCore

PAGES = ("/console", "/console/orders", "/console/shipments", "/console/parked", "/console/stock",
         "/console/incidents", "/console/alarms", "/console/agents", "/console/breakers",
         "/console/search?q=x", "/console/orders/X", "/console/shipments/X")  # fmt: skip


async def test_a_key_becomes_a_session_that_ends_after_a_shift(core: HttpCore) -> None:
    staff = Staffer(core)
    answer = await staff.sign_in()
    assert (answer.status_code, answer.headers["location"]) == (303, "/console")
    cookie = next(c for c in answer.headers.get_list("set-cookie") if "session" in c)
    for words in ("HttpOnly", "SameSite=strict", "Path=/console", f"Max-Age={SESSION_MS // 1000}"):
        assert words in cookie
    name = staff.client.cookies["packline_session"]
    (row,) = core.rows(console_session)
    assert row["hash"] == session_hash(name), "only a hash of the name is kept"
    assert name not in repr(row)
    assert core.keys["read"] not in answer.headers["set-cookie"]
    assert "总览" in await staff.see("/console")
    core.clock.advance(SESSION_MS // 1000)
    late = await staff.client.get("/console")
    assert (late.status_code, late.headers["location"]) == (303, "/console/sign-in")


async def test_nobody_sees_a_page_without_signing_in(core: HttpCore) -> None:
    stranger = Staffer(core)
    for address in PAGES:
        answer = await stranger.client.get(address)
        assert answer.status_code == 303, address
        assert answer.headers["location"].startswith("/console/sign-in"), address
    for action in ("/console/incidents/1/resolve", "/console/search", "/console/sign-out",
                   "/console/breakers"):  # fmt: skip
        answer = await stranger.client.post(action, data={"csrf": "x"})
        assert (answer.status_code, answer.headers["location"]) == (303, "/console/sign-in")
    bearer = await stranger.client.get("/console", headers=core.key("admin"))
    assert bearer.status_code == 303, "a key in a header is for programs, not for pages"


async def test_a_page_asked_for_is_shown_after_signing_in_and_no_foreign_one(
    core: HttpCore,
) -> None:
    staff = Staffer(core)
    sent = await staff.client.get("/console/stock?warehouse=HZ")
    form = await staff.client.get(sent.headers["location"])
    assert hidden(form.text, "/console/sign-in")["next"] == "/console/stock?warehouse=HZ"
    for evil in ("https://evil.example/", "//evil.example", "/console//evil", "/console/../v1",
                 "/console\\evil", "javascript:alert(1)", "/consolex", "/console/sign-out",
                 "/console?a=\r\nSet-Cookie: x=1", "/console/" + "a" * 600):  # fmt: skip
        answer = await Staffer(core).sign_in(next=evil)
        assert answer.headers["location"] in ("/console", None), evil
        core.clock.advance(60)


async def test_a_session_name_planted_before_is_not_taken_over(core: HttpCore) -> None:
    planted = "A" * 43
    victim, thief = Staffer(core), Staffer(core)
    for one in (victim, thief):
        one.client.cookies.set("packline_session", planted)
    answer = await victim.sign_in()
    given = httpx.Cookies()
    given.extract_cookies(answer)
    assert len(given["packline_session"]) == 43
    assert given["packline_session"] != planted
    assert (await thief.client.get("/console")).status_code == 303


async def test_signing_in_again_ends_the_session_before(core: HttpCore) -> None:
    staff = Staffer(core)
    await staff.sign_in()
    first = staff.client.cookies["packline_session"]
    await staff.sign_in()
    copied = Staffer(core)
    copied.client.cookies.set("packline_session", first)
    assert (await copied.client.get("/console")).status_code == 303
    assert len(core.rows(console_session)) == 1


async def test_signing_out_ends_it_for_copies_too(core: HttpCore) -> None:
    staff, copied = Staffer(core), Staffer(core)
    await staff.sign_in()
    copied.client.cookies.set("packline_session", staff.client.cookies["packline_session"])
    assert (await copied.client.get("/console")).status_code == 200
    out = await staff.press("/console", "/console/sign-out")
    assert out.headers["location"] == "/console/sign-in?said=signed_out"
    assert (await copied.client.get("/console")).status_code == 303
    assert core.rows(console_session) == []
    actions = [row["action"] for row in core.rows(t.audit) if row["actor"] == "key:k-read"]
    assert actions == ["console.signed_in", "console.signed_out"]


async def test_revoking_a_key_ends_its_sessions_at_once(core: HttpCore) -> None:
    staff = Staffer(core)
    await staff.sign_in()
    core.wired.keys.revoke("k-read", NOW_MS, BY_TEST)
    assert (await staff.client.get("/console")).status_code == 303


@pytest.mark.parametrize("key", ["", "pk_" + "x" * 43, "nonsense", "pk_", "' OR 1=1 --", "密" * 60])
async def test_a_wrong_key_opens_nothing_and_is_written_down(core: HttpCore, key: str) -> None:
    staff = Staffer(core)
    answer = await staff.sign_in(key=key)
    assert answer.status_code == 401
    assert "密钥不正确" in answer.text
    assert "packline_session" not in staff.client.cookies
    assert "console.sign_in_refused" in {row["action"] for row in core.rows(t.audit)}
    assert (await staff.client.get("/console")).status_code == 303


async def test_keys_that_are_no_staff_keys_stay_outside(core: HttpCore) -> None:
    revoked = ApiKey("k-old", "old", key_hash(key_text("o" * 43)), ("admin",), NOW_MS, None, NOW_MS)
    core.wired.keys.create(revoked, BY_TEST)
    core.wired.keys.revoke("k-old", NOW_MS, BY_TEST)
    assert (await Staffer(core).sign_in(key=key_text("o" * 43))).status_code == 401
    for scope in ("stock", "holds"):
        answer = await Staffer(core).sign_in(scope)
        assert answer.status_code == 401, scope


async def test_guessing_is_slowed_down(core: HttpCore) -> None:
    staff = Staffer(core)
    statuses = [(await staff.sign_in(key="wrong")).status_code for _ in range(SIGN_INS_PER_MIN)]
    assert set(statuses) == {401}
    blocked = await staff.sign_in()
    assert (blocked.status_code, blocked.headers["retry-after"]) == (429, "60")
    assert "操作太频繁了" in blocked.text
    core.clock.advance(60)
    assert (await staff.sign_in()).status_code == 303


async def test_a_form_of_another_page_changes_nothing(core: HttpCore) -> None:
    incident = {"at_ms": NOW_MS, "kind": "unknown_shipment", "shipment_id": "X-1",
                "warehouse": "HZ", "token_epoch": 1, "token_n": 1}  # fmt: skip
    core.insert(t.incident, incident)
    staff, other = Staffer(core), Staffer(core)
    await staff.sign_in("write")
    await other.sign_in("write")
    page = await staff.see("/console/incidents")
    number = core.rows(t.incident)[0]["id"]
    action = f"/console/incidents/{number}/resolve"
    good = hidden(page, action)
    foreign = hidden(await other.see("/console/incidents"), action)
    attempts: list[tuple[dict[str, str], dict[str, str]]] = [
        ({}, {}),
        ({"csrf": ""}, {}),
        ({"csrf": "0" * 64}, {}),
        (foreign, {}),
        (good, {"origin": "https://evil.example"}),
        (good, {"origin": "null"}),
        (good, {"sec-fetch-site": "cross-site"}),
        (good, {"sec-fetch-site": "same-site"}),
    ]
    for fields, headers in attempts:
        answer = await staff.client.post(action, data=fields, headers=headers)
        assert answer.status_code == 403, (fields, headers)
        assert "不能这样做" in answer.text
    assert core.rows(t.incident)[0]["resolved_ms"] is None
    done = await staff.client.post(action, data=good, headers={"origin": "http://core"})
    assert done.status_code == 303
    assert core.rows(t.incident)[0]["resolved_by"] == "key:k-write"


async def test_signing_in_needs_our_own_form(core: HttpCore) -> None:
    core.key("read")
    bare = Staffer(core)
    answer = await bare.client.post("/console/sign-in", data={"key": core.keys["read"]})
    assert answer.status_code == 403
    assert "packline_session" not in bare.client.cookies
    wrong = await bare.sign_in(csrf="0" * 64)
    assert wrong.status_code == 403
    assert core.rows(console_session) == []


async def test_a_reading_key_sees_no_buttons_and_may_press_none(core: HttpCore) -> None:
    core.insert(t.incident, {"at_ms": NOW_MS, "kind": "unknown_shipment", "shipment_id": "X-1",
                             "warehouse": "HZ", "token_epoch": 1, "token_n": 1})  # fmt: skip
    staff = Staffer(core)
    await staff.sign_in("read")
    page = await staff.see("/console/incidents")
    assert "处理完毕</button>" not in page
    assert "只读" in page
    csrf = hidden(page, "/console/search")["csrf"]
    for action in (f"/console/incidents/{core.rows(t.incident)[0]['id']}/resolve",
                   "/console/breakers"):  # fmt: skip
        sent = {"csrf": csrf, "warehouse": "HZ", "mode": "open", "reason": "测试"}
        answer = await staff.client.post(action, data=sent)
        assert answer.status_code == 403, action
        assert "只能查看" in answer.text
    assert core.rows(t.incident)[0]["resolved_ms"] is None


async def test_a_key_has_a_bounded_number_of_sessions(core: HttpCore) -> None:
    staff = [Staffer(core) for _ in range(SESSIONS_PER_KEY_MAX + 2)]
    for one in staff:
        core.clock.advance(10)
        assert (await one.sign_in()).status_code == 303
    assert len(core.rows(console_session)) == SESSIONS_PER_KEY_MAX
    assert (await staff[0].client.get("/console")).status_code == 303
    assert (await staff[-1].client.get("/console")).status_code == 200


async def test_nothing_foreign_runs_loads_or_frames(core: HttpCore) -> None:
    staff = Staffer(core)
    await staff.sign_in()
    for address in ("/console", "/console/sign-in", "/console/nowhere", "/console/console.css"):
        headers = (await staff.client.get(address)).headers
        policy = headers["content-security-policy"]
        assert policy.startswith("default-src 'none'"), address
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert headers["x-content-type-options"] == "nosniff"
    page = await staff.client.get("/console")
    assert page.headers["cache-control"] == "no-store"
    assert "style=" not in page.text
    assert not re.search(r"<[^>]+\son[a-z]+=", page.text), "no handlers inline"
    assert "://" not in page.text, "nothing comes from elsewhere"
    style = await staff.client.get("/console/console.css")
    again = await staff.client.get(
        "/console/console.css", headers={"if-none-match": style.headers["etag"]}
    )
    assert (style.status_code, again.status_code) == (200, 304)
    for name in ("layout.html.j2", "..%2fconsole.css", "console.py", "x.css"):
        assert (await staff.client.get(f"/console/{name}")).status_code == 404, name


async def test_over_tls_the_cookie_is_bound_to_the_host(tmp_path: Path) -> None:
    found = HttpCore(tmp_path, Limits(public_url="https://core.example"))
    async with found.started():
        staff = Staffer(found)
        staff.client.base_url = httpx.URL("https://core.example")
        answer = await staff.sign_in()
        cookie = next(c for c in answer.headers.get_list("set-cookie") if "session" in c)
        assert cookie.startswith("__Host-packline_session=")
        assert "Secure" in cookie
        assert "Path=/;" in cookie
        assert "总览" in await staff.see("/console")


async def test_broken_forms_are_refused_by_a_page(core: HttpCore) -> None:
    staff = Staffer(core)
    await staff.sign_in("write")
    for body in (b"\xff\xfe=1", b"a=1&" * 30, b"x" * 10_000):
        answer = await staff.client.post("/console/search", content=body)
        assert answer.status_code in (403, 413, 422), body[:10]
        assert answer.headers["content-type"].startswith("text/html")
    for address in ("/console/incidents/0/resolve", "/console/incidents/abc/resolve"):
        assert (await staff.client.post(address, data={})).status_code in (403, 422)
    assert (await staff.client.put("/console/orders")).status_code in (404, 405)
    unknown = await staff.client.get("/console/nowhere/at/all")
    assert (unknown.status_code, "没有这个页面" in unknown.text) == (404, True)
