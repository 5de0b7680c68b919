"""Victims: when a count or a short pick finds less than is promised, somebody gives way (P3).

In the commit of the count: unpaid baskets lose their hold; un-picked shipments lose theirs and are
routed again or parked; each is an incident and a line in the trail. A granted shipment keeps its
hold until its bench stops: it is named in an incident and an alarm for a person.
"""

from __future__ import annotations

from cloud_core.domain.progress import UNGRANTED as UNGRANTED_STATES
from cloud_core.domain.rows import Hold, Incident, Shipment
from cloud_core.domain.victims import GRANTED, UNGRANTED, UNPAID, Claim, choose
from cloud_core.flows.outside import PARKED
from cloud_core.flows.own import note, own, release, take_back
from cloud_core.flows.reserve import settle_victim
from cloud_core.store.hold_rows import holds_on
from cloud_core.store.working_set import WorkingSet

INCIDENT = "stock_victim"
ALARM = "stock_short"


def choose_victims(ws: WorkingSet, warehouse: str, sku: str) -> list[str]:
    """Let claims on (warehouse, SKU) give way until what is promised is there again.

    The safety stock is for exactly this and is used up first: `held` against what is in the
    building counts. Returns the ids of the holds that gave way.
    """
    row = ws.stock_at(warehouse, sku)
    short = row.held - row.on_hand if row is not None else 0
    if short <= 0 or ws.recovering:  # a recovering core does not know all that was promised
        return []
    claims = _claims(ws, warehouse, sku)
    chosen = choose(short, claims)
    freed = sum(claim.quantity for claim in chosen if claim.rank != GRANTED)
    losers: list[Shipment] = []
    for claim in chosen:
        hold = ws.holds.get(claim.hold_id)
        assert hold is not None, claim
        _record(ws, hold, warehouse, sku, short, claim)
        if claim.rank == UNPAID:
            settle_victim(ws, hold, warehouse, sku)
        elif claim.rank == UNGRANTED:
            losers.append(_lose(ws, hold))
    for shipment in sorted(losers, key=lambda s: (-s.priority, s.paid_ms, s.id)):
        if shipment.parked not in PARKED:  # what waits for another system is routed by its answer
            own(ws, shipment)
    if freed < short:
        left = f"，仍缺 {short - freed} 件，请人工处理"
        ws.alarm(ALARM, f"{warehouse}/{sku}", f"仓库 {warehouse} 商品 {sku} 少于已承诺数量{left}")
    return [claim.hold_id for claim in chosen]


def _claims(ws: WorkingSet, warehouse: str, sku: str) -> list[Claim]:
    """Every live hold on the SKU that may give way, as this commit sees it."""
    ids = dict.fromkeys(holds_on(ws.fetch.connection, warehouse, sku))
    ids |= dict.fromkeys(hold_id for hold_id in ws.hold_lines)  # placed in this very commit
    found = []
    for hold_id in ids:
        hold = ws.holds.get(hold_id)
        if hold is None or hold.state != "held":
            continue
        units = sum(n for w, s, n in ws.lines_of_hold(hold_id) if (w, s) == (warehouse, sku))
        claim = _claim(ws, hold, units) if units else None
        if claim is not None:
            found.append(claim)
    return found


def _claim(ws: WorkingSet, hold: Hold, units: int) -> Claim | None:
    if hold.kind == "checkout":
        return Claim(hold.id, UNPAID, 0, hold.created_ms, units)
    shipment = ws.shipments.get(hold.shipment_id)
    if shipment is None or shipment.stop:
        return None
    if any(line.picked for line in ws.lines_of(shipment.id)):
        return None
    if shipment.state in UNGRANTED_STATES:
        return Claim(hold.id, UNGRANTED, shipment.priority, shipment.paid_ms, units)
    if shipment.state in ("granted", "picking"):
        return Claim(hold.id, GRANTED, shipment.priority, shipment.paid_ms, units)
    return None


def _lose(ws: WorkingSet, hold: Hold) -> Shipment:
    """Take the hold from its shipment; its bench, if it has an offer, is fenced."""
    shipment = ws.shipments.get(hold.shipment_id)
    assert shipment is not None
    if shipment.state == "offered":
        shipment = take_back(ws, shipment, "short")
    release(ws, shipment, "released")
    return shipment


def _record(ws: WorkingSet, hold: Hold, warehouse: str, sku: str, short: int, claim: Claim) -> None:
    """Say what happened: an incident and a line in the trail."""
    shipment = ws.shipments.get(hold.shipment_id) if hold.shipment_id else None
    why = {UNPAID: "checkout", UNGRANTED: "shipment", GRANTED: "granted"}[claim.rank]
    effect = "" if claim.rank == GRANTED else f"{sku} 预占-{claim.quantity}"
    detail = f"{why}: {warehouse}/{sku} 少 {short} 件，预占 {hold.id}"
    token = (shipment.token_epoch, shipment.token_n) if shipment else (0, 0)
    ws.appended.append(
        Incident(ws.now_ms, INCIDENT, hold.shipment_id, warehouse, *token, effect, detail)
    )
    if shipment is not None:
        note(ws, shipment, f"victim:{sku}"[:64], "core")
    else:
        ws.trail(hold.id, f"victim:{sku}"[:64], "core", warehouse)
