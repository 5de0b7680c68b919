"""What the staff console shows of one order or one shipment; bounded like its lists.

Contacts are read in their masked columns only; the sealed one is never selected (P12). A phone is
looked up by its keyed hash and by nothing else. Must not know HTTP, pages or words.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Engine, Select, func, select

from cloud_core.store import schema as t
from cloud_core.store.console_views import PAGE_ROWS, Json
from cloud_core.store.engine import reading

LINES_MAX = 200
"""Lines of an order or shipment; the shop's door takes no more."""


class ConsoleDetails:
    """Reads of single orders and shipments; safe to call from any thread."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def order(self, order_id: str, *, before: int | None = None) -> Json | None:
        """An order with lines, shipments, incidents, masked contact and one page of its trail,
        newest first, behind the row `before`. None when there is none."""
        c = t.orders.c
        with reading(self._engine) as connection:
            row = connection.execute(select(t.orders).where(c.id == order_id)).mappings().first()
            if row is None:
                return None
            lines, shipment = t.order_line.c, t.shipment.c
            shipments = _rows(
                connection,
                _shipments().where(shipment.order_id == order_id).order_by(shipment.id),
                PAGE_ROWS,
            )
            names = [found["id"] for found in shipments]
            return {
                **row,
                "contact": _contact(connection, order_id),
                "lines": _rows(
                    connection,
                    _named_lines(t.order_line, lines.sku)
                    .where(lines.order_id == order_id)
                    .order_by(lines.line_no),
                    LINES_MAX,
                ),
                "shipments": shipments,
                "incidents": _incidents(connection, names),
                "trail": _trail(connection, [order_id, *names], before),
            }

    def shipment(self, shipment_id: str, *, before: int | None = None) -> Json | None:
        """A shipment with lines, steps, incidents, decision and one page of its trail."""
        c = t.shipment.c
        with reading(self._engine) as connection:
            wanted = _shipments().where(c.id == shipment_id)
            row = connection.execute(wanted).mappings().first()
            if row is None:
                return None
            line, step = t.shipment_line.c, t.milestone.c
            place = select(t.orders.c.division_text, t.orders.c.district, t.orders.c.city)
            to = connection.execute(place.where(t.orders.c.id == row["order_id"])).first()
            return {
                **row,
                "places": {code: to[0] for code in to[1:] if code} if to else {},
                "lines": _rows(
                    connection,
                    _named_lines(t.shipment_line, line.sku)
                    .where(line.shipment_id == shipment_id)
                    .order_by(line.sku),
                    LINES_MAX,
                ),
                "steps": _rows(
                    connection,
                    select(step.at_ms, step.code, step.text)
                    .where(step.shipment_id == shipment_id)
                    .order_by(step.id.desc()),
                    PAGE_ROWS,
                ),
                "incidents": _incidents(connection, [shipment_id]),
                "trail": _trail(connection, [shipment_id], before),
            }

    def with_phone(self, phone_hash: str) -> list[Json]:
        """Orders of a phone by its keyed hash, newest first; at most a page."""
        c, contact = t.orders.c, t.contact.c
        wanted = (
            select(c.id, c.channel, c.native_id, c.state, c.stop, c.created_ms, c.ship_by_ms)
            .join(t.contact, contact.order_id == c.id)
            .where(contact.phone_hash == phone_hash)
            .order_by(c.created_ms.desc(), c.id.desc())
        )
        with reading(self._engine) as connection:
            return _rows(connection, wanted, PAGE_ROWS)

    def stocked(self, name: str) -> str:
        """What has this very id: `sku`, `warehouse` (in capitals), or "" for neither."""
        with reading(self._engine) as connection:
            for what, table, wanted in (
                ("sku", t.sku, name), ("warehouse", t.warehouse, name.upper()),
            ):  # fmt: skip
                if connection.execute(select(table.c.id).where(table.c.id == wanted)).first():
                    return what
        return ""

    def with_last_digits(self, last4_hash: str, since_ms: int) -> list[Json]:
        """Orders made since then whose phone ends so, newest first; at most a page."""
        c, contact = t.orders.c, t.contact.c
        wanted = (
            select(c.id, c.channel, c.native_id, c.state, c.stop, c.created_ms, c.ship_by_ms)
            .join(t.contact, contact.order_id == c.id)
            .where(contact.last4_hash == last4_hash, c.created_ms >= since_ms)
            .order_by(c.created_ms.desc(), c.id.desc())
        )
        with reading(self._engine) as connection:
            return _rows(connection, wanted, PAGE_ROWS)


def _shipments() -> Select[Any]:
    """Shipments with the names of their warehouse and carrier."""
    return (
        select(
            t.shipment,
            func.coalesce(t.warehouse.c.name, t.shipment.c.warehouse).label("warehouse_name"),
            func.coalesce(t.carrier.c.name, t.shipment.c.carrier).label("carrier_name"),
        )
        .join(t.warehouse, t.warehouse.c.id == t.shipment.c.warehouse, isouter=True)
        .join(t.carrier, t.carrier.c.id == t.shipment.c.carrier, isouter=True)
    )


def _named_lines(table: Any, sku: Any) -> Select[Any]:
    name = func.coalesce(t.sku.c.name, "").label("name")
    return select(table, name).join(t.sku, t.sku.c.id == sku, isouter=True)


def _contact(connection: Connection, order_id: str) -> Json:
    """The masked columns; empty for an order that has no contact row (found again, not bought)."""
    c = t.contact.c
    wanted = select(c.name_masked, c.phone_masked, c.address_masked, c.purged_ms)
    row = connection.execute(wanted.where(c.order_id == order_id)).mappings().first()
    if row is None:
        return {"name_masked": "", "phone_masked": "", "address_masked": "", "purged_ms": None}
    return dict(row)


def _incidents(connection: Connection, shipments: Sequence[str]) -> list[Json]:
    c = t.incident.c
    wanted = select(t.incident).where(c.shipment_id.in_(shipments)).order_by(c.id.desc())
    return _rows(connection, wanted, PAGE_ROWS)


def _trail(connection: Connection, subjects: Sequence[str], before: int | None) -> list[Json]:
    """One row more than a page when there are older ones."""
    c = t.trail.c
    wanted = select(t.trail).where(c.subject.in_(subjects)).order_by(c.id.desc())
    if before is not None:
        wanted = wanted.where(c.id < before)
    return _rows(connection, wanted, PAGE_ROWS + 1)


def _rows(connection: Connection, wanted: Select[Any], limit: int) -> list[Json]:
    return [dict(row) for row in connection.execute(wanted.limit(limit)).mappings()]
