"""Own: give a paid shipment to exactly one warehouse, or say why not (P4, P5).

Routing, the hold, the token and the offer are decided together and written in one commit. Stock of
a paid shipment is only ever moved to the next owner or parked with it, never given back to sale by
a timer (P9). Taking an un-granted shipment back fences the old agent with the new token.
"""

from __future__ import annotations

from msgspec.structs import replace

from cloud_core.domain.decision_record import marks
from cloud_core.domain.decision_values import Decision, Parcel
from cloud_core.domain.progress import UNGRANTED, order_state, order_stop
from cloud_core.domain.rows import Hold, Order, Shipment
from cloud_core.flows import parts
from cloud_core.flows.breaker_gate import may_take_now, note_trial
from cloud_core.flows.excluded import REASON_CHARS_MAX, exclude
from cloud_core.flows.gifts import FLAG, drop_gift, may_drop
from cloud_core.flows.reserve import basket_of, give_basket_up, take_over
from cloud_core.flows.route import (
    Basket,
    Lines,
    ask,
    is_reachable,
    note_asked,
    note_given,
    note_left,
)
from cloud_core.store.working_set import WorkingSet
from protocols import codec
from protocols.commands import Cancel, Offer, OfferLine, Try
from protocols.messages import Token


def own(
    ws: WorkingSet, shipment: Shipment, *, actor: str = "core", claim: bool = True,
    back_to: tuple[str, str] | None = None,
) -> Shipment:  # fmt: skip
    """Route, hold, own and offer an unowned shipment; park it when nobody can take it.

    The token grows in either case, so whatever the last owner still does is void. An order that no
    warehouse covers alone becomes several shipments where its channel allows that; the one given
    keeps its id and is returned. `claim`: a rule may ask several warehouses at once. `back_to`: the
    (warehouse, agent) that gets it if it still can.
    """
    assert shipment.state in UNGRANTED, shipment.state
    assert not shipment.stop, shipment.stop
    lines = [(line.sku, line.quantity) for line in ws.lines_of(shipment.id)]
    ws.stock_for([sku for sku, _ in lines])
    if not ws.recovering:
        shipment = lift(ws, shipment)
    order = ws.orders.get(shipment.order_id)
    assert order is not None
    taken = ""
    basket: Basket = ()
    if order.hold:  # the checkout hold it names becomes its own (P9)
        taken = take_over(ws, order, shipment, hold_id(shipment.id, shipment.token_n), lines)
        basket = () if taken or ws.recovering else basket_of(ws, order, shipment)
    if ws.recovering:  # under its old token: the bench that has it may still tell us
        return _park(ws, shipment, shipment.token, "recovering", shipment.decision)
    kept = taken or _kept(ws, shipment, lines)
    found = _ask(ws, order, shipment, lines, kept, basket, back_to)
    if not found.parcels and order.flags == FLAG and may_drop(ws, order):
        if kept:  # for a gift's sake nothing waits: the order goes alone
            release(ws, shipment, "moved")
        drop_gift(ws, order, shipment)
        return own(ws, shipment, actor=actor, claim=claim, back_to=back_to)
    if not found.parcels:
        return _set_aside(ws, shipment, found, kept, lines)
    if kept:
        if not taken:  # a checkout hold never had a place of the day
            note_left(ws, shipment, hold_id(shipment.id, shipment.token_n))
        release(ws, shipment, "moved")
    if basket:
        give_basket_up(ws, order, shipment)
    first, *rest = found.parcels
    if claim and len(found.broadcast) > 1 and not shipment.excluded:
        return _ask_several(ws, shipment, order, found)
    others = parts.cut(ws, shipment, found.parcels) if rest else ()
    owned = give(ws, shipment, order, first, found, actor)
    for part, parcel in zip(others, rest, strict=True):
        give(ws, part, order, parcel, found, actor)
    settle_order(ws, order.id)
    return owned


def _ask(
    ws: WorkingSet, order: Order, shipment: Shipment, lines: Lines, kept: str, basket: Basket,
    back_to: tuple[str, str] | None,
) -> Decision:  # fmt: skip
    kept_hold = hold_id(shipment.id, shipment.token_n)
    stay = back_to if back_to is not None and is_reachable(ws, back_to[1]) else None
    return ask(ws, order, shipment, lines, kept=kept, kept_hold=kept_hold, basket=basket, stay=stay)


