"""Keeps the record of unfinished starts in a file beside the journals (`domain.start`).

The file must never be in the way: on a disk that takes nothing the agent starts all the same.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import msgspec

from edge_agent.bootstrap.chance import boot_id
from edge_agent.domain import start
from edge_agent.domain.start import StartRecord

MARKER = "start.unfinished"
"""File beside the journals, there while a start is under way and after one that broke off."""


def read(folder: Path) -> StartRecord:
    """The starts that did not finish. An unreadable file counts as none."""
    try:
        return msgspec.json.decode((folder / MARKER).read_bytes(), type=StartRecord)
    except (OSError, msgspec.DecodeError):
        return StartRecord()


def begin(folder: Path, boot: str) -> StartRecord | None:
    """A start begins; the record if it must be a safe one, else None."""
    record = read(folder)
    safe = start.must_be_safe(record, boot)
    _write(folder, start.begun(record, boot))
    return record if safe else None


def finish(folder: Path) -> None:
    """The agent is ready."""
    with contextlib.suppress(OSError):
        (folder / MARKER).unlink(missing_ok=True)
        # A plug pulled a moment later must not bring it back: that start did finish.
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def stay_safe(folder: Path) -> None:
    """A safe start is ready. Until somebody ends it the next is safe too; no count runs away."""
    _write(folder, start.still_safe(read(folder)))


def try_again(folder: Path) -> None:
    """The next start has its drivers again; should it break off too, the one after is safe."""
    _write(folder, start.tried_again(read(folder)))


def leave_safe_mode(folder: Path) -> None:
    """Somebody looked and mended: the next start is an ordinary one, with a clean record."""
    finish(folder)


def safe_mode_reason(folder: Path) -> str:
    """Why the next start would be a safe one, in Chinese; "" if it would not."""
    record = read(folder)
    return start.reason_zh(record) if start.must_be_safe(record, boot_id()) else ""


def _write(folder: Path, record: StartRecord) -> None:
    with contextlib.suppress(OSError):
        (folder / MARKER).write_bytes(msgspec.json.encode(record))
