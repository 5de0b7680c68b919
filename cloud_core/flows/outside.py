"""Outside: a paid order that another system must look at first waits, its goods set aside.

Which orders, which system, how long and what silence means is said by a routing rule (`ask_first`).
The call is never made inside a commit: the commit writes a row that says what is waited for, the
desk asks (`flows.outside_desk`), the answer comes back as a command. Past the deadline the rule's
fallback decides. The row's id is the idempotency key, made before the first try.
"""

from __future__ import annotations

import msgspec
from msgspec.structs import replace

from cloud_core.domain import checkout
from cloud_core.domain.decision import effects_of
from cloud_core.domain.decision_record import PARKED_ZH
from cloud_core.domain.decision_values import Request
from cloud_core.domain.outside_commands import ExpireOutside, SettleOutside
from cloud_core.domain.rows import Hold, Order, OutsideCheck, Shipment
from cloud_core.flows.own import hold_id, note, own, settle_order
from cloud_core.flows.reserve import places, take_over
from cloud_core.flows.route import table_of
from cloud_core.store.hold_rows import overdue_checks
from cloud_core.store.working_set import WorkingSet
from protocols.errors import Rejected
from protocols.messages import Token

WAITING, REFUSED, TIMED_OUT = "outside", "outside_refused", "outside_timeout"
PARKED = frozenset({WAITING, REFUSED, TIMED_OUT})
"""Reasons of parked shipments that only an answer or a person ends; sweeps leave them alone."""
_ALARM = "outside_check"


def ask_first(ws: WorkingSet, order: Order, shipment: Shipment) -> bool:
    """Whether the paid shipment waits for another system; False when it may go on at once.

    Called once, between payment and routing, for a shipment nobody has owned.
    """
    table = table_of(ws)
    if not table.index.asks:
        return False
    lines = [(line.sku, line.quantity) for line in ws.lines_of(shipment.id)]
    effects = effects_of(_request(order, shipment, lines), table, ws.now_ms)
    system = effects.ask_first
    if not system:
        return False
    check_id = f"outside:{shipment.id}:{system}"
    known = ws.outside_checks.get(check_id)
    if known is not None:
        return known.state == "waiting"
    ws.stock_for(sku for sku, _ in lines)
    token = Token(ws.core_epoch, shipment.token_n + 1)
    if ws.recovering:  # a bench may have it under the first token of a forgotten life
        token = shipment.token
    waiting = replace(
        shipment, parked=WAITING, parked_ms=ws.now_ms, token_epoch=token.core_epoch,
        token_n=token.n, version=shipment.version + 1,
    )  # fmt: skip
    _set_aside(ws, order, waiting, lines)
    ws.shipments.put(waiting)
    ws.outside_checks.put(
        OutsideCheck(
            check_id, order.id, shipment.id, system, "waiting", effects.ask_fallback,
            _question(order, system, lines), ws.now_ms, ws.now_ms + effects.ask_wait_ms,
            ws.now_ms,
        )
    )  # fmt: skip
    note(ws, waiting, f"parked:{WAITING}", "core")
    settle_order(ws, order.id)
    return True


def settle_outside(ws: WorkingSet, command: SettleOutside) -> str:
    """Take an answer; a later or repeated one changes nothing (P8). Returns the check's state.

    Raises `Rejected` `check_unknown`, `verdict_unknown`.
    """
    check = ws.outside_checks.get(command.id)
    if check is None:
        raise Rejected("check_unknown", "没有这个外部审核", "there is no such check", field="id")
    if command.verdict not in ("accept", "refuse", ""):
        raise Rejected("verdict_unknown", "答复须为 accept 或 refuse", "accept or refuse",
                       field="verdict")  # fmt: skip
    shipment = ws.shipments.get(check.shipment_id)
    waits = shipment is not None and not shipment.stop and shipment.parked in PARKED
    if check.state != "waiting" and not (command.actor and waits):
        return check.state
    if not command.verdict:
        again = replace(
            check, attempts=check.attempts + 1, answer=command.text[:500],
            due_ms=min(command.retry_ms or ws.now_ms, check.deadline_ms),
            version=check.version + 1,
        )  # fmt: skip
        ws.outside_checks.put(again)
        return again.state
    if command.verdict == "accept":
        return _end(ws, check, "accepted", command.text, command.actor or f"outside:{check.rule}")
    return _hold_back(ws, check, "refused", REFUSED, command.text)