def give(
    ws: WorkingSet, shipment: Shipment, order: Order, parcel: Parcel, found: Decision, actor: str
) -> Shipment:
    """Hold a parcel's goods for the shipment under its next token, and offer it to the agent."""
    token = Token(ws.core_epoch, shipment.token_n + 1)
    set_goods_aside(ws, shipment.id, token, parcel.warehouse, parcel.lines)
    owned = replace(
        shipment,
        state="offered",
        parked="",
        # Who was refused and is asked again still waits: only a grant ends that (`_alarm_old`).
        parked_ms=shipment.parked_ms if shipment.excluded else None,
        warehouse=parcel.warehouse,
        agent=parcel.agent,
        token_epoch=token.core_epoch,
        token_n=token.n,
        carrier=parcel.carrier,
        deadline_ms=ws.now_ms + ws.policy.offer_ttl_s * 1000,
        waiting="",
        waybill="",
        priority=parcel.priority,
        expected_ms=parcel.expected_ms,
        decision=found.record,
        version=shipment.version + 1,
    )
    ws.shipments.put(owned)
    take_place(ws, owned, found)
    _send_offer(ws, owned, order, parcel.lines)
    note(ws, owned, f"{shipment.state}>offered", actor)
    return owned


def _ask_several(ws: WorkingSet, shipment: Shipment, order: Order, found: Decision) -> Shipment:
    """A broadcast claim: the best warehouse holds the goods, the first yes gets them.

    Nobody owns the shipment and a try gives no right to anything; see `flows.claim`.
    """
    (parcel,) = found.parcels
    token = Token(ws.core_epoch, shipment.token_n + 1)
    set_goods_aside(ws, shipment.id, token, parcel.warehouse, parcel.lines)
    asked = replace(
        shipment, state="offered", parked="", parked_ms=None, warehouse=parcel.warehouse, agent="",
        token_epoch=token.core_epoch, token_n=token.n, carrier=parcel.carrier,
        deadline_ms=ws.now_ms + ws.policy.offer_ttl_s * 1000, waiting=CLAIM, waybill="",
        priority=parcel.priority, expected_ms=parcel.expected_ms, decision=found.record,
        version=shipment.version + 1,
    )  # fmt: skip
    ws.shipments.put(asked)
    note_asked(ws, parcel.warehouse)
    lines = [OfferLine(sku, quantity) for sku, quantity in parcel.lines]
    body = codec.encode(Try(shipment.id, token, order.id, lines, shipment.ship_by_ms))
    for place, (_, agent) in enumerate(found.broadcast):
        ws.send(
            f"{_try_prefix(asked)}{place}", agent, "try", body, shipment_id=shipment.id,
            ttl_s=ws.policy.offer_ttl_s, fresh=True,
        )  # fmt: skip
    note(ws, asked, f"{shipment.state}>claim", "core")
    settle_order(ws, order.id)
    return asked


def asked_agents(ws: WorkingSet, shipment: Shipment) -> list[str]:
    """The agents that were asked in the shipment's running claim."""
    prefix = _try_prefix(shipment)
    found = dict(ws.fetch.tries_of(shipment.id))
    found |= {row.id: row.agent for row in ws.outbox.known() if row.kind == "try"}
    return [agent for name, agent in sorted(found.items()) if name.startswith(prefix)]


def _try_prefix(shipment: Shipment) -> str:
    return f"try:{shipment.id}:{shipment.token_epoch}.{shipment.token_n}:"


CLAIM = "claim"
"""What a shipment waits for while several warehouses are asked."""


def take_place(ws: WorkingSet, owned: Shipment, found: Decision) -> None:
    """Count the shipment as work of its new agent, and as a trial of a half-open breaker."""
    note_given(ws, owned.warehouse, owned.agent)
    if ws.breakers.get(owned.warehouse) is not None:
        alone = "sole_holder" in found.flags
        if may_take_now(ws, owned.warehouse, sole_holder=alone).answer == "trial":
            note_trial(ws, owned.warehouse, owned.id)


