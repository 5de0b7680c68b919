"""Asks another system about a paid order: one signed HTTP call, tried a few times, bounded.

The body is JSON without personal data, signed as the generic dialect's pushes are; the answer is
`{"verdict": "accept" | "refuse", "text": "…"}`. Everything else is no answer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx
import msgspec
from tenacity import (
    AsyncRetrying,
    RetryError,
    retry_if_exception_type,
    stop_after_attempt,
    wait_random_exponential,
)

from cloud_core.domain.signing import hmac_sha256_hex, live_secrets
from cloud_core.ports import Clock, ExternalAnswer
from protocols.errors import PacklineError, Rejected

ANSWER_BYTES_MAX = 64_000
_TEXT_CHARS = 300
_SECRET_CHARS_MIN = 16


@dataclass(frozen=True, slots=True)
class CheckTarget:
    """Where a rule asks and what signs the call."""

    url: str
    secrets: Sequence[str] = field(repr=False)


def read_targets(document: Mapping[str, Any]) -> dict[str, CheckTarget]:
    """The systems of a parsed TOML document: one table each, `[erp]` with `url` and `secret`.

    Raises `Rejected("outside_file_broken")` naming the field, e.g. `erp.url`.
    """
    found = {}
    for name, table in document.items():
        if not isinstance(table, dict):
            raise _broken(name, "须为一张表", "a table is needed")
        for key in table.keys() - {"url", "secret"}:
            raise _broken(f"{name}.{key}", f"没有字段 {key}", f"no field {key}")
        url, secret = table.get("url"), table.get("secret")
        if not isinstance(url, str) or not url.startswith(("http://", "https://")):
            raise _broken(f"{name}.url", "须为 http 或 https 地址", "an http(s) address")
        if not isinstance(secret, str) or len(secret) < _SECRET_CHARS_MIN:
            raise _broken(
                f"{name}.secret", f"须为至少 {_SECRET_CHARS_MIN} 个字符",
                f"needs {_SECRET_CHARS_MIN} characters or more",
            )  # fmt: skip
        found[name] = CheckTarget(url, (secret,))
    return found


def target_among(systems: Mapping[str, CheckTarget]) -> Callable[[str], CheckTarget]:
    """Look-up by name. What it gives raises `Rejected("outside_unknown")`."""

    def target_of(name: str) -> CheckTarget:
        if name not in systems:
            raise Rejected("outside_unknown", f"没有配置外部系统 {name}", f"no system {name}")
        return systems[name]

    return target_of


def _broken(field_name: str, zh: str, en: str) -> Rejected:
    return Rejected("outside_file_broken", f"外部系统文件：{zh}", en, field=field_name)


class _Answer(msgspec.Struct):
    verdict: str
    text: str = ""


class _TryAgain(Exception):
    """No answer now."""


class HttpExternalCheck:
    """Calls over one httpx client; `close` ends it."""

    def __init__(
        self,
        target_of: Callable[[str], CheckTarget],
        clock: Clock,
        *,
        timeout_s: float = 5.0,
        tries: int = 2,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._target_of, self._clock, self._tries = target_of, clock, tries
        self._timeout_s, self._transport = timeout_s, transport
        self._made: httpx.AsyncClient | None = None

    async def ask(self, rule: str, body: bytes, idempotency_key: str) -> ExternalAnswer:
        """One verdict, or none; never raises for what the other side does."""
        try:
            target = self._target_of(rule)
            secret = live_secrets(target.secrets)[0]
        except PacklineError as error:
            return ExternalAnswer("", f"{error.code}: {error.en}"[:_TEXT_CHARS])
        try:
            async for attempt in AsyncRetrying(
                stop=stop_after_attempt(self._tries),
                wait=wait_random_exponential(multiplier=0.1, max=1.0),
                retry=retry_if_exception_type(_TryAgain),
            ):
                with attempt:
                    return await self._call(target.url, secret, rule, body, idempotency_key)
        except RetryError as error:
            return ExternalAnswer("", str(error.last_attempt.exception())[:_TEXT_CHARS])
        raise AssertionError("unreachable")

    async def close(self) -> None:
        """Close idle connections."""
        if self._made is not None:
            await self._made.aclose()

    def _client(self) -> httpx.AsyncClient:
        """Made when first needed: reading the system's certificates takes a while."""
        if self._made is None:
            self._made = httpx.AsyncClient(
                timeout=self._timeout_s, transport=self._transport, follow_redirects=False
            )
        return self._made

    async def _call(
        self, url: str, secret: str, rule: str, body: bytes, idempotency_key: str
    ) -> ExternalAnswer:
        stamp = str(self._clock.now_ms() // 1000)
        headers = {
            "content-type": "application/json",
            "idempotency-key": idempotency_key,
            "x-packline-kind": f"check:{rule}",
            "x-packline-timestamp": stamp,
            "x-packline-signature": hmac_sha256_hex(secret, stamp.encode(), b".", body),
        }
        try:
            async with self._client().stream("POST", url, content=body, headers=headers) as answer:
                raw = await _bounded(answer)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise _TryAgain(f"{type(error).__name__}: {error}") from error
        if not answer.is_success:
            raise _TryAgain(f"{answer.status_code}")
        try:
            said = msgspec.json.decode(raw, type=_Answer)
        except (msgspec.DecodeError, RecursionError) as error:
            raise _TryAgain(f"answer broken: {error}") from error
        if said.verdict not in ("accept", "refuse"):
            raise _TryAgain(f"verdict unknown: {said.verdict[:24]!r}")
        return ExternalAnswer(said.verdict, said.text[:_TEXT_CHARS])


async def _bounded(answer: httpx.Response) -> bytes:
    raw = b""
    async for part in answer.aiter_bytes():
        raw += part
        if len(raw) > ANSWER_BYTES_MAX:
            raise _TryAgain(f"the answer is larger than {ANSWER_BYTES_MAX} bytes")
    return raw
