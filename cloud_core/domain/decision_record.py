"""The decision record: written compactly for every shipment, said in Chinese when a person asks.

One JSON object a decision, version 2:
`v` 2, `rules` version of the rule set, `hit` names of the rules that matched, `to` division,
`g` weight, `c` one `[warehouse, why, lacking SKUs, carrier, days, fen]` a candidate in the order
they were looked at (the last three only where a carrier was asked),
`q` the carriers the chosen one weighed `[carrier, why, days, fen]`, `p` the
parcels `[warehouse, carrier, fen, days, [[sku, quantity]…]]`, `parked`, `flags`, `tags`,
`priority`. `why` is "" for the chosen one. Records of version 1 (`candidates`, `chosen`) are
read too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from cloud_core.domain.decision_values import Parcel
from cloud_core.domain.rule_index import Effects, Facts

CARRIERS_MAX = 20
PARKED_ZH = {
    "no_stock": "没有一个仓库能发齐全部商品",
    "no_warehouse": "没有可用的仓库",
    "unreachable": "能发货的仓库全部离线",
    "no_answer": "仓库未按时接单，等待重试",
    "rejected": "有货的仓库已拒单",
    "capacity": "有货的仓库今日产能已满",
    "breaker": "有货的仓库熔断中",
    "no_carrier": "没有承运商从有货的仓库送达该地区",
    "rule": "路由规则排除了有货的仓库",
    "recovering": "系统恢复中，等待各仓补传",
    "division": "收货地址需要人工确认",
    "outside": "等待外部系统审核",
    "outside_refused": "外部系统拒绝，等待人工处理",
    "outside_timeout": "外部系统未答复，等待人工处理",
}
_encode = msgspec.json.Encoder().encode
WHY_ZH = {
    "short": "库存不足",
    "breaker": "该仓熔断中，暂不派新单",
    "no_agent": "没有登记边缘代理",
    "unreachable": "边缘代理离线",
    "closed": "不在营业时间",
    "capacity": "今日产能已满",
    "cut_off": "已过截单时间，今天发不出",
    "region": "不发往该地区",
    "rule": "被路由规则排除",
    "carrier": "没有可用的承运商送达",
    "rejected": "该仓已拒单",
    "timeout": "该仓未按时接单",
    "prefer": "规则优先其他仓",
    "transit": "时效较慢",
    "freight": "运费较高",
    "load": "在手任务较多",
    "priority": "优先级较低",
    "lower_priority": "优先级较低",
    "id": "条件相同，按编码排序在后",
    "claim": "抢单中其他仓先应答",
    "taken_back": "任务已由人工从该仓收回",
    "stay": "改地址后仍由原仓发货，不另换仓",
}
REJECT_ZH = {
    "closed": "工位暂停接单或人工拒单",
    "no_printer": "没有配置打印机",
    "not_on_shelf": "货架上没有货",
    "expired": "派单送达时已过时限",
}
"""An agent's reasons to refuse (`offer.rejected`)."""
REATTACHED_ZH = "由工位补传找回：中枢从备份恢复，恢复前的派仓记录没有保留。"
CARRIER_WHY_ZH = {"rule": "被规则排除", "unserved": "不送达"}
FLAG_ZH = {
    "sole_holder": "该仓熔断中，但只有它有货，仍派给它",
    "late": "各仓都已过截单时间，仍按最优派出",
    "unpriced": "没有运费报价",
    "claimed": "多仓同时询问，由最先应答的仓发货",
    "split": "没有一个仓能发齐，已拆单",
    "stayed": "收货地址已改，原仓仍能送达，由原仓发货",
    "split_not_exact": "拆单方案超出精确搜索范围，为近似结果",
}


def write_record(
    rules_version: int,
    facts: Facts,
    effects: Effects,
    candidates: Sequence[tuple[object, ...]],
    weighed: Sequence[tuple[str, str, int, int | None]],
    parcels: Sequence[Parcel],
    parked: str,
    flags: Sequence[str],
) -> str:
    """The record as compact JSON. `weighed` are the carriers that the chosen one looked at."""
    record = {
        "v": 2,
        "rules": rules_version,
        "hit": effects.matched,
        "to": facts.division,
        "g": facts.weight_g,
        "c": candidates,
        "q": weighed[:CARRIERS_MAX],
        "p": [(p.warehouse, p.carrier, p.fen, p.days, p.lines) for p in parcels],
        "parked": parked,
        "flags": flags,
        "tags": parcels[0].tags if parcels else effects.tags,
        "priority": parcels[0].priority if parcels else effects.priority,
    }
    return _encode(record).decode()


class Marks(msgspec.Struct, frozen=True):
    """What rules say of the shipment itself."""

    tags: tuple[str, ...] = ()
    priority: int = 0


_marks = msgspec.json.Decoder(Marks).decode


def marks(record: str) -> Marks:
    """Tags and priority in a record; none when it does not say."""
    try:
        return _marks(record or "{}")
    except msgspec.DecodeError:
        return Marks()


def why_zh(why: str) -> str:
    """Why a warehouse was passed over; a refusal with the agent's reason in brackets."""
    word, _, reason = why.partition(":")
    said = WHY_ZH.get(word, word)
    return f"{said}（{REJECT_ZH.get(reason, reason)}）" if reason else said


