"""A member of staff at the console: what a session is, without cookies, forms or SQL.

A session is a random 256-bit name; only its SHA-256 is kept, so that a stolen database opens
nothing. The token of its forms is derived from the name and never stored: a foreign page that
cannot read the cookie cannot make it. A new name is drawn at every sign-in (no fixation).
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

from cloud_core.domain.access import ApiKey, same_hash

SESSION_MS = 12 * 3_600_000
"""A session ends this long after its sign-in, used or not: one shift."""
SESSIONS_PER_KEY_MAX = 20
"""Sessions one key may have; the oldest ends first."""
_NAME = re.compile(r"[A-Za-z0-9_-]{43}\Z")


@dataclass(frozen=True, slots=True)
class Session:
    """A live session: whose key it is and until when."""

    hash: str
    key: ApiKey
    expires_ms: int

    def is_live(self, now_ms: int) -> bool:
        """Whether it may still be used; revoking the key ends its sessions at once."""
        return now_ms < self.expires_ms and self.key.allows("read")


def looks_like_session(name: str) -> bool:
    """Whether a cookie has the shape of a session's name; others are not looked up."""
    return _NAME.match(name) is not None


def session_hash(name: str) -> str:
    """What is kept of a session's name: SHA-256, hex."""
    return hashlib.sha256(f"console:{name}".encode()).hexdigest()


def form_token(name: str) -> str:
    """The token that every form of this session carries."""
    return hashlib.sha256(f"form:{name}".encode()).hexdigest()


def is_form_token(given: str, name: str) -> bool:
    """Whether a form came from a page of this session; compared in constant time."""
    return same_hash(given, form_token(name))
