"""Parcel: close the box, hand it to the carrier; each a state and its event in one commit."""

from __future__ import annotations

from edge_agent.domain import task as tasks_domain
from edge_agent.domain.answer import Answer, done
from edge_agent.domain.task import Task
from edge_agent.flows import print_label
from edge_agent.flows.bench import Bench
from edge_agent.journal import tasks
from edge_agent.journal.stations import Station
from edge_agent.journal.tx import Tx
from protocols.commands import OfferLine
from protocols.events import ParcelHandedOver, ParcelPacked


def pack(tx: Tx, task: Task, station: Station, at: Bench) -> Answer:
    """Every unit was verified: the box is closed; its label is queued if it prints now."""
    packed = tasks_domain.pack(task)
    tasks.save(tx.db, packed, changed_ms=tx.now.wall_ms)
    body = ParcelPacked(
        shipment=task.shipment, token=task.token, waybill=task.waybill, operator=station.operator
    )
    tx.append("parcel.packed", body, station=station.id)
    # The label of a reissued grant was in doubt before the box was packed: a person decides.
    automatic = task.print_on == "pack" and not task.reissue
    prints = automatic and print_label.order_label(tx, packed, station.id, at)
    if prints and at.offset is None:
        text = "已打包; 开机后还没连上云端, 打面单请扫 $$PRINT"
    else:
        text = "已打包, 面单打印中" if prints else "已打包, 请贴面单"
    return done("packed", text, task.shipment)


def hand_over(tx: Tx, task: Task, station: Station, dock: str) -> Answer:
    """The parcel leaves with the carrier. Raises `Rejected` unless it is packed."""
    left = tasks_domain.hand_over(task)
    tasks.save(tx.db, left, changed_ms=tx.now.wall_ms)
    units: dict[str, int] = {}
    for line in task.lines:
        units[line.sku] = units.get(line.sku, 0) + line.quantity
    body = ParcelHandedOver(
        shipment=task.shipment,
        token=task.token,
        waybill=task.waybill,
        order=task.order,
        channel=task.channel,
        native_id=task.native_id,
        lines=[OfferLine(sku, count) for sku, count in units.items()],
        operator=station.operator,
    )
    tx.append("parcel.handed_over", body, station=station.id)
    return done("handed_over", f"已交接 {dock}".strip(), task.shipment)
