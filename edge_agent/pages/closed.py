"""The page of an agent whose medium takes nothing: says so in red, and what to do.

Stands in for the status page while no journal is open. Nothing can be pressed here.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from html import escape
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

Told = Callable[[], dict[str, Any]]
_HEADERS = {"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'",
            "X-Content-Type-Options": "nosniff", "Cache-Control": "no-store"}  # fmt: skip
_PAGE = """<!doctype html>
<html lang="zh-CN"><head><meta charset="utf-8"><meta http-equiv="refresh" content="3">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>停! 本机存储不可用</title>
<style>body{{background:#b00020;color:#fff;font:1.4rem sans-serif;margin:4vmin}}
h1{{font-size:3rem}}</style></head><body><h1>停！本机存储不可用</h1><p>{reason}</p>
<p>扫描一律不接收、不打印；已接收的记录都在。已拒绝扫描 {refused} 次。</p>
<p>请清理磁盘或更换存储卡（见 edge-agent doctor）。恢复后本机自动继续，无需重启。</p></body></html>
"""


def build_closed(told: Told, names: frozenset[str]) -> Starlette:
    """The application. `told` gives `reason_zh` and `scans_refused`; `names` are allowed hosts."""
    routes = [
        Route("/", partial(_page, told=told, names=names)),
        Route("/status.json", partial(_status, told=told, names=names)),
        Route("/healthz", partial(_health, told=told, names=names)),
    ]
    return Starlette(routes=routes)


async def _page(request: Request, told: Told, names: frozenset[str]) -> Response:
    found = told()
    shown = _PAGE.format(reason=escape(found["reason_zh"]), refused=int(found["scans_refused"]))
    return _answer(request, names, Response(shown, status_code=503, media_type="text/html"))


async def _status(request: Request, told: Told, names: frozenset[str]) -> Response:
    return _answer(request, names, JSONResponse({"out_of_order": told()}, status_code=503))


async def _health(request: Request, told: Told, names: frozenset[str]) -> Response:
    return _answer(request, names, JSONResponse({"ok": False, **told()}, status_code=503))


def _answer(request: Request, names: frozenset[str], response: Response) -> Response:
    if (request.url.hostname or "").lower() not in names:
        return PlainTextResponse("host not allowed\n", status_code=421, headers=_HEADERS)
    response.headers.update(_HEADERS)
    return response