def _set_aside(
    ws: WorkingSet, shipment: Shipment, found: Decision, kept: str, lines: Lines
) -> Shipment:
    """Park a shipment that nobody can take; what was set aside for it stays so."""
    token = Token(ws.core_epoch, shipment.token_n + 1)
    if shipment.parked not in ("", "recovering"):
        token = shipment.token  # nobody has had it meanwhile
    elif kept:
        release(ws, shipment, "moved")
        set_goods_aside(ws, shipment.id, token, kept, lines)
    return _park(ws, shipment, token, found.parked, found.record)


def _send_offer(ws: WorkingSet, shipment: Shipment, order: Order, lines: Lines) -> None:
    token = shipment.token
    offer = Offer(
        shipment.id,
        token,
        order.id,
        order.channel,
        order.native_id,
        [OfferLine(sku, quantity) for sku, quantity in lines],
        shipment.ship_by_ms,
        shipment.priority,
    )
    ws.send(
        f"offer:{shipment.id}:{token.core_epoch}.{token.n}",
        shipment.agent,
        "offer",
        codec.encode(offer),
        shipment_id=shipment.id,
        ttl_s=ws.policy.offer_ttl_s,
        fresh=True,
    )


def take_back(
    ws: WorkingSet, shipment: Shipment, why: str, *, actor: str = "core", reason: str = ""
) -> Shipment:
    """Take an offered shipment from its agent: old agent fenced, not yet re-owned.

    Its hold stays until `own` moves it: a timer never gives paid goods back to sale (P9). While the
    core recovers, the fence is of the token's own life: a bench may still tell of later tokens of
    that life, which void neither this row nor this fence.

    `why` is `timeout`, `rejected`, `stopped`…; the first two keep the warehouse out of the next
    routing (`flows.excluded`). `reason` is the agent's own word for a refusal, "" if it has none.
    """
    assert shipment.state == "offered", shipment.state
    if not ws.recovering:
        shipment = lift(ws, shipment)
    life = shipment.token_epoch if ws.recovering else ws.core_epoch
    fence = Token(life, shipment.token_n + 1)
    send_cancel(ws, shipment, fence, why, answer=False)
    excluded = shipment.excluded
    if why in ("timeout", "rejected") and shipment.waiting != CLAIM:
        excluded = exclude(ws, shipment, why, reason)
    free = replace(
        shipment,
        state="routed",
        warehouse="",
        agent="",
        deadline_ms=None,
        waiting="",
        excluded=excluded,
        token_epoch=fence.core_epoch,
        token_n=fence.n - 1,
        version=shipment.version + 1,
    )
    ws.shipments.put(free)
    said = f"{why}:{reason[:REASON_CHARS_MAX]}" if reason else why
    note(ws, shipment, f"taken_back:{said}", actor)
    return free


def lift(ws: WorkingSet, shipment: Shipment) -> Shipment:
    """Go back to the highest token ever given before the next one is made.

    A bench that came back after it was waived works under an old token, others have had later
    ones: none of those is given again. The hold moves along; the caller puts the row.
    """
    if shipment.top_n <= shipment.token_n:
        return shipment
    hold = ws.holds.get(hold_id(shipment.id, shipment.token_n))
    lifted = replace(shipment, token_n=shipment.top_n)
    if hold is not None and hold.state == "held":
        release(ws, shipment, "moved")
        name = hold_id(lifted.id, lifted.token_n)
        ws.holds.put(Hold(name, lifted.id, hold.warehouse, "held", None, ws.now_ms))
        ws.cover_hold(name, ws.lines_of_hold(hold.id))
        for warehouse, sku, quantity in ws.lines_of_hold(hold.id):
            ws.move(warehouse, sku, held=quantity, reason="hold", ref=name)
    return lifted


def release(ws: WorkingSet, shipment: Shipment, state: str) -> None:
    """End the shipment's hold and give its units back to what may be promised."""
    hold = ws.holds.get(hold_id(shipment.id, shipment.token_n))
    if hold is None or hold.state != "held":
        return
    ws.holds.put(replace(hold, state=state, version=hold.version + 1))
    for line in ws.lines_of(shipment.id):
        ws.move(hold.warehouse, line.sku, held=-line.quantity, reason="release", ref=hold.id)


