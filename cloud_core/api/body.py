"""Request bodies with a bound that holds while they come in, not after."""

from __future__ import annotations

from fastapi import Request

from protocols.errors import Rejected


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


def _too_large(max_bytes: int) -> Rejected:
    return Rejected(
        "body_too_large",
        f"请求体超过上限 {max_bytes} 字节",
        f"the body is larger than {max_bytes} bytes",
        field="body",
    )
