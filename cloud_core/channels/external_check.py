"""Asks another system about a paid order: one signed HTTP call, tried a few times, bounded.

The body is JSON without personal data, signed as the generic dialect's pushes are; the answer is
`{"verdict": "accept" | "refuse", "text": "…"}`. Everything else is no answer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

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
from protocols.errors import PacklineError

ANSWER_BYTES_MAX = 64_000
_TEXT_CHARS = 300


@dataclass(frozen=True, slots=True)
class CheckTarget:
    """Where a rule asks and what signs the call."""

    url: str
    secrets: Sequence[str] = field(repr=False)


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
        self._client = httpx.AsyncClient(
            timeout=timeout_s, transport=transport, follow_redirects=False
        )

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
        await self._client.aclose()

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
            async with self._client.stream("POST", url, content=body, headers=headers) as answer:
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
