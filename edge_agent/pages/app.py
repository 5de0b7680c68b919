"""The status page's HTTP: who may ask, what is shown, what is pressed.

Bound to this machine by default; the handhelds' page has an address of its own (`handheld`).
"""

from __future__ import annotations

import hmac
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache, partial
from importlib import resources
from urllib.parse import parse_qsl

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from edge_agent.pages import acts, assets, guard, metrics, pair, said, stream
from edge_agent.pages.desk import Desk
from edge_agent.pages.pair import HandheldDoor
from protocols.errors import PacklineError, Rejected

REFRESH_S = 3
TASKS_SHOWN = 12
SCANS_SHOWN = 8
LABELS_SHOWN = 12
"""Rows of a page that is read while standing; labels that need a person are always all shown."""
_STATION = re.compile(r"[A-Za-z0-9_-]{1,32}")


def build(
    desk: Desk, names: Sequence[str], zone_minutes: int, door: HandheldDoor | None = None
) -> Starlette:
    """The application. `names` are the host names a browser may use for this machine.

    Without a `door` no handheld can be paired.
    """
    token = secrets.token_urlsafe(24)
    ours = guard.guard_for(names)
    page = _StatusPage(desk, token, zone_minutes, door is not None)
    return Starlette(
        routes=[
            Route("/", ours(partial(_page, page=page))),
            Route("/act", ours(partial(_act, desk=desk, token=token, page=page)), methods=["POST"]),
            Route("/pair", ours(partial(_pair, token=token, desk=desk, door=door)),
                  methods=["POST"]),
            Route("/pair/ticket", ours(partial(pair.ticket, desk=desk, door=door)),
                  methods=["POST"]),
            Route("/station/{station}", ours(partial(_station, token=token))),
            Route("/station/{station}/events", ours(partial(_events, desk=desk))),
            Route("/assets/{digest}/{name}", ours(assets.serve)),
            Route("/status.json", ours(partial(_status, desk=desk))),
            Route("/metrics", ours(partial(_metrics, desk=desk))),
            Route("/healthz", ours(_health)),
            Route("/style.css", ours(_style)),
        ]
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class _StatusPage:
    """The status page of this desk; `pairs`: handhelds have a page of their own."""

    desk: Desk
    token: str
    zone_minutes: int
    pairs: bool

    def drawn(self, tone: str, said_zh: str, status_code: int = 200) -> Response:
        """As things are now, with what a press was answered ("" for nothing) above them."""
        status = self.desk.status()
        template = assets.environment().get_template("status.html.j2")
        shown = template.render(
            s=status,
            token=self.token,
            digest=assets.digest(),
            pairs=self.pairs,
            refresh_s=REFRESH_S,
            tasks_shown=TASKS_SHOWN,
            scans_shown=SCANS_SHOWN,
            labels_shown=LABELS_SHOWN,
            said=said_zh,
            tone=tone,
            clock=partial(_clock, zone_minutes=self.zone_minutes),
            age=partial(_age, now_ms=status["now_ms"]),
        )
        return Response(shown, status_code, media_type="text/html")


async def _page(request: Request, page: _StatusPage) -> Response:
    return page.drawn(*said.said(request.query_params.get("said", "")))


async def _status(request: Request, desk: Desk) -> Response:
    return JSONResponse(desk.status())


async def _metrics(request: Request, desk: Desk) -> Response:
    return Response(metrics.text(desk.status()), media_type="text/plain; version=0.0.4")


async def _health(request: Request) -> Response:
    return JSONResponse({"ok": True})


async def _style(request: Request) -> Response:
    return Response(_style_text(), media_type="text/css")


async def _act(request: Request, desk: Desk, token: str, page: _StatusPage) -> Response:
    """Press a button: form in, answer shown on the page after a redirect (or JSON if asked).

    What did not work is told at once, with the words of the flow that refused it.
    """
    try:
        form = await _form(request, token)
        back = form.pop("back", "")
        if form.get("act") == "adopt":
            answer = await desk.adopt_scanner(form.get("port", ""), form.get("station", ""))
        else:
            answer = await desk.act(acts.act_of(form))
    except PacklineError as error:
        return guard.told(error)
    if "application/json" in request.headers.get("accept", ""):
        shown = {"tone": answer.tone, "code": answer.code, "text_zh": answer.text_zh}
        return JSONResponse(shown, status_code=200 if answer.tone != "error" else 409)
    if answer.tone == "error":
        return page.drawn(answer.tone, answer.text_zh, 409)
    where = f"/station/{back}" if _STATION.fullmatch(back) else f"/?said={answer.code}"
    return RedirectResponse(where, status_code=303)


async def _pair(request: Request, token: str, desk: Desk, door: HandheldDoor | None) -> Response:
    """A fresh one-time code as a QR code, or the one that is shown on paper.

    Pressed, never linked, so that nothing prefetches it.
    """
    form = await _form(request, token)
    return await pair.page(form.get("code", ""), desk, door, token)


async def _station(request: Request, token: str) -> Response:
    """The screen at a bench: what its scans were answered, large."""
    station = _station_in(request)
    template = assets.environment().get_template("station.html.j2")
    shown = template.render(station=station, token=token, digest=assets.digest())
    policy = guard.policy(script="'self'", connect=True)
    return Response(shown, media_type="text/html", headers={"Content-Security-Policy": policy})


async def _events(request: Request, desk: Desk) -> Response:
    return stream.events(desk, _station_in(request), lambda: "")


def _station_in(request: Request) -> str:
    station: str = request.path_params["station"]
    if not _STATION.fullmatch(station):
        raise Rejected("station_unknown", "没有这个工位", "no such station", field="station")
    return station


async def _form(request: Request, token: str) -> dict[str, str]:
    """The fields of a form that our own page sent. Raises `Rejected`."""
    guard.check_origin(request)
    body = await guard.body_of(request)
    try:
        form = dict(parse_qsl(body.decode("utf-8"), max_num_fields=20, keep_blank_values=True))
    except ValueError as error:
        raise Rejected("form_broken", "表单有误", "broken form", field="body") from error
    if not hmac.compare_digest(form.pop("token", "").encode(), token.encode()):
        raise Rejected("not_from_here", "页面已过期, 请刷新", "bad token", field="token")
    return form


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
