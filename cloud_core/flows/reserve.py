"""Reserve: checkout holds placed, confirmed, released, expired, and taken over by a paid order.

All by one clock, the commit's (P9). The answer to a keyed command is stored beside its key in the
commit of its effect, so a repeat gets the same answer (P8). Stock of a confirmed hold is never
given back by time; without an order it only alarms.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import msgspec
from msgspec.structs import replace

from cloud_core.domain import checkout
from cloud_core.domain.hold_commands import (
    Answered,
    ConfirmHold,
    Expired,
    ExpireHolds,
    HoldAnswer,
    Keyed,
    PlaceHolds,
    ReleaseHold,
    Units,
    WantedHold,
)
from cloud_core.domain.policy import HOUR_MS
from cloud_core.domain.rows import Hold, Order, SeenKey, Shipment
from cloud_core.store import hold_rows
from cloud_core.store.working_set import WorkingSet
from protocols.errors import Rejected, Unavailable

LIVE = ("held", "confirmed")
_ORPHAN_ALARM = "hold_orphan"
_UNCLAIMED_ALARM = "hold_unclaimed"
_UNCLAIMED_ZH = {
    "unknown": "不存在", "foreign": "属于另一个渠道", "expired": "已过期", "released": "已释放",
    "moved": "已被另一个订单接收", "taken": "已被另一个订单接收",
}  # fmt: skip


class _Stored(msgspec.Struct):
    """What stands beside an idempotency key."""

    digest: str
    holds: tuple[HoldAnswer, ...]


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(_Stored).decode


def prefetch_place(ws: WorkingSet, commands: list[PlaceHolds]) -> None:
    """Load in bulk the keys and stock that these commands need."""
    _prefetch_keys(ws, [command.keyed for command in commands])
    ws.stock_for({sku for c in commands for wanted in c.holds for sku, _ in wanted.lines})


def prefetch_confirm(ws: WorkingSet, commands: list[ConfirmHold]) -> None:
    """Load in bulk the keys and holds that these commands name."""
    _prefetch_keys(ws, [command.keyed for command in commands])
    _prefetch_holds(ws, [command.hold_id for command in commands])


def prefetch_release(ws: WorkingSet, commands: list[ReleaseHold]) -> None:
    """Load in bulk the holds that these commands name."""
    _prefetch_holds(ws, [command.hold_id for command in commands])


def place_holds(ws: WorkingSet, command: PlaceHolds) -> Answered:
    """Set each basket aside as a whole, or say what is missing; the neighbours go on.

    Raises `Rejected("idempotency_conflict")`, `Unavailable("recovering")`.
    """
    stored = _replay(ws, command.keyed)
    if stored is not None:
        return stored
    if ws.recovering:  # what this core believes of its stock is as old as its backup
        raise Unavailable("recovering", "系统恢复中，暂不能预占库存", "recovering from a backup")
    return _remember(ws, command.keyed, tuple(_place(ws, wanted) for wanted in command.holds))


def confirm_hold(ws: WorkingSet, command: ConfirmHold) -> Answered:
    """Payment came: the hold stays. Too late: it ends here as expired and the answer says so.

    Raises `Rejected`: `idempotency_conflict`, `hold_unknown`.
    """
    stored = _replay(ws, command.keyed)
    if stored is not None:
        return stored
    hold = _known(ws, command.hold_id)
    state, code = checkout.confirmed(hold, ws.now_ms)
    hold = _settle(ws, hold, state, command.actor)
    return _remember(ws, command.keyed, (_answer(ws, hold, code),))


def release_hold(ws: WorkingSet, command: ReleaseHold) -> HoldAnswer:
    """Give a basket up; twice is once. A confirmed one stays unless a person insists.

    The answer for one that was over before carries the code that says how it ended.
    Raises `Rejected`: `hold_unknown`, `hold_confirmed`, `hold_moved`.
    """
    hold = _known(ws, command.hold_id)
    state, code = checkout.released(hold, ws.now_ms, force=command.force)
    if code:
        zh, en = checkout.REFUSALS[code]
        raise Rejected(code, zh, en, field="id")
    if hold.state == "confirmed":  # a person answers for it
        ws.trail(hold.id, "confirmed>released", command.actor, source=command.source)
        ws.audit(command.actor, command.source, "hold.release_confirmed", hold.id)
        ws.close_alarm(_ORPHAN_ALARM, hold.id)
    settled = _settle(ws, hold, state, command.actor)
    over = settled is hold or settled.state == "expired"
    return _answer(ws, settled, checkout.confirmed(settled, ws.now_ms)[1] if over else "")


def expire_holds(ws: WorkingSet, command: ExpireHolds) -> Expired:
    """End holds whose time is over, forget old keys, look for paid holds that nobody ordered.

    Nothing expires while the core recovers from a backup: its payment may be what it forgot.
    """
    if ws.recovering:
        return Expired(0, 0, 0, more=False)
    due = hold_rows.due_holds(ws.fetch.connection, ws.now_ms, command.limit)
    _prefetch_holds(ws, due)
    ended = 0
    for hold_id in due:
        hold = ws.holds.get(hold_id)
        if hold is not None and hold.state == "held" and checkout.is_over(hold, ws.now_ms):
            _settle(ws, hold, "expired", "clock")
            ended += 1
    keys = hold_rows.keys_to_forget(ws.fetch.connection, ws.now_ms, command.limit)
    if keys:
        ws.writes.append(partial(hold_rows.forget_keys, keys=keys))
    orphans = _find_orphans(ws, _ORPHANS_AT_ONCE) if command.orphans else 0
    more = max(len(due), len(keys)) >= command.limit
    return Expired(ended, len(keys), orphans, more)


# --- the order that takes a hold ------------------------------------------------------------------


def take_over(
    ws: WorkingSet, order: Order, shipment: Shipment, new_id: str, lines: Sequence[tuple[str, int]]
) -> str:
    """Move the checkout hold that a paid order names to its shipment, as hold `new_id`.

    Returns the warehouse that holds the shipment's goods now. "" when there is nothing to move, or
    when no warehouse covers the shipment alone: then the hold is confirmed and stays where it is.
    """
    hold = _claimable(ws, order, shipment)
    if hold is None:
        return ""
    if hold.state == "held" and checkout.is_over(hold, ws.now_ms):
        _settle(ws, hold, "expired", "clock")
        _unclaimed(ws, order, "expired")
        return ""
    units = ws.lines_of_hold(hold.id)
    ws.stock_for({sku for _, sku, _ in units})
    where = "" if ws.recovering else _best_for(ws, hold, units, lines)
    if not where:
        if (hold.state, hold.shipment_id) != ("confirmed", shipment.id):
            _put_confirmed(ws, hold, f"order:{order.id}", shipment.id)
            ws.trail(order.id, "hold:confirmed", "core", hold.id)
        return ""
    _move_on(ws, hold, order, shipment, units)
    taken = Hold(new_id, shipment.id, where, "held", None, ws.now_ms)
    ws.holds.put(taken)
    ws.cover_hold(new_id, [(where, sku, quantity) for sku, quantity in lines])
    for sku, quantity in lines:
        row = ws.move(where, sku, held=quantity, reason="hold", ref=new_id)
        assert row.available >= 0, (where, sku)
    return where


def prefetch_baskets(ws: WorkingSet, orders: Sequence[tuple[str, str]]) -> None:
    """Load the confirmed holds that carry the native id of these orders (channel, native id)."""
    if not orders:
        return
    found = hold_rows.confirmed_for(ws.fetch.connection, orders)
    _prefetch_holds(ws, [hold_id for _, _, hold_id in found])
    for channel, ref, hold_id in found:
        ws.paid_baskets.setdefault((channel, ref), []).append(hold_id)


def basket_by_ref(ws: WorkingSet, channel: str, native_id: str) -> str:
    """The confirmed hold of that channel whose `order_ref` is the order's native id, "" if none.

    One that another process confirms meanwhile stays where it is; `hold_orphan` names it later.
    """
    for hold_id in ws.paid_baskets.get((channel, native_id), ()) if channel else ():
        hold = ws.holds.get(hold_id)
        if hold is not None and hold.state == "confirmed" and not hold.shipment_id:
            return hold.id
    return ""


def basket_of(ws: WorkingSet, order: Order, shipment: Shipment) -> Units:
    """What the order's confirmed checkout hold keeps for the shipment in several warehouses."""
    hold = ws.holds.get(order.hold)
    if hold is None or (hold.kind, hold.state) != ("checkout", "confirmed"):
        return ()
    return ws.lines_of_hold(hold.id) if hold.shipment_id == shipment.id else ()


