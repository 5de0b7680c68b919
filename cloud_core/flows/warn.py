"""Warn: what a shop says that no machine may settle alone becomes an alarm for a person.

An address that nobody can read with certainty, one that changed when the label was out, a refund
that the shop refused when the goods were put back already. Nothing here moves states or stock.
"""

from __future__ import annotations

from collections.abc import Sequence

from cloud_core.domain.progress import ON_THE_BENCH
from cloud_core.domain.rows import Order, Shipment
from cloud_core.store.working_set import WorkingSet
from protocols import codec
from protocols.commands import Notice

_FLAG_ZH = {
    "division_missing": "缺少省市区",
    "division_ambiguous": "省市区有多种可能",
    "division_unknown": "省市区不存在",
    "division_abolished": "省市区已撤销",
}


def place_unclear(ws: WorkingSet, order: Order) -> None:
    """A paid order whose address was flagged, never guessed: a person completes it."""
    if order.division_flag:
        why = _FLAG_ZH.get(order.division_flag, order.division_flag)
        ws.alarm("address_flagged", order.id, f"订单 {order.id} 的收货地址需要确认：{why}")


def label_is_old(ws: WorkingSet, order: Order, shipment: Shipment) -> None:
    """A packed or gone parcel carries the old address: its bench is told, and so are people."""
    on_the_bench = shipment.state in ON_THE_BENCH
    if on_the_bench:
        _notice(ws, order, shipment)
    ws.alarm(
        "address_changed",
        shipment.id,
        f"发货单 {shipment.id} 的收货地址已改，面单 {shipment.waybill} 是旧地址，"
        + ("已打包，须主管批准后重新打包" if on_the_bench else "请联系承运商改址"),
    )


def fields_ignored(ws: WorkingSet, order: Order, fields: Sequence[str]) -> None:
    """A paid order carried fields nobody here knows, as a misspelt `hold`; it goes on without."""
    names = "、".join(fields)
    ws.trail(order.id, "fields:ignored", "core", names[:500])
    ws.alarm(
        "fields_ignored", order.channel,
        f"渠道 {order.channel} 的订单（如 {order.native_id}）带有未知字段 {names}，订单已照常接收；"
        "占用预占请写 order.hold",
    )  # fmt: skip


def refund_refused(ws: WorkingSet, order: Order) -> None:
    """The buyer gets the goods after all, but the order was stopped: a person sends it again."""
    if order.stop:
        ws.alarm(
            "refund_refused",
            order.id,
            f"订单 {order.id} 已因退款停止发货，店铺现已拒绝退款，请确认是否重新发货",
        )


def _notice(ws: WorkingSet, order: Order, shipment: Shipment) -> None:
    text = f"收货地址已变更，面单 {shipment.waybill} 为旧地址，请勿交接并联系主管"
    ws.send(
        f"notice:{shipment.id}:{order.source_version}",
        shipment.agent,
        "notice",
        codec.encode(Notice(shipment.id, "address_changed", text)),
        shipment_id=shipment.id,
    )
