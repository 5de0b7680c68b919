"""Sweep: what time does to the core, as a command in the same ordered queue as everything else.

Offers that nobody accepted go to the next warehouse; parked and waiting shipments are tried again;
personal data is forgotten. Bounded work a call; what is left over waits for the next one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from msgspec.structs import replace

from cloud_core.domain.commands import Sweep
from cloud_core.domain.decision_record import PARKED_ZH
from cloud_core.domain.policy import DAY_MS, HOUR_MS
from cloud_core.domain.rows import Shipment
from cloud_core.flows import outside
from cloud_core.flows.escalate import escalate
from cloud_core.flows.grant import grant
from cloud_core.flows.own import CLAIM, own, take_back
from cloud_core.flows.recover import finish_if_done
from cloud_core.flows.returns import purge_id, purge_returns
from cloud_core.flows.route import is_reachable
from cloud_core.store.kept_bodies import ripe_quarantine, ripe_raw
from cloud_core.store.stock_check import open_alarm_keys
from cloud_core.store.working_set import WorkingSet
from protocols import codec
from protocols.commands import Purge


@dataclass(frozen=True, slots=True)
class Swept:
    """How much one sweep did; `more` when a limit was reached."""

    expired: int
    unparked: int
    granted: int
    purged: int
    bodies: int
    """Kept bytes, of shops' messages and of quarantined input, that are gone now."""
    more: bool
    more_to_purge: bool
    parked_after: tuple[int, int, str] | None
    """Where the next sweep goes on along the line of parked shipments; None at its end."""


def sweep(ws: WorkingSet, command: Sweep) -> Swept:
    """Look at every deadline once."""
    expired = _expire_offers(ws, command.limit)
    unparked, place = _retry_parked(ws, command) if command.parked else (0, None)
    granted = _retry_waiting(ws, command.limit) if command.parked else 0
    purged = _purge(ws, command.limit) if command.purge else 0
    if command.purge:
        purged = max(purged, purge_returns(ws, command.limit), _forget_phones(ws, command.limit))
    bodies = _purge_bodies(ws, command.limit) if command.purge else 0
    if command.parked and command.parked_after is None:
        escalate(ws, command.limit)
    _watch_agents(ws)
    more = max(expired, granted) >= command.limit or place is not None
    more_to_purge = max(purged, bodies) >= command.limit
    return Swept(expired, unparked, granted, purged, bodies, more, more_to_purge, place)


def _expire_offers(ws: WorkingSet, limit: int) -> int:
    if ws.recovering:  # the backup's offers: their benches still have to tell what became of them
        return 0
    count = 0
    for shipment_id in ws.fetch.due_offers(ws.now_ms, limit):
        shipment = ws.shipments.get(shipment_id)
        if (
            shipment is None
            or shipment.state != "offered"
            or shipment.stop
            or shipment.deadline_ms is None
            or shipment.deadline_ms > ws.now_ms
        ):
            continue
        count += _alone(ws, shipment, _move_on)
    return count


def _alone(ws: WorkingSet, shipment: Shipment, step: Callable[[WorkingSet, Shipment], bool]) -> int:
    """Do one step with one shipment; 1 if it helped. A bug of ours stops at this shipment."""
    mark = ws.savepoint()
    try:
        return int(step(ws, shipment))
    except Exception as error:
        ws.rollback(mark)
        ws.quarantine_bug(f"sweep:{shipment.id}", error)
        return 0


def _move_on(ws: WorkingSet, shipment: Shipment) -> bool:
    claimed = shipment.waiting == CLAIM  # nobody said yes: an ordinary offer comes next
    own(ws, take_back(ws, shipment, "timeout"), claim=not claimed)
    return True


def _retry_parked(ws: WorkingSet, command: Sweep) -> tuple[int, tuple[int, int, str] | None]:
    """Try one stretch of the line of parked shipments; how many moved and where to go on.

    The line is walked to its end: those in front may wait for goods that never come.
    """
    if ws.recovering:
        finish_if_done(ws)  # an agent that was missing may have been disabled meanwhile
    if command.parked_after is None:
        _alarm_old(ws)
    if ws.recovering:
        return 0, None
    count = 0
    line = ws.fetch.parked(command.parked_after, command.limit)
    for *_, shipment_id in line:
        shipment = ws.shipments.get(shipment_id)
        if shipment is None or not shipment.parked or shipment.stop:
            continue
        if shipment.parked in outside.PARKED:  # an answer or a person ends these
            continue
        count += _alone(ws, shipment, lambda ws, parked: not own(ws, parked).parked)
    return count, line[-1] if len(line) == command.limit else None


def _alarm_old(ws: WorkingSet) -> None:
    """One alarm for each reason for which paid goods wait too long; it ends when none does.

    What a refusing warehouse is asked again meanwhile waits all the same: its alarm stays.
    """
    minutes = ws.policy.parked_alarm_min
    found = ws.fetch.parked_since(ws.now_ms - minutes * 60_000)
    known = set(open_alarm_keys(ws.fetch.connection, _PARKED_ALARM))
    for reason in sorted(found.keys() - known):
        number, since_ms = found[reason]
        hours = (ws.now_ms - since_ms) // HOUR_MS
        ws.alarm(
            _PARKED_ALARM, reason,
            f"{number} 个已付款发货单待分仓超过 {minutes} 分钟，最久约 {hours} 小时："
            f"{PARKED_ZH.get(reason, reason)}",
        )  # fmt: skip
    ended = known - found.keys()
    if ended & _TO_AND_FRO and ws.fetch.asked_again_since(ws.now_ms - minutes * 60_000):
        ended -= _TO_AND_FRO
    for reason in sorted(ended):
        ws.close_alarm(_PARKED_ALARM, reason)


