"""Copies of a SQLite database: taken while it serves, put back as a new life of the core.

A restored core has forgotten what happened since, so it gets a new `core_epoch` (every older token
is older than its own) and recovers: agents replay before anything is offered (DESIGN §5). Times are
given, nothing here reads a clock. PostgreSQL brings its own tools; this is for the embedded engine.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from sqlalchemy import Connection, Engine, func, insert, select, update

from cloud_core.store import schema as t
from cloud_core.store.engine import ServeLock, changing, open_engine, sqlite_path, sqlite_url
from cloud_core.store.leases import live_holders
from cloud_core.store.migrate import migrate
from protocols import limits
from protocols.errors import Corrupt, Rejected, Unavailable

_ALL_PAGES = -1
"""In one read transaction, beside which writers go on. A copy in portions begins again whenever
somebody has committed in between (sqlite.org/c3ref/backup_finish.html), and never ends under load.
"""


@dataclass(frozen=True, slots=True)
class Restored:
    """The new life: its epoch, and whether agents have to replay before anything is offered."""

    core_epoch: int
    recovering: bool


def backup(engine: Engine, path: Path) -> int:
    """Copy the database to `path` in one consistent state; bytes written.

    Works beside a serving core. The file appears whole or not at all. Raises
    `Rejected` `backup_needs_sqlite`, `backup_onto_itself`, `Unavailable("database")`.
    """
    source_path = sqlite_path(engine.url.render_as_string(hide_password=False))
    if source_path is None:
        raise needs_sqlite()
    if not source_path.is_file():
        raise Unavailable(
            "database", f"没有数据库 {source_path}", f"there is no database {source_path}",
            field="database_url",
        )  # fmt: skip
    if path.exists() and path.samefile(source_path):
        # The copy would take the place of the file a serving core goes on writing to.
        raise Rejected(
            "backup_onto_itself", "备份文件不能是数据库本身", "this is the database itself",
            field="file",
        )  # fmt: skip
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(path.name + ".part")
    beside.unlink(missing_ok=True)
    source = engine.raw_connection()
    try:
        driver = source.driver_connection
        assert isinstance(driver, sqlite3.Connection)
        with closing(sqlite3.connect(beside)) as target:
            driver.backup(target, pages=_ALL_PAGES)
            target.execute("PRAGMA journal_mode=DELETE")
    except sqlite3.Error as error:
        beside.unlink(missing_ok=True)
        raise Unavailable("database", "备份失败", f"the backup failed: {error}") from error
    finally:
        source.close()
    _flush(beside)
    beside.chmod(0o600)
    beside.replace(path)
    _flush(path.parent)
    return path.stat().st_size


def restore(path: Path, target: Path, now_s: int) -> Restored:
    """Put the copy at `path` in place of the database at `target` as a new life at `now_s`.

    Raises `Unavailable("already_serving")`, `Corrupt("backup_broken")`. The database that was
    there stays beside it as `<name>.before-restore`.
    """
    _check(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    lock = ServeLock(target)
    lock.acquire()
    try:
        beside = _copy_beside(path, target)
        engine = open_engine(sqlite_url(beside))
        try:
            migrate(engine)
            with changing(engine) as connection:
                begun = _begin_new_life(connection, _epoch_of(target), now_s)
        finally:
            engine.dispose()  # the last connection writes the log back into the file
        # Only a copy that is a new life may stand where a core starts: with the old epoch it would
        # give out tokens that were given out before.
        _put_in_place(beside, target)
        return begun
    finally:
        lock.release()


def new_life(engine: Engine, now_s: int) -> Restored:
    """Begin a new life of the core on a database that was put back by other means (`pg_restore`).

    Raises `Unavailable("already_serving")` while a process holds a site, `Unavailable("database")`.
    """
    with changing(engine) as connection:
        holders = live_holders(connection, now_s * 1000)
        if holders:
            raise Unavailable(
                "already_serving",
                f"仍有 cloud-core 在运行（{'、'.join(holders)}），请先全部停止",
                f"still serving: {', '.join(holders)}; stop them first", field="database_url",
            )  # fmt: skip
        return _begin_new_life(connection, 0, now_s)


def _begin_new_life(connection: Connection, old_epoch: int, now_s: int) -> Restored:
    m = t.core_meta.c
    known = int(connection.execute(select(m.value).where(m.key == "core_epoch")).scalar_one())
    epoch = max(known + 1, old_epoch + 1, now_s)
    enabled = select(func.count()).select_from(t.agent).where(t.agent.c.enabled == 1)
    recovering = connection.execute(enabled).scalar_one() > 0
    _set_meta(connection, "core_epoch", str(epoch))
    _set_meta(connection, "recovering", "1" if recovering else "0")
    connection.execute(update(t.agent_state).values(online=0, waived=0))
    # Offers of the old life get the longest time there is: their agents may have accepted and
    # shipped what this copy does not know, and say so when they replay.
    deadline_ms = (now_s + limits.OFFER_TTL_S_MAX) * 1000
    open_offer = t.shipment.c.deadline_ms.is_not(None)
    connection.execute(update(t.shipment).where(open_offer).values(deadline_ms=deadline_ms))
    at_ms = now_s * 1000
    a = t.alarm.c
    told = select(a.id).where(a.kind == "recovering", a.key == "core", a.closed_ms.is_(None))
    if recovering and connection.execute(told).first() is None:
        connection.execute(
            insert(t.alarm),
            {
                "kind": "recovering", "key": "core", "opened_ms": at_ms, "count": 1,
                "text": "数据库已从备份恢复，等待各仓代理补传后才会继续派单",
            },
        )  # fmt: skip
    connection.execute(
        insert(t.audit),
        {
            "at_ms": at_ms, "actor": "cli", "source": "local", "action": "core.restored",
            "target": "core", "detail": f"core_epoch {known} -> {epoch}",
        },
    )  # fmt: skip
    return Restored(epoch, recovering)


def _set_meta(connection: Connection, key: str, value: str) -> None:
    m = t.core_meta
    changed = connection.execute(update(m).where(m.c.key == key).values(value=value))
    if changed.rowcount == 0:
        connection.execute(insert(m), {"key": key, "value": value})


def _check(path: Path) -> None:
    try:
        with closing(sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True)) as copy:
            state = copy.execute("PRAGMA quick_check").fetchone()[0]
            copy.execute("SELECT value FROM core_meta WHERE key = 'core_epoch'").fetchone()[0]
    except (sqlite3.Error, TypeError) as error:
        raise _broken(path, str(error)) from error
    if state != "ok":
        raise _broken(path, str(state))


def _epoch_of(target: Path) -> int:
    """The epoch of the database that is replaced; 0 when there is none or it cannot be read."""
    try:
        with closing(sqlite3.connect(f"file:{quote(str(target))}?mode=ro", uri=True)) as old:
            row = old.execute("SELECT value FROM core_meta WHERE key = 'core_epoch'").fetchone()
            return int(row[0]) if row else 0
    except sqlite3.Error:
        return 0


def _copy_beside(path: Path, target: Path) -> Path:
    beside = target.with_name(target.name + ".part")
    for suffix in ("", "-wal", "-shm"):
        target.with_name(beside.name + suffix).unlink(missing_ok=True)
    with closing(sqlite3.connect(path)) as copy, closing(sqlite3.connect(beside)) as new:
        copy.backup(new)
    beside.chmod(0o600)
    return beside


def _put_in_place(beside: Path, target: Path) -> None:
    """One rename: at no moment is there no database, which a starting core would make anew."""
    _flush(beside)
    kept = target.with_name(f"{target.name}.before-restore")
    if target.exists():
        with contextlib.suppress(sqlite3.Error), closing(sqlite3.connect(target)) as old:
            old.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        for suffix in ("", "-wal", "-shm"):
            kept.with_name(kept.name + suffix).unlink(missing_ok=True)
        for suffix in ("-wal", "-shm"):
            log = target.with_name(target.name + suffix)
            if log.exists():  # of a database that cannot be opened; never beside the new one
                log.replace(kept.with_name(kept.name + suffix))
        os.link(target, kept)
    beside.replace(target)
    _flush(target.parent)


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _broken(path: Path, why: str) -> Corrupt:
    return Corrupt(
        "backup_broken", f"备份文件 {path} 无法使用：{why}",
        f"the backup {path} cannot be used: {why}", field="file",
    )  # fmt: skip


def needs_sqlite() -> Rejected:
    """What a verb that copies files answers, with the way to do it on PostgreSQL."""
    return Rejected(
        "backup_needs_sqlite",
        "该命令只用于内置的 SQLite。PostgreSQL 备份：pg_dump -Fc -f 文件 数据库；恢复：停止全部 "
        "cloud-core，pg_restore --clean --if-exists -d 数据库 文件，再执行 cloud-core new-life",
        "this verb is for the embedded SQLite; use pg_dump -Fc, and pg_restore followed by "
        "cloud-core new-life", field="database_url",
    )  # fmt: skip