def give_basket_up(ws: WorkingSet, order: Order, shipment: Shipment) -> None:
    """The commit that holds the goods for the order's shipments ends the hold they came with."""
    hold = ws.holds.get(order.hold)
    assert hold is not None
    _move_on(ws, hold, order, shipment, ws.lines_of_hold(hold.id))


def let_go(ws: WorkingSet, order: Order) -> None:
    """A stopped order gives back the hold it named, if no shipment has taken it."""
    hold = ws.holds.get(order.hold)
    if hold is None or hold.kind != "checkout" or hold.state not in LIVE:
        return
    mine = hold.channel in ("", order.channel)
    if mine and (not hold.shipment_id or hold.shipment_id in ws.shipment_ids(order.id)):
        ws.trail(order.id, "hold:released", "core", hold.id)
        _settle(ws, hold, "released", f"order_stopped:{order.id}")


def _move_on(ws: WorkingSet, hold: Hold, order: Order, shipment: Shipment, units: Units) -> None:
    _give_back(ws, hold.id, units, "checkout_move")
    ws.holds.put(
        replace(
            hold, state="moved", shipment_id=shipment.id, result=f"order:{order.id}",
            resolved_ms=hold.resolved_ms or ws.now_ms, version=hold.version + 1,
        )
    )  # fmt: skip
    ws.close_alarm(_ORPHAN_ALARM, hold.id)
    ws.trail(order.id, "hold:moved", "core", hold.id)


