"""Logs of the agent: `noun.verb_past key=value`, one line each, to stderr, no personal data."""

from __future__ import annotations

import logging
import sys
import time

_LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}


def set_up(level: str = "info") -> None:
    """Send every record to stderr in UTC, one line with its level and room."""
    formatter = logging.Formatter(
        "%(asctime)s.%(msecs)03dZ %(levelname)s %(name)s %(message)s", "%Y-%m-%dT%H:%M:%S"
    )
    formatter.converter = time.gmtime
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter)
    logging.basicConfig(level=_LEVELS[level], handlers=[handler], force=True)
    # Requests to the status page every few seconds would hide what matters.
    logging.getLogger("uvicorn.access").setLevel(logging.WARNING)
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
