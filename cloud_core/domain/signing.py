"""The few digests shops sign their messages with, and the checks every signed door makes.

Sits at the very front of the journey: a dialect calls it on the raw bytes before anything is
parsed. Sources: HMAC-SHA256 is RFC 2104 / FIPS 180-4; the MD5 forms are what the platforms still
ask for. This module must not know any shop's header names, HTTP or a clock.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping, Sequence

from protocols.errors import Rejected

MAX_LIVE_SECRETS = 2  # the old and the new one while a secret is being changed
MAX_SIGNATURE_CHARS = 256


def hmac_sha256_hex(secret: str, *parts: bytes) -> str:
    """HMAC-SHA256 over the parts in order, lower-case hex (64 characters)."""
    mac = hmac.new(secret.encode(), digestmod=hashlib.sha256)
    for part in parts:
        mac.update(part)
    return mac.hexdigest()


def md5_hex(*parts: bytes) -> str:
    """MD5 over the parts in order, lower-case hex (32 characters); only where a shop demands it."""
    digest = hashlib.md5(usedforsecurity=False)
    for part in parts:
        digest.update(part)
    return digest.hexdigest()


def header(headers: Mapping[str, str], name: str) -> str:
    """The stripped value of a header, "" if absent. `name` is lower case, keys in any case."""
    value = headers.get(name)
    if value is None:
        value = next((v for k, v in headers.items() if k.lower() == name), "")
    return value.strip()


def live_secrets(secrets: Sequence[str]) -> tuple[str, ...]:
    """The secrets that may sign, newest first; empty ones and more than two never count.

    Raises `Rejected("secret_not_configured")` when none is left: an unsigned door stays shut.
    """
    live = tuple(secret for secret in secrets if secret)[:MAX_LIVE_SECRETS]
    if not live:
        raise Rejected(
            "secret_not_configured",
            "该渠道未配置签名密钥，拒绝接收",
            "no secret is configured for this channel",
        )
    return live


def check_timestamp(value: str, *, now_s: int, tolerance_s: int, field: str) -> None:
    """Refuse a timestamp (text, whole seconds) further than `tolerance_s` from `now_s`.

    Raises `Rejected` `timestamp_missing`, `timestamp_broken` or `timestamp_stale`.
    """
    if not value:
        raise Rejected("timestamp_missing", "缺少时间戳", "the timestamp is missing", field=field)
    if not (value.isascii() and value.isdigit() and len(value) <= 12):
        raise Rejected(
            "timestamp_broken",
            "时间戳必须是秒数",
            "the timestamp must be whole seconds",
            field=field,
        )
    if abs(now_s - int(value)) > tolerance_s:
        raise Rejected(
            "timestamp_stale",
            f"时间戳与服务器时间相差超过 {tolerance_s} 秒",
            f"the timestamp is more than {tolerance_s} s away from the server's time",
            field=field,
        )


def check_signature(given: str, expected: Sequence[str], *, field: str) -> None:
    """Accept `given` if it equals one of `expected`; every one is compared, in constant time.

    Raises `Rejected` `signature_missing` or `signature_wrong`.
    """
    if not given:
        raise Rejected("signature_missing", "缺少签名", "the signature is missing", field=field)
    ours = given[:MAX_SIGNATURE_CHARS].lower().encode("utf-8", "replace")
    matches = [hmac.compare_digest(ours, wanted.encode()) for wanted in expected]
    if not any(matches):
        raise Rejected(
            "signature_wrong",
            "签名不正确，或内容被改动过",
            "the signature does not fit the body",
            field=field,
        )
