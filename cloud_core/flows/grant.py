"""Grant: an accepted offer draws its waybill number and becomes the right to pick and print.

The number belongs to one (shipment, token) and travels, with the masked label fields, only in the
grant (P6, P12). With no free number the accepted offer waits, alarmed, its deadline stopped.
"""

from __future__ import annotations

from msgspec.structs import replace

from cloud_core.domain.decision_record import marks
from cloud_core.domain.rows import Order, Shipment, Waybill
from cloud_core.flows.gifts import FLAG, goods_in
from cloud_core.flows.own import note, settle_order
from cloud_core.store.working_set import WorkingSet
from protocols import codec, limits
from protocols.commands import Grant, LabelText, TaskLine
from protocols.messages import Token


def grant(ws: WorkingSet, shipment: Shipment, *, actor: str) -> Shipment:
    """Grant an accepted shipment, or let it wait for a number or for the recovery's end."""
    assert shipment.state == "offered", shipment.state
    number = None if ws.recovering else _draw(ws, shipment)
    if number is None:
        waiting = "recovering" if ws.recovering else "waybill"
        if shipment.waiting != waiting:
            shipment = replace(
                shipment, waiting=waiting, deadline_ms=None, version=shipment.version + 1
            )
            ws.shipments.put(shipment)
            note(ws, shipment, f"waiting:{waiting}", actor)
            if waiting == "waybill":
                ws.alarm(
                    "waybill_pool_empty",
                    shipment.carrier,
                    f"承运商 {shipment.carrier} 的运单号池已空，已接单的发货单在等待",
                )
        return shipment
    granted = replace(
        shipment,
        state="granted",
        waiting="",
        parked_ms=None,
        deadline_ms=None,
        waybill=number,
        granted_ms=ws.now_ms,
        version=shipment.version + 1,
    )
    ws.shipments.put(granted)
    send_grant(ws, granted, reissue=False)
    note(ws, granted, "offered>granted", actor)
    ws.milestone(granted.id, "granted", "", actor)
    settle_order(ws, granted.order_id)
    return granted


def send_grant(ws: WorkingSet, shipment: Shipment, *, reissue: bool, suffix: str = "") -> str:
    """Queue the grant of a shipment; `suffix` tells a re-issued one from the first. Its id."""
    order = ws.orders.get(shipment.order_id)
    assert order is not None
    info = ws.master.warehouses[shipment.warehouse]
    gift, lines = _task_lines(ws, order, shipment)
    body = Grant(
        shipment.id,
        shipment.token,
        order.id,
        order.channel,
        order.native_id,
        shipment.waybill,
        shipment.carrier,
        _label(ws, shipment),
        lines,
        shipment.ship_by_ms,
        info.print_on,
        shipment.priority,
        _tags(order, shipment),
        reissue,
        gift,
    )
    command_id = grant_id(shipment) + suffix
    ws.send(command_id, shipment.agent, "grant", codec.encode(body), shipment_id=shipment.id)
    return command_id


def _tags(order: Order, shipment: Shipment) -> list[str]:
    """What the order and the rules want the bench to see."""
    said = (*order.tags.split(","), *marks(shipment.decision).tags)
    return list(dict.fromkeys(tag for tag in said if tag))[:_TAGS_MAX]


def grant_id(shipment: Shipment) -> str:
    """The id of the first grant of a shipment under its token."""
    token = shipment.token
    return f"grant:{shipment.id}:{token.core_epoch}.{token.n}"


def void_waybill(ws: WorkingSet, shipment: Shipment) -> None:
    """A number whose shipment was stopped or taken back is void, never used again (P6)."""
    row = ws.waybills.get(shipment.waybill) if shipment.waybill else None
    if row is not None and row.state == "drawn":
        ws.waybills.put(replace(row, state="void", at_ms=ws.now_ms))


def _draw(ws: WorkingSet, shipment: Shipment) -> str | None:
    """Take the next number of the carrier's pool for this (shipment, token)."""
    carrier = ws.carrier(shipment.carrier)
    taken = ws.pools.setdefault(shipment.carrier, [])
    while True:
        if not taken:
            behind = ws.pool_ends.get(shipment.carrier, "")
            taken.extend(reversed(ws.fetch.free_waybills(shipment.carrier, behind, _POOL_PAGE)))
            if not taken:
                return None
            ws.pool_ends[shipment.carrier] = taken[0].number
        free = taken.pop()
        if not _used(ws, free) and carrier.is_number(free.number):
            break
    token: Token = shipment.token
    ws.waybills.loaded(free.number, free)
    ws.waybills.put(
        replace(
            free,
            state="drawn",
            shipment_id=shipment.id,
            token_epoch=token.core_epoch,
            token_n=token.n,
            at_ms=ws.now_ms,
        )
    )
    return free.number


_TAGS_MAX = 16
"""Tags that travel in a grant (`protocols.commands.Grant`)."""
_POOL_PAGE = 600
"""Free numbers read at a time; a commit that draws more reads on behind them."""


def _used(ws: WorkingSet, waybill: Waybill) -> bool:
    if waybill.number not in ws.waybills:
        return False
    row = ws.waybills.get(waybill.number)
    return row is None or row.state != "free"


def _task_lines(ws: WorkingSet, order: Order, shipment: Shipment) -> tuple[str, list[TaskLine]]:
    """(number of the gift child to be scanned, the lines); bought and given units are two lines."""
    number, given = goods_in(ws, order, shipment.id) if order.flags == FLAG else ("", {})
    gifts = {line.sku for line in ws.lines.get(order.id) or () if line.gift} - given.keys()
    lines: list[TaskLine] = []
    for line in ws.lines_of(shipment.id):
        free = given.get(line.sku, 0)
        for units, is_gift in ((line.quantity - free, line.sku in gifts), (free, True)):
            if units > 0:
                lines.append(_task_line(ws, shipment.warehouse, line.sku, units, is_gift))
    return number, lines


def _task_line(ws: WorkingSet, warehouse: str, sku: str, quantity: int, gift: bool) -> TaskLine:
    info = ws.master.skus.get(sku)
    return TaskLine(
        sku,
        quantity,
        info.name[: limits.TEXT_CHARS_MAX] if info else sku,
        list(info.barcodes[: limits.BARCODES_MAX]) if info else [],
        ws.master.locations.get((warehouse, sku), ""),
        bool(info and info.serial),
        gift,
    )


def _label(ws: WorkingSet, shipment: Shipment) -> LabelText:
    order = ws.orders.get(shipment.order_id)
    contact = ws.contacts.get(shipment.order_id)
    assert order is not None
    info = ws.master.warehouses[shipment.warehouse]
    where = ws.carrier(shipment.carrier).sort(order.province, order.city, order.district)
    carrier_info = ws.master.carriers.get(shipment.carrier)
    weight = sum(
        ws.master.skus[line.sku].weight_g * line.quantity
        for line in ws.lines_of(shipment.id)
        if line.sku in ws.master.skus
    )
    url = f"{ws.policy.track_base_url}/t/{order.track_token}" if ws.policy.track_base_url else ""
    return LabelText(
        carrier_info.name if carrier_info else shipment.carrier,
        contact.name_masked if contact else "",
        contact.phone_masked if contact else "",
        f"{order.division_text} {contact.address_masked if contact else ''}".strip(),
        info.sender_name or info.name,
        info.sender_phone,
        info.address,
        where.code,
        where.bag,
        url,
        order.remark[:60],
        min(weight, 10**6),
    )
