"""In and out of the staff console, and the two files its pages load.

A key is typed once and traded for a session; it is never kept in a cookie. Every try is counted by
address, every success and refusal audited.
"""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import RedirectResponse, Response

from cloud_core import logs
from cloud_core.api.console_door import (
    ConsoleRoute,
    Form,
    Frame,
    Staff,
    cookie_name,
    go,
    page,
    read_form,
    safe_next,
    set_cookie,
)
from cloud_core.api.doors import Doors
from cloud_core.api.errors import unknown
from cloud_core.api.guard import Source, TheDoors
from cloud_core.api.rates import RateLimited
from cloud_core.domain.access import ApiKey, key_hash, looks_like_key, same_hash
from cloud_core.domain.console_session import form_token, looks_like_session, session_hash
from cloud_core.domain.rows import Audit
from protocols.errors import Rejected

router = APIRouter(prefix="/console", include_in_schema=False, route_class=ConsoleRoute)
_log = logs.get("console")


@router.get("/sign-in")
def show_sign_in(
    request: Request, doors: TheDoors, next: Annotated[str, Query(max_length=600)] = "",
    said: Annotated[str, Query(max_length=20)] = "",
) -> Response:  # fmt: skip
    """The form; its own cookie proves later that the form was ours."""
    words = "已退出登录。" if said == "signed_out" else ""
    return _form_page(doors, safe_next(next), said=words)


@router.post("/sign-in")
async def sign_in(request: Request, doors: TheDoors, source: Source) -> Response:
    """A key becomes a session under a name drawn now: one set before is never taken over."""
    doors.console.sign_in_rates.take(source, doors.clock.now_ms())
    door = request.cookies.get(cookie_name(doors, "door"), "")
    try:
        form = await read_form(request, doors, door if looks_like_session(door) else "")
    except Rejected as error:
        if error.field != "csrf":
            raise
        return _form_page(doors, "/console", wrong="页面已过期，请重新输入。", status=403)
    back = safe_next(form.get("next", ""))
    key = await run_in_threadpool(_known_key, doors, form.get("key", "").strip())
    if key is None:
        await run_in_threadpool(_note_refused, doors, source)
        return _form_page(doors, back, wrong="密钥不正确或已作废。", status=401)
    before = request.cookies.get(cookie_name(doors, "session"), "")
    name = await run_in_threadpool(_open, doors, key, source, before)
    request.scope["packline.key"] = key.id
    answer = go(doors, back)
    set_cookie(doors, answer, "session", name)
    set_cookie(doors, answer, "door", "")
    return answer


@router.post("/sign-out")
async def sign_out(doors: TheDoors, member: Staff, form: Form) -> Response:
    """The session ends in the database, so that a copied cookie is worth nothing."""
    by = Audit(doors.clock.now_ms(), member.actor, member.source, "console.signed_out", "", "")
    await run_in_threadpool(doors.console.sessions.close, session_hash(member.name), by)
    answer = go(doors, "/console/sign-in", "signed_out")
    set_cookie(doors, answer, "session", "")
    return answer


@router.get("/{name}.{kind}")
def asset(
    name: Annotated[str, Path(max_length=40)], kind: Annotated[str, Path(max_length=4)],
    request: Request, doors: TheDoors,
) -> Response:  # fmt: skip
    """The style sheet and the script; pages name them with their version, so they may be kept."""
    try:
        body, media, tag = doors.console.pages.asset(f"{name}.{kind}")
    except KeyError:
        raise _no_page() from None
    headers = {
        **doors.console.pages.headers(), "Cache-Control": "public, max-age=86400", "ETag": tag,
    }  # fmt: skip
    if tag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    return Response(body, 200, headers, media)


front = APIRouter(include_in_schema=False)


@front.get("/")
def to_the_console() -> Response:
    """Who types the bare address is a member of staff; buyers come with a link of their own."""
    return RedirectResponse("/console", 303)


lost = APIRouter(prefix="/console", include_in_schema=False, route_class=ConsoleRoute)
"""Stands behind every other route of the console."""


@lost.api_route("/{rest:path}", methods=["GET", "POST", "PUT", "PATCH", "DELETE"])
def no_such_page(rest: str) -> Response:
    """An address of the console that is none."""
    raise _no_page()


def _no_page() -> Rejected:
    return unknown("not_found", "path", "没有这个页面", "there is no such page")


def _form_page(
    doors: Doors, back: str, *, wrong: str = "", said: str = "", status: int = 200
) -> Response:
    door = doors.console.new_name()
    frame = Frame("sign_in", csrf=form_token(door), said=said, tone="ok" if said else "")
    answer = page(doors, "sign_in", {"next": back, "wrong": wrong}, frame, status)
    set_cookie(doors, answer, "door", door)
    return answer


def _known_key(doors: Doors, text: str) -> ApiKey | None:
    digest = key_hash(text) if looks_like_key(text) else ""
    key = doors.keys.find(digest) if digest else None
    if key is None or not same_hash(key.hash, digest) or not key.allows("read"):
        return None
    return key


def _open(doors: Doors, key: ApiKey, source: str, before: str) -> str:
    now_ms, name = doors.clock.now_ms(), doors.console.new_name()
    by = Audit(now_ms, f"key:{key.id}", source, "console.signed_in", "", "")
    if looks_like_session(before):
        ended = Audit(now_ms, f"key:{key.id}", source, "console.session_replaced", "", "")
        doors.console.sessions.close(session_hash(before), ended)
    doors.console.sessions.open(session_hash(name), key.id, now_ms, by)
    doors.keys.touch(key, now_ms)
    return name


def _note_refused(doors: Doors, source: str) -> None:
    """Audited up to a rate of the whole console: strangers must not fill the table."""
    now_ms = doors.clock.now_ms()
    _log.warning("console.sign_in_refused", source=source)
    try:
        doors.console.refusal_rates.take("", now_ms)
    except RateLimited:
        return
    doors.keys.audit(Audit(now_ms, "console", source, "console.sign_in_refused", "", ""))
