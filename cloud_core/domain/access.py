"""Who may ask the core for what: API keys, scopes and their shape.

A key is `pk_` and 43 URL-safe characters (256 bits); only its SHA-256 is kept. A random key needs
no salt or stretching: there is nothing to guess. This module must not know HTTP or SQL.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterable
from dataclasses import dataclass

from protocols.errors import Rejected

KEY_PREFIX = "pk_"
SCOPES = ("stock", "holds", "read", "write", "admin")
_HOLDS_TOO: dict[str, frozenset[str]] = {
    "stock": frozenset({"stock"}),
    "holds": frozenset({"stock", "holds"}),
    "read": frozenset({"stock", "read"}),
    "write": frozenset({"stock", "holds", "read", "write"}),
    "admin": frozenset(SCOPES),
}
"""What each scope allows: `stock` and `holds` are for a shop's front end and open nothing else."""
_KEY = re.compile(r"pk_[A-Za-z0-9_-]{43}\Z")
_NAME_CHARS_MAX = 80


@dataclass(frozen=True, slots=True)
class ApiKey:
    """One key as it is kept; the key itself is not."""

    id: str
    name: str
    hash: str
    scopes: tuple[str, ...]
    created_ms: int
    used_ms: int | None
    revoked_ms: int | None

    def allows(self, scope: str) -> bool:
        """Whether the key is live and holds `scope`."""
        return self.revoked_ms is None and any(scope in _HOLDS_TOO[own] for own in self.scopes)


def key_text(random_part: str) -> str:
    """A key from 43 URL-safe random characters."""
    return KEY_PREFIX + random_part


def key_hash(text: str) -> str:
    """What is kept of a key: SHA-256, hex."""
    return hashlib.sha256(text.encode()).hexdigest()


def looks_like_key(text: str) -> bool:
    """Whether a text has the shape of a key; others are refused without a look-up."""
    return _KEY.match(text) is not None


def same_hash(one: str, other: str) -> bool:
    """Compare two hashes in constant time."""
    return hmac.compare_digest(one.encode(), other.encode())


def check_scopes(scopes: Iterable[str]) -> tuple[str, ...]:
    """The scopes without repeats. Raises `Rejected("scope_unknown")` for any other word."""
    found = tuple(dict.fromkeys(scopes))
    for scope in found:
        if scope not in SCOPES:
            raise Rejected(
                "scope_unknown",
                f"权限 {scope} 不存在，可选：{'、'.join(SCOPES)}",
                f"scope {scope} is not one of {', '.join(SCOPES)}",
                field="scopes",
            )
    if not found:
        raise Rejected("scope_missing", "至少需要一个权限", "a scope is needed", field="scopes")
    return found


def check_name(name: str) -> str:
    """A key's name, 1..80 characters. Raises `Rejected("name_invalid")`."""
    clean = name.strip()
    if not 1 <= len(clean) <= _NAME_CHARS_MAX:
        raise Rejected(
            "name_invalid",
            f"名称须为 1 到 {_NAME_CHARS_MAX} 个字符",
            f"a name has 1 to {_NAME_CHARS_MAX} characters",
            field="name",
        )
    return clean
