"""Writes rows the SQLite way: one prepared statement a table, values as tuples.

The one writer holds the database's write lock since before it loaded, so every row is still what
it was and nothing is checked again (adr/0007).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import Any

import msgspec
from sqlalchemy import Connection, Table

from cloud_core.domain import rows as r
from cloud_core.store import schema as t
from cloud_core.store.row_map import Rows
from cloud_core.store.working_set import WorkingSet


@dataclasses.dataclass(frozen=True)
class _Plan:
    """The two statements of one table; a row is an insert's values as it stands."""

    insert: str
    update: str
    update_values: Any


_plans: dict[str, _Plan] = {}
_values = msgspec.structs.astuple


class PlainWriter:
    """The statements of one commit, run at once."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def rows(
        self,
        table: Table,
        kind: type[Any],
        rows: Rows[Any],
        key: Callable[[Any], Any] | None = None,
    ) -> None:
        """New and changed rows of a table, in the order of `key`."""
        new, changed = rows.changes()
        if key is not None:
            new.sort(key=key)
            changed.sort(key=key)
        plan = _plan(table, kind)
        self._many(plan.insert, list(map(_values, new)))
        self._many(plan.update, [plan.update_values(row) for row in changed])

    def lines(self, table: Table, kind: type[Any], rows: Rows[Any]) -> None:
        """As `rows`, for tuples of rows that belong to one parent; a split one has fewer."""
        new, changed = rows.pairs()
        plan = _plan(table, kind)
        more = (*(line for lines in new for line in lines), *came_lines(changed))
        self._many(plan.insert, list(map(_values, more)))
        self._many(
            "DELETE FROM shipment_line WHERE shipment_id = ? AND sku = ?", gone_lines(changed)
        )
        self._many(plan.update, [plan.update_values(line) for _, now in changed for line in now])

    def order_lines(self, rows: Rows[Any]) -> None:
        """An order changed before payment may have other lines than before, not only others."""
        new, changed = rows.changes()
        self._many("DELETE FROM order_line WHERE order_id = ?", [(i[0].order_id,) for i in changed])
        plan = _plan(t.order_line, r.OrderLine)
        self._many(plan.insert, [_values(line) for i in (*new, *changed) for line in i])

    def hold_lines(self, ws: WorkingSet) -> None:
        """What new holds cover; written once."""
        self._many(
            "INSERT INTO hold_line (hold_id, warehouse, sku, quantity) VALUES (?, ?, ?, ?) "
            "ON CONFLICT DO NOTHING",
            covered(ws),
        )

    def alarms(self, rows: Rows[r.Alarm]) -> None:
        """Opened, counted up, closed."""
        new, changed = rows.changes()
        self._many(
            "INSERT INTO alarm (kind, key, opened_ms, closed_ms, count, text) "
            "VALUES (?, ?, ?, ?, ?, ?)",
            [(a.kind, a.key, a.opened_ms, a.closed_ms, a.count, a.text) for a in new],
        )
        self._many(
            "UPDATE alarm SET closed_ms = ?, count = ?, text = ? WHERE id = ?",
            [(a.closed_ms, a.count, a.text, a.id) for a in changed],
        )

    def append(self, table: Table, kind: type[Any], rows: Sequence[Any]) -> None:
        """Rows of a table that only grows."""
        plan = _plan(table, kind)
        self._many(plan.insert, list(map(_values, rows)))

    def set_by_id(self, table: Table, column: str, value: Any, ids: Sequence[int]) -> None:
        """One value into a column of many rows."""
        sql = f"UPDATE {table.name} SET {column} = ? WHERE id = ?"  # noqa: S608
        self._many(sql, [(value, row_id) for row_id in ids])

    def resolve_incidents(self, now_ms: int, resolved: Sequence[tuple[int, str]]) -> None:
        """(incident, who closed it)."""
        self._many(
            "UPDATE incident SET resolved_ms = ?, resolved_by = ? WHERE id = ?",
            [(now_ms, actor, incident_id) for incident_id, actor in resolved],
        )

    def clock_offsets(self, learned: dict[tuple[str, int], int]) -> None:
        """The offsets learned, by (agent, boot)."""
        self._many(
            "INSERT INTO clock_offset (agent, boot, offset_ms) VALUES (?, ?, ?) "
            "ON CONFLICT (agent, boot) DO UPDATE SET offset_ms = excluded.offset_ms",
            [(agent, boot, offset) for (agent, boot), offset in sorted(learned.items())],
        )

    def statements(self, writes: Sequence[Callable[[Connection], None]]) -> None:
        """What writes its own statements: imports of master data."""
        for write in writes:
            write(self._connection)

    def meta(self, values: dict[str, str]) -> None:
        """The core's own facts."""
        self._many(
            "INSERT INTO core_meta (key, value) VALUES (?, ?) "
            "ON CONFLICT (key) DO UPDATE SET value = excluded.value",
            sorted(values.items()),
        )

    def finish(self) -> None:
        """Nothing waits."""

    def _many(self, sql: str, values: list[tuple[Any, ...]]) -> None:
        if values:
            self._connection.exec_driver_sql(sql, values)


Changed = Sequence[tuple[Sequence[r.ShipmentLine], Sequence[r.ShipmentLine]]]
"""The lines of shipments before and now."""


def gone_lines(changed: Changed) -> list[tuple[str, str]]:
    """(shipment, sku) of lines that went to other shipments when their order was split."""
    return [(line.shipment_id, line.sku) for old, now in changed for line in _only(old, now)]


def came_lines(changed: Changed) -> list[r.ShipmentLine]:
    """Lines that a known shipment has since its bench told what it was really sent."""
    return [line for old, now in changed for line in _only(now, old)]


def _only(
    these: Sequence[r.ShipmentLine], those: Sequence[r.ShipmentLine]
) -> Sequence[r.ShipmentLine]:
    """Lines of SKUs that only the first of two have; most changes are of counts alone."""
    skus = [line.sku for line in those]
    return () if [line.sku for line in these] == skus else [i for i in these if i.sku not in skus]


def covered(ws: WorkingSet) -> list[tuple[str, str, str, int]]:
    """(hold, warehouse, sku, quantity) of the holds made in this commit."""
    return [
        (hold_id, warehouse, sku, quantity)
        for hold_id, lines in ws.hold_lines.items()
        if ws.holds.get(hold_id) is not None
        for warehouse, sku, quantity in lines
    ]


def _plan(table: Table, kind: type[Any]) -> _Plan:
    plan = _plans.get(table.name)
    if plan is None:
        names = [f.name for f in msgspec.structs.fields(kind)]
        keys = [c.name for c in table.primary_key.columns]
        rest = [n for n in names if n not in keys]
        listed, marks = ", ".join(names), ", ".join(["?"] * len(names))
        insert = f"INSERT INTO {table.name} ({listed}) VALUES ({marks})"  # noqa: S608
        update = (
            f"UPDATE {table.name} SET {', '.join(f'{n} = ?' for n in rest)} "  # noqa: S608
            f"WHERE {' AND '.join(f'{k} = ?' for k in keys)}"
        )
        has_key = set(keys) <= set(names)
        plan = _plans[table.name] = _Plan(
            insert, update, attrgetter(*rest, *keys) if has_key else None
        )
    return plan
