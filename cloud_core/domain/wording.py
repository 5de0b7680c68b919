"""What staff read for the core's code words: trail, alarms, incidents, actors, in Chinese.

A word that is not in a table is shown as it is: nothing is hidden because it has no translation.
Pure; must not know pages or SQL.
"""

from __future__ import annotations

from collections.abc import Mapping

from cloud_core.domain.decision_record import PARKED_ZH, REJECT_ZH
from protocols.vocabulary import EVENT_ZH, STATE_ZH

STOP_ZH = {
    "requested": "取消中", "stopping": "停止中", "cancelled": "已取消", "intercept": "拦截中",
}  # fmt: skip
LABEL_ZH = {
    "": "未打印", "started": "打印中", "printed": "已打印", "unknown": "结果未知",
    "failed": "打印失败", "held": "暂不打印",
}  # fmt: skip
HOLD_ZH = {
    "held": "已占用，等待付款", "confirmed": "已确认付款", "released": "已释放",
    "expired": "已过期", "moved": "已转入订单",
}  # fmt: skip
ALARM_ZH = {
    "address_changed": "面单后改地址",
    "address_flagged": "地址需确认",
    "agent_offline": "边缘代理离线",
    "breaker_cap": "熔断已达上限",
    "breaker_forced": "熔断人工控制",
    "breaker_open": "仓库熔断",
    "card_doubled": "存储卡重复使用",
    "change_unconfirmed": "变更未确认",
    "command_refused": "指令被拒",
    "fields_ignored": "订单有未知字段",
    "grant_lost": "恢复后重新派单",
    "hold_orphan": "预占无订单",
    "hold_unclaimed": "订单所写预占不可用",
    "incident": "异常事故",
    "intercept": "需要拦截",
    "label_unknown": "面单结果未知",
    "notify_failed": "通知未送达",
    "outside_check": "外部审核待处理",
    "parked_long": "停放过久",
    "put_back_short": "放回不足",
    "quarantine": "隔离区有新内容",
    "recovering": "系统恢复中",
    "refund_by_hand": "退款须人工处理",
    "refund_refused": "退款被拒",
    "resync_too_large": "对齐内容过多",
    "return_overdue": "退货质检超时",
    "return_unprinted": "退货工单未打印",
    "short_pick": "缺拣",
    "stock_drift": "库存对不上",
    "stock_short": "货架少于已承诺",
    "stream_gap": "记录缺口",
    "unmapped_status": "状态无对应",
    "waybill_pool_empty": "运单号不足",
    "write_back_failed": "回传失败",
}
INCIDENT_ZH = {
    "handed_over_after_stop": "取消后仍交接",
    "handed_over_twice": "重复交接",
    "handed_over_to_old_address": "按旧地址交接",
    "handed_over_under_old_token": "失效令牌下交接",
    "packed_after_stop": "取消后仍打包",
    "packed_under_old_token": "失效令牌下打包",
    "picked_under_old_token": "失效令牌下拣货",
    "stock_victim": "库存不足受影响",
    "unknown_shipment": "中枢不认识的发货单",
}
_CHANGE_ZH = {
    "created": "订单已登记",
    "address_changed": "收货地址已修改",
    "stopping": "等待工位停止并放回",
    "cancelled": "已取消",
    "intercept": "已离仓，需要拦截",
    "reattached": "从工位补传找回",
    "reissued": "授权重新下发",
    "given_again": "恢复后重新派给工位",
    "superseded": "被另一张发货单取代",
    "recovered": "恢复完成",
    "resync": "重新对齐",
}
_FATE_ZH = {
    "parked": "停放：", "taken_back": "收回：", "incident": "异常：", "waiting": "等待：",
    "stop": "要求停止：", "refused": "未采纳：", "stored": "仅存档：", "reattached": "补传找回：",
    "gap": "记录缺口：", "return": "退货：", "stopping": "等待工位停止：", "gift": "赠品：",
    "confirmed": "工位已确认：",
}  # fmt: skip
_WORD_ZH = {
    "waybill": "运单号", "timeout": "未按时接单", "rejected": "仓库拒单", "cancelled": "取消",
    "refunded": "退款", "refund_requested": "申请退款", "refund_refused": "拒绝退款",
    "paid": "付款", "created": "下单", "address_changed": "修改地址", "breaker": "仓库熔断",
    "recovered": "系统恢复", "recovering": "系统恢复", "victim": "库存不足改派",
    "announced": "已登记", "accepted": "已签收", "passed": "质检合格", "failed": "质检不合格",
    "partial": "部分合格", "void": "已作废", "reattached": "从工位补传找回", "shop": "店铺",
    "riding": "随主单发出", "owed": "待补发", "packed": "已打包", "sent": "已发出",
    "floor": "作业流", "telemetry": "遥测流",
    "stop": "停止并放回", "remark": "备注", "info": "提示",
}  # fmt: skip


def state_zh(state: str) -> str:
    """A state of an order or shipment."""
    return STATE_ZH.get(state, state)


def parked_zh(reason: str) -> str:
    """Why a shipment is parked."""
    return PARKED_ZH.get(reason, reason)


def incident_zh(kind: str) -> str:
    """The kind of an incident; facts keep the words of their event."""
    return INCIDENT_ZH.get(kind) or EVENT_ZH.get(kind, kind)


def change_zh(change: str) -> str:
    """A change of the trail: `a>b`, `word` or `fate:word`."""
    if change in _CHANGE_ZH:
        return _CHANGE_ZH[change]
    old, arrow, new = change.partition(">")
    if arrow:
        return f"{state_zh(old)} → {state_zh(new)}"
    fate, colon, word = change.partition(":")
    if not colon or fate not in _FATE_ZH:
        return EVENT_ZH.get(change, change)
    return _FATE_ZH[fate] + _word(fate, word)


def actor_zh(actor: str, names: Mapping[str, str] | None = None) -> str:
    """Who did it: `agent:x`, `channel:x`, `key:x` or the core itself; `names` of keys by id."""
    kind, colon, name = actor.partition(":")
    words = {"agent": "边缘代理", "channel": "店铺", "key": "员工密钥", "cli": "命令行"}
    if colon and kind in words:
        key, _, told = name.partition(" ")
        named = (told or (names or {}).get(key, "")) if kind == "key" else ""
        return f"{named}（员工密钥 {key}）" if named else f"{words[kind]} {name}"
    return {"core": "系统"}.get(actor, actor)


def _word(fate: str, word: str) -> str:
    if fate == "parked":
        return parked_zh(word)
    if fate == "incident":
        return incident_zh(word)
    first, colon, reason = word.partition(":")
    if colon:  # a refusal with the agent's reason
        return f"{_WORD_ZH.get(first, first)}（{REJECT_ZH.get(reason, reason)}）"
    return _WORD_ZH.get(word) or EVENT_ZH.get(word) or STATE_ZH.get(word, word)
