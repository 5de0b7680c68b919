"""The hash chain over the rows of one stream epoch.

`h(0) = SHA-256("packline/v1/{agent}/{stream}/{epoch}")`, `h(n) = SHA-256(h(n-1) || row n)` where a
row is its encoded bytes exactly as stored in the journal and sent on the wire. The chain detects a
restored or cloned card: rows that do not continue the core's chain are refused. Personal data
never enters a row, so it never enters the chain (P12).
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import sha256

HASH_BYTES = 32


def genesis(agent: str, stream: str, epoch: str) -> bytes:
    """The hash before the first row (32 bytes)."""
    return sha256(f"packline/v1/{agent}/{stream}/{epoch}".encode()).digest()


def link(previous: bytes, row: bytes) -> bytes:
    """The hash after `row` (32 bytes), `previous` being the hash before it."""
    return sha256(previous + row).digest()


def extend(previous: bytes, rows: Iterable[bytes]) -> list[bytes]:
    """The hash after each of `rows`, in order."""
    hashes = []
    current = previous
    for row in rows:
        current = sha256(current + row).digest()
        hashes.append(current)
    return hashes