_PARKED_ALARM = "parked_long"
_TO_AND_FRO = frozenset({"rejected", "no_answer"})
"""Reasons that a new offer ends only for a while."""


def _retry_waiting(ws: WorkingSet, limit: int) -> int:
    """Accepted offers that wait for a number or for the end of a recovery."""
    if ws.recovering:
        return 0
    count = 0
    for carrier in ws.fetch.carriers_waited_for():
        waiting = ws.fetch.waiting_for_waybill(carrier, limit)
        helped = [
            _alone(ws, s, _try_again) for s in map(ws.shipments.get, waiting) if s is not None
        ]
        count += sum(helped)
        if all(helped) and len(waiting) < limit:  # nobody waits any more
            ws.close_alarm("waybill_pool_empty", carrier)
    return count


def _try_again(ws: WorkingSet, shipment: Shipment) -> bool:
    if shipment.state != "offered" or shipment.waiting in ("", CLAIM) or shipment.stop:
        return False
    if shipment.token_epoch != ws.core_epoch:
        # Accepted in a life this core forgot: a number may have been drawn there.
        own(ws, take_back(ws, shipment, "recovered"))
        return True
    return grant(ws, shipment, actor="core").state == "granted"


def _purge(ws: WorkingSet, limit: int) -> int:
    """Forget clear contact data and label fields after their hours (P12)."""
    before = ws.now_ms - ws.policy.personal_hours * HOUR_MS
    agents: dict[str, list[str]] = {}
    ids = ws.fetch.to_purge(before, limit)
    for shipment_id in ids:
        shipment = ws.shipments.get(shipment_id)
        if shipment is None or shipment.purged_ms is not None:
            continue
        ws.shipments.put(replace(shipment, purged_ms=ws.now_ms, version=shipment.version + 1))
        if shipment.agent:
            agents.setdefault(shipment.agent, []).append(shipment.id)
        siblings = ws.shipments_of(shipment.order_id)
        order = ws.orders.get(shipment.order_id)
        if len(siblings) > 1 and order is not None:
            # Two processes may each forget another part: then its version tells the second.
            ws.orders.put(replace(order, version=order.version + 1))
        contact = ws.contacts.get(shipment.order_id)
        if (
            contact is not None
            and contact.sealed is not None
            and all(s.purged_ms is not None for s in siblings)
        ):
            ws.contacts.put(replace(contact, sealed=None, purged_ms=ws.now_ms))
    for row in ws.fetch.grants_of(ids):
        known = ws.outbox.get(row.id)
        if known is not None and known.body:
            ws.outbox.put(replace(known, body=b"", received_ms=known.received_ms or ws.now_ms))
    for agent, shipments in agents.items():
        ws.send(purge_id(ws, shipments), agent, "purge", codec.encode(Purge(shipments)))
    return len(ids)


def _forget_phones(ws: WorkingSet, limit: int) -> int:
    """End the search by phone for orders long done: what is left names nobody (adr/0012)."""
    before = ws.now_ms - ws.policy.phone_search_days * DAY_MS
    found = ws.fetch.findable_contacts(before, limit)
    for row in found:
        ws.contacts.loaded(row.order_id, row)
        contact = ws.contacts.get(row.order_id)
        if contact is not None and contact.purged_ms is not None:
            ws.contacts.put(replace(contact, phone_hash="", last4_hash=""))
    return len(found)


def _purge_bodies(ws: WorkingSet, limit: int) -> int:
    """Forget the bytes of raw messages and quarantined input by age and number; rows stay (P12)."""
    policy, connection, now_ms = ws.policy, ws.fetch.connection, ws.now_ms
    raw = ripe_raw(
        connection, ws.fetch.kept_from("raw"), now_ms - policy.raw_hours * HOUR_MS,
        policy.raw_kept_max, limit,
    )  # fmt: skip
    bad = ripe_quarantine(
        connection, ws.fetch.kept_from("quarantine"), now_ms - policy.quarantine_days * DAY_MS,
        policy.quarantine_kept_max, limit,
    )  # fmt: skip
    ws.purged_raw += raw.ids
    ws.purged_quarantine += bad.ids
    for which, found in (("raw", raw), ("quarantine", bad)):
        if found.first != ws.fetch.kept_from(which):
            ws.meta[f"{which}_kept_from"] = str(found.first)
    return max(len(raw.ids), len(bad.ids))


def _watch_agents(ws: WorkingSet) -> None:
    for agent in ws.master.agents.values():
        state = ws.agents.get(agent.id)
        lost = agent.enabled and state is not None and state.seen_ms > 0
        if lost and not is_reachable(ws, agent.id) and not _alarmed(ws, agent.id):
            ws.alarm("agent_offline", agent.id, f"边缘代理 {agent.id} 已离线")


def _alarmed(ws: WorkingSet, agent: str) -> bool:
    row = ws.alarms.get(("agent_offline", agent))
    return row is not None and row.closed_ms is None
