"""Apply: what the shops said becomes orders; a paid one is owned in the same commit (P5, P8).

Every event has its idempotency key beside its effect. An older version of an order is stored in
the trail, not applied (P7). The same order by webhook and by file is one order: it is found by
(channel, native id).
"""

from __future__ import annotations

from msgspec import Struct
from msgspec.structs import replace

from cloud_core.domain.commands import Applied, ApplyShopEvents, IncomingOrder
from cloud_core.domain.policy import DAY_MS, HOUR_MS
from cloud_core.domain.progress import GONE
from cloud_core.domain.rows import Contact, Order, OrderLine, SeenKey, Shipment, ShipmentLine
from cloud_core.domain.shop_order import ShopEvent, ShopEventKind, fingerprint
from cloud_core.flows import warn
from cloud_core.flows.first_in_line import serve_waiting
from cloud_core.flows.gifts import add_gift
from cloud_core.flows.outside import ask_first
from cloud_core.flows.own import own, settle_order
from cloud_core.flows.readdress import readdress
from cloud_core.flows.reserve import basket_by_ref, prefetch_baskets
from cloud_core.flows.stop import stop
from cloud_core.store.working_set import WorkingSet
from protocols.errors import Rejected

_STOPS = {
    ShopEventKind.CANCELLED: "cancelled",
    ShopEventKind.REFUND_REQUESTED: "refund",
    ShopEventKind.REFUNDED: "refund",
}


class Caller(Struct, frozen=True, gc=False):
    """Who says it and from which address, for the trail (004.30)."""

    actor: str
    source: str


def prefetch(ws: WorkingSet, commands: list[ApplyShopEvents]) -> None:
    """Load in bulk what the events of these commands will need."""
    events = [incoming.event for command in commands for incoming in command.orders]
    keys = [(e.channel, e.native_id) for e in events]
    for order in ws.fetch.orders_by_native(keys):
        ws.orders.loaded(order.id, order)
        ws.native_loaded(order.channel, order.native_id, order.id)
    for channel, native in keys:
        ws.native_loaded(channel, native, None)
    by_channel: dict[str, list[str]] = {}
    for command in commands:
        wanted = by_channel.setdefault(command.channel, [])
        wanted += [incoming.event.dedupe_key for incoming in command.orders]
    for channel, wanted in by_channel.items():
        found = {row.key: row for row in ws.fetch.seen_many(channel, wanted)}
        for key in wanted:
            ws.seen.loaded((channel, key), found.get(key))
    known = [order.id for order in ws.orders.known()]
    shipments: dict[str, list[str]] = {order_id: [] for order_id in known}
    for shipment in ws.fetch.shipments_of(known):
        ws.shipments.loaded(shipment.id, shipment)
        shipments[shipment.order_id].append(shipment.id)
    for order_id, ids in shipments.items():
        ws.shipments_loaded(order_id, ids)
    contacts = {row.order_id: row for row in ws.fetch.contacts_of(known)}
    lines = ws.fetch.lines_of_orders(known)
    for order_id in known:
        ws.contacts.loaded(order_id, contacts.get(order_id))
        ws.lines.loaded(order_id, tuple(lines[order_id]) if order_id in lines else None)
    ws.stock_for({line.sku for e in events for line in e.lines})
    _prefetch_named_holds(ws, {e.hold for e in events if e.hold})
    paid = [e for e in events if e.kind is ShopEventKind.PAID and not e.hold]
    prefetch_baskets(ws, [(e.channel, e.native_id) for e in paid])


def _prefetch_named_holds(ws: WorkingSet, names: set[str]) -> None:
    if names:
        found = {hold.id: hold for hold in ws.fetch.holds_by_id(names)}
        for name in names:
            ws.holds.loaded(name, found.get(name))


def apply_shop_events(ws: WorkingSet, command: ApplyShopEvents) -> Applied:
    """Apply each event; one that is refused is quarantined and its neighbours go on (P11)."""
    results, order_ids, refused = [], [], []
    whole = ws.savepoint()
    for problem in command.problems:
        ws.quarantine(
            f"channel:{command.channel}",
            problem.code,
            problem.field,
            problem.message_zh,
            f"raw:{command.raw_id}#{problem.position}",
        )
    caller = Caller(command.actor or f"channel:{command.channel}", command.source)
    for position, incoming in enumerate(command.orders):
        mark, said = ws.savepoint(), ""
        try:
            result, order_id = _apply(ws, command, incoming, caller)
        except Rejected as error:
            ws.rollback(mark)
            ws.quarantine(
                f"channel:{command.channel}",
                error.code,
                error.field,
                error.zh,
                f"raw:{command.raw_id}#{position} {incoming.event.native_id}",
            )
            result, order_id, said = error.code, "", error.zh
        except Exception as error:  # our bug: this order alone
            ws.rollback(mark)
            ref = f"raw:{command.raw_id}#{position} {incoming.event.native_id}"
            ws.quarantine_bug(f"channel:{command.channel}", error, ref)
            result, order_id, said = "assertion", "", "内部错误"
        results.append(result)
        order_ids.append(order_id)
        refused.append(said)
    if command.dry_run:
        ws.rollback(whole)
    elif command.raw_id is not None:
        ws.processed_raw.append(command.raw_id)
    return Applied(tuple(results), tuple(order_ids), tuple(refused))


