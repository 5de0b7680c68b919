"""Rebuilds stock from its movements and holds, in bounded slices beside the running core.

Movements that nobody can still commit in front of are summed into `stock_base` a stretch at a
time; a slice then compares some rows with base + the movements behind it, and with the live holds,
in one short snapshot. A check from the very first movement ignores the base.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Engine, and_, func, or_, select, text, union, update

from cloud_core.domain.conservation import Counters, Drift, Key, add, compare, summed
from cloud_core.store import schema as t
from cloud_core.store.engine import changing, reading

SETTLE_ROWS = 10_000
"""Movements one write transaction of the checker adds up. Each one makes the write queue of SQLite
forget the stock rows it has in memory (`kept_stock`), so a busy hour has few of them."""
SETTLE_WAIT_MS = 60_000
"""Fewer movements than that are added up when the oldest has waited so long."""
SETTLE_AFTER_MS = 60_000
"""On PostgreSQL a movement is summed when it is this old: commits end in seconds, so no lower id
can show itself any more. SQLite has one writer and needs no wait."""
SLICE_ROWS = 500
TAIL_MAX = 200_000
"""Movements behind the base; with more a slice would not be short, so the base goes on first."""
FULL_ROWS = 20_000
_UPTO = "stock_base_upto"
_START: Key = ("", "")
_ADD_TO_BASE = text(
    "INSERT INTO stock_base (warehouse, sku, shelf, picked, held) "
    "VALUES (:warehouse, :sku, :shelf, :picked, :held) "
    "ON CONFLICT (warehouse, sku) DO UPDATE SET shelf = stock_base.shelf + excluded.shelf, "
    "picked = stock_base.picked + excluded.picked, held = stock_base.held + excluded.held"
)


@dataclass(frozen=True, slots=True)
class Slice:
    """One slice: what drifts, how many rows were looked at, where to go on (None at the end)."""

    drifts: list[Drift]
    rows: int
    place: Key | None


class StockCheck:
    """Over one engine; safe from any thread."""

    def __init__(self, engine: Engine, wait_ms: int = SETTLE_WAIT_MS) -> None:
        self._engine, self._wait_ms = engine, wait_ms
        self._serial = engine.dialect.name == "sqlite"

    def settle(self, now_ms: int) -> int:
        """Add one stretch of movements to the base, if it is long or old enough; how many.

        Other processes may do the same.
        """
        with reading(self._engine) as connection:
            upto = _upto(connection)
            rows = _movements(connection, upto, SETTLE_ROWS)
        if not self._serial:
            young = (n for n, row in enumerate(rows) if row.at_ms > now_ms - SETTLE_AFTER_MS)
            rows = rows[: next(young, len(rows))]
        if not rows:
            return 0
        if len(rows) < SETTLE_ROWS and now_ms - rows[0].at_ms < self._wait_ms:
            return 0
        sums = summed(((row.warehouse, row.sku), (row[4], row[5], row[6])) for row in rows)
        with changing(self._engine) as connection:
            if not _advance(connection, upto, rows[-1].id):
                return 0
            _add_to_base(connection, sums)
        return len(rows)

    def slice(self, after: Key | None = None) -> Slice | None:
        """Compare the next rows of one warehouse; None while the base is too far behind."""
        with self._snapshot() as connection:
            upto = _upto(connection)
            last = connection.execute(select(func.max(t.movement.c.id))).scalar() or 0
            if last - upto > TAIL_MAX:
                return None
            keys = _next_keys(connection, after or _START)
            if not keys:
                return Slice([], 0, None)
            drifts = _compare(connection, keys, upto)
        return Slice(drifts, len(keys), keys[-1])

    def full(self) -> tuple[list[Drift], int, int]:
        """(drifts, rows, movements) of everything, from the first movement; one snapshot."""
        moved: dict[Key, Counters] = {}
        upto = count = 0
        with self._snapshot() as connection:
            while rows := _movements(connection, upto, FULL_ROWS):
                for row in rows:
                    key = (row.warehouse, row.sku)
                    moved[key] = add(moved.get(key, (0, 0, 0)), (row[4], row[5], row[6]))
                upto, count = rows[-1].id, count + len(rows)
            s = t.stock.c
            stock = {
                (row[0], row[1]): (row[2], row[3], row[4])
                for row in connection.execute(select(s.warehouse, s.sku, s.shelf, s.picked, s.held))
            }
            holds = _live_holds(connection, None)
        return compare(stock, moved, holds), len(stock), count

    @contextmanager
    def _snapshot(self) -> Iterator[Connection]:
        """A read transaction in which every statement sees the same commits."""
        with reading(self._engine) as connection:
            if not self._serial:
                connection = connection.execution_options(isolation_level="REPEATABLE READ")
            yield connection


def _upto(connection: Connection) -> int:
    c = t.core_meta.c
    return int(connection.execute(select(c.value).where(c.key == _UPTO)).scalar() or 0)


def _movements(connection: Connection, after: int, limit: int) -> list[Any]:
    c = t.movement.c
    wanted = select(c.id, c.at_ms, c.warehouse, c.sku, c.d_shelf, c.d_picked, c.d_held)
    return list(connection.execute(wanted.where(c.id > after).order_by(c.id).limit(limit)))


def _advance(connection: Connection, old: int, new: int) -> bool:
    """Move the mark, unless somebody else has; the row is locked until the commit."""
    c = t.core_meta.c
    if old == 0 and connection.execute(select(c.key).where(c.key == _UPTO)).first() is None:
        connection.execute(
            text("INSERT INTO core_meta (key, value) VALUES (:key, '0') ON CONFLICT DO NOTHING"),
            {"key": _UPTO},
        )
    moved = connection.execute(
        update(t.core_meta).where(c.key == _UPTO, c.value == str(old)).values(value=str(new))
    )
    return moved.rowcount == 1


def _add_to_base(connection: Connection, sums: dict[Key, Counters]) -> None:
    """One statement for all rows: the write lock is held while they are added."""
    connection.execute(
        _ADD_TO_BASE,
        [
            {"warehouse": key[0], "sku": key[1], "shelf": shelf, "picked": picked, "held": held}
            for key, (shelf, picked, held) in sorted(sums.items())
        ],
    )


def _next_keys(connection: Connection, after: Key) -> list[Key]:
    """The next rows behind a key, of one warehouse, whichever table knows them."""
    found: list[Any] = []
    for table in (t.stock, t.stock_base):
        c = table.c
        behind = or_(c.warehouse > after[0], and_(c.warehouse == after[0], c.sku > after[1]))
        wanted = select(c.warehouse, c.sku).where(behind).order_by(c.warehouse, c.sku)
        found.append(wanted.limit(SLICE_ROWS).subquery())
    both = union(*(select(part.c.warehouse, part.c.sku) for part in found)).subquery()
    rows = connection.execute(
        select(both.c.warehouse, both.c.sku).order_by(both.c.warehouse, both.c.sku)
    )
    keys = [(row[0], row[1]) for row in rows][:SLICE_ROWS]
    return [key for key in keys if key[0] == keys[0][0]]


def _compare(connection: Connection, keys: list[Key], upto: int) -> list[Drift]:
    warehouse, first, last = keys[0][0], keys[0][1], keys[-1][1]

    def rows_of(table: Any) -> dict[Key, Counters]:
        c = table.c
        wanted = select(c.sku, c.shelf, c.picked, c.held).where(
            c.warehouse == warehouse, c.sku.between(first, last)
        )
        return {(warehouse, row[0]): (row[1], row[2], row[3]) for row in connection.execute(wanted)}

    m = t.movement.c
    tail = (
        select(m.sku, func.sum(m.d_shelf), func.sum(m.d_picked), func.sum(m.d_held))
        .where(m.id > upto, m.warehouse == warehouse, m.sku.between(first, last))
        .group_by(m.sku)
    )
    moved = rows_of(t.stock_base)
    for sku, *sums in connection.execute(tail):
        key = (warehouse, sku)
        moved[key] = add(moved.get(key, (0, 0, 0)), (int(sums[0]), int(sums[1]), int(sums[2])))
    return compare(rows_of(t.stock), moved, _live_holds(connection, (warehouse, first, last)))


def _live_holds(connection: Connection, of: tuple[str, str, str] | None) -> dict[Key, int]:
    """Units that live holds set aside, by row; `of` is (warehouse, first SKU, last SKU)."""
    h, line = t.hold.c, t.hold_line.c
    wanted = (
        select(line.warehouse, line.sku, func.sum(line.quantity))
        .select_from(t.hold.join(t.hold_line, line.hold_id == h.id))
        .where(text(t.HOLD_LIVE))
        .group_by(line.warehouse, line.sku)
    )
    if of is not None:
        wanted = wanted.where(
            h.warehouse.in_((of[0], "")), line.warehouse == of[0], line.sku.between(of[1], of[2])
        )
    return {(row[0], row[1]): int(row[2]) for row in connection.execute(wanted)}


def open_alarm_keys(connection: Connection, kind: str) -> list[str]:
    """The keys of the open alarms of one kind."""
    c = t.alarm.c
    found = select(c.key).where(c.kind == kind, c.closed_ms.is_(None))
    return sorted(connection.execute(found).scalars())
