"""What a shop reads of stock and holds: numbers it may promise, changes, one hold. Never writes.

No personal data and no counters of the floor: only what may still be promised, by the warehouses
that may promise (enabled, with an agent), the same ones a hold is placed at.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, Engine, and_, exists, func, or_, select

from cloud_core.domain.stock_feed import Window
from cloud_core.store import schema as t
from cloud_core.store.engine import reading
from cloud_core.store.hold_rows import hold_lines
from cloud_core.store.reading import parts

Json = dict[str, Any]
MOVEMENTS_AT_ONCE = 5_000
GAPS_AT_ONCE = 50


class StockViews:
    """Reads over one engine; safe to call from any thread."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def stock(self, skus: Sequence[str]) -> list[Json]:
        """What may be promised of each known SKU, in the order asked; unknown ones are left out."""
        with reading(self._engine) as connection:
            known = _known(connection, skus)
            rows = _promisable(connection, known)
        found = []
        for sku in skus:
            if sku in known:
                by_warehouse = [
                    {"warehouse": warehouse, "available": max(0, units)}
                    for warehouse, units in rows.get(sku, ())
                ]
                total = sum(max(0, units) for _, units in rows.get(sku, ()))
                found.append({"sku": sku, "available": total, "warehouses": by_warehouse})
        return found

    def hold(self, hold_id: str) -> Json | None:
        """One checkout hold with its lines; None when there is none."""
        c = t.hold.c
        wanted = select(
            c.id, c.state, c.expires_ms, c.resolved_ms, c.channel, c.order_ref, c.created_ms
        ).where(c.id == hold_id, c.kind == "checkout")
        with reading(self._engine) as connection:
            row = connection.execute(wanted).mappings().first()
            if row is None:
                return None
            units = hold_lines(connection, [hold_id]).get(hold_id, ())
        lines = [{"warehouse": w, "sku": sku, "quantity": n} for w, sku, n in units]
        return {**row, "lines": lines}

    # --- changes -------------------------------------------------------------------------------

    def position(self) -> tuple[int, int, int]:
        """(core epoch, highest movement id, version of the master data): where a new reader of
        changes begins."""
        with reading(self._engine) as connection:
            high = connection.execute(select(func.max(t.movement.c.id))).scalar() or 0
            return _fact(connection, "core_epoch"), high, _fact(connection, "master_version")

    def news(self, window: Window) -> tuple[list[tuple[int, str]], int]:
        """(id, SKU) of movements the window may not have seen, at most `MOVEMENTS_AT_ONCE`, and the
        version of the master data: which warehouses may promise is no movement."""
        c = t.movement.c
        gaps = window.gaps[-GAPS_AT_ONCE:]
        ranges: list[ColumnElement[bool]] = [c.id.between(low, last) for low, last, _ in gaps]
        wanted = or_(c.id > window.high, *ranges)
        statement = select(c.id, c.sku).where(wanted).order_by(c.id).limit(MOVEMENTS_AT_ONCE)
        with reading(self._engine) as connection:
            moved = [(row[0], row[1]) for row in connection.execute(statement)]
            return moved, _fact(connection, "master_version")

    def moved_since(self, cursor: int, limit: int) -> list[str]:
        """The SKUs that moved behind a cursor, at most `limit`."""
        c = t.movement.c
        wanted = select(c.sku).where(c.id > cursor).distinct().limit(limit)
        with reading(self._engine) as connection:
            return sorted(connection.execute(wanted).scalars())


def _fact(connection: Connection, name: str) -> int:
    """A number among the core's own facts; 0 while it has none."""
    c = t.core_meta.c
    return int(connection.execute(select(c.value).where(c.key == name)).scalar() or 0)


def _known(connection: Connection, skus: Iterable[str]) -> set[str]:
    c = t.sku.c
    return {
        sku
        for part in parts(skus)
        for sku in connection.execute(select(c.id).where(c.id.in_(part))).scalars()
    }


def _promisable(connection: Connection, skus: Iterable[str]) -> dict[str, list[tuple[str, int]]]:
    """(warehouse, units) by SKU, by the warehouses' priority."""
    s, w, a = t.stock.c, t.warehouse.c, t.agent.c
    staffed = exists().where(and_(a.warehouse == w.id, a.enabled == 1))
    found: dict[str, list[tuple[str, int]]] = {}
    for part in parts(sorted(skus)):
        wanted = (
            select(s.sku, s.warehouse, s.shelf + s.picked - s.held - s.safety)
            .join(t.warehouse, w.id == s.warehouse)
            .where(s.sku.in_(part), w.enabled == 1, staffed)
            .order_by(w.priority, w.id)
        )
        for sku, warehouse, units in connection.execute(wanted):
            found.setdefault(sku, []).append((warehouse, units))
    return found
