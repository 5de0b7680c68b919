"""A notice as one log line: for a core without robots, and to see what robots would say."""

from __future__ import annotations

from typing import Any

import structlog

from cloud_core.ports import Notification, NotifyAnswer, NotifyTarget

_log = structlog.get_logger()


class LogNotifier:
    """Always taken."""

    kind = "log"
    per_min = 6_000

    def __init__(self, log: Any = None) -> None:
        self._log = log or _log

    async def send(self, target: NotifyTarget, notice: Notification) -> NotifyAnswer:
        """Write the line."""
        self._log.info(
            "notice.sent", target=target.name, id=notice.id, kind=notice.kind,
            warehouse=notice.warehouse, title=notice.title, text=notice.text,
        )  # fmt: skip
        return NotifyAnswer(True, "logged")
