"""Opens the journal files: one agent a folder, a broken file put aside and salvaged, never lost."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import functools
import logging
import os
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from edge_agent.bootstrap.chance import SystemIds, built_ms
from edge_agent.domain.moment import ClockFloor, Now, first_floor
from edge_agent.journal import clock, read_only, salvage, soundness
from edge_agent.journal.core import JournalCore, Room
from edge_agent.ports import Connection
from edge_agent.settings import Settings
from protocols.errors import Unavailable
from protocols.topics import STREAMS

log = logging.getLogger(__name__)


CHECKED_BYTES_MAX = 64 * 1024 * 1024
"""Journals up to this size are checked whole at each start; a larger one would delay the shift."""


SUSPECT = "journal.suspect"
"""File beside the journals: the last run met broken content, so both are checked whole."""


STORAGE_ERRNOS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO})
_STORAGE_CODES = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY)
PROBE_BYTES = 1024 * 1024
"""What must fit on a disk that was full before it is tried again."""


SALVAGE_TRIES, SALVAGE_PAUSE_S = 3, 1.0
"""A page of a broken file that fails so often to be read counts as broken as well."""


def journal_path(settings: Settings, stream: str) -> Path:
    """The file of one stream."""
    return settings.data_path / f"{stream}.db"


def connector(path: Path) -> Callable[[], Connection]:
    """How connections to one file are made: autocommit, usable from the writer's thread."""
    return lambda: sqlite3.connect(
        path, isolation_level=None, check_same_thread=False, cached_statements=256
    )


def open_core(settings: Settings, stream: str, now: Now, boot_no: int = 0) -> JournalCore:
    """Open a stream's file. A broken one is put aside under a new name, never written over.

    `boot_no` is the same for all streams of one start: the core learns their clock from one hello.

    Raises `Unavailable("journal_unusable")` when the file cannot be opened or written at all.
    """
    path = journal_path(settings, stream)
    core = JournalCore(
        connector(path), settings.agent, stream, SystemIds().epoch, settings.quota_bytes,
        Room(functools.partial(free_bytes, settings.data_path), settings.reserve_bytes),
    )  # fmt: skip
    if path.exists() and not is_whole(path):
        _move(path, path.with_name(f"{path.name}{_ASIDE}{now.wall_ms}"))
    waiting = _put_aside(path)
    saved = [_salvaged(aside, settings.agent, stream) for aside in waiting]
    try:
        core.open(now, "salvaged" if waiting else "first", boot_no)
    except sqlite3.Error as error:
        core.close()
        raise _unusable(path, error) from error
    for aside, found in zip(waiting, saved, strict=True):
        log.error("journal.put_aside path=%s rows_saved=%d", aside, len(found.events))
        carry = functools.partial(salvage.carry_over, salvaged=found)
        ((_, failed),) = core.commit([(carry, now)])
        if failed is not None:
            raise failed
        _move(aside, aside.with_name(aside.name.replace(_ASIDE, ".broken-")))
    return core


def _salvaged(aside: Path, agent: str, stream: str) -> salvage.Salvaged:
    """What can be read of a broken file; a card that stammers is asked again.

    Raises `Unavailable("journal_unusable")` when the file cannot be looked at now.
    """
    for left in range(SALVAGE_TRIES - 1, -1, -1):
        try:
            return salvage.read(aside, agent, stream, skip_unread=left == 0)
        except sqlite3.Error as error:
            if not left or not soundness.is_read_error(error):
                raise _unusable(aside, error) from error
            log.warning("journal.read_again path=%s tries_left=%d", aside, left)
            time.sleep(SALVAGE_PAUSE_S)
    raise AssertionError("unreachable")


_ASIDE = ".salvaging-"
"""In the name of a broken file until the commit that holds its rows: a start that breaks off, or a
disk too full for the new file, leaves it to the next start, which carries over again. Rows carried
twice keep their origin, by which the core knows them."""
_PARTS = ("", "-wal", "-shm")


def _put_aside(path: Path) -> list[Path]:
    """Broken files whose rows are in no journal yet, oldest first; a broken-off move is ended."""
    found = sorted(path.parent.glob(f"{path.name}{_ASIDE}*[0-9]"))
    if found and not path.exists():
        _move(path, found[-1])
    return found


