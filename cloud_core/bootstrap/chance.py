"""The clock, the names and the secrets of a real core: where time and chance come in."""

from __future__ import annotations

import os
import secrets
import socket
import time
from datetime import UTC, datetime, timedelta, timezone

CHINA = timezone(timedelta(hours=8))
_BASE32 = "23456789ABCDEFGHJKLMNPQRSTUVWXYZ"  # without 0 1 I O, which people mix up
_CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


class SystemClock:
    """The system's clock."""

    def now_ms(self) -> int:
        """Milliseconds since 1970 UTC."""
        return time.time_ns() // 1_000_000


class RandomIds:
    """Names from the system's random source."""

    def __init__(self, prefix: str = "DB") -> None:
        self._prefix = prefix

    def order_id(self, now_ms: int) -> str:
        """Prefix, year in China, eight base-32 characters (40 bits)."""
        year = datetime.fromtimestamp(now_ms / 1000, UTC).astimezone(CHINA).year
        return f"{self._prefix}{year}{_digits(secrets.randbits(40), 8, _BASE32)}"

    def track_token(self) -> str:
        """22 URL-safe characters, 128 bits."""
        return secrets.token_urlsafe(16)

    def command_id(self, now_ms: int) -> str:
        """A ULID."""
        return _digits((now_ms << 80) | secrets.randbits(80), 26, _CROCKFORD)


def process_name() -> str:
    """What this process is called among those of one database: host, process id, some chance."""
    return f"{socket.gethostname()[:30]}-{os.getpid()}-{secrets.token_hex(4)}"


def make_secret() -> str:
    """A signing secret or credential: 43 URL-safe characters, 256 bits."""
    return secrets.token_urlsafe(32)


def make_key_id() -> str:
    """A short public name of an API key."""
    return "k" + _digits(secrets.randbits(30), 6, _BASE32).lower()


def _digits(number: int, length: int, alphabet: str) -> str:
    found = []
    for _ in range(length):
        number, rest = divmod(number, 32)
        found.append(alphabet[rest])
    return "".join(reversed(found))
