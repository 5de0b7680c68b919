"""Parcel: close the box, hand it to the carrier; each a state and its event in one commit."""

from __future__ import annotations

from edge_agent.domain import packing
from edge_agent.domain import task as tasks_domain
from edge_agent.domain.answer import Answer, done
from edge_agent.domain.task import PackStart, Task
from edge_agent.flows import print_label
from edge_agent.flows.bench import Bench
from edge_agent.journal import tasks
from edge_agent.journal.stations import Station
from edge_agent.journal.tx import Tx
from protocols.commands import OfferLine
from protocols.errors import Rejected
from protocols.events import PackStarted, ParcelHandedOver, ParcelPacked


def begin(tx: Tx, task: Task, station: Station) -> Task:
    """The scan that begins packing, once: from here on the handling time runs."""
    now = tx.now
    begun = tasks_domain.begin_packing(task, PackStart(tx.boot, now.wall_ms, now.mono_ms))
    if begun is not task:
        body = PackStarted(shipment=task.shipment, token=task.token, operator=station.operator)
        tx.append("pack.started", body, station=station.id)
    return begun


def pack(tx: Tx, task: Task, station: Station, at: Bench) -> Answer:
    """Every unit was verified: the box is closed; its label is queued if it prints now.

    Raises `Rejected`: `gift_missing`, `not_all_verified`, `notice_open`.
    """
    if packing.gift_missing(task):
        raise Rejected("gift_missing", packing.gift_zh(task), "scan the gift", field="gift")
    packed = tasks_domain.pack(task)
    tasks.save(tx.db, packed, changed_ms=tx.now.wall_ms)
    body = ParcelPacked(
        shipment=task.shipment,
        token=task.token,
        waybill=task.waybill,
        operator=station.operator,
        gift=task.gift,
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
        handling_ms=packing.handling_ms(
            task, boot=tx.boot, wall_ms=tx.now.wall_ms, mono_ms=tx.now.mono_ms
        ),
    )
    tx.append("parcel.handed_over", body, station=station.id)
    return done("handed_over", f"已交接 {dock}".strip(), task.shipment)
