"""The buyer's door: one page behind a secret link, no login, no script, nothing to guess.

An unknown and a mistyped token look the same; the token never reaches a log or a metric.
"""

from __future__ import annotations

import hashlib
import re

from fastapi import APIRouter, Request
from fastapi.responses import Response

from cloud_core.api.doors import Doors
from cloud_core.api.guard import Source, TheDoors
from cloud_core.api.rates import RateLimited
from cloud_core.domain.tracking import page_of

router = APIRouter()

FRESH_S = 15
"""How long a phone may show the page again without asking."""
_TOKEN = re.compile(r"[A-Za-z0-9_-]{16,32}\Z")
_HTML = "text/html; charset=utf-8"
_PAGE = {"content": {"text/html": {"example": '<!doctype html><html lang="zh-CN">…'}}}


@router.get(
    "/t/{token}",
    summary="物流查询页 · tracking page",
    tags=["buyer"],
    response_class=Response,
    responses={
        200: {"description": "订单的全部包裹。All parcels of the order.", **_PAGE},
        304: {"description": "没有变化。Unchanged since the given ETag."},
        404: {"description": "链接不存在。Unknown link.", **_PAGE},
        410: {"description": "链接已过期。Expired link.", **_PAGE},
        429: {"description": "查询太频繁。Too many requests.", **_PAGE},
    },
)
def show(token: str, request: Request, doors: TheDoors, source: Source) -> Response:
    """Timeline, expected date and masked receiver; several parcels together."""
    now_ms = doors.clock.now_ms()
    try:
        doors.page_rates.take(source, now_ms)
    except RateLimited:
        return _notice(doors, "rate_limited", 429, {"Retry-After": "60"})
    tracking = doors.views.tracking(token) if _TOKEN.match(token) else None
    if tracking is None:
        return _notice(doors, "track_unknown", 404)
    if tracking.is_expired(now_ms):
        return _notice(doors, "track_expired", 410)
    document = doors.pages.draw(page_of(tracking, now_ms)).encode()
    etag = f'"{hashlib.sha256(document).hexdigest()[:32]}"'
    headers = {
        **doors.pages.headers(), "ETag": etag, "Cache-Control": f"private, max-age={FRESH_S}",
    }  # fmt: skip
    if _matches(request.headers.get("if-none-match", ""), etag):
        return Response(status_code=304, headers=headers)
    return Response(document, 200, headers, _HTML)


def _matches(given: str, etag: str) -> bool:
    """If-None-Match uses the weak comparison (RFC 9110 section 13.1.2)."""
    return any(tag.strip().removeprefix("W/") == etag for tag in given.split(",")) or given == "*"


def _notice(doors: Doors, code: str, status: int, extra: dict[str, str] | None = None) -> Response:
    headers = {**doors.pages.headers(), "Cache-Control": "no-store", **(extra or {})}
    return Response(doors.pages.draw_notice(code), status, headers, _HTML)