def _move(path: Path, to: Path) -> None:
    for suffix in _PARTS:
        part = path.with_name(path.name + suffix)
        if part.exists():
            part.rename(to.with_name(to.name + suffix))


def is_whole(path: Path) -> bool:
    """Whether SQLite finds the file in order (`PRAGMA quick_check`).

    Raises `Unavailable("journal_unusable")` for a file that cannot be looked at: it may be whole,
    and putting it aside would put its unsent rows aside.
    """
    try:
        with contextlib.closing(sqlite3.connect(path, timeout=1)) as db:
            small = path.stat().st_size <= CHECKED_BYTES_MAX
            return soundness.is_whole(db, every_page=small or path.with_name(SUSPECT).exists())
    except sqlite3.Error as error:
        raise _unusable(path, error) from error


def unread(settings: Settings) -> str:
    """Why a journal cannot be read now, "" when each is readable or is not there."""
    for stream in STREAMS:
        path = journal_path(settings, stream)
        try:
            if path.exists():
                is_whole(path)
        except Unavailable as error:
            inner = error.__cause__
            if inner is not None and soundness.is_read_error(inner):
                return str(inner)
        except OSError as error:
            return os.strerror(error.errno or errno.EIO)
    return ""


def free_bytes(folder: Path) -> int:
    """Bytes the file system of `folder` can still take; one that does not answer counts as wide."""
    try:
        found = os.statvfs(folder)
    except OSError:
        return 1 << 62
    return found.f_bavail * found.f_frsize


def storage_trouble(error: BaseException, folder: Path) -> str:
    """Why the medium takes nothing now, "" when this error is about something else.

    A full disk, a card that turned read-only and failing I/O pass or are repaired, so the program
    waits for them instead of ending.
    """
    if isinstance(error, BaseExceptionGroup):
        return next(filter(None, (storage_trouble(one, folder) for one in error.exceptions)), "")
    if isinstance(error, OSError) and error.errno in STORAGE_ERRNOS:
        return os.strerror(error.errno)
    if getattr(error, "sqlite_errorcode", 0) & 0xFF in _STORAGE_CODES:
        return str(error)
    if isinstance(error, Unavailable) and error.code in ("journal_unusable", "journal_failed"):
        inner = error.__cause__
        return (storage_trouble(inner, folder) if inner is not None else "") or probe(folder)
    return ""


def probe(folder: Path) -> str:
    """Write, sync and remove `PROBE_BYTES`: "" when the medium takes them, else why not."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder, buffering=0) as file:
            file.write(bytes(PROBE_BYTES))
            os.fsync(file.fileno())
    except OSError as error:
        return os.strerror(error.errno or errno.EIO)
    return ""


def clock_floor(settings: Settings, raw: Now) -> ClockFloor:
    """What is certainly over at this start: the build, the core's last word, the newest event."""
    core_ms = event_ms = 0
    for stream in STREAMS:
        path = journal_path(settings, stream)
        with contextlib.suppress(OSError, sqlite3.Error, ValueError):
            # A file that cannot be read says nothing of the time; opening it says what it has.
            if path.is_file():
                with contextlib.closing(read_only.connect(path)) as db:
                    core_ms = max(core_ms, clock.core_ms(db))
                    event_ms = max(event_ms, clock.newest_event_ms(db))
    return first_floor(built_ms=built_ms(), core_ms=core_ms, event_ms=event_ms, mono_ms=raw.mono_ms)


def _unusable(path: Path, error: sqlite3.Error) -> Unavailable:
    return Unavailable(
        "journal_unusable", f"打不开日志文件 {path}：{error}", f"cannot open {path}: {error}",
        field="data_dir",
    )  # fmt: skip


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[IO[str]]:
    """Hold the data folder's lock: two agents on one journal would tear its chain."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (folder / "agent.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise Unavailable(
                "already_running", f"{folder} 正被另一个 edge-agent 使用", "already running"
            ) from error
        yield lock


def is_running(folder: Path) -> bool:
    try:
        with (folder / "agent.lock").open("r") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return False
