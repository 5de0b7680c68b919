"""Which orders a number names, whoever gave it: the shop, a carrier, a basket or this core."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select, union

from cloud_core.store import schema as t
from cloud_core.store import schema_after as after


def ids_named(name: str) -> Any:
    """Order ids that any kind of number names, as a query; each part of it uses an index.

    Numbers of ours are read in any case; a native id as written, or all upper or lower case.
    """
    ours = name.upper()
    return union(
        select(t.orders.c.id).where(t.orders.c.id == ours),
        select(t.orders.c.id).where(t.orders.c.native_id.in_(sorted({name, ours, name.lower()}))),
        select(t.shipment.c.order_id).where(t.shipment.c.id == ours),
        select(t.shipment.c.order_id).where(t.shipment.c.waybill == name),
        select(t.shipment.c.order_id)
        .join(t.waybill, t.waybill.c.shipment_id == t.shipment.c.id)
        .where(t.waybill.c.number == name),
        select(t.shipment.c.order_id)
        .join(t.hold, t.hold.c.shipment_id == t.shipment.c.id)
        .where(t.hold.c.id.in_((name, ours))),
        select(t.orders.c.id)
        .join(t.hold, t.hold.c.order_ref == t.orders.c.native_id)
        .where(t.hold.c.id == ours, t.hold.c.channel == t.orders.c.channel),
        select(after.return_ticket.c.order_id).where(after.return_ticket.c.id == ours),
        select(t.shipment.c.order_id)
        .join(after.shipment_serial, after.shipment_serial.c.shipment_id == t.shipment.c.id)
        .where(after.shipment_serial.c.serial == name),
    )
