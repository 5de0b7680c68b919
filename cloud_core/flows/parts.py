"""Parts: one paid order becomes several shipments because no warehouse has all of it.

The first part keeps the shipment's id; the others are new and get the order's next numbers. Each
then has a hold, an owner and an offer of its own. Nothing is chosen here.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from cloud_core.domain.decision_values import Parcel
from cloud_core.domain.rows import Shipment, ShipmentLine
from cloud_core.store.working_set import WorkingSet


def cut(ws: WorkingSet, shipment: Shipment, parcels: Sequence[Parcel]) -> list[Shipment]:
    """Leave the first parcel's lines to the shipment, make a new one for each of the others.

    The shipment holds no goods at this moment and nobody has picked for it.
    """
    first, *rest = parcels
    assert not any(line.picked for line in ws.lines_of(shipment.id)), shipment.id
    ws.shipment_lines.put(_lines(shipment.id, first))
    made = []
    for parcel in rest:
        part = replace(
            shipment, id=next_id(ws, shipment.order_id), state="routed", parked="", parked_ms=None,
            warehouse="", agent="", token_epoch=ws.core_epoch, token_n=0, deadline_ms=None,
            waiting="", excluded="", waybill="", label="", label_revision=0, granted_ms=None,
            handed_over_ms=None, purged_ms=None, version=0,
        )  # fmt: skip
        ws.add_shipment(part, _lines(part.id, parcel))
        ws.trail(part.id, "split", "core", shipment.id)
        made.append(part)
    ws.trail(shipment.id, "split", "core", ", ".join(part.id for part in made)[:200])
    return made


def next_id(ws: WorkingSet, order_id: str) -> str:
    """The id of the order's next shipment."""
    numbers = (name.rpartition("-")[2] for name in ws.shipment_ids(order_id))
    last = max((int(number) for number in numbers if number.isdigit()), default=0)
    return f"{order_id}-{last + 1}"


def _lines(shipment_id: str, parcel: Parcel) -> tuple[ShipmentLine, ...]:
    return tuple(ShipmentLine(shipment_id, sku, units) for sku, units in sorted(parcel.lines))
