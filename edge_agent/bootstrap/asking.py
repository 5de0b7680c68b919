"""Asks the running agent's own page: how it is (doctor, `status`, bundle), or for a paper."""

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
    return _asked(settings, "/status.json")


def pressed(settings: Settings, path: str, fields: dict[str, str]) -> dict[str, Any] | None:
    """What the page answers to `fields` at `path` as if its own script had sent them.

    An error of our families comes as its `code` and `zh`. None as with `running_status`.
    """
    return _asked(settings, path, json.dumps(fields).encode())


def _asked(settings: Settings, path: str, body: bytes | None = None) -> dict[str, Any] | None:
    if not settings.page_enabled or settings.page_port == 0:
        return None
    host = "127.0.0.1" if settings.page_host in _ANY else settings.page_host
    url = f"http://{host}:{settings.page_port}{path}"
    request = urllib.request.Request(url, data=body)
    if settings.page_names:
        host = settings.page_names[0]
    request.add_header("Host", f"{host}:{settings.page_port}")
    if body is not None:
        request.add_header("Content-Type", "application/json")
        request.add_header("Origin", f"http://{host}:{settings.page_port}")
    try:
        with urllib.request.urlopen(request, timeout=ANSWER_S) as answer:  # noqa: S310
            told = answer.read(ANSWER_BYTES_MAX)
    except urllib.error.HTTPError as error:
        told = error.read(ANSWER_BYTES_MAX)  # out of order, or refused: why
    except (OSError, ValueError):
        return None
    try:
        found = json.loads(told)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None
