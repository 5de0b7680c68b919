"""Reads about holds: what they set aside, which are due, who claims a SKU; outside checks.

On the connection of a commit. The index of live holds is used only when a query says `HOLD_LIVE`
in its very words.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sqlalchemy import Connection, Engine, delete, exists, insert, select, text

from cloud_core.domain.rows import OutsideCheck
from cloud_core.store import schema as t
from cloud_core.store.engine import reading
from cloud_core.store.reading import among, many, one, parts, selecting

Units = tuple[tuple[str, str, int], ...]
"""(warehouse, sku, quantity) of one hold."""
_CHECK = selecting(t.outside_check, OutsideCheck)


def hold_lines(connection: Connection, ids: Iterable[str]) -> dict[str, Units]:
    """The units of these holds by hold, each sorted by (warehouse, sku); unknown ids are absent."""
    c = t.hold_line.c
    found: dict[str, list[tuple[str, str, int]]] = {}
    for part in parts(ids):
        wanted = select(c.hold_id, c.warehouse, c.sku, c.quantity).where(
            among(connection, c.hold_id, part)
        )
        for hold_id, *units in connection.execute(wanted.order_by(c.hold_id, c.warehouse, c.sku)):
            found.setdefault(hold_id, []).append((units[0], units[1], units[2]))
    return {hold_id: tuple(lines) for hold_id, lines in found.items()}


def due_holds(connection: Connection, now_ms: int, limit: int) -> list[str]:
    """Checkout holds whose time is over at `now_ms`, the longest over first."""
    c = t.hold.c
    wanted = select(c.id).where(
        text("state = 'held' AND expires_ms IS NOT NULL"), c.expires_ms <= now_ms
    )
    return list(connection.execute(wanted.order_by(c.expires_ms, c.id).limit(limit)).scalars())


def orphans(connection: Connection, before_ms: int, alarm: str, limit: int) -> list[str]:
    """Confirmed holds from `before_ms` or earlier that no order has named and nobody was told of.

    `alarm` is the kind of alarm that tells of them.
    """
    h, a = t.hold.c, t.alarm.c
    told = exists().where(a.kind == alarm, a.key == h.id, a.closed_ms.is_(None))
    wanted = select(h.id).where(
        text("hold.state = 'confirmed'"), h.resolved_ms <= before_ms, h.shipment_id == "", ~told
    )
    return list(connection.execute(wanted.order_by(h.resolved_ms, h.id).limit(limit)).scalars())


def confirmed_for(
    connection: Connection, refs: Iterable[tuple[str, str]]
) -> list[tuple[str, str, str]]:
    """(channel, order_ref, hold) of confirmed holds that no order has named, oldest first."""
    wanted = set(refs)
    c = t.hold.c
    found: list[tuple[str, str, str]] = []
    for part in parts(sorted({ref for _, ref in wanted})):
        rows = connection.execute(
            select(c.channel, c.order_ref, c.id)
            .where(text("state = 'confirmed'"), c.shipment_id == "")
            .where(among(connection, c.order_ref, part))
            .order_by(c.resolved_ms, c.id)
        )
        found += [(row[0], row[1], row[2]) for row in rows if (row[0], row[1]) in wanted]
    return found


def holds_on(connection: Connection, warehouse: str, sku: str) -> list[str]:
    """The live holds that set `sku` aside in `warehouse`, oldest first."""
    h, line = t.hold.c, t.hold_line.c
    wanted = (
        select(h.id)
        .select_from(t.hold.join(t.hold_line, line.hold_id == h.id))
        .where(
            text("state IN ('held', 'confirmed', 'incident')"),
            h.warehouse.in_((warehouse, "")),
            line.warehouse == warehouse,
            line.sku == sku,
        )
    )
    return list(connection.execute(wanted.order_by(h.created_ms, h.id)).scalars())


def keys_to_forget(connection: Connection, now_ms: int, limit: int) -> list[tuple[str, str]]:
    """Idempotency keys (scope, key) that may be forgotten by `now_ms`, oldest first."""
    c = t.seen_key.c
    old = select(c.scope, c.key).where(c.until_ms.is_not(None), c.until_ms <= now_ms)
    rows = connection.execute(old.order_by(c.until_ms).limit(limit))
    return [(row[0], row[1]) for row in rows]


def forget_keys(connection: Connection, keys: Sequence[tuple[str, str]]) -> None:
    """Delete idempotency keys (scope, key)."""
    c = t.seen_key.c
    for scope in sorted({scope for scope, _ in keys}):
        for part in parts(key for its_scope, key in keys if its_scope == scope):
            connection.execute(t.seen_key.delete().where(c.scope == scope, c.key.in_(part)))


def overdue_checks(connection: Connection, now_ms: int, limit: int) -> list[str]:
    """Waiting outside checks whose deadline has passed, the longest over first."""
    c = t.outside_check.c
    wanted = select(c.id).where(text("state = 'waiting'"), c.deadline_ms <= now_ms)
    return list(connection.execute(wanted.order_by(c.deadline_ms, c.id).limit(limit)).scalars())


def due_checks(engine: Engine, now_ms: int, limit: int) -> list[OutsideCheck]:
    """Waiting outside checks to ask (again), outside of any commit, the longest due first."""
    c = t.outside_check.c
    wanted = _CHECK.where(text("state = 'waiting'"), c.due_ms <= now_ms)
    with reading(engine) as connection:
        return many(connection, wanted.order_by(c.due_ms, c.id).limit(limit), OutsideCheck)


def outside_check(connection: Connection, key: str) -> OutsideCheck | None:
    """An outside check by id."""
    return one(connection, _CHECK.where(t.outside_check.c.id == key), OutsideCheck)


def cover_again(connection: Connection, *, hold_id: str, units: Units) -> None:
    """A hold whose id an ended one had covers these units and no others."""
    connection.execute(delete(t.hold_line).where(t.hold_line.c.hold_id == hold_id))
    connection.execute(
        insert(t.hold_line),
        [
            {"hold_id": hold_id, "warehouse": warehouse, "sku": sku, "quantity": quantity}
            for warehouse, sku, quantity in units
        ],
    )