def send_cancel(
    ws: WorkingSet, shipment: Shipment, fence: Token, why: str, *, answer: bool, but: str = "",
    text: str = "",
) -> None:  # fmt: skip
    """Tell the owner's agent to stop; tokens below `fence` are void there.

    In a claim all who were asked are told, except `but`, who has it. `text` is for the red screen.
    """
    body = codec.encode(Cancel(shipment.id, fence, why, shipment.order_id, answer, text))
    name = f"cancel:{shipment.id}:{fence.core_epoch}.{fence.n}"
    if shipment.waiting != CLAIM:
        ws.send(name, shipment.agent, "cancel", body, shipment_id=shipment.id)
        return
    for place, agent in enumerate(asked_agents(ws, shipment)):
        if agent != but:
            ws.send(f"{name}:{place}", agent, "cancel", body, shipment_id=shipment.id)


def settle_order(ws: WorkingSet, order_id: str) -> None:
    """Fold the order's state and stop axis over its shipments."""
    order = ws.orders.get(order_id)
    assert order is not None, order_id
    shipments = ws.fresh_shipments_of(order_id)
    state = order_state(order.state, shipments)
    stop = order_stop(order.stop, shipments) if shipments else order.stop
    expected = max((s.expected_ms for s in shipments if s.stop != "cancelled"), default=0)
    before = (order.state, order.stop, order.expected_ms)
    # Two processes may each change another part of one order: then its version tells the second.
    if len(shipments) > 1 or (state, stop, expected or order.expected_ms) != before:
        ws.orders.put(
            replace(
                order,
                state=state,
                stop=stop,
                expected_ms=expected or order.expected_ms,
                version=order.version + 1,
            )
        )


def note(ws: WorkingSet, shipment: Shipment, change: str, actor: str, source: str = "") -> None:
    """Write a change of a shipment into the trail, with the token it was made under."""
    ws.trail(shipment.id, change, actor, f"{shipment.token_epoch}.{shipment.token_n}", source)


def hold_id(shipment_id: str, token_n: int) -> str:
    """The id of the hold that belongs to one token of a shipment."""
    return f"{shipment_id}@{token_n}"


def _kept(ws: WorkingSet, shipment: Shipment, lines: Lines) -> str:
    """The warehouse that still sets goods aside for the unowned shipment, "" if none does.

    A hold on goods that a count did not find any more ends here.
    """
    if shipment.token_n == 0:  # new: nothing to look up on the way of every order
        return ""
    hold = ws.holds.get(hold_id(shipment.id, shipment.token_n))
    if hold is None or hold.state != "held":
        return ""
    if any(ws.available(hold.warehouse, sku) < 0 for sku, _ in lines):
        release(ws, shipment, "released")
        return ""
    return hold.warehouse


def set_goods_aside(
    ws: WorkingSet, shipment_id: str, token: Token, warehouse: str, lines: Lines
) -> None:
    """A new hold for one token of a shipment."""
    hold = Hold(hold_id(shipment_id, token.n), shipment_id, warehouse, "held", None, ws.now_ms)
    ws.holds.add(hold)
    ws.cover_hold(hold.id, [(warehouse, sku, quantity) for sku, quantity in lines])
    for sku, quantity in lines:
        row = ws.move(warehouse, sku, held=quantity, reason="hold", ref=hold.id)
        assert row.available >= 0, (warehouse, sku)


def _park(ws: WorkingSet, shipment: Shipment, token: Token, reason: str, record: str) -> Shipment:
    if shipment.parked == reason and shipment.decision == record:
        return shipment
    parked = replace(
        shipment,
        state="routed",
        parked=reason,
        parked_ms=shipment.parked_ms or ws.now_ms,
        warehouse="",
        agent="",
        deadline_ms=None,
        decision=record,
        priority=marks(record).priority,
        token_epoch=token.core_epoch,
        token_n=token.n,
        version=shipment.version + 1,
    )
    ws.shipments.put(parked)
    if shipment.parked != reason:
        note(ws, parked, f"parked:{reason}", "core")
    settle_order(ws, shipment.order_id)
    return parked
