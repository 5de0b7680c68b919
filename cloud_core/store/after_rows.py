"""Reads about change requests, gifts, returns and serial numbers, on the connection of a commit."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, select, text

from cloud_core.domain import after_rows as a
from cloud_core.store import schema as main
from cloud_core.store import schema_after as t
from cloud_core.store.reading import many, one, selecting

_CHANGE = selecting(t.change_request, a.Change)
_GIFT = selecting(t.gift_child, a.Gift)
_RETURN = selecting(t.return_ticket, a.Return)
_SERIAL = selecting(t.shipment_serial, a.Serial)


def change(connection: Connection, key: str) -> a.Change | None:
    """A change request by id."""
    return one(connection, _CHANGE.where(t.change_request.c.id == key), a.Change)


def gift(connection: Connection, key: str) -> a.Gift | None:
    """A gift child by id."""
    return one(connection, _GIFT.where(t.gift_child.c.id == key), a.Gift)


def ticket(connection: Connection, key: str) -> a.Return | None:
    """A return by id."""
    return one(connection, _RETURN.where(t.return_ticket.c.id == key), a.Return)


def waiting_changes(connection: Connection, shipment_id: str) -> list[str]:
    """The change requests of a shipment that no bench has confirmed."""
    c = t.change_request.c
    wanted = select(c.id).where(c.shipment_id == shipment_id, text(t.CHANGE_WAITS))
    return list(connection.execute(wanted.order_by(c.id)).scalars())


def returns_of_order(connection: Connection, order_id: str) -> list[str]:
    """The returns of an order, void ones too."""
    c = t.return_ticket.c
    wanted = select(c.id).where(c.order_id == order_id).order_by(c.created_ms, c.id)
    return list(connection.execute(wanted).scalars())


def open_returns_at(connection: Connection, agent: str) -> list[str]:
    """The returns an agent has tickets of and is not through with."""
    c = t.return_ticket.c
    wanted = select(c.id).where(c.agent == agent, text(t.RETURN_OPEN))
    return list(connection.execute(wanted.order_by(c.created_ms, c.id)).scalars())


def due_changes(connection: Connection, now_ms: int, limit: int) -> list[str]:
    """Change requests whose next step of escalation is due, the longest due first."""
    c = t.change_request.c
    wanted = select(c.id).where(text(t.ESCALATES), c.next_ms <= now_ms)
    return list(connection.execute(wanted.order_by(c.next_ms, c.id).limit(limit)).scalars())


def due_returns(connection: Connection, now_ms: int, limit: int) -> list[str]:
    """Returns whose next step of escalation is due, the longest due first."""
    c = t.return_ticket.c
    wanted = select(c.id).where(text(t.ESCALATES), c.next_ms <= now_ms)
    return list(connection.execute(wanted.order_by(c.next_ms, c.id).limit(limit)).scalars())


def returns_to_purge(connection: Connection, before_ms: int, limit: int) -> list[str]:
    """Returns that ended before `before_ms` and whose ticket still shows a masked contact."""
    c = t.return_ticket.c
    wanted = select(c.id).where(text(t.RETURN_UNPURGED), c.closed_ms <= before_ms)
    return list(connection.execute(wanted.order_by(c.closed_ms).limit(limit)).scalars())


def tickets_sent(connection: Connection, return_id: str) -> list[str]:
    """The commands that carried a return's ticket, the first and those after new epochs."""
    c = main.outbox.c
    wanted = select(c.id).where(c.shipment_id == return_id, c.kind == "return_ticket")
    return list(connection.execute(wanted.order_by(c.id)).scalars())


def serials_of(connection: Connection, shipment_ids: Sequence[str]) -> list[a.Serial]:
    """The serial numbers scanned into these shipments."""
    c = t.shipment_serial.c
    wanted = _SERIAL.where(c.shipment_id.in_(list(shipment_ids))).order_by(c.sku, c.serial)
    return many(connection, wanted, a.Serial) if shipment_ids else []


_KEEP_SERIAL = text(
    "INSERT INTO shipment_serial (shipment_id, sku, serial, at_ms, agent) "
    "VALUES (:shipment_id, :sku, :serial, :at_ms, :agent) ON CONFLICT DO NOTHING"
)


def keep_serials(connection: Connection, rows: Sequence[a.Serial]) -> None:
    """Write serial numbers down; one that is known for this parcel already stays as it was."""
    values = [
        {"shipment_id": r.shipment_id, "sku": r.sku, "serial": r.serial, "at_ms": r.at_ms,
         "agent": r.agent}
        for r in sorted(rows, key=lambda r: (r.shipment_id, r.sku, r.serial))
    ]  # fmt: skip
    connection.execute(_KEEP_SERIAL, values)
