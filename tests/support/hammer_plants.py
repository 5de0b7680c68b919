"""Faults for the hammer to find: put into a core process of a test before it opens its database.

Each is a mistake that two processes are needed for; one process alone behaves.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from sqlalchemy import Engine, text

from cloud_core.domain.hold_commands import Answered
from cloud_core.flows import reserve
from cloud_core.store import guarded_writer, rounds

NOT_DURABLE_S = 0.02
"""How long an answer of the planted core is ahead of its commit."""


def for_core(plant: str, number: int) -> str:
    """What the `number`-th core of a run gets: some faults need cores that differ."""
    return OTHER_END.get(plant, plant) if number % 2 else plant


def put_in(plant: str, engine: Engine) -> None:
    """Put one fault into this process; "" puts in none. Raises `KeyError` for an unknown name."""
    if plant:
        (PLANTS | ROUTING_PLANTS | LOCK_PLANTS)[plant](engine)


def guard_before_the_lock(_engine: Engine) -> None:
    """Enough was there when the fold looked; the statement that takes it does not look again."""
    whole = guarded_writer.GuardedWriter._arrays

    def without_guard(self: Any, sql: str, *rest: Any) -> None:
        at = sql.find(" AND (d.a3 = 0 ")
        whole(self, sql[:at] if sql.startswith("UPDATE stock") and at > 0 else sql, *rest)

    _replace(guarded_writer.GuardedWriter, "_arrays", without_guard)


def key_outside_the_transaction(engine: Engine) -> None:
    """The idempotency key is kept by a transaction of its own, after the one of the effect."""
    late: list[dict[str, Any]] = []

    def remember(ws: Any, keyed: Any, holds: Any) -> Any:
        result = reserve._encode(reserve._Stored(keyed.digest, holds)).decode()
        late.append(
            {"scope": keyed.scope, "key": keyed.key, "at_ms": ws.now_ms, "result": result,
             "until_ms": ws.now_ms + 3_600_000}
        )  # fmt: skip
        return Answered(holds)

    whole = rounds.transact

    def transact(*asked: Any, **more: Any) -> Any:
        late.clear()
        folded = whole(*asked, **more)
        with engine.begin() as connection:
            for row in late:
                connection.execute(
                    text("INSERT INTO seen_key (scope, key, at_ms, result, until_ms) VALUES "
                         "(:scope, :key, :at_ms, :result, :until_ms) ON CONFLICT DO NOTHING"),
                    row,
                )  # fmt: skip
        return folded

    _replace(reserve, "_remember", remember)
    _replace(rounds, "transact", transact)


def answered_before_the_commit(_engine: Engine) -> None:
    """The caller is answered from the fold, while the commit is still on its way."""
    whole = rounds.transact

    def transact(own: Engine, fold: Any, **more: Any) -> Any:
        with own.connect() as connection:
            mine = connection.execution_options(isolation_level="READ COMMITTED")
            with mine.begin() as transaction:
                folded = fold(mine)
                transaction.rollback()

        def later() -> None:
            time.sleep(NOT_DURABLE_S)
            whole(own, fold, **more)

        threading.Thread(target=later, daemon=True).start()
        return folded

    _replace(rounds, "transact", transact)


def capacity_outside_the_lock(_engine: Engine) -> None:
    """What a warehouse was given today is read by the fold and not looked at again."""

    def nothing(self: Any, places: Any) -> None:
        return None

    _replace(guarded_writer.GuardedWriter, "lock_places", nothing)
    _replace(guarded_writer.GuardedWriter, "check_places", nothing)


def no_second_try(_engine: Engine) -> None:
    """A commit that met another one in its way is not folded anew: its caller hears of it."""
    _replace(rounds, "ROUNDS_MAX", 1)


def unsorted_locks(engine: Engine, *, from_the_end: bool = False) -> None:
    """Rows are locked one by one as they come, some cores from the other end; no second try."""

    def as_they_come(self: Any, plan: Any, table: Any, keys: list[tuple[Any, ...]]) -> None:
        self._all_chosen.setdefault(table.name, set()).update(keys)
        for key in sorted(keys, reverse=from_the_end):
            arguments = guarded_writer._columns(plan.key_literals, [key])
            self._add(plan.lock, arguments, None, table.name)

    _replace(guarded_writer.GuardedWriter, "_lock", as_they_come)
    no_second_try(engine)


def unsorted_locks_from_the_end(engine: Engine) -> None:
    """The other end of `unsorted_locks`."""
    unsorted_locks(engine, from_the_end=True)


def _replace(owner: Any, name: str, planted: Any) -> None:
    setattr(owner, name, planted)


PLANTS: dict[str, Callable[[Engine], None]] = {
    "guard before the lock": guard_before_the_lock,
    "key outside the transaction": key_outside_the_transaction,
    "answered before the commit": answered_before_the_commit,
}
ROUTING_PLANTS: dict[str, Callable[[Engine], None]] = {
    "capacity outside the lock": capacity_outside_the_lock,
}
"""Faults that only orders show; the hammer's clients place baskets."""
LOCK_PLANTS: dict[str, Callable[[Engine], None]] = {
    "no second try": no_second_try,
    "unsorted locks": unsorted_locks,
    "unsorted locks from the end": unsorted_locks_from_the_end,
}
"""What opposite baskets show; without a second try alone nothing may be seen of them."""
OTHER_END = {"unsorted locks": "unsorted locks from the end"}