def expire_outside(ws: WorkingSet, command: ExpireOutside) -> int:
    """Nobody answered in time: the rule's fallback decides."""
    ended = 0
    for check_id in overdue_checks(ws.fetch.connection, ws.now_ms, command.limit):
        check = ws.outside_checks.get(check_id)
        if check is None or check.state != "waiting" or check.deadline_ms > ws.now_ms:
            continue
        if check.fallback == "accept":
            _end(ws, check, "fallback", "deadline", "core")
        else:
            _hold_back(ws, check, "fallback", TIMED_OUT, "deadline")
        ended += 1
    return ended


def _end(ws: WorkingSet, check: OutsideCheck, state: str, text: str, actor: str) -> str:
    """The shipment goes on: routed and owned in this commit, with the goods set aside for it."""
    shipment = ws.shipments.get(check.shipment_id)
    ws.close_alarm(_ALARM, check.shipment_id)
    if shipment is None or shipment.stop or shipment.parked not in PARKED:
        return _put(ws, check, "dropped", text)
    note(ws, shipment, f"outside:{state}", actor)
    own(ws, shipment, actor=actor)
    return _put(ws, check, state, text)


def _hold_back(ws: WorkingSet, check: OutsideCheck, state: str, parked: str, text: str) -> str:
    shipment = ws.shipments.get(check.shipment_id)
    if shipment is None or shipment.stop or shipment.parked not in PARKED:
        return _put(ws, check, "dropped", text)
    kept = replace(shipment, parked=parked, version=shipment.version + 1)
    ws.shipments.put(kept)
    note(ws, kept, f"parked:{parked}", "core")
    ws.alarm(_ALARM, shipment.id, f"发货单 {shipment.id}（{check.rule}）：{PARKED_ZH[parked]}")
    return _put(ws, check, state, text)


def _put(ws: WorkingSet, check: OutsideCheck, state: str, text: str) -> str:
    ws.outside_checks.put(
        replace(check, state=state, answer=text[:500], done_ms=ws.now_ms, version=check.version + 1)
    )
    return state


def _set_aside(
    ws: WorkingSet, order: Order, shipment: Shipment, lines: list[tuple[str, int]]
) -> None:
    """What is paid is not sold to somebody else while another system thinks."""
    name = hold_id(shipment.id, shipment.token_n)
    if order.hold and take_over(ws, order, shipment, name, lines):
        return
    where = "" if ws.recovering else checkout.covering(lines, places(ws), ws.available)
    if not where:
        return
    ws.holds.loaded(name, None)
    ws.holds.put(Hold(name, shipment.id, where, "held", None, ws.now_ms))
    ws.cover_hold(name, [(where, sku, quantity) for sku, quantity in lines])
    for sku, quantity in lines:
        ws.move(where, sku, held=quantity, reason="hold", ref=name)


def _request(order: Order, shipment: Shipment, lines: list[tuple[str, int]]) -> Request:
    """What the rules are asked; as routing asks them later."""
    return Request(
        tuple(lines), order.district or order.city or order.province, order.channel,
        order.amount_fen, shipment.ship_by_ms, frozenset(filter(None, order.tags.split(","))),
    )  # fmt: skip


def _question(order: Order, system: str, lines: list[tuple[str, int]]) -> str:
    """What the other system is asked; no personal data (P12)."""
    return msgspec.json.encode(
        {
            "order": order.id, "channel": order.channel, "native_id": order.native_id,
            "system": system, "amount_fen": order.amount_fen, "paid_at_ms": order.paid_ms,
            "province": order.province, "city": order.city, "district": order.district,
            "lines": [{"sku": sku, "quantity": quantity} for sku, quantity in lines],
        }
    ).decode()  # fmt: skip