def _claimable(ws: WorkingSet, order: Order, shipment: Shipment) -> Hold | None:
    """The live hold that the order names and may have; says once in the trail why it may not."""
    hold = ws.holds.get(order.hold)
    why = ""
    if hold is None or hold.kind != "checkout":
        why = "unknown"
    elif hold.channel not in ("", order.channel):
        why = "foreign"
    elif hold.state not in LIVE:
        why = hold.state if hold.shipment_id != shipment.id else "done"
    elif hold.shipment_id not in ("", shipment.id):
        why = "taken"
    if not why:
        return hold
    if shipment.token_n == 0 and why != "done":
        _unclaimed(ws, order, why)
    return None


def _unclaimed(ws: WorkingSet, order: Order, why: str) -> None:
    """The hold an order names is not its own: the order goes on, and people are told."""
    if ws.alarms.get((_UNCLAIMED_ALARM, order.id)) is not None:
        return
    ws.trail(order.id, f"hold:{why}", "core", f"order.hold={order.hold}")
    ws.alarm(
        _UNCLAIMED_ALARM, order.id,
        f"订单 {order.id}（{order.native_id}）的字段 order.hold 所写的预占 {order.hold} "
        f"{_UNCLAIMED_ZH.get(why, why)}，订单已照常接收并另占库存，请核对店铺的对接",
    )  # fmt: skip


def _best_for(ws: WorkingSet, hold: Hold, units: Units, lines: Sequence[tuple[str, int]]) -> str:
    """The warehouse that covers the shipment when the hold's own units count for it."""
    mine: dict[tuple[str, str], int] = {(w, sku): quantity for w, sku, quantity in units}
    names = [hold.warehouse, *places(ws)] if hold.warehouse else places(ws)
    return checkout.covering(
        lines, names, lambda w, sku: ws.available(w, sku) + mine.get((w, sku), 0)
    )


