"""Writes a working set: one final row per key, set-based, in one global order.

The order (idempotency keys, orders, shipments, stock by (warehouse, sku), pools, facts, outbox) is
the lock order of DESIGN §5. How rows are written, and whether they are checked again, is the
writer's: `PlainWriter` on SQLite, `GuardedWriter` on PostgreSQL. No statement runs per row.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from sqlalchemy import Connection, Table

from cloud_core.domain import after_rows as a
from cloud_core.domain import rows as r
from cloud_core.store import schema as t
from cloud_core.store import schema_after as after
from cloud_core.store import schema_breaker as b
from cloud_core.store.capacity import places_given
from cloud_core.store.guarded_writer import GuardedWriter
from cloud_core.store.plain_writer import PlainWriter
from cloud_core.store.working_set import WorkingSet

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


def save(connection: Connection, ws: WorkingSet, mark: str = "") -> None:
    """Write everything `ws` decided; the caller commits.

    On PostgreSQL `mark` is the commit's mark, and `GuardMissed` says that a row was not as loaded.
    """
    if connection.dialect.name == "postgresql":
        guarded = GuardedWriter(connection, ws, mark)
        places = places_given(ws)
        guarded.lock_places(places)
        _save(guarded, ws)
        guarded.check_places(places)
        guarded.finish()
    else:
        plain = PlainWriter(connection)
        _save(plain, ws)
        plain.finish()


def _save(out: PlainWriter | GuardedWriter, ws: WorkingSet) -> None:
    out.rows(t.seen_key, r.SeenKey, ws.seen)
    out.rows(t.orders, r.Order, ws.orders)
    out.order_lines(ws.lines)
    out.rows(t.contact, r.Contact, ws.contacts)
    out.rows(t.shipment, r.Shipment, ws.shipments)
    out.lines(t.shipment_line, r.ShipmentLine, ws.shipment_lines)
    out.rows(t.hold, r.Hold, ws.holds)
    out.hold_lines(ws)
    out.rows(t.outside_check, r.OutsideCheck, ws.outside_checks)
    out.rows(after.gift_child, a.Gift, ws.gifts)
    out.rows(after.return_ticket, a.Return, ws.returns)
    out.rows(after.change_request, a.Change, ws.changes)
    out.rows(t.stock, r.Stock, ws.stock, key=lambda s: (s.warehouse, s.sku))
    out.rows(t.waybill, r.Waybill, ws.waybills)
    out.rows(t.agent_state, r.AgentState, ws.agents)
    out.rows(t.stream, r.Stream, ws.streams)
    out.alarms(ws.alarms)
    out.rows(t.shop_outbox, r.ShopCall, ws.shop_calls)
    out.rows(b.breaker, r.Breaker, ws.breakers, key=lambda row: row.warehouse)
    out.rows(b.notice_outbox, r.Notice, ws.notices)
    out.rows(t.outbox, r.OutboxRow, ws.outbox)
    by_kind: defaultdict[type[Any], list[Any]] = defaultdict(list)
    for row in ws.appended:
        by_kind[type(row)].append(row)
    for kind, table in _APPENDED.items():
        out.append(table, kind, by_kind.get(kind, ()))
    out.set_by_id(t.raw_message, "processed_ms", ws.now_ms, ws.processed_raw)
    out.set_by_id(t.raw_message, "body", b"", ws.purged_raw)
    out.set_by_id(t.quarantine, "body", None, ws.purged_quarantine)
    out.resolve_incidents(ws.now_ms, ws.resolved_incidents)
    out.clock_offsets(ws.learned_offsets)
    out.statements(ws.writes)
    out.meta(ws.meta)
