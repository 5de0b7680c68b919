"""The one HTTP POST behind web hooks and robots; bounded in time and in what it reads.

Errors name their kind only: the text of an httpx error may hold the address, which is a secret.
"""

from __future__ import annotations

from collections.abc import Mapping

import httpx

from protocols.errors import Unavailable

ANSWER_BYTES_MAX = 16_384
TIMEOUT_S = 10.0


class HttpxPost:
    """POSTs over one httpx client; `close` ends it."""

    def __init__(
        self, *, timeout_s: float = TIMEOUT_S, transport: httpx.AsyncBaseTransport | None = None
    ) -> None:
        self._timeout_s, self._transport = timeout_s, transport
        self._made: httpx.AsyncClient | None = None

    async def __call__(
        self, url: str, headers: Mapping[str, str], body: bytes
    ) -> tuple[int, bytes]:
        """(status, up to 16 KB of the answer). Raises `Unavailable("notify_unreachable")`."""
        try:
            async with self._client().stream(
                "POST", url, headers=dict(headers), content=body
            ) as answer:
                read = b""
                async for part in answer.aiter_bytes():
                    read += part
                    if len(read) >= ANSWER_BYTES_MAX:
                        break
                return answer.status_code, read[:ANSWER_BYTES_MAX]
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            kind = type(error).__name__
            raise Unavailable(
                "notify_unreachable", f"对方没有应答（{kind}）", f"no answer ({kind})"
            ) from None  # the cause would name the address

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
