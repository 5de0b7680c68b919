"""Tells a shop what became of its order: one signed HTTP call, tried a few times, never twice done.

The body is JSON, signed as the generic dialect's pushes are (HMAC-SHA256 over timestamp, ".", raw
body); the receiver drops repeats by `idempotency-key`. Later rounds are the core's business.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import httpx
from tenacity import (
    AsyncRetrying,
    RetryError,
    retry_if_exception_type,
    stop_after_attempt,
    wait_random_exponential,
)

from cloud_core.domain.signing import hmac_sha256_hex, live_secrets
from cloud_core.ports import Clock, WriteBackAnswer
from protocols.errors import PacklineError

_ANSWER_CHARS = 300
_WAIT_S_MAX = 5.0
_AGAIN = frozenset({408, 409, 425, 429})
"""Refusals that may pass: timeout, conflict of the moment, too early, too many."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where a channel wants to be told and what signs the call; "" = it does not want to."""

    url: str
    secrets: Sequence[str] = field(repr=False)


class _TryAgain(Exception):
    """The shop did not take the call now."""


class HttpWriteBack:
    """Calls over one httpx client; `close` ends it."""

    def __init__(
        self,
        target_of: Callable[[str], Target],
        clock: Clock,
        *,
        timeout_s: float,
        tries: int,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._target_of, self._clock, self._tries = target_of, clock, tries
        self._client = httpx.AsyncClient(
            timeout=timeout_s, transport=transport, follow_redirects=False
        )

    async def send(
        self, channel: str, kind: str, body: bytes, idempotency_key: str
    ) -> WriteBackAnswer:
        """Deliver; settled when the shop took it or refused it for good. Never raises."""
        try:
            target = self._target_of(channel)
            if not target.url:
                return WriteBackAnswer(True, "no write-back url")
            secret = live_secrets(target.secrets)[0]
        except PacklineError as error:
            return WriteBackAnswer(False, f"{error.code}: {error.en}"[:_ANSWER_CHARS])
        try:
            async for attempt in AsyncRetrying(
                stop=stop_after_attempt(self._tries),
                wait=wait_random_exponential(multiplier=0.2, max=_WAIT_S_MAX),
                retry=retry_if_exception_type(_TryAgain),
            ):
                with attempt:
                    return await self._call(target.url, secret, kind, body, idempotency_key)
        except RetryError as error:
            cause = error.last_attempt.exception()
            return WriteBackAnswer(False, str(cause)[:_ANSWER_CHARS])
        raise AssertionError("unreachable")

    async def close(self) -> None:
        """Close idle connections."""
        await self._client.aclose()

    async def _call(
        self, url: str, secret: str, kind: str, body: bytes, idempotency_key: str
    ) -> WriteBackAnswer:
        stamp = str(self._clock.now_ms() // 1000)
        headers = {
            "content-type": "application/json",
            "idempotency-key": idempotency_key,
            "x-packline-kind": kind,
            "x-packline-timestamp": stamp,
            "x-packline-signature": hmac_sha256_hex(secret, stamp.encode(), b".", body),
        }
        try:
            answer = await self._client.post(url, content=body, headers=headers)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise _TryAgain(f"{type(error).__name__}: {error}") from error
        text = f"{answer.status_code} {answer.text[:_ANSWER_CHARS]}"
        if answer.is_success:
            return WriteBackAnswer(True, text)
        if answer.status_code >= 500 or answer.status_code in _AGAIN:
            raise _TryAgain(text)
        return WriteBackAnswer(True, f"refused {text}")