def claimed(asked: str, won: str) -> str:
    """The record of a claim that a warehouse won: `asked` when it began, `won` for that one alone.

    Who was best then lost to the first yes; why the others were passed over stays as it was.
    """
    before, after = msgspec.json.decode(asked), msgspec.json.decode(won)
    (winner,) = (parcel[0] for parcel in after["p"])
    own = {row[0]: row for row in after["c"]}[winner]
    others = [
        [row[0], "claim", *row[2:]] if row[1] == "" else row
        for row in before["c"]
        if row[0] != winner
    ]
    flags = list(dict.fromkeys((*before["flags"], *after["flags"], "claimed")))
    return _encode({**after, "c": [own, *others], "flags": flags}).decode()


def sentences(
    record: str, names: Mapping[str, str] | None = None, places: Mapping[str, str] | None = None
) -> list[str]:
    """The record as Chinese sentences, most important first; [] when it says nothing.

    `names` are names of warehouses and carriers by id, `places` of divisions by code.
    """
    try:
        found = msgspec.json.decode(record or "{}")
    except msgspec.DecodeError:
        return []
    if not isinstance(found, dict) or not found:
        return []
    said = _Said(names or {}, places or {})
    return said.old(found) if found.get("v") != 2 else said.new(found)


class _Said:
    """Says records with the names people know."""

    def __init__(self, names: Mapping[str, str], places: Mapping[str, str]) -> None:
        self._names, self._places = names, places

    def new(self, record: Mapping[str, Any]) -> list[str]:
        said = [self._parcel(parcel, split=len(record["p"]) > 1) for parcel in record["p"]]
        if record["parked"]:
            reason = PARKED_ZH.get(record["parked"], record["parked"])
            said.append(f"暂未分仓：{reason}。")
        to = self._places.get(record["to"], record["to"]) or "地区未知"
        said.append(f"收货地 {to}，重量 {_kg(record['g'])}。")
        if record["hit"]:
            rules = "、".join(f"“{name}”" for name in record["hit"])
            said.append(f"命中规则（第 {record['rules']} 版）：{rules}。")
        if record["tags"]:
            said.append(f"打上标签：{'、'.join(record['tags'])}。")
        if record["priority"]:
            first = "，排在最前" if record["priority"] >= 1000 else ""
            said.append(f"优先级 {record['priority']}{first}。")
        said += [f"{FLAG_ZH.get(flag, flag)}。" for flag in record["flags"]]
        said += [self._carrier(*quote) for quote in record["q"] if len(record["q"]) > 1]
        chosen = {parcel[0] for parcel in record["p"]}
        said += [self._passed(*c) for c in record["c"] if c[0] not in chosen]
        return said

    def old(self, record: Mapping[str, Any]) -> list[str]:
        """What was written before there were rules."""
        said = [REATTACHED_ZH] if record.get("reattached") else []
        if record.get("parked"):
            reason = record.get("parked_zh") or PARKED_ZH.get(record["parked"], record["parked"])
            said.append(f"暂未分仓：{reason}。")
        for row in record.get("candidates", ()):
            name = row.get("name") or self._name(row["warehouse"])
            short = f"（{'、'.join(row['short'])}）" if row.get("short") else ""
            chosen = row["warehouse"] == record.get("chosen")
            said.append(f"{name}：{'选中' if chosen else row['why_zh']}{short}。")
        return said

    def _parcel(self, parcel: Sequence[Any], *, split: bool) -> str:
        warehouse, carrier, fen, days, lines = parcel
        goods = "、".join(f"{sku}×{n}" for sku, n in lines) if split else ""
        by = f"，{self._name(carrier)}" if carrier else ""
        said = f"由{self._name(warehouse)}发货{by}，约 {days} 天送达，{_yuan(fen)}"
        return f"{said}：{goods}。" if goods else f"{said}。"

    def _carrier(self, carrier: str, why: str, days: int, fen: int | None) -> str:
        if why:
            return f"承运商 {self._name(carrier)}：{CARRIER_WHY_ZH.get(why, why)}。"
        return f"承运商 {self._name(carrier)}：约 {days} 天，{_yuan(fen)}。"

    def _passed(
        self,
        warehouse: str,
        why: str,
        short: Sequence[str] = (),
        carrier: str = "",
        days: int = 0,
        fen: int | None = None,
    ) -> str:
        said = f"未选{self._name(warehouse)}：{why_zh(why)}"
        if short:
            said += f"（{'、'.join(short)}）"
        if why in ("transit", "freight", "load", "priority", "prefer", "stay") and carrier:
            said += f"（{self._name(carrier)}，约 {days} 天，{_yuan(fen)}）"
        return f"{said}。"

    def _name(self, thing: str) -> str:
        name = self._names.get(thing, "")
        return f"{name}（{thing}）" if name and name != thing else f" {thing} "


def _kg(grams: int) -> str:
    return f"{grams / 1000:g} kg"


def _yuan(fen: int | None) -> str:
    return "运费未知" if fen is None else f"运费 {fen // 100}.{fen % 100:02d} 元"
