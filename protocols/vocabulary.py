"""The words of Packline with the Chinese term beside each; `docs/GLOSSARY.md` mirrors it."""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class ShipmentState(StrEnum):
    """The rank of a shipment under one token; only ever moves forward (P7)."""

    ROUTED = "routed"
    OFFERED = "offered"
    GRANTED = "granted"
    PICKING = "picking"
    PACKED = "packed"
    HANDED_OVER = "handed_over"
    IN_TRANSIT = "in_transit"
    OUT_FOR_DELIVERY = "out_for_delivery"
    DELIVERED = "delivered"
    CLOSED = "closed"


class OrderState(StrEnum):
    """The fold of an order over its shipments, with the two states before any shipment."""

    CREATED = "created"
    PAID = "paid"
    ROUTED = "routed"
    OFFERED = "offered"
    GRANTED = "granted"
    PICKING = "picking"
    PACKED = "packed"
    HANDED_OVER = "handed_over"
    IN_TRANSIT = "in_transit"
    OUT_FOR_DELIVERY = "out_for_delivery"
    DELIVERED = "delivered"
    CLOSED = "closed"


ORDER_RANK: Final = {state: rank for rank, state in enumerate(OrderState)}

STATE_ZH: Final = {
    "created": "待付款",
    "paid": "已付款",
    "routed": "待派仓",
    "offered": "已派仓",
    "granted": "备货中",
    "picking": "拣货中",
    "packed": "已打包",
    "handed_over": "已发货",
    "in_transit": "运输中",
    "out_for_delivery": "派送中",
    "delivered": "已签收",
    "closed": "已完成",
    "parked": "待分配",
    "cancelled": "已取消",
    "stopping": "拦截中",
}

WORDS: Final = {
    "channel": "渠道（店铺连接）",
    "order": "订单",
    "line": "订单行",
    "SKU": "商品编码",
    "shipment": "发货单",
    "hold": "库存占用",
    "offer": "派单",
    "accept": "接单",
    "reject": "拒单",
    "grant": "授权",
    "owner": "归属仓",
    "token": "归属令牌",
    "fence": "令牌栅栏",
    "parked": "待分配",
    "warehouse": "仓库",
    "agent": "边缘代理",
    "station": "工位",
    "device": "设备",
    "task": "作业任务",
    "wave": "波次",
    "pick": "拣货",
    "short pick": "缺拣",
    "verify": "复核",
    "pack": "打包",
    "hand over": "交接发运",
    "waybill": "运单",
    "label": "面单",
    "parcel": "包裹",
    "milestone": "物流节点",
    "return ticket": "退货工单",
    "inspection": "质检",
    "breaker": "熔断",
    "promise": "发货承诺",
    "late": "超时",
    "journal": "边缘日志",
    "outbox": "发件箱",
    "quarantine": "隔离区",
    "command": "指令",
    "event": "事件",
    "incident": "异常事故",
    "epoch": "纪元",
}
