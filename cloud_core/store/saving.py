"""Writes a working set: one final row per key, set-based, in one global order.

The order (idempotency keys, orders, shipments, stock by (warehouse, sku), pools, facts, outbox) is
the lock order of DESIGN §5. Values go to the driver as tuples; no statement runs per row.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from operator import attrgetter
from typing import Any

import msgspec
from sqlalchemy import Connection, Table

from cloud_core.domain import rows as r
from cloud_core.store import schema as t
from cloud_core.store.working_set import Rows, WorkingSet

_APPENDED: dict[type[Any], Table] = {
    r.Movement: t.movement,
    r.Trail: t.trail,
    r.Milestone: t.milestone,
    r.Incident: t.incident,
    r.Quarantine: t.quarantine,
    r.EventRow: t.event,
    r.OriginRow: t.origin,
    r.Audit: t.audit,
    r.RawMessage: t.raw_message,
}


@dataclasses.dataclass(frozen=True)
class _Plan:
    """The two statements of one table and how to get their values out of a row."""

    insert: str
    update: str
    values: Any
    update_values: Any


_plans: dict[tuple[str, str], _Plan] = {}


def save(connection: Connection, ws: WorkingSet) -> None:
    """Write everything `ws` decided; the caller commits."""
    mark = "?" if connection.dialect.paramstyle == "qmark" else "%s"
    _save_rows(connection, mark, t.seen_key, r.SeenKey, ws.seen)
    _save_rows(connection, mark, t.orders, r.Order, ws.orders)
    _save_order_lines(connection, mark, ws.lines)
    _save_rows(connection, mark, t.contact, r.Contact, ws.contacts)
    _save_rows(connection, mark, t.shipment, r.Shipment, ws.shipments)
    _save_lines(connection, mark, t.shipment_line, r.ShipmentLine, ws.shipment_lines)
    _save_rows(connection, mark, t.hold, r.Hold, ws.holds)
    _save_hold_lines(connection, mark, ws)
    _save_rows(connection, mark, t.outside_check, r.OutsideCheck, ws.outside_checks)
    _save_rows(connection, mark, t.stock, r.Stock, ws.stock, key=lambda s: (s.warehouse, s.sku))
    _save_rows(connection, mark, t.waybill, r.Waybill, ws.waybills)
    _save_rows(connection, mark, t.agent_state, r.AgentState, ws.agents)
    _save_rows(connection, mark, t.stream, r.Stream, ws.streams)
    _save_alarms(connection, mark, ws)
    _save_rows(connection, mark, t.shop_outbox, r.ShopCall, ws.shop_calls)
    _save_rows(connection, mark, t.outbox, r.OutboxRow, ws.outbox)
    _save_appended(connection, mark, ws.appended)
    if ws.processed_raw:
        connection.exec_driver_sql(
            f"UPDATE raw_message SET processed_ms = {mark} WHERE id = {mark}",  # noqa: S608
            [(ws.now_ms, raw_id) for raw_id in ws.processed_raw],
        )
    if ws.purged_raw:
        connection.exec_driver_sql(
            f"UPDATE raw_message SET body = {mark} WHERE id = {mark}",  # noqa: S608
            [(b"", raw_id) for raw_id in ws.purged_raw],
        )
    if ws.purged_quarantine:
        connection.exec_driver_sql(
            f"UPDATE quarantine SET body = NULL WHERE id = {mark}",  # noqa: S608
            [(row_id,) for row_id in ws.purged_quarantine],
        )
    if ws.resolved_incidents:
        connection.exec_driver_sql(
            f"UPDATE incident SET resolved_ms = {mark}, resolved_by = {mark} "  # noqa: S608
            f"WHERE id = {mark}",
            [(ws.now_ms, actor, incident_id) for incident_id, actor in ws.resolved_incidents],
        )
    for (agent, boot), offset in sorted(ws.learned_offsets.items()):
        connection.exec_driver_sql(
            "INSERT INTO clock_offset (agent, boot, offset_ms) "  # noqa: S608
            f"VALUES ({mark}, {mark}, {mark}) "
            "ON CONFLICT (agent, boot) DO UPDATE SET offset_ms = excluded.offset_ms",
            (agent, boot, offset),
        )
    for write in ws.writes:
        write(connection)
    for key, value in sorted(ws.meta.items()):
        connection.exec_driver_sql(
            f"INSERT INTO core_meta (key, value) VALUES ({mark}, {mark}) "  # noqa: S608
            "ON CONFLICT (key) DO UPDATE SET value = excluded.value",
            (key, value),
        )


def _plan(table: Table, kind: type[Any], mark: str) -> _Plan:
    plan = _plans.get((table.name, mark))
    if plan is None:
        names = [f.name for f in msgspec.structs.fields(kind)]
        keys = [c.name for c in table.primary_key.columns]
        rest = [n for n in names if n not in keys]
        listed = ", ".join(names)
        insert = f"INSERT INTO {table.name} ({listed}) VALUES ({', '.join([mark] * len(names))})"  # noqa: S608
        update = (
            f"UPDATE {table.name} SET {', '.join(f'{n} = {mark}' for n in rest)} "  # noqa: S608
            f"WHERE {' AND '.join(f'{k} = {mark}' for k in keys)}"
        )
        plan = _plans[(table.name, mark)] = _Plan(
            insert,
            update,
            attrgetter(*names),
            attrgetter(*rest, *keys) if set(keys) <= set(names) else None,
        )
    return plan


def _save_rows(
    connection: Connection,
    mark: str,
    table: Table,
    kind: type[Any],
    rows: Rows[Any],
    key: Any = None,
) -> None:
    new, changed = rows.changes()
    if key is not None:
        new.sort(key=key)
        changed.sort(key=key)
    plan = _plan(table, kind, mark)
    if new:
        connection.exec_driver_sql(plan.insert, [plan.values(row) for row in new])
    if changed:
        connection.exec_driver_sql(plan.update, [plan.update_values(row) for row in changed])


def _save_lines(
    connection: Connection, mark: str, table: Table, kind: type[Any], rows: Rows[Any]
) -> None:
    new, changed = rows.changes()
    plan = _plan(table, kind, mark)
    if new:
        connection.exec_driver_sql(
            plan.insert, [plan.values(line) for lines in new for line in lines]
        )
    if changed:
        connection.exec_driver_sql(
            plan.update, [plan.update_values(line) for lines in changed for line in lines]
        )


def _save_order_lines(connection: Connection, mark: str, rows: Rows[Any]) -> None:
    """An order that is changed before payment may have other lines than before, not only others."""
    new, changed = rows.changes()
    if changed:
        gone = f"DELETE FROM order_line WHERE order_id = {mark}"  # noqa: S608
        connection.exec_driver_sql(gone, [(lines[0].order_id,) for lines in changed])
    values = _plan(t.order_line, r.OrderLine, mark)
    every = [values.values(line) for lines in [*new, *changed] for line in lines]
    if every:
        connection.exec_driver_sql(values.insert, every)


def _save_hold_lines(connection: Connection, mark: str, ws: WorkingSet) -> None:
    values = [
        (hold_id, warehouse, sku, quantity)
        for hold_id, lines in ws.hold_lines.items()
        for warehouse, sku, quantity in lines
        if ws.holds.get(hold_id) is not None
    ]
    if values:
        connection.exec_driver_sql(
            "INSERT INTO hold_line (hold_id, warehouse, sku, quantity) "  # noqa: S608
            f"VALUES ({mark}, {mark}, {mark}, {mark}) ON CONFLICT DO NOTHING",
            values,
        )


def _save_alarms(connection: Connection, mark: str, ws: WorkingSet) -> None:
    new, changed = ws.alarms.changes()
    fresh = [(a.kind, a.key, a.opened_ms, a.closed_ms, a.count, a.text) for a in new]
    if fresh:
        connection.exec_driver_sql(
            "INSERT INTO alarm (kind, key, opened_ms, closed_ms, count, text) "  # noqa: S608
            f"VALUES ({', '.join([mark] * 6)})",
            fresh,
        )
    known = [(a.closed_ms, a.count, a.text, a.id) for a in changed]
    if known:
        connection.exec_driver_sql(
            f"UPDATE alarm SET closed_ms = {mark}, count = {mark}, text = {mark} "  # noqa: S608
            f"WHERE id = {mark}",
            known,
        )


def _save_appended(connection: Connection, mark: str, appended: Sequence[Any]) -> None:
    by_kind: dict[type[Any], list[Any]] = {}
    for row in appended:
        by_kind.setdefault(type(row), []).append(row)
    for kind, table in _APPENDED.items():
        rows = by_kind.get(kind)
        if rows:
            plan = _plan(table, kind, mark)
            connection.exec_driver_sql(plan.insert, [plan.values(row) for row in rows])
