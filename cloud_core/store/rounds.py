"""One guarded transaction on PostgreSQL: lock, load, fold, save, commit; and was it committed?

The protocol of adr/0008 without the decision when to try again, which is the committer's. The fold
is an argument; nothing here knows a command.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy import Connection, Engine

from cloud_core.store.guarded_writer import Chosen, lock_chosen
from cloud_core.store.saving import save
from cloud_core.store.working_set import WorkingSet

Folded = tuple[WorkingSet, list[Any]]
KEEP_MARKS_MS = 3_600_000
"""How long a commit's mark stays: far longer than anybody asks for it."""


class OutcomeUnknown(Exception):
    """The connection broke while the server was committing; the argument is what it would be."""


def transact(
    engine: Engine,
    fold: Callable[[Connection], Folded],
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
