"""Logs of the core: `noun.verb_past` with key-values, one line each, no personal data.

Callers log codes, ids and counts; the filter here is the second fence: keys that could hold a
person's data are dropped whatever the caller meant.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import MutableMapping
from typing import Any

import structlog

PERSONAL_KEYS = frozenset(
    {"name", "phone", "address", "detail", "receiver", "contact", "body", "secret", "password",
     "token", "authorization"}
)  # fmt: skip
_LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}


def set_up(level: str = "info", form: str = "json") -> None:
    """Send structlog and the standard library's records to stderr; `form` is json or console."""
    renderer: Any = (
        structlog.processors.JSONRenderer(ensure_ascii=False)
        if form == "json"
        else structlog.dev.ConsoleRenderer()
    )
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        drop_personal,
    ]
    structlog.configure(
        processors=[*shared, structlog.processors.format_exc_info, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(processor=renderer, foreign_pre_chain=shared)
    )
    logging.basicConfig(level=_LEVELS[level], handlers=[handler], force=True)
    # Access lines of every request say nothing our own canonical line does not.
    logging.getLogger("uvicorn.access").setLevel(logging.WARNING)
    for name in ("httpx", "httpcore", "alembic"):
        logging.getLogger(name).setLevel(logging.WARNING)
    # A commit that came too late ends its pipeline with an error that is raised and dealt with; the
    # driver would tell of every statement behind it besides, thousands of lines under contention.
    logging.getLogger("psycopg").setLevel(logging.ERROR)


def drop_personal(
    _logger: Any, _method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """Replace values under keys that may hold personal data or secrets."""
    for key in PERSONAL_KEYS & event.keys():
        event[key] = "[dropped]"
    return event


def get(room: str) -> Any:
    """A logger that names its room."""
    return structlog.get_logger(room=room)
