"""The HTTP application: routes, one canonical log line a request, one shape of refusal."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.utils import get_openapi
from fastapi.responses import Response
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cloud_core import logs
from cloud_core.api import (
    breakers,
    changes,
    channels,
    console,
    console_after,
    console_breakers,
    console_sign_in,
    health,
    holds,
    intake,
    master,
    notify,
    outside,
    returns,
    rules,
    shapes,
    staff,
    stock,
    take_back,
    tracking,
)
from cloud_core.api.doors import Doors
from cloud_core.api.errors import answer
from protocols.errors import PacklineError, Rejected, Unavailable

Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[None]]
_log = logs.get("api")
_DESCRIPTION = """
Packline 云端核心接口。店铺以签名推送订单；员工与程序以 `Authorization: Bearer pk_…` 调用；
买家打开 `/t/{token}`。所有错误同一形状：`code` 稳定不变，`field` 指出问题字段，
`message_zh` / `message_en` 为说明，`details` 为逐条问题。

Every refusal has one shape; times are milliseconds UTC (`*_ms`), money is fen (`*_fen`).
"""


def create_app(doors: Doors, lifespan: Lifespan | None = None) -> FastAPI:
    """The application over `doors`; `lifespan` starts and stops the loops beside it."""
    app = FastAPI(
        title="Packline cloud core",
        version="1",
        description=_DESCRIPTION,
        lifespan=lifespan,
        docs_url=None,  # its page loads from a CDN
        redoc_url=None,
        openapi_tags=[
            {"name": "intake", "description": "订单进入 · orders come in"},
            {"name": "stock", "description": "可售库存 · stock for shops"},
            {"name": "holds", "description": "结账预占 · checkout holds"},
            {"name": "staff", "description": "员工与程序 · staff and programs"},
            {"name": "master", "description": "主数据 · master data"},
            {"name": "buyer", "description": "买家 · the buyer"},
            {"name": "health", "description": "运行状况 · health"},
        ],
    )
    app.state.doors = doors
    app.openapi = lambda: _document(app)  # type: ignore[method-assign]
    # Channels before master data: its address with any kind of data would catch theirs.
    for part in (
        intake, stock, holds, staff, changes, returns, breakers, take_back, outside, notify,
        channels, rules, master, tracking, health,
    ):  # fmt: skip
        app.include_router(part.router)
    for pages in (console, console_after, console_breakers, console_sign_in):
        app.include_router(pages.router)
    app.include_router(console_sign_in.front)
    app.include_router(console_sign_in.lost)
    app.add_exception_handler(PacklineError, _refuse)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(Exception, _internal)
    app.add_middleware(CanonicalLine)
    return app


def _document(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI document; the framework's own 422 gives way to our shape of refusal."""
    if app.openapi_schema is None:
        found = get_openapi(
            title=app.title, version=app.version, description=app.description, routes=app.routes,
            tags=app.openapi_tags,
        )  # fmt: skip
        ours = shapes.refusals("request_invalid")[422]
        ours.pop("model")
        ours["content"]["application/json"]["schema"] = {"$ref": "#/components/schemas/Refusal"}
        for path, methods in found["paths"].items():
            for operation in methods.values():
                _own_422(operation["responses"], ours, keep=not path.startswith("/t/"))
        for name in ("HTTPValidationError", "ValidationError"):
            found["components"]["schemas"].pop(name, None)
        app.openapi_schema = found
    return app.openapi_schema


def _own_422(answers: dict[str, Any], ours: dict[str, Any], *, keep: bool) -> None:
    schema = answers.get("422", {}).get("content", {}).get("application/json", {}).get("schema", {})
    if schema.get("$ref", "").endswith("HTTPValidationError"):
        answers.pop("422")
        if keep:
            answers["422"] = ours


class CanonicalLine:
    """One log line and one count a request, by route template: paths may hold secret tokens."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on and note its status and time."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        start, status = time.perf_counter(), 500

        async def note(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, note)
        finally:
            seconds = time.perf_counter() - start
            route = getattr(scope.get("route"), "path", "unmatched")
            scope["app"].state.doors.metrics.answered(scope["method"], route, status, seconds)
            _log.info(
                "http.request_answered", method=scope["method"], route=route, status=status,
                ms=round(seconds * 1000, 1), key=scope.get("packline.key", ""),
                source=(scope.get("client") or ("",))[0],
            )  # fmt: skip


async def _refuse(request: Request, error: Exception) -> Response:
    assert isinstance(error, PacklineError)
    if isinstance(error, Unavailable) and error.code not in ("rate_limited",):
        _log.warning("http.request_unavailable", code=error.code, reason=error.en)
    return answer(error)


async def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    problems = [
        {"field": ".".join(str(part) for part in item["loc"][1:]), "message": item["msg"]}
        for item in error.errors()
    ]
    field = problems[0]["field"] if problems else ""
    refused = Rejected(
        "request_invalid", f"请求参数 {field} 不正确", f"parameter {field} is not valid",
        field=field,
    )  # fmt: skip
    return answer(refused, problems)


async def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if request.url.path.startswith("/t/"):
        pages = request.app.state.doors.pages
        document = pages.draw_notice("track_unknown")
        return Response(document, 404, pages.headers(), "text/html; charset=utf-8")
    code = {404: "not_found", 405: "method_not_allowed"}.get(error.status_code, "request_invalid")
    refused = Rejected(code, "没有这个地址或方法", str(error.detail), field="path")
    return answer(refused, headers=dict(error.headers or {}))


async def _internal(request: Request, error: Exception) -> Response:
    _log.error("http.request_failed", error=type(error).__name__, exc_info=error)
    return answer(Rejected("internal", "系统内部错误，已记录", "an internal error, logged"))
