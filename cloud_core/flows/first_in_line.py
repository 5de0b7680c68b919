"""First in line: paid goods that wait are served before anybody new gets them (DESIGN §6).

A paid shipment may be parked without goods set aside: there were none, or nobody could take it.
Before a basket or a new order takes units of a SKU, those who wait for it get them, the most urgent
first, then by payment: in the same commit, so that what comes back is never overtaken. They stay
parked, with a hold; the sweep finds them an owner. Only what one warehouse covers whole is set
aside: goods that would not make a parcel stay on sale.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
from msgspec.structs import replace

from cloud_core.domain import checkout
from cloud_core.domain.hold_commands import Answered, PlaceHolds
from cloud_core.domain.rows import Shipment
from cloud_core.flows.own import hold_id, note, set_goods_aside
from cloud_core.flows.reserve import basket_of, place_holds, places
from cloud_core.store.working_set import WorkingSet

LOOKED_AT_MAX = 500
"""So many of those who wait are looked at in a commit; the sweep serves the others in turn."""
_NOT_FOR_GOODS = ("recovering", "rule")
"""Reasons that goods do not end: a bench may have them already, or a rule keeps them away."""


def place_behind(ws: WorkingSet, command: PlaceHolds) -> Answered:
    """Baskets, behind whoever has paid already. Raises as `reserve.place_holds`."""
    serve_waiting(ws, {sku for wanted in command.holds for sku, _ in wanted.lines})
    return place_holds(ws, command)


def serve_waiting(ws: WorkingSet, skus: Iterable[str]) -> None:
    """Set goods aside for paid shipments that wait for one of `skus` and have none."""
    if ws.recovering:
        return
    if ws.waiting_line is None:
        ws.waiting_line = ws.fetch.waiting_line(_NOT_FOR_GOODS, LOOKED_AT_MAX)
    if not ws.waiting_line:
        return
    wanted = set(skus)
    for shipment_id, lines in ws.waiting_line:
        if any(sku in wanted for sku, _ in lines):
            _serve(ws, shipment_id, lines)


def _serve(ws: WorkingSet, shipment_id: str, lines: tuple[tuple[str, int], ...]) -> None:
    ws.stock_for(sku for sku, _ in lines)
    if not checkout.covering(lines, places(ws), ws.available):
        return
    shipment = ws.shipments.get(shipment_id)
    if shipment is None or not shipment.parked or shipment.stop or shipment.token_n == 0:
        return
    order = ws.orders.get(shipment.order_id)
    name = hold_id(shipment.id, shipment.token_n)
    if order is None or ws.holds.get(name) is not None or basket_of(ws, order, shipment):
        return
    refused = _refused_by(shipment)
    where = checkout.covering(lines, [w for w in places(ws) if w not in refused], ws.available)
    if not where:
        return
    # The new version tells another process, which may be giving it an owner, of the hold.
    kept = replace(shipment, version=shipment.version + 1)
    ws.shipments.put(kept)
    set_goods_aside(ws, kept.id, kept.token, where, lines)
    note(ws, kept, f"set_aside:{where}", "core")


def _refused_by(shipment: Shipment) -> frozenset[str]:
    """Warehouses that would not take it: what they say they have is not kept for it."""
    return frozenset(msgspec.json.decode(shipment.excluded) if shipment.excluded else ())