def _apply(
    ws: WorkingSet, command: ApplyShopEvents, incoming: IncomingOrder, caller: Caller
) -> tuple[str, str]:
    event = incoming.event
    seen = ws.seen.get((command.channel, event.dedupe_key))
    stands_for = fingerprint(event)
    if seen is not None:
        if seen.result != stands_for:
            raise Rejected(
                "id_reused", "消息编号已用于另一条消息", "message id was used before", field="id"
            )
        order = ws.order_by_native(event.channel, event.native_id)
        return "duplicate", order.id if order else ""
    _check_skus(ws, event)
    ws.seen.put(SeenKey(command.channel, event.dedupe_key, ws.now_ms, stands_for))
    order = ws.order_by_native(event.channel, event.native_id)
    if event.kind is ShopEventKind.UNMAPPED:
        ws.alarm(
            "unmapped_status",
            f"{event.channel}:{event.native_status}",
            f"渠道 {event.channel} 的状态“{event.native_status}”没有对应关系",
        )
        return "stored", order.id if order else ""
    if order is None:
        return "created", _create(ws, incoming, caller)
    return _update(ws, order, incoming, caller)


def _check_skus(ws: WorkingSet, event: ShopEvent) -> None:
    for position, line in enumerate(event.lines):
        if line.sku not in ws.master.skus:
            raise Rejected(
                "sku_unknown",
                f"商品编码 {line.sku} 不存在",
                f"unknown SKU {line.sku}",
                field=f"lines[{position}].sku",
            )


def _create(ws: WorkingSet, incoming: IncomingOrder, caller: Caller) -> str:
    event = incoming.event
    order = Order(
        id=incoming.new_order_id,
        channel=event.channel,
        native_id=event.native_id,
        state="created",
        stop="",
        source_version=event.version,
        native_status=event.native_status,
        created_ms=ws.now_ms,
        paid_ms=None,
        ship_by_ms=None,
        expected_ms=None,
        amount_fen=event.amount_fen,
        province="",
        city="",
        district="",
        division_text="",
        division_flag="",
        remark=event.remark,
        tags="",
        track_token=incoming.new_track_token,
        track_until_ms=ws.now_ms + ws.policy.track_days * DAY_MS,
        flags="",
        hold=event.hold,
    )
    order = _with_division(order, event)
    ws.add_order(order)
    ws.contacts.loaded(order.id, None)
    ws.trail(order.id, "created", caller.actor, source=caller.source)
    ws.lines.loaded(order.id, None)
    _write_lines(ws, order.id, event)
    _write_contact(ws, order.id, incoming)
    if event.kind in _STOPS:
        stop(ws, order, _STOPS[event.kind], caller.actor, caller.source)
    elif event.kind is ShopEventKind.PAID:
        _pay(ws, order, event, caller)
    return order.id


def _update(
    ws: WorkingSet, order: Order, incoming: IncomingOrder, caller: Caller
) -> tuple[str, str]:
    event = incoming.event
    newer = event.version >= order.source_version
    if newer:
        changed = replace(
            order,
            source_version=event.version,
            native_status=event.native_status or order.native_status,
            version=order.version + 1,
        )
        ws.orders.put(changed)
        order = changed
    if event.hold and not order.hold and order.paid_ms is None:
        order = replace(order, hold=event.hold)
        ws.orders.put(order)
    if _place_counts(ws, order, incoming, newer=newer):
        order = _with_division(order, event)
        ws.orders.put(order)
        _write_contact(ws, order.id, incoming)
    if _lines_count(ws, order, event, newer=newer):
        _write_lines(ws, order.id, event)
    if event.kind in _STOPS:
        stop(ws, order, _STOPS[event.kind], caller.actor, caller.source)
        return "updated", order.id
    if event.kind is ShopEventKind.PAID and order.paid_ms is None and event.lines:
        _pay(ws, order, event, caller)
        return "updated", order.id
    if event.kind is ShopEventKind.ADDRESS_CHANGED and newer:
        ws.trail(order.id, "address_changed", caller.actor, source=caller.source)
        readdress(ws, order, "shop", caller.actor, caller.source)
        return "updated", order.id
    if event.kind is ShopEventKind.REFUND_REFUSED:
        warn.refund_refused(ws, order)
    fate = "refused" if order.state in GONE else "stored"
    detail = f"version {event.version}"
    ws.trail(order.id, f"{fate}:{event.kind}", caller.actor, detail, caller.source)
    return "stored", order.id


def _place_counts(ws: WorkingSet, order: Order, incoming: IncomingOrder, *, newer: bool) -> bool:
    """Whether the event says where the order goes: division and contact change together.

    The first to say so counts; a newer one until payment, or while the place is not known; a
    change of address that overtook its order is not undone by it.
    """
    if incoming.contact is None:
        return False
    if ws.contacts.get(order.id) is None:
        return True
    changes = incoming.event.kind is ShopEventKind.ADDRESS_CHANGED
    return newer and (changes or order.paid_ms is None or not order.province)


