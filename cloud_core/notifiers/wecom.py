"""WeCom (enterprise WeChat) group robot: a key in the address; errcode 0 is a yes.

Text up to 2,048 bytes, markdown up to 4,096 bytes of UTF-8, `mentioned_mobile_list` with text only,
20 messages a minute (work.weixin.qq.com/api/doc/90000/90136/91770). 45009 says "too fast".
"""

from __future__ import annotations

import msgspec

from cloud_core.domain.notice import cut_bytes, robot_said
from cloud_core.ports import HttpPost, Notification, NotifyAnswer, NotifyTarget
from protocols.errors import Unavailable

PER_MIN = 20
TEXT_BYTES_MAX, MARKDOWN_BYTES_MAX = 2_048, 4_096
_TOO_FAST = frozenset({45009, 45033})
_TOO_FAST_WAIT_S = 60.0


def build(notice: Notification, target: NotifyTarget) -> bytes:
    """Markdown, or text when phones are mentioned or text is wanted; cut between characters."""
    if target.mobiles or target.style == "text":
        content = cut_bytes(f"{notice.title}\n{notice.text}", TEXT_BYTES_MAX)
        text = {"content": content, "mentioned_mobile_list": list(target.mobiles)}
        return msgspec.json.encode({"msgtype": "text", "text": text})
    content = cut_bytes(f"**{notice.title}**\n{notice.text}", MARKDOWN_BYTES_MAX)
    return msgspec.json.encode({"msgtype": "markdown", "markdown": {"content": content}})


def read(status: int, body: bytes) -> NotifyAnswer:
    """What the robot said: only errcode 0 is a yes, whatever the HTTP status."""
    return NotifyAnswer(*robot_said(status, body, _TOO_FAST, _TOO_FAST_WAIT_S))


class WeComNotifier:
    """Sends to WeCom groups."""

    kind = "wecom"
    per_min = PER_MIN

    def __init__(self, post: HttpPost) -> None:
        self._post = post

    async def send(self, target: NotifyTarget, notice: Notification) -> NotifyAnswer:
        """One POST; the key in the address is the only proof."""
        headers = {"content-type": "application/json; charset=utf-8"}
        try:
            return read(*await self._post(target.url, headers, build(notice, target)))
        except Unavailable as error:
            return NotifyAnswer(False, error.en)
