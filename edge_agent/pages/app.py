"""The status page's HTTP: who may ask, what is shown, what is pressed.

Bound to this machine by default. A foreign page must not be able to press anything: the Host must
be one of ours (DNS rebinding), a POST needs our Origin and the token of the page it came from.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from functools import cache, partial
from importlib import resources
from typing import Any, Protocol
from urllib.parse import parse_qsl, quote, urlsplit

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

from edge_agent.domain.answer import Answer
from edge_agent.pages import acts, metrics
from protocols.errors import PacklineError, Rejected

BODY_BYTES_MAX = 8_192
REFRESH_S = 3
TASKS_SHOWN = 12
SCANS_SHOWN = 8
LABELS_SHOWN = 12
"""Rows of a page that is read while standing; labels that need a person are always all shown."""
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none'; "
        "frame-ancestors 'none'"
    ),
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}


class Desk(Protocol):
    """The agent as the page sees it."""

    def status(self) -> dict[str, Any]: ...

    async def act(self, act: acts.Act) -> Answer: ...


def build(desk: Desk, names: Sequence[str], zone_minutes: int) -> Starlette:
    """The application. `names` are the host names a browser may use for this machine."""
    token = secrets.token_urlsafe(24)
    guard = partial(_guarded, names=frozenset(name.lower() for name in names))
    return Starlette(
        routes=[
            Route("/", guard(partial(_page, desk=desk, token=token, zone_minutes=zone_minutes))),
            Route("/act", guard(partial(_act, desk=desk, token=token)), methods=["POST"]),
            Route("/status.json", guard(partial(_status, desk=desk))),
            Route("/metrics", guard(partial(_metrics, desk=desk))),
            Route("/healthz", guard(_health)),
            Route("/style.css", guard(_style)),
        ]
    )


_Endpoint = Callable[[Request], Awaitable[Response]]


def _guarded(endpoint: Callable[..., Awaitable[Response]], names: frozenset[str]) -> _Endpoint:
    async def run(request: Request) -> Response:
        if _host_of(f"//{request.headers.get('host', '')}")[0] not in names:
            return PlainTextResponse("host not allowed\n", status_code=421, headers=_HEADERS)
        response = await endpoint(request)
        response.headers.update(_HEADERS)
        return response

    return run


async def _page(request: Request, desk: Desk, token: str, zone_minutes: int) -> Response:
    status = desk.status()
    template = _environment().get_template("status.html.j2")
    shown = template.render(
        s=status,
        token=token,
        refresh_s=REFRESH_S,
        tasks_shown=TASKS_SHOWN,
        scans_shown=SCANS_SHOWN,
        labels_shown=LABELS_SHOWN,
        said=request.query_params.get("said", "")[:120],
        tone=request.query_params.get("tone", "") if request.query_params.get("said") else "",
        clock=partial(_clock, zone_minutes=zone_minutes),
        age=partial(_age, now_ms=status["now_ms"]),
    )
    return Response(shown, media_type="text/html")


async def _status(request: Request, desk: Desk) -> Response:
    return JSONResponse(desk.status())


async def _metrics(request: Request, desk: Desk) -> Response:
    return Response(metrics.text(desk.status()), media_type="text/plain; version=0.0.4")


async def _health(request: Request) -> Response:
    return JSONResponse({"ok": True})


async def _style(request: Request) -> Response:
    return Response(_style_text(), media_type="text/css")


async def _act(request: Request, desk: Desk, token: str) -> Response:
    """Press a button: form in, answer shown on the page after a redirect (or JSON if asked)."""
    try:
        form = await _form(request, token)
        answer = await desk.act(acts.act_of(form))
    except PacklineError as error:
        status = 403 if error.code == "not_from_here" else 422
        body = {"code": error.code, "field": error.field, "zh": error.zh, "en": error.en}
        return JSONResponse(body, status_code=status)
    if "application/json" in request.headers.get("accept", ""):
        shown = {"tone": answer.tone, "code": answer.code, "text_zh": answer.text_zh}
        return JSONResponse(shown, status_code=200 if answer.tone != "error" else 409)
    where = f"/?said={quote(answer.text_zh)}&tone={answer.tone}"
    return RedirectResponse(where, status_code=303)


async def _form(request: Request, token: str) -> dict[str, str]:
    """The fields of a form that our own page sent. Raises `Rejected`."""
    if _host_of(request.headers.get("origin", ""))[1] != request.headers.get("host", "-"):
        raise Rejected("not_from_here", "请求不是来自本页面", "foreign origin", field="origin")
    body = b""
    async for piece in request.stream():
        body += piece
        if len(body) > BODY_BYTES_MAX:
            raise Rejected("body_too_large", "内容太长", "body too large", field="body")
    try:
        form = dict(parse_qsl(body.decode("utf-8"), max_num_fields=20, keep_blank_values=True))
    except ValueError as error:
        raise Rejected("form_broken", "表单有误", "broken form", field="body") from error
    if not hmac.compare_digest(form.pop("token", "").encode(), token.encode()):
        raise Rejected("not_from_here", "页面已过期, 请刷新", "bad token", field="token")
    return form


def _host_of(address: str) -> tuple[str, str]:
    """(host name, host and port) of an address; empty when it is none."""
    try:
        parts = urlsplit(address)
        return parts.hostname or "", parts.netloc
    except ValueError:
        return "", ""


@cache
def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("edge_agent", "pages/templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


@cache
def _style_text() -> str:
    folder = resources.files("edge_agent") / "pages" / "templates"
    return (folder / "style.css").read_text(encoding="utf-8")


def _clock(wall_ms: int, zone_minutes: int) -> str:
    """Local "MM-DD HH:MM:SS", a dash for a time no calendar has."""
    try:
        local = datetime.fromtimestamp(wall_ms / 1000, UTC) + timedelta(minutes=zone_minutes)
    except (ValueError, OverflowError, OSError):
        return "—"
    return local.strftime("%m-%d %H:%M:%S")


def _age(wall_ms: int, now_ms: int) -> str:
    """How long ago, in words."""
    seconds = max(0, now_ms - wall_ms) // 1000
    if seconds < 60:
        return f"{seconds} 秒"
    if seconds < 3600:
        return f"{seconds // 60} 分钟"
    if seconds < 86_400:
        return f"{seconds // 3600} 小时 {seconds % 3600 // 60} 分"
    return f"{seconds // 86_400} 天 {seconds % 86_400 // 3600} 小时"
