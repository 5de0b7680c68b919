"""The header `Idempotency-Key`: what it must look like, and what a key stands for."""

from __future__ import annotations

import hashlib
import re
from typing import Annotated

from fastapi import Header
from fastapi.responses import Response

from cloud_core.api.guard import Caller
from cloud_core.domain.checkout import KEY_CHARS_MAX
from cloud_core.domain.hold_commands import Keyed
from protocols.errors import Rejected

IdempotencyKey = Annotated[
    str | None,
    Header(
        description=f"必填，1–{KEY_CHARS_MAX} 个可见 ASCII 字符。Needed.", examples=["cart-81-1"]
    ),
]
_KEY = re.compile(rf"[!-~]{{1,{KEY_CHARS_MAX}}}\Z")


def keyed(scope: str, caller: Caller, key: str | None, asked: bytes) -> Keyed:
    """The key of a request `asked`. Raises `Rejected` `idempotency_key_missing`, `…_invalid`."""
    if key is None:
        raise Rejected(
            "idempotency_key_missing", "缺少请求头 Idempotency-Key",
            "the header Idempotency-Key is needed", field="idempotency-key",
        )  # fmt: skip
    if not _KEY.match(key):
        raise Rejected(
            "idempotency_key_invalid",
            f"Idempotency-Key 须为 1 到 {KEY_CHARS_MAX} 个可见 ASCII 字符",
            f"an Idempotency-Key has 1 to {KEY_CHARS_MAX} visible ASCII characters",
            field="idempotency-key",
        )  # fmt: skip
    digest = hashlib.blake2b(asked, digest_size=16).hexdigest()
    return Keyed(f"{scope}:{caller.key.id}", key, digest)


def replayed(response: Response, again: bool) -> Response:
    """Say in the answer whether it is the stored one."""
    if again:
        response.headers["Idempotent-Replayed"] = "true"
    return response
