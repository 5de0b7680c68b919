"""DingTalk custom robot: `robot/send` with timestamp and sign in the query; errcode 0 is a yes.

sign = url-encoded Base64 of HMAC-SHA256(key = secret, message = "{timestamp ms}\\n{secret}"); the
robot refuses a timestamp more than an hour off. 20 messages a minute, then it is shut for ten
minutes (open.dingtalk.com, "custom robot access", "message types and data format").
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from typing import Any
from urllib.parse import quote_plus

import msgspec

from cloud_core.domain.notice import cut_bytes, robot_said
from cloud_core.ports import Clock, HttpPost, Notification, NotifyAnswer, NotifyTarget
from protocols.errors import Unavailable

PER_MIN = 20
TEXT_BYTES_MAX = 18_000
"""A request may have 20,000 bytes; the rest is for the frame."""
_TOO_FAST = frozenset({130101, 410100, 660026})
_TOO_FAST_WAIT_S = 600.0


def sign(secret: str, timestamp_ms: int) -> str:
    """The signature, before it is URL-encoded."""
    text = f"{timestamp_ms}\n{secret}"
    return base64.b64encode(
        hmac.new(secret.encode(), text.encode(), hashlib.sha256).digest()
    ).decode()


def signed_url(url: str, secret: str, timestamp_ms: int) -> str:
    """The robot's address with timestamp and sign; as it is for a robot without a secret."""
    if not secret:
        return url
    return f"{url}&timestamp={timestamp_ms}&sign={quote_plus(sign(secret, timestamp_ms))}"


def build(notice: Notification, target: NotifyTarget) -> bytes:
    """A text or markdown message; mentioned phones must stand in the text as well."""
    mentions = "".join(f" @{mobile}" for mobile in target.mobiles)
    text = cut_bytes(notice.text, TEXT_BYTES_MAX)
    at: dict[str, Any] = {"atMobiles": list(target.mobiles), "isAtAll": False}
    if target.style == "text":
        content = f"{notice.title}\n{text}{mentions}"
        return msgspec.json.encode({"msgtype": "text", "text": {"content": content}, "at": at})
    shown = f"#### {notice.title}\n\n{text}\n\n{mentions.strip()}".rstrip()
    markdown = {"title": notice.title, "text": shown}
    return msgspec.json.encode({"msgtype": "markdown", "markdown": markdown, "at": at})


def read(status: int, body: bytes) -> NotifyAnswer:
    """What the robot said: only errcode 0 is a yes, whatever the HTTP status."""
    return NotifyAnswer(*robot_said(status, body, _TOO_FAST, _TOO_FAST_WAIT_S))


class DingTalkNotifier:
    """Sends to DingTalk groups."""

    kind = "dingtalk"
    per_min = PER_MIN

    def __init__(self, post: HttpPost, clock: Clock) -> None:
        self._post, self._clock = post, clock

    async def send(self, target: NotifyTarget, notice: Notification) -> NotifyAnswer:
        """One signed POST."""
        url = signed_url(target.url, target.secret, self._clock.now_ms())
        headers = {"content-type": "application/json; charset=utf-8"}
        try:
            return read(*await self._post(url, headers, build(notice, target)))
        except Unavailable as error:
            return NotifyAnswer(False, error.en)
