"""Who stands at the staff console: sign-in, session cookie, forms, refusals as pages.

Every later line of a console route may trust its `Member`; every form it reads came from a page of
that member's own session. A refusal of any kind is a page in Chinese, never a stack or JSON.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any
from urllib.parse import parse_qsl, quote, urlsplit

from fastapi import Depends, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import RedirectResponse, Response
from fastapi.routing import APIRoute

from cloud_core.api.body import read_bounded
from cloud_core.api.doors import Doors
from cloud_core.api.errors import status_of
from cloud_core.api.guard import Source, TheDoors, doors_of
from cloud_core.domain.access import ApiKey
from cloud_core.domain.console_session import (
    SESSION_MS,
    form_token,
    is_form_token,
    looks_like_session,
    session_hash,
)
from cloud_core.domain.wording import actor_zh
from protocols.errors import PacklineError, Rejected

HTML = "text/html; charset=utf-8"
FORM_BYTES_MAX = 8_192
FIELDS_MAX = 20
_NEXT_CHARS_MAX = 500
_SAID = {
    "resolved": ("ok", "事件已处理完毕。"),
    "gone": ("error", "这个事件已经处理过了。"),
    "retried": ("ok", "已重新派出，等仓库接单。"),
    "still_parked": ("error", "现在仍没有仓库能接，原因见列表；有变化时会自动再派。"),
    "not_parked": ("error", "这个发货单没有停放，或在等外部系统审核。"),
    "forced": ("ok", "熔断设置已生效。"),
    "return_void": ("ok", "退货工单已作废。"),
    "signed_out": ("ok", "已退出登录。"),
}
"""What a page may say after a form: an address carries the word, never the sentence."""
_TITLES = {
    401: "请先登录",
    403: "不能这样做",
    404: "没有这个页面",
    429: "操作太频繁了",
    503: "系统正忙",
}


class SignInNeeded(Rejected):
    """Nobody is signed in, or no longer."""


@dataclass(frozen=True, slots=True)
class Member:
    """Somebody signed in: the key, the session's name and the address they came from."""

    key: ApiKey
    name: str
    source: str

    @property
    def actor(self) -> str:
        """How trail and audit name them."""
        return f"key:{self.key.id}"

    @property
    def can_write(self) -> bool:
        """Whether buttons are drawn and forms taken."""
        return self.key.allows("write")


@dataclass(frozen=True, slots=True)
class Frame:
    """What every page needs besides its rows; `user` is empty while nobody is signed in."""

    page: str
    user: str = ""
    can_write: bool = False
    csrf: str = ""
    q: str = ""
    said: str = ""
    tone: str = ""
    refresh: bool = False


def member_of(request: Request, doors: TheDoors, source: Source) -> Member:
    """The member behind the cookie. Raises `SignInNeeded`, `RateLimited`."""
    now_ms = doors.clock.now_ms()
    name = request.cookies.get(cookie_name(doors, "session"), "")
    found = doors.console.sessions.find(session_hash(name)) if looks_like_session(name) else None
    if found is None or not found.is_live(now_ms):
        raise SignInNeeded("session_missing", "请先登录", "please sign in", field="cookie")
    doors.key_rates.take(found.key.id, now_ms)
    doors.keys.touch(found.key, now_ms)
    request.scope["packline.key"] = found.key.id
    return Member(found.key, name, source)


Staff = Annotated[Member, Depends(member_of)]


async def form_of(request: Request, doors: TheDoors, member: Staff) -> dict[str, str]:
    """The fields of a form of this member's own page. Raises `Rejected`."""
    return await read_form(request, doors, member.name)


Form = Annotated[dict[str, str], Depends(form_of)]


async def read_form(request: Request, doors: Doors, name: str) -> dict[str, str]:
    """Fields of a form whose token belongs to the cookie value `name`. Raises `Rejected`.

    Three fences, each enough alone: SameSite keeps the cookie at home, the Origin must be ours,
    and the token cannot be made without the cookie.
    """
    if not _is_ours(request, doors):
        raise Rejected("not_from_here", "请求不是来自本页面", "a foreign origin", field="origin")
    body = await read_bounded(request, FORM_BYTES_MAX)
    try:
        pairs = parse_qsl(
            body.decode("utf-8"), keep_blank_values=True, max_num_fields=FIELDS_MAX,
            errors="strict",
        )  # fmt: skip
    except ValueError as error:
        raise Rejected("form_broken", "表单有误", "a broken form", field="body") from error
    form = dict(pairs)
    if not name or not is_form_token(form.pop("csrf", ""), name):
        raise Rejected(
            "not_from_here", "页面已过期，请返回后刷新再试", "a wrong form token", field="csrf"
        )
    return form


