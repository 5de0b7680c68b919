"""Request bodies with a bound that holds while they come in, not after."""

from __future__ import annotations

import re
from typing import TypeVar

import msgspec
from fastapi import Request

from cloud_core.domain.json_guard import check_depth
from protocols.errors import Rejected

STRUCT_BYTES_MAX = 64_000
_JSON_DEPTH = 2
_FIELD = re.compile(r"field `([^`]+)`")
_NAMED = re.compile(r"field `([^`]+)`|at `\$\.([^`]+)`")
T = TypeVar("T")


async def read_bounded(request: Request, max_bytes: int) -> bytes:
    """The whole body. Raises `Rejected("body_too_large")` as soon as it is known to be too big."""
    declared = request.headers.get("content-length", "")
    if declared.isdigit() and int(declared) > max_bytes:
        raise _too_large(max_bytes)
    parts: list[bytes] = []
    size = 0
    async for part in request.stream():
        size += len(part)
        if size > max_bytes:
            raise _too_large(max_bytes)
        parts.append(part)
    return b"".join(parts)


async def read_struct(request: Request, kind: type[T]) -> T:
    """A small JSON body as `kind`, an empty one as `{}`. Raises `Rejected` naming the field."""
    raw = await read_bounded(request, STRUCT_BYTES_MAX) or b"{}"
    check_depth(raw, _JSON_DEPTH)
    try:
        return msgspec.json.decode(raw, type=kind)
    except msgspec.ValidationError as error:
        named = _NAMED.search(str(error))
        field = next((part for part in named.groups() if part), "body") if named else "body"
        raise Rejected(
            "request_invalid", f"字段 {field} 不正确", f"{error}", field=field
        ) from error
    except msgspec.DecodeError as error:
        raise Rejected(
            "json_broken", "不是有效的 JSON（UTF-8）", f"the body is not valid JSON: {error}",
            field="body",
        ) from error  # fmt: skip


def misshapen(code: str, error: msgspec.ValidationError) -> Rejected:
    """The refusal of a body that lacks a field, has one too many or one of another type."""
    text, _, path = str(error).partition(" - at `$")
    inner = _FIELD.search(text)
    at = ".".join(part for part in (path.strip("`."), inner[1] if inner else "") if part) or "body"
    why = "多余" if "unknown" in text else "缺失" if "missing" in text else "类型不正确"
    return Rejected(code, f"字段 {at} {why}", text, field=at)


def _too_large(max_bytes: int) -> Rejected:
    return Rejected(
        "body_too_large",
        f"请求体超过上限 {max_bytes} 字节",
        f"the body is larger than {max_bytes} bytes",
        field="body",
    )