# --- parts ----------------------------------------------------------------------------------------


def places(ws: WorkingSet) -> tuple[str, ...]:
    """The warehouses that may promise goods, by priority: enabled, with an agent."""
    if ws.places is None:
        staffed = {agent.warehouse for agent in ws.master.agents.values() if agent.enabled}
        known = [w for w in ws.master.warehouses.values() if w.enabled and w.id in staffed]
        ws.places = tuple(w.id for w in sorted(known, key=lambda w: (w.priority, w.id)))
    return ws.places


def _place(ws: WorkingSet, wanted: WantedHold) -> HoldAnswer:
    for position, (sku, _) in enumerate(wanted.lines):
        if sku not in ws.master.skus:
            return HoldAnswer(
                "", "refused", order_ref=wanted.order_ref, code="sku_unknown",
                field=f"{wanted.field}lines[{position}].sku", zh=f"商品编码 {sku} 不存在",
                en=f"unknown SKU {sku}",
            )  # fmt: skip
    units = checkout.place(wanted.lines, places(ws), ws.available)
    if units is None:
        return _short(ws, wanted)
    ttl_s = wanted.ttl_s or ws.policy.hold_ttl_s
    hold = Hold(
        wanted.id, "", checkout.home_of(units), "held", ws.now_ms + ttl_s * 1000, ws.now_ms,
        kind="checkout", channel=wanted.channel, order_ref=wanted.order_ref,
    )  # fmt: skip
    ws.holds.add(hold)
    ws.cover_hold(hold.id, units)
    for warehouse, sku, quantity in units:
        row = ws.move(warehouse, sku, held=quantity, reason="checkout_hold", ref=hold.id)
        assert row.available >= 0, (warehouse, sku)
    return _answer(ws, hold, "")


def _short(ws: WorkingSet, wanted: WantedHold) -> HoldAnswer:
    short = checkout.missing(wanted.lines, places(ws), ws.available)
    first = next(i for i, (sku, _) in enumerate(wanted.lines) if sku == short[0].sku)
    zh, en = checkout.REFUSALS["stock_short"]
    return HoldAnswer(
        "", "refused", order_ref=wanted.order_ref, code="stock_short",
        field=f"{wanted.field}lines[{first}].quantity", zh=f"{zh}：{short[0].sku}",
        en=f"{en}: {short[0].sku}", missing=short,
    )  # fmt: skip


def settle_victim(ws: WorkingSet, hold: Hold, warehouse: str, sku: str) -> None:
    """An unpaid hold loses its goods to a count that did not find them."""
    _settle(ws, hold, "released", f"{checkout.VICTIM}{warehouse}/{sku}")


def _settle(ws: WorkingSet, hold: Hold, state: str, by: str) -> Hold:
    """Bring a checkout hold to its next state; the same state changes nothing."""
    if state == hold.state:
        return hold
    if state == "confirmed":
        return _put_confirmed(ws, hold, by, "")
    _give_back(ws, hold.id, ws.lines_of_hold(hold.id), f"checkout_{_WORD[state]}")
    ended = replace(
        hold, state=state, resolved_ms=ws.now_ms, result=by[:200], version=hold.version + 1
    )
    ws.holds.put(ended)
    ws.wake_parked = True
    return ended


_WORD = {"released": "release", "expired": "expire"}


def _put_confirmed(ws: WorkingSet, hold: Hold, by: str, shipment_id: str) -> Hold:
    if not shipment_id and hold.order_ref:
        ws.paid_baskets.setdefault((hold.channel, hold.order_ref), []).append(hold.id)
    kept = replace(
        hold, state="confirmed", resolved_ms=hold.resolved_ms or ws.now_ms, result=by[:200],
        shipment_id=shipment_id, version=hold.version + 1,
    )  # fmt: skip
    ws.holds.put(kept)
    return kept


def _give_back(ws: WorkingSet, hold_id: str, units: Units, reason: str) -> None:
    for warehouse, sku, quantity in units:
        ws.move(warehouse, sku, held=-quantity, reason=reason, ref=hold_id)