def _lines_count(ws: WorkingSet, order: Order, event: ShopEvent, *, newer: bool) -> bool:
    """Whether the event says what is to be sent: the first to say so, or newer before payment."""
    if not event.lines or ws.lines.get(order.id) is None:
        return bool(event.lines)
    says = event.kind in (ShopEventKind.CREATED, ShopEventKind.PAID)
    return newer and says and order.paid_ms is None and not ws.shipment_ids(order.id)


def _pay(ws: WorkingSet, order: Order, event: ShopEvent, caller: Caller) -> None:
    """Payment: fix the promise and own the order's shipment in this commit."""
    paid_ms = event.paid_at_ms or event.occurred_at_ms or ws.now_ms
    ship_by = paid_ms + ws.policy.ship_within_h * HOUR_MS
    if event.ship_deadline_ms:
        ship_by = min(ship_by, event.ship_deadline_ms)
    paid = replace(
        order,
        state="paid",
        paid_ms=paid_ms,
        ship_by_ms=ship_by,
        amount_fen=event.amount_fen or order.amount_fen,
        version=order.version + 1,
    )
    if not paid.hold:
        paid = replace(paid, hold=basket_by_ref(ws, paid.channel, paid.native_id))
    ws.orders.put(paid)
    if event.ignored:
        warn.fields_ignored(ws, paid, event.ignored)
    ws.trail(order.id, "created>paid", caller.actor, source=caller.source)
    if order.stop:
        settle_order(ws, order.id)
        return
    warn.place_unclear(ws, paid)
    if ws.shipment_ids(order.id):  # re-attached after a restore: the shipment is there already
        settle_order(ws, order.id)
        return
    shipment = new_shipment(ws, paid, 1)
    if shipment is not None:
        paid = add_gift(ws, paid, shipment)
    if shipment is not None and not ask_first(ws, paid, shipment):
        serve_waiting(ws, (line.sku for line in ws.lines_of(shipment.id)))
        own(ws, shipment, actor=caller.actor)


def new_shipment(ws: WorkingSet, order: Order, number: int) -> Shipment | None:
    """Make an order's shipment of all its lines; None when there is nothing to send."""
    units: dict[str, int] = {}
    for line in ws.lines.get(order.id) or ():
        units[line.sku] = units.get(line.sku, 0) + line.quantity
    if not units:
        return None
    shipment = Shipment(
        id=f"{order.id}-{number}",
        order_id=order.id,
        kind="main",
        state="routed",
        stop="",
        parked="",
        parked_ms=None,
        warehouse="",
        agent="",
        token_epoch=0 if ws.recovering else ws.core_epoch,  # below what a bench may still tell
        token_n=0,
        deadline_ms=None,
        waiting="",
        excluded="",
        carrier="",
        waybill="",
        label="",
        label_revision=0,
        priority=0,
        paid_ms=order.paid_ms or ws.now_ms,
        ship_by_ms=order.ship_by_ms or ws.now_ms,
        expected_ms=order.ship_by_ms or ws.now_ms,
        granted_ms=None,
        handed_over_ms=None,
        purged_ms=None,
        decision="{}",
    )
    lines = [ShipmentLine(shipment.id, sku, quantity) for sku, quantity in sorted(units.items())]
    ws.add_shipment(shipment, tuple(lines))
    return shipment


def _with_division(order: Order, event: ShopEvent) -> Order:
    division = event.division
    if division is None:
        return order
    return replace(
        order,
        province=division.province_code,
        city=division.city_code,
        district=division.district_code,
        division_flag=division.flag,
        division_text="".join(dict.fromkeys((division.province, division.city, division.district))),
    )


def _write_lines(ws: WorkingSet, order_id: str, event: ShopEvent) -> None:
    if event.lines:
        ws.lines.put(
            tuple(
                [
                    OrderLine(
                        order_id,
                        line.line_no,
                        line.sku,
                        line.quantity,
                        line.price_fen,
                        line.title,
                        int(line.is_gift),
                    )
                    for line in event.lines
                ]
            )
        )


def _write_contact(ws: WorkingSet, order_id: str, incoming: IncomingOrder) -> None:
    """Keep the contact; only its masked form once nothing of the order is to be sent (P12)."""
    sealed = incoming.contact
    if sealed is None:
        return
    order = ws.orders.get(order_id)
    shipments = ws.shipments_of(order_id)
    stopped = order is not None and order.stop == "cancelled"
    over = stopped or any(s.purged_ms is not None for s in shipments)
    ws.contacts.put(
        Contact(
            order_id,
            None if over else sealed.sealed,
            sealed.key_id,
            sealed.name_masked,
            sealed.phone_masked,
            sealed.address_masked,
            sealed.phone_hash,
            ws.now_ms if over else None,
            sealed.last4_hash,
        )
    )
