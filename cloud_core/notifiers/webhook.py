"""A notice to anybody's own service: JSON, signed as our write-back is, any 2xx is a yes.

`x-packline-signature` = lower-case hex of HMAC-SHA256 over timestamp (seconds), ".", raw body; the
receiver refuses old timestamps and drops repeats by `idempotency-key`.
"""

from __future__ import annotations

import msgspec

from cloud_core.domain.signing import hmac_sha256_hex
from cloud_core.ports import Clock, HttpPost, Notification, NotifyAnswer, NotifyTarget
from protocols.errors import Unavailable

_TOO_MANY = 429
_TOO_MANY_WAIT_S = 60.0


def build(notice: Notification) -> bytes:
    """The body: the notice as it is."""
    return msgspec.json.encode(
        {
            "id": notice.id, "kind": notice.kind, "warehouse": notice.warehouse,
            "title": notice.title, "text": notice.text, "at_ms": notice.at_ms,
        }
    )  # fmt: skip


class WebhookNotifier:
    """Sends to a hook of the operator's choice."""

    kind = "webhook"
    per_min = 600

    def __init__(self, post: HttpPost, clock: Clock) -> None:
        self._post, self._clock = post, clock

    async def send(self, target: NotifyTarget, notice: Notification) -> NotifyAnswer:
        """One signed POST."""
        body, stamp = build(notice), str(self._clock.now_ms() // 1000)
        headers = {
            "content-type": "application/json",
            "idempotency-key": notice.id,
            "x-packline-kind": f"notice.{notice.kind}",
            "x-packline-timestamp": stamp,
            "x-packline-signature": hmac_sha256_hex(target.secret, stamp.encode(), b".", body),
        }
        try:
            status, _ = await self._post(target.url, headers, body)
        except Unavailable as error:
            return NotifyAnswer(False, error.en)
        wait_s = _TOO_MANY_WAIT_S if status == _TOO_MANY else 0.0
        return NotifyAnswer(200 <= status < 300, f"HTTP {status}", wait_s)