def _answer(ws: WorkingSet, hold: Hold, code: str) -> HoldAnswer:
    zh, en = checkout.REFUSALS[code] if code else ("", "")
    return HoldAnswer(
        hold.id, hold.state, hold.expires_ms, hold.resolved_ms, ws.lines_of_hold(hold.id),
        hold.order_ref, code, "id" if code else "", zh, en,
    )  # fmt: skip


def _known(ws: WorkingSet, hold_id: str) -> Hold:
    hold = ws.holds.get(hold_id)
    if hold is None or hold.kind != "checkout":
        raise Rejected("hold_unknown", "没有这个预占", "there is no such hold", field="id")
    return hold


_ORPHANS_AT_ONCE = 500


def _find_orphans(ws: WorkingSet, limit: int) -> int:
    """Alarm for confirmed holds without an order after `hold_orphan_h`; they keep their goods."""
    before = ws.now_ms - ws.policy.hold_orphan_h * HOUR_MS
    found = hold_rows.orphans(ws.fetch.connection, before, _ORPHAN_ALARM, limit)
    for hold_id in found:
        hold = ws.holds.get(hold_id)
        if hold is not None and hold.state == "confirmed" and not hold.shipment_id:
            name = f"（{hold.order_ref}）" if hold.order_ref else ""
            order = _same_number(ws, hold)
            also = f"；同号订单 {order.id} 没有写 order.hold，库存可能重复占用" if order else ""
            ws.alarm(
                _ORPHAN_ALARM, hold_id,
                f"预占 {hold_id}{name} 已确认付款超过 {ws.policy.hold_orphan_h} 小时仍没有订单，"
                f"库存继续保留，请核对店铺订单{also}",
            )  # fmt: skip
    return len(found)


def _same_number(ws: WorkingSet, hold: Hold) -> Order | None:
    """The order of the hold's channel that bears the number it was placed for."""
    if not (hold.channel and hold.order_ref):
        return None
    return ws.order_by_native(hold.channel, hold.order_ref)


# --- idempotency ----------------------------------------------------------------------------------


def _replay(ws: WorkingSet, keyed: Keyed) -> Answered | None:
    """The stored answer of a key. Raises `Rejected("idempotency_conflict")` for another body."""
    seen = ws.seen.get((keyed.scope, keyed.key))
    if seen is None:
        return None
    stored = _decode(seen.result)
    if stored.digest != keyed.digest:
        raise Rejected(
            "idempotency_conflict", "该 Idempotency-Key 已用于另一个请求",
            "this Idempotency-Key was used for another request", field="idempotency-key",
        )  # fmt: skip
    return Answered(stored.holds, replayed=True)


def _remember(ws: WorkingSet, keyed: Keyed, holds: tuple[HoldAnswer, ...]) -> Answered:
    result = _encode(_Stored(keyed.digest, holds)).decode()
    until_ms = ws.now_ms + ws.policy.answer_hours * HOUR_MS
    ws.seen.put(SeenKey(keyed.scope, keyed.key, ws.now_ms, result, until_ms))
    return Answered(holds)


def _prefetch_keys(ws: WorkingSet, keyed: list[Keyed]) -> None:
    by_scope: dict[str, list[str]] = {}
    for one in keyed:
        by_scope.setdefault(one.scope, []).append(one.key)
    for scope, keys in by_scope.items():
        found = {row.key: row for row in ws.fetch.seen_many(scope, keys)}
        for key in keys:
            ws.seen.loaded((scope, key), found.get(key))


def _prefetch_holds(ws: WorkingSet, ids: list[str]) -> None:
    found = {hold.id: hold for hold in ws.fetch.holds_by_id(ids)}
    for hold_id in ids:
        ws.holds.loaded(hold_id, found.get(hold_id))
    units = hold_rows.hold_lines(ws.fetch.connection, found)
    for hold_id, lines in units.items():
        ws.hold_lines_stored.setdefault(hold_id, lines)
    ws.stock_for({sku for lines in units.values() for _, sku, _ in lines})
