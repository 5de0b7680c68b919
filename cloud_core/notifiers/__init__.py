"""Tells people far away: a log, a signed web hook, the group robots of DingTalk and WeCom.

One module a language; building a message and reading an answer are pure functions, the one HTTP
call (`transport`) is handed in. A robot's address holds its key, so no text here ever names one.
"""

from __future__ import annotations

from cloud_core.notifiers.dingtalk import DingTalkNotifier
from cloud_core.notifiers.log import LogNotifier
from cloud_core.notifiers.transport import HttpxPost
from cloud_core.notifiers.webhook import WebhookNotifier
from cloud_core.notifiers.wecom import WeComNotifier
from cloud_core.ports import Clock, HttpPost, Notifier

__all__ = ["HttpxPost", "notifiers_of"]


def notifiers_of(post: HttpPost, clock: Clock) -> dict[str, Notifier]:
    """Every way to tell people, by kind."""
    every: tuple[Notifier, ...] = (
        LogNotifier(), WebhookNotifier(post, clock), DingTalkNotifier(post, clock),
        WeComNotifier(post),
    )  # fmt: skip
    return {notifier.kind: notifier for notifier in every}
