"""A paired handheld: a station of its own, whose operator is there for a shift.

Decides when a session is over, when somebody guessed too often, and whether a numbered scan is
new. Pure; secrets come in hashed.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass, replace

WRONG_MAX = 10
LOCK_MS = 15 * 60_000
DIGEST_BYTES = 32
CLOCK_SLACK_MS = 5 * 60_000
"""A wall clock set back by more than this ends a session: nobody knows how old it is."""


@dataclass(frozen=True, slots=True)
class HandheldRules:
    """Limits from the settings. `idle_ms` without a scan or a press, `shift_ms` after the PIN."""

    devices_max: int = 16
    idle_ms: int = 30 * 60_000
    shift_ms: int = 12 * 3_600_000


@dataclass(frozen=True, slots=True)
class Handheld:
    """One device. `secret` and `session` are digests; times are wall ms.

    `session` is the digest of its cookie, then the digest of the PIN's hash that opened it.
    `page` names the one open page that may scan; `seq`, `code` (a digest), `at_ms` (the page's
    clock) and `answer` (JSON) are of its newest scan that counted.
    """

    id: str
    station: str
    secret: bytes
    paired_ms: int
    operator: str = ""
    session: bytes = b""
    since_ms: int = 0
    active_ms: int = 0
    page: str = ""
    seq: int = 0
    code: bytes = b""
    at_ms: int = 0
    answer: bytes = b""


@dataclass(frozen=True, slots=True)
class PinLock:
    """Wrong PINs in a row of one device or one operator; no try counts before `until_ms`."""

    wrong: int = 0
    until_ms: int = 0

    def closed(self, now_ms: int) -> bool:
        """Whether even the right PIN is refused now."""
        return self.wrong >= WRONG_MAX and now_ms < self.until_ms <= now_ms + LOCK_MS


def missed(lock: PinLock, now_ms: int) -> PinLock:
    """One more wrong PIN: the tenth closes for 15 min, each later one closes again."""
    wrong = min(lock.wrong + 1, WRONG_MAX)
    return PinLock(wrong, now_ms + LOCK_MS if wrong >= WRONG_MAX else 0)


def digest(secret: str) -> bytes:
    """What is kept of a cookie or a code."""
    return hashlib.sha256(secret.encode()).digest()


def is_same(held: bytes, secret: str) -> bool:
    """Whether a cookie is the one whose digest is held, in constant time; never for no digest."""
    return bool(held) and hmac.compare_digest(held, digest(secret))


def session_of(secret: str, pin_hash: str) -> bytes:
    """What is kept of a session: its cookie, and the PIN by which the operator opened it."""
    return digest(secret) + digest(pin_hash)


def is_changed(held: Handheld, pin_hash: str) -> bool:
    """Whether the operator has another PIN than at the sign-in, or ("") is no operator any more."""
    return held.session[DIGEST_BYTES:] != digest(pin_hash)


def over(held: Handheld, secret: str, now_ms: int, rules: HandheldRules) -> str:
    """Why this session does not count: `none`, `idle`, `shift`, `clock`; "" while it does."""
    if not held.operator or not is_same(held.session[:DIGEST_BYTES], secret):
        return "none"
    if now_ms < held.active_ms - CLOCK_SLACK_MS:
        return "clock"
    if now_ms - held.since_ms >= rules.shift_ms:
        return "shift"
    return "idle" if now_ms - held.active_ms >= rules.idle_ms else ""


def begin(held: Handheld, operator: str, session: bytes, now_ms: int) -> Handheld:
    """An operator's PIN was right."""
    return replace(held, operator=operator, session=session, since_ms=now_ms, active_ms=now_ms)


def end(held: Handheld) -> Handheld:
    """Nobody is signed in."""
    return replace(held, operator="", session=b"", since_ms=0, active_ms=0)


def claim(held: Handheld, page: str) -> Handheld:
    """The newest open page scans from now on; its numbers begin anew unless it is the same."""
    if held.page == page:
        return held
    return replace(held, page=page, seq=0, code=b"", at_ms=0, answer=b"")


def station_name(taken: set[str]) -> str:
    """The lowest free `PDA-n`."""
    number = 1
    while f"PDA-{number}" in taken:
        number += 1
    return f"PDA-{number}"
