"""Asks the running agent's own page how it is: for the doctor, `status` and the support bundle."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from typing import Any

from edge_agent.settings import Settings

ANSWER_S = 3.0
ANSWER_BYTES_MAX = 4_000_000
_ANY = ("0.0.0.0", "::", "")  # noqa: S104 - compared with, not listened on


def running_status(settings: Settings) -> dict[str, Any] | None:
    """`/status.json` of this machine's page; None when nobody answers (or it has no fixed port)."""
    if not settings.page_enabled or settings.page_port == 0:
        return None
    host = "127.0.0.1" if settings.page_host in _ANY else settings.page_host
    url = f"http://{host}:{settings.page_port}/status.json"
    request = urllib.request.Request(url)
    if settings.page_names:
        request.add_header("Host", f"{settings.page_names[0]}:{settings.page_port}")
    try:
        with urllib.request.urlopen(request, timeout=ANSWER_S) as answer:  # noqa: S310
            body = answer.read(ANSWER_BYTES_MAX)
    except urllib.error.HTTPError as error:
        body = error.read(ANSWER_BYTES_MAX)  # out of order: 503 with the reason
    except (OSError, ValueError):
        return None
    try:
        found = json.loads(body)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None
