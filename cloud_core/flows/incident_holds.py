"""Incident holds: goods of a shipment that a person took back from a bench that may send it.

They stay counted in `held` until the old bench's own put-back or hand-over fact arrives, or a
person says what became of them; never by time.
"""

from __future__ import annotations

from msgspec.structs import replace

from cloud_core.domain.commands import ResolveIncident
from cloud_core.domain.rows import Hold, Incident, Movement
from cloud_core.flows.own import hold_id
from cloud_core.flows.report import Report
from cloud_core.store.working_set import WorkingSet
from protocols.errors import Rejected

EFFECTS = ("put_back", "shipped", "lost")
KIND = "taken_back_at_risk"


def end_by_bench(ws: WorkingSet, report: Report, state: str) -> None:
    """The old bench says what it did under its token; its own fact has moved shelf and tote."""
    assert report.shipment is not None
    hold = _open(ws, report.shipment.id, report.body.token.n)
    if hold is None or hold.warehouse != report.warehouse:
        return
    for warehouse, sku, quantity in ws.lines_of_hold(hold.id):
        ws.move(warehouse, sku, held=-quantity, reason="incident_end", ref=hold.id)
    _end(ws, hold, state, report.actor)
    if state == "released":
        ws.wake_parked = True


def end_by_person(ws: WorkingSet, incident: Incident, command: ResolveIncident) -> None:
    """A person says what became of the goods. Raises `Rejected` when that is missing or idle."""
    effect = command.stock_effect
    if effect and effect not in EFFECTS:
        raise Rejected(
            "stock_effect_invalid", "库存处理须为 put_back、shipped 或 lost",
            "stock_effect is one of put_back, shipped, lost", field="stock_effect",
        )  # fmt: skip
    hold = _open(ws, incident.shipment_id, incident.token_n) if incident.shipment_id else None
    if hold is None:
        if effect:
            raise Rejected(
                "stock_effect_invalid", "该异常没有待处理的占用库存",
                "this incident keeps no goods", field="stock_effect",
            )  # fmt: skip
        return
    if not effect:
        if incident.kind != KIND:
            return  # its own incident asks for it
        raise Rejected(
            "stock_effect_missing", "请说明货物去向：put_back、shipped 或 lost",
            "say what became of the goods: put_back, shipped or lost", field="stock_effect",
        )  # fmt: skip
    for warehouse, sku, quantity in ws.lines_of_hold(hold.id):
        picked = min(quantity, max(0, _picked(ws, warehouse, sku, hold.shipment_id)))
        shelf = picked if effect == "put_back" else picked - quantity
        ws.move(
            warehouse, sku, shelf=shelf, picked=-picked, held=-quantity,
            reason=f"incident_{effect}", ref=hold.shipment_id,
        )  # fmt: skip
    _end(ws, hold, "released" if effect == "put_back" else "shipped", f"{effect}:{command.actor}")
    ws.wake_parked = True


def _open(ws: WorkingSet, shipment_id: str, token_n: int) -> Hold | None:
    hold = ws.holds.get(hold_id(shipment_id, token_n))
    return hold if hold is not None and hold.state == "incident" else None


def _end(ws: WorkingSet, hold: Hold, state: str, by: str) -> None:
    ended = replace(
        hold, state=state, resolved_ms=ws.now_ms, result=by[:200], version=hold.version + 1
    )
    ws.holds.put(ended)


def _picked(ws: WorkingSet, warehouse: str, sku: str, ref: str) -> int:
    """Units that the movements say are in a tote for the shipment in this warehouse."""
    return ws.fetch.picked_for(warehouse, sku, ref) + sum(
        row.d_picked
        for row in ws.appended
        if isinstance(row, Movement) and (row.warehouse, row.sku, row.ref) == (warehouse, sku, ref)
    )
