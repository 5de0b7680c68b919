"""Units: what a bench's facts do to stock and to the lines of a shipment.

Picked units leave the shelf, handed-over ones leave the building with their hold, counted ones
correct the shelf. Every change is a movement with its reason.
"""

from __future__ import annotations

from msgspec.structs import replace

from cloud_core.domain.rows import Movement, ShipmentLine
from cloud_core.flows.own import hold_id
from cloud_core.flows.report import Report
from cloud_core.flows.victims import choose_victims


def count_shelf(report: Report, sku: str, shelf: int) -> None:
    """Correct the shelf to what was counted; an older count changes nothing.

    Where less was found than is promised, somebody gives way in this commit; that may be the very
    shipment of the report, which is read again. Goods that nobody knows are put aside by name.
    """
    if sku not in report.ws.master.skus:
        report.ws.quarantine(
            f"agent:{report.agent}/floor", "sku_unknown", "counts.sku",
            f"盘点的商品编码 {sku[:64]} 不存在", f"q{report.event.q}", None,
        )  # fmt: skip
        return
    row = report.ws.stock_at(report.warehouse, sku)
    if row is not None and report.at_ms < row.counted_ms:
        return
    delta = shelf - (row.shelf if row else 0)
    row = report.ws.move(
        report.warehouse, sku, shelf=delta, reason="count", ref=f"{report.agent}#{report.event.q}"
    )
    report.ws.stock.put(replace(row, counted_ms=report.at_ms))
    report.ws.wake_parked = True
    if choose_victims(report.ws, report.warehouse, sku) and report.shipment is not None:
        report.shipment = report.ws.shipments.get(report.shipment.id)


def count_line(report: Report, sku: str, *, picked: int = 0, verified: int = 0) -> None:
    assert report.shipment is not None
    lines = report.ws.lines_of(report.shipment.id)
    changed = tuple(
        replace(line, picked=line.picked + picked, verified=line.verified + verified)
        if line.sku == sku
        else line
        for line in lines
    )
    if changed != lines:
        report.ws.shipment_lines.put(changed)


def pick_rest(report: Report) -> None:
    """A packed box holds every line: units nobody scanned as picked were picked all the same."""
    assert report.shipment is not None
    lines: list[ShipmentLine] = []
    for line in report.ws.lines_of(report.shipment.id):
        rest = line.quantity - line.picked
        if rest > 0:
            report.ws.move(
                report.warehouse,
                line.sku,
                shelf=-rest,
                picked=rest,
                reason="pick",
                ref=line.shipment_id,
            )
            line = replace(line, picked=line.quantity)
        lines.append(line)
    report.ws.shipment_lines.put(tuple(lines))


def picked_here(report: Report, sku: str) -> int:
    """Units that this warehouse's movements say are in a tote for the shipment.

    For a bench that no longer owns it: the shipment's lines count the new owner's work.
    """
    name = report.body.shipment
    moved = report.ws.fetch.picked_for(report.warehouse, sku, name)
    return moved + sum(
        row.d_picked
        for row in report.ws.appended
        if isinstance(row, Movement)
        and (row.warehouse, row.sku, row.ref) == (report.warehouse, sku, name)
    )


def ship_held(report: Report) -> None:
    """Hand-over: picked and held drop together and the hold ends as shipped."""
    shipment = report.shipment
    assert shipment is not None
    token_n = shipment.token_n - (1 if shipment.stop == "stopping" else 0)
    hold = report.ws.holds.get(hold_id(shipment.id, token_n))
    held = hold is not None and hold.state == "held"
    for line in report.ws.lines_of(shipment.id):
        report.ws.move(
            shipment.warehouse,
            line.sku,
            picked=-line.quantity,
            held=-line.quantity if held else 0,
            reason="hand_over",
            ref=shipment.id,
        )
    if hold is not None and held:
        report.ws.holds.put(replace(hold, state="shipped", version=hold.version + 1))


def ship_lines(report: Report) -> str:
    """A parcel left under a token that owns nothing: its units are gone from that building."""
    for line in report.body.lines:
        report.ws.move(
            report.warehouse,
            line.sku,
            picked=-line.quantity,
            reason="hand_over_incident",
            ref=report.body.shipment,
        )
    return "；".join(f"{line.sku} 已拣-{line.quantity}" for line in report.body.lines)