def needs_write(member: Member) -> None:
    """Raises `Rejected("scope_needed")` for a key that may only read."""
    if not member.can_write:
        raise Rejected(
            "scope_needed", "您的密钥只能查看，不能操作", "this key may only read", field="key"
        )


def page(
    doors: Doors, template: str, facts: Mapping[str, Any], frame: Frame, status: int = 200
) -> Response:
    """A drawn page with the headers of the console."""
    named = partial(actor_zh, names=_key_names(doors))
    full = {"now_ms": doors.clock.now_ms(), "actor_zh": named, **facts, "frame": frame}
    headers = {**doors.console.pages.headers(), "Cache-Control": "no-store"}
    return Response(doors.console.pages.draw(template, full), status, headers, HTML)


def _key_names(doors: Doors) -> dict[str, str]:
    try:
        return doors.keys.names()
    except PacklineError:  # a page that says that the database is away must open
        return {}


def frame_of(
    request: Request, member: Member, name: str, *, refresh: bool = False, q: str = ""
) -> Frame:
    """The frame of a page for a member, with the word an address may carry."""
    tone, said = _SAID.get(request.query_params.get("said", ""), ("", ""))
    return Frame(
        name, member.key.name, member.can_write, form_token(member.name), q, said, tone, refresh
    )


def go(doors: Doors, address: str, said: str = "") -> Response:
    """Look at another page of ours now; `said` is a word of `_SAID`."""
    path, _, query = address.partition("?")
    kept = [part for part in query.split("&") if part and not part.startswith("said=")]
    full = "&".join([*kept, f"said={said}"] if said else kept)
    headers = {**doors.console.pages.headers(), "Cache-Control": "no-store"}
    return RedirectResponse(f"{path}?{full}" if full else path, 303, headers)


def safe_next(address: str) -> str:
    """The address if it is a page of the console, else the first page: no open redirect."""
    parts = urlsplit(address) if address.isascii() and address.isprintable() else None
    if (
        parts is None or parts.scheme or parts.netloc or "\\" in address
        or len(address) > _NEXT_CHARS_MAX or "//" in parts.path or ".." in parts.path
        or not (parts.path == "/console" or parts.path.startswith("/console/"))
        or parts.path.startswith("/console/sign-")
    ):  # fmt: skip
        return "/console"
    return address


def cookie_name(doors: Doors, kind: str) -> str:
    """Over TLS the browser itself keeps the cookie to this host, by its prefix (RFC 6265bis)."""
    return f"{'__Host-' if _is_secure(doors) else ''}packline_{kind}"


def set_cookie(doors: Doors, response: Response, kind: str, value: str) -> None:
    """A cookie no script reads and no other site sends; an empty value ends it."""
    response.set_cookie(
        cookie_name(doors, kind), value, max_age=SESSION_MS // 1000 if value else 0,
        path="/" if _is_secure(doors) else "/console", secure=_is_secure(doors), httponly=True,
        samesite="strict",
    )  # fmt: skip


def _is_secure(doors: Doors) -> bool:
    return doors.limits.public_url.startswith("https://")


def _is_ours(request: Request, doors: Doors) -> bool:
    """Browsers name the page a form came from; what names none is judged by its token."""
    if request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        return False
    origin = request.headers.get("origin")
    if origin is None:
        return True
    ours = {request.headers.get("host", ""), urlsplit(doors.limits.public_url).netloc}
    try:
        return urlsplit(origin).netloc in ours - {""}
    except ValueError:
        return False


class ConsoleRoute(APIRoute):
    """A route whose refusals are pages; nobody signed in means the sign-in page."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The usual handler with refusals caught."""
        inner = super().get_route_handler()

        async def handle(request: Request) -> Response:
            doors = doors_of(request)
            try:
                return await inner(request)
            except SignInNeeded:
                query = f"?{request.url.query}" if request.url.query else ""
                back = safe_next(request.url.path + query) if request.method == "GET" else ""
                where = f"?next={quote(back, safe='')}" if back not in ("", "/console") else ""
                return go(doors, f"/console/sign-in{where}")
            except RequestValidationError:
                return _notice(doors, 422, "request_invalid", "地址或参数不正确。")
            except PacklineError as error:
                status = 403 if error.code == "not_from_here" else status_of(error.code, error)
                return _notice(doors, status, error.code, f"{error.zh}。")

        return handle


def _notice(doors: Doors, status: int, code: str, words: str) -> Response:
    facts = {"title": _TITLES.get(status, "没有成功"), "text": words, "code": code}
    answer = page(doors, "notice", facts, Frame("notice"), status)
    if status in (429, 503):
        answer.headers["Retry-After"] = "60" if status == 429 else "5"
    return answer
