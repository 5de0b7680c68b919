"""Who may ask anything of the agent's pages, and how much they may send.

A foreign page must not be able to look or press: the Host must be one of ours (DNS rebinding), what
changes something needs our Origin, and nothing is read beyond a bound.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any
from urllib.parse import urlsplit

import msgspec
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from protocols.errors import PacklineError, Rejected, Unavailable

BODY_BYTES_MAX = 8_192
BODY_S = 10.0
"""A body comes in one piece; who sends it by drops only holds a place."""
HEADERS = {
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
    "Cross-Origin-Resource-Policy": "same-origin",
}
FORBIDDEN = frozenset({"not_from_here", "not_paired", "session_over", "pin_locked", "pin_wrong"})
"""Codes answered with 403: not what was asked is wrong, but who asks."""

Endpoint = Callable[[Request], Awaitable[Response]]


def policy(*, script: str = "", connect: bool = False) -> str:
    """The Content-Security-Policy of a page; `script` are its script sources, "" for none."""
    parts = ["default-src 'none'", "style-src 'self'", "img-src 'self'", "form-action 'self'"]
    if script:
        parts += [f"script-src {script}", "require-trusted-types-for 'script'"]
    if connect:
        parts.append("connect-src 'self'")
    return "; ".join([*parts, "base-uri 'none'", "frame-ancestors 'none'"])


def guarded(
    endpoint: Callable[..., Awaitable[Response]],
    names: frozenset[str],
    refused: Callable[[str], None] = lambda code: None,
) -> Endpoint:
    """The endpoint for callers that use one of our names; errors of our families as JSON.

    `refused` is told the code of each error.
    """

    async def run(request: Request) -> Response:
        if host_of(f"//{request.headers.get('host', '')}")[0] not in names:
            refused("host")
            return PlainTextResponse("host not allowed\n", status_code=421, headers=HEADERS)
        try:
            response = await endpoint(request)
        except PacklineError as error:
            refused(error.code)
            response = told(error)
        for name, value in {**HEADERS, "Content-Security-Policy": policy()}.items():
            response.headers.setdefault(name, value)
        return response

    return run


def guard_for(
    names: Sequence[str], refused: Callable[[str], None] = lambda code: None
) -> Callable[[Callable[..., Awaitable[Response]]], Endpoint]:
    """`guarded` with these host names."""
    lower = frozenset(name.lower() for name in names)
    return partial(guarded, names=lower, refused=refused)


def told(error: PacklineError) -> Response:
    """An error as the pages' scripts read it."""
    status = 503 if isinstance(error, Unavailable) else 403 if error.code in FORBIDDEN else 422
    body = {"code": error.code, "field": error.field, "zh": error.zh, "en": error.en}
    return JSONResponse(body, status_code=status)


def check_origin(request: Request) -> None:
    """Raises `Rejected("not_from_here")` unless our own page asks."""
    if host_of(request.headers.get("origin", ""))[1] != request.headers.get("host", "-"):
        raise Rejected("not_from_here", "请求不是来自本页面", "foreign origin", field="origin")


async def body_of(request: Request) -> bytes:
    """The body, at most 8 KiB. Raises `Rejected("body_too_large")`, `body_slow`."""
    body = b""
    try:
        async with asyncio.timeout(BODY_S):
            async for piece in request.stream():
                body += piece
                if len(body) > BODY_BYTES_MAX:
                    raise Rejected("body_too_large", "内容太长", "body too large", field="body")
    except TimeoutError as error:
        raise Rejected("body_slow", "内容没有收完", "body too slow", field="body") from error
    return body


async def fields_of(request: Request) -> Mapping[str, Any]:
    """The JSON object that our own page's script sent. Raises `Rejected`.

    A form of another site can send no such content type, and no such Origin.
    """
    check_origin(request)
    if request.headers.get("content-type", "") != "application/json":
        raise Rejected("not_from_here", "请求不是来自本页面", "not json", field="content-type")
    try:
        fields = msgspec.json.decode(await body_of(request))
    except (msgspec.DecodeError, RecursionError) as error:
        raise Rejected("body_broken", "内容有误", "broken json", field="body") from error
    if not isinstance(fields, dict):
        raise Rejected("body_broken", "内容有误", "not an object", field="body")
    return fields


def text_in(fields: Mapping[str, Any], name: str, chars_max: int, default: str = "") -> str:
    """A text field. Raises `Rejected` naming it."""
    value = fields.get(name, default)
    if not isinstance(value, str) or len(value) > chars_max:
        raise Rejected("field_invalid", f"{name} 有误", f"bad {name}", field=name)
    return value


def count_in(fields: Mapping[str, Any], name: str, most: int) -> int:
    """A whole number from 0 to `most`. Raises `Rejected` naming it."""
    value = fields.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= most:
        raise Rejected("field_invalid", f"{name} 有误", f"bad {name}", field=name)
    return value


def host_of(address: str) -> tuple[str, str]:
    """(host name, host and port) of an address; empty when it is none."""
    try:
        parts = urlsplit(address)
        return parts.hostname or "", parts.netloc
    except ValueError:
        return "", ""
