"""What a database error means for a commit: somebody else was first, nobody there, or a fault.

Codes: postgresql.org/docs/current/errcodes-appendix.html.
"""

from __future__ import annotations

from enum import Enum

import psycopg
from sqlalchemy.exc import DBAPIError, ResourceClosedError

_CONTENDED = {
    "40001",  # serialization_failure
    "40P01",  # deadlock_detected
    "55P03",  # lock_not_available
    "23505",  # unique_violation: two made the same row; folded anew, one sees the other's
    "25P04",  # transaction_timeout
}
_GONE = {
    "57P01",
    "57P02",
    "57P03",
    "53300",
    "25P03",
}  # shutting down, starting, full, idle too long


class Failure(Enum):
    """What to do about it."""

    CONTENDED = "fold anew"
    LOST = "connect again"
    FAULT = "tell the caller"


def failure_of(error: BaseException) -> Failure:
    """How to go on after `error`, raised anywhere in a transaction on PostgreSQL."""
    lost = isinstance(error, DBAPIError) and error.connection_invalidated
    cause: BaseException | None = error.orig if isinstance(error, DBAPIError) else error
    if lost or isinstance(cause, ResourceClosedError):
        return Failure.LOST
    if not isinstance(cause, psycopg.Error):
        return Failure.FAULT
    code = cause.sqlstate
    if code in _CONTENDED:
        return Failure.CONTENDED
    if code in _GONE or (code or "").startswith("08"):
        return Failure.LOST
    # A connection that breaks raises OperationalError without a code.
    no_word = code is None and isinstance(cause, (psycopg.OperationalError, psycopg.InterfaceError))
    return Failure.LOST if no_word else Failure.FAULT


def is_busy(error: BaseException) -> bool:
    """SQLite: another process holds the write lock for longer than we wait."""
    return isinstance(error, DBAPIError) and "locked" in str(error.orig)


def is_of_database(error: BaseException) -> bool:
    """Whether the database said it, not our own code."""
    return isinstance(error, (DBAPIError, psycopg.Error))


def reason(error: BaseException) -> str:
    """A short text for a log or a caller; no values."""
    cause = error.orig if isinstance(error, DBAPIError) else error
    diagnosis = getattr(getattr(cause, "diag", None), "message_primary", None)
    return str(diagnosis or cause)[:200]
