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
    "site": "站点（仓库在线路上的名字）",
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
    "change request": "变更请求",
    "gift child": "赠品子单",
    "return ticket": "退货工单",
    "verdict": "质检结论",
    "inspection": "质检",
    "breaker": "熔断",
    "closed": "熔断闭合（正常接单）",
    "open": "熔断断开（暂停派单）",
    "half-open": "熔断半开（试单）",
    "trial": "试单",
    "forced": "人工熔断或放行",
    "sole holder": "唯一有货仓",
    "undecided": "未定",
    "notice": "通知",
    "notify target": "通知对象",
    "promise": "发货承诺",
    "late": "超时",
    "journal": "边缘日志",
    "outbox": "发件箱",
    "quarantine": "隔离区",
    "command": "指令",
    "event": "事件",
    "incident": "异常事故",
    "try": "抢单询问",
    "yes": "抢单应答",
    "resync": "重新对齐",
    "reprint": "补打",
    "put back": "放回货架",
    "stream": "事件流",
    "floor": "作业流",
    "telemetry": "遥测流",
    "sequence number": "序号",
    "batch": "批次",
    "acknowledgement": "确认",
    "window": "发送窗口",
    "epoch": "纪元",
    "core epoch": "中枢纪元",
    "chain": "哈希链",
    "origin": "原始位置",
    "gap": "缺口",
    "birth": "上线消息",
    "will": "遗言",
    "heartbeat": "心跳",
    "broker": "消息代理服务器",
    "agent credentials": "代理凭据",
}

COMMAND_ZH: Final = {
    "offer": "派单",
    "try": "抢单询问",
    "grant": "授权",
    "cancel": "取消并收回",
    "fences": "令牌栅栏",
    "resync_done": "对齐完成",
    "reprint": "补打面单",
    "notice": "工位提示",
    "purge": "清除个人信息",
    "print_blob": "打印现成内容",
    "return_ticket": "退货工单",
    "return_void": "退货作废",
}

EVENT_ZH: Final = {
    "command.received": "指令已收下",
    "offer.accepted": "已接单",
    "offer.rejected": "已拒单",
    "grant.stored": "授权已收下",
    "try.accepted": "抢单应答",
    "task.started": "开始作业",
    "item.picked": "已拣货",
    "pick.shorted": "缺拣",
    "item.verified": "已复核",
    "label.started": "面单开始打印",
    "label.printed": "面单已打印",
    "label.unknown": "面单结果未知",
    "label.failed": "面单打印失败",
    "label.held": "面单暂不打印",
    "parcel.packed": "已打包",
    "parcel.handed_over": "已交接发运",
    "task.stopped": "作业已停止",
    "stock.counted": "已盘点",
    "epoch.opened": "新纪元开始",
    "epoch.gap": "记录缺口",
    "personal.purged": "个人信息已清除",
    "pack.started": "开始打包",
    "paper.printed": "单据已打印",
    "paper.unknown": "单据结果未知",
    "paper.failed": "单据打印失败",
    "paper.held": "单据暂不打印",
    "return.accepted": "退货已签收",
    "return.inspected": "退货已质检",
    "return.closed": "退货质检完成",
    "notice.confirmed": "提示已确认",
    "scan.refused": "扫码被拒",
    "printer.changed": "打印机状态变化",
    "agent.started": "边缘代理启动",
}
