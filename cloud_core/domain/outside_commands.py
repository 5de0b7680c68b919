"""What the answer of another system, or its silence, asks of the core."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SettleOutside:
    """An answer to an outside check: `accept`, `refuse`, or "" for none yet (tried again at
    `retry_ms`). `actor` is a person who decides a refused or silent one. Result: its state."""

    id: str
    verdict: str
    text: str = ""
    retry_ms: int = 0
    actor: str = ""


@dataclass(frozen=True, slots=True)
class ExpireOutside:
    """Checks whose deadline has passed fall back; at most `limit`. Result: how many."""

    limit: int = 200
