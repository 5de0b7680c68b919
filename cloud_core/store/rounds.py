"""A commit beside other writers, on PostgreSQL: rounds of lock, load, fold, save, commit.

A batch that came too late is folded anew; one whose connection broke is tried again when the
server is back, after asking whether it was committed (adr/0008). The fold is an argument; nothing
here knows a command.
"""

from __future__ import annotations

import contextlib
import random
import secrets
import time
from collections.abc import Callable
from typing import Any

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError

from cloud_core.store.failures import Failure, failure_of, reason
from cloud_core.store.guarded_writer import Chosen, GuardMissed, lock_chosen
from cloud_core.store.saving import save
from cloud_core.store.working_set import WorkingSet
from protocols.errors import Unavailable

Folded = tuple[WorkingSet, list[Any]]
Fold = Callable[[Connection], Folded]
ROUNDS_MAX = 12
"""How often a batch is folded anew because somebody else was first."""
SERVER_BACK_S = 20.0
"""How long a commit waits for a PostgreSQL that is gone: a restart, a fail-over."""
KEEP_MARKS_MS = 3_600_000
"""How long a commit's mark stays: far longer than anybody asks for it."""


class OutcomeUnknown(Exception):
    """The connection broke while the server was committing; the argument is what it would be."""


class GuardedRounds:
    """Commits for one caller at a time."""

    def __init__(self) -> None:
        self._jitter = random.Random()
        self._marks_forgotten = time.monotonic()

    def commit(self, engine: Engine, fold: Fold, on_commit: Callable[[str], None]) -> Folded:
        """Rounds until nobody was first. Raises `Unavailable` when the server stays away."""
        chosen: Chosen = {}
        lost_since: float | None = None
        missed = 0
        while True:
            mark, done = secrets.token_hex(16), None
            try:
                done = transact(engine, fold, mark=mark, chosen=chosen, on_commit=on_commit)
            except GuardMissed as error:
                missed += 1
                _union(chosen, error.chosen)
                if missed >= ROUNDS_MAX:
                    raise
            except OutcomeUnknown as error:
                done = self._settled(engine, mark, error)
            except Exception as error:
                failure = failure_of(error)
                if failure is Failure.FAULT:
                    raise
                if failure is Failure.LOST:
                    lost_since = self._wait_for_server(lost_since, error)
                    continue
                missed += 1
                if missed >= ROUNDS_MAX:
                    raise
            if done is not None:
                self._forget_marks(engine)
                return done
            if missed > 1:
                time.sleep(self._jitter.uniform(0, 0.002 * missed))

    def _settled(self, engine: Engine, mark: str, error: OutcomeUnknown) -> Folded | None:
        """What a commit of unknown outcome came to; None when it did not happen."""
        folded: Folded = error.args[0]
        since: float | None = None
        while True:
            try:
                happened = was_committed(engine, mark, folded[0].now_ms)
                return folded if happened else None
            except Exception as again:
                if failure_of(again) is not Failure.LOST:
                    raise
                since = self._wait_for_server(since, again)

    def _wait_for_server(self, since: float | None, error: Exception) -> float:
        """Sleep a moment; since when it is gone. Raises `Unavailable` after `SERVER_BACK_S`."""
        now = time.monotonic()
        since = now if since is None else since
        if now - since > SERVER_BACK_S:
            raise Unavailable("database", "数据库暂时不可用", reason(error)) from error
        time.sleep(self._jitter.uniform(0.02, min(0.5, 0.05 + (now - since) / 4)))
        return since

    def _forget_marks(self, engine: Engine) -> None:
        if time.monotonic() - self._marks_forgotten > KEEP_MARKS_MS / 2_000:
            self._marks_forgotten = time.monotonic()
            with contextlib.suppress(DBAPIError):  # next time, then; this commit is done
                forget_marks(engine)


def _union(chosen: Chosen, more: Chosen) -> None:
    for table, keys in more.items():
        chosen.setdefault(table, set()).update(keys)


def transact(
    engine: Engine,
    fold: Fold,
    *,
    mark: str,
    chosen: Chosen,
    on_commit: Callable[[str], None],
) -> Folded:
    """Load, fold and commit once; the rows in `chosen` are locked before anything is loaded.

    Raises `GuardMissed`, `OutcomeUnknown` from whatever broke the commit, or the database's error
    when nothing was committed for certain.
    """
    with engine.connect() as connection, connection.begin() as transaction:
        if chosen:
            lock_chosen(connection, chosen)
        ws, results = fold(connection)
        save(connection, ws, mark)
        on_commit("before_commit")
        try:
            transaction.commit()
        except Exception as error:
            raise OutcomeUnknown((ws, results)) from error
    return ws, results


def was_committed(engine: Engine, mark: str, now_ms: int) -> bool:
    """Whether the commit with this mark happened; afterwards it cannot happen any more.

    The mark is written here: while the old transaction is still being committed this waits for
    it, and if it had not come so far its own mark is now a duplicate and it fails.
    """
    with engine.begin() as connection:
        written = connection.exec_driver_sql(
            "INSERT INTO commit_mark (id, at_ms) VALUES (%s, %s) ON CONFLICT DO NOTHING",
            (mark, now_ms),
        )
        return written.rowcount == 0


def forget_marks(engine: Engine) -> None:
    """Delete marks that nobody will ask for; those of a clock that stands still stay."""
    with engine.begin() as connection:
        connection.exec_driver_sql(
            "DELETE FROM commit_mark WHERE at_ms < "
            "(extract(epoch FROM clock_timestamp()) * 1000)::bigint - %s", (KEEP_MARKS_MS,),
        )  # fmt: skip
