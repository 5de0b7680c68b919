"""Gifts: a rule gives goods away with a paid order; they ride in its shipment, never hold it up.

The gift child is the order's number + `GIFT` with a state of its own (003.20–22). Its goods are
lines of the order with the gift mark. When no warehouse can send both, now or after a refusal, the
order goes alone and the child is owed: a person sends it later. `bound` makes the bench scan it
before the box closes.
"""

from __future__ import annotations

import msgspec
from msgspec.structs import replace

from cloud_core.domain.after_rows import Gift
from cloud_core.domain.decision import effects_of
from cloud_core.domain.decision_values import Request
from cloud_core.domain.rows import Order, OrderLine, Shipment, ShipmentLine
from cloud_core.flows.route import ask, table_of
from cloud_core.store.working_set import WorkingSet

SUFFIX = "GIFT"
FLAG = "gift"
"""In `Order.flags`: there is a child to look up."""
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(list[tuple[str, int]]).decode


def add_gift(ws: WorkingSet, order: Order, shipment: Shipment) -> Order:
    """Give what the rules give with this order, in the commit of its payment, before routing.

    Returns the order as it is then.
    """
    table = table_of(ws)
    if not table.index.gives or ws.recovering:
        return order
    lines = [(line.sku, line.quantity) for line in ws.lines_of(shipment.id)]
    where = order.district or order.city or order.province
    asked = Request(tuple(lines), where, order.channel, order.amount_fen, shipment.ship_by_ms)
    effects = effects_of(asked, table, ws.now_ms)
    goods = [(sku, units) for sku, units in effects.gifts if sku in ws.master.skus]
    if not goods or ws.gifts.get(order.id + SUFFIX) is not None:
        return order
    units = dict(lines)
    for sku, quantity in goods:
        units[sku] = units.get(sku, 0) + quantity
    both = sorted(units.items())
    ws.stock_for(units)
    mine = ws.lines_of_hold(order.hold) if order.hold else ()
    rides = bool(ask(ws, order, shipment, both, basket=mine).parcels)
    ws.gifts.put(
        Gift(
            order.id + SUFFIX, order.id, effects.gift_rule[:64], _encode(goods).decode(),
            int(effects.gift_bound), "riding" if rides else "owed",
            shipment.id if rides else "", ws.now_ms, ws.now_ms,
        )
    )  # fmt: skip
    order = replace(order, flags=FLAG, version=order.version + 1)
    ws.orders.put(order)
    ws.trail(order.id, "gift:riding" if rides else "gift:owed", "core", order.id + SUFFIX)
    if rides:
        _add_lines(ws, order, goods)
        changed = tuple(ShipmentLine(shipment.id, sku, quantity) for sku, quantity in both)
        ws.shipment_lines.put(changed)
    return order


def goods_in(ws: WorkingSet, order: Order, shipment_id: str) -> tuple[str, dict[str, int]]:
    """(number of the gift child the bench must scan, gift units by SKU) in this shipment.

    The number is "" when the rule does not bind, and nothing rides when the child is owed.
    """
    gift = _gift(ws, order)
    if gift is None or gift.state in ("owed", "cancelled"):
        return "", {}
    here = {line.sku: line.quantity for line in ws.lines_of(shipment_id)}
    goods = {
        sku: min(units, here[sku]) for sku, units in _decode(gift.lines) if here.get(sku, 0) > 0
    }
    return (gift.id if gift.bound and goods else ""), goods


def may_drop(ws: WorkingSet, order: Order) -> bool:
    """Whether a gift rides that the order could go without."""
    gift = _gift(ws, order)
    return gift is not None and gift.state == "riding"


def drop_gift(ws: WorkingSet, order: Order, shipment: Shipment) -> None:
    """The order goes alone: the gift's units leave its lines; the caller ends their hold first."""
    gift = _gift(ws, order)
    assert gift is not None
    goods = dict(_decode(gift.lines))
    lines = tuple(
        replace(line, quantity=line.quantity - goods.get(line.sku, 0))
        for line in ws.lines_of(shipment.id)
    )
    ws.shipment_lines.put(tuple(line for line in lines if line.quantity > 0))
    kept = [line for line in ws.lines.get(order.id) or () if not (line.gift and line.sku in goods)]
    ws.lines.put(tuple(kept))
    _put(ws, gift, "owed", "")


def move_gift(ws: WorkingSet, order_id: str, shipment_id: str, state: str) -> None:
    """The parcel it rides in was `packed` or `sent`; an owed one stays owed."""
    order = ws.orders.get(order_id)
    gift = _gift(ws, order) if order is not None else None
    if gift is None or gift.state not in ("riding", "packed") or gift.state == state:
        return
    if goods_of(ws, gift, shipment_id):
        _put(ws, gift, state, shipment_id)


def cancel_gift(ws: WorkingSet, order: Order) -> None:
    """The order is stopped; what has left has left."""
    gift = _gift(ws, order)
    if gift is not None and gift.state != "sent":
        _put(ws, gift, "cancelled", gift.shipment_id)


def goods_of(ws: WorkingSet, gift: Gift, shipment_id: str) -> bool:
    """Whether the shipment carries goods of the child."""
    skus = {sku for sku, _ in _decode(gift.lines)}
    return any(line.sku in skus for line in ws.lines_of(shipment_id))


def _gift(ws: WorkingSet, order: Order) -> Gift | None:
    return ws.gifts.get(order.id + SUFFIX) if order.flags == FLAG else None


def _put(ws: WorkingSet, gift: Gift, state: str, shipment_id: str) -> None:
    ws.gifts.put(
        replace(
            gift, state=state, shipment_id=shipment_id, changed_ms=ws.now_ms,
            version=gift.version + 1,
        )
    )  # fmt: skip
    ws.trail(gift.order_id, f"gift:{state}", "core", gift.id)


def _add_lines(ws: WorkingSet, order: Order, goods: list[tuple[str, int]]) -> None:
    lines = ws.lines.get(order.id) or ()
    number = max((line.line_no for line in lines), default=0)
    added = tuple(
        OrderLine(order.id, number + at, sku, quantity, 0, ws.master.skus[sku].name[:200], 1)
        for at, (sku, quantity) in enumerate(goods, 1)
    )
    ws.lines.put((*lines, *added))
