"""Which warehouse sends a shipment: pure choice over what is there now.

The first reachable warehouse by configured priority that covers every line. The choice explains
itself: every candidate and why it was passed over, readable by a person.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec


@dataclass(frozen=True, slots=True)
class Candidate:
    """A warehouse as routing sees it; `agent` is the one that would get the offer ("" = none)."""

    warehouse: str
    name: str
    priority: int
    agent: str
    agents: int
    open: bool
    excluded: str


@dataclass(frozen=True, slots=True)
class Choice:
    """The warehouse and agent chosen, or the reason why the shipment is parked."""

    warehouse: str
    agent: str
    parked: str
    record: str


_WHY_ZH = {
    "no_agent": "没有登记边缘代理",
    "unreachable": "边缘代理离线",
    "closed": "不在营业时间",
    "short": "库存不足",
    "rejected": "该仓已拒单",
    "timeout": "该仓未按时接单",
    "lower_priority": "优先级较低",
}
PARKED_ZH = {
    "no_stock": "没有一个仓库能发齐全部商品",
    "no_warehouse": "没有可用的仓库",
    "unreachable": "能发货的仓库全部离线",
    "no_answer": "仓库未按时接单，等待重试",
    "rejected": "有货的仓库均已拒单",
    "capacity": "有货的仓库今日产能已满",
    "breaker": "有货的仓库熔断中",
    "no_carrier": "没有承运商从有货的仓库送达该地区",
    "rule": "路由规则排除了有货的仓库",
    "recovering": "系统恢复中，等待各仓补传",
    "division": "收货地址需要人工确认",
}


def choose(
    lines: Sequence[tuple[str, int]],
    candidates: Sequence[Candidate],
    available: Mapping[tuple[str, str], int],
) -> Choice:
    """Choose a warehouse for `lines` ((sku, quantity), unique by SKU).

    `available[(warehouse, sku)]` is what may still be promised there; missing means none.
    """
    reasons: list[dict[str, object]] = []
    chosen: Candidate | None = None
    for candidate in sorted(candidates, key=lambda c: (c.priority, c.warehouse)):
        short = [
            sku
            for sku, quantity in lines
            if available.get((candidate.warehouse, sku), 0) < quantity
        ]
        why = _why(candidate, short, chosen is not None)
        if not why:
            chosen = candidate
        reasons.append(
            {
                "warehouse": candidate.warehouse,
                "name": candidate.name,
                "why": why,
                "why_zh": _WHY_ZH.get(why, "选中"),
                "short": short[:5],
            }
        )
    parked = "" if chosen else _parked([str(r["why"]) for r in reasons])
    record = {
        "candidates": reasons,
        "chosen": chosen.warehouse if chosen else "",
        "parked": parked,
        "parked_zh": PARKED_ZH.get(parked, ""),
    }
    return Choice(
        chosen.warehouse if chosen else "",
        chosen.agent if chosen else "",
        parked,
        msgspec.json.encode(record).decode(),
    )


def _why(candidate: Candidate, short: Sequence[str], taken: bool) -> str:
    """Why the candidate is not the one; "" if it is."""
    if candidate.agents == 0:
        return "no_agent"
    if short:
        return "short"
    if candidate.excluded:
        return candidate.excluded
    if not candidate.agent:
        return "unreachable"
    if not candidate.open:
        return "closed"
    return "lower_priority" if taken else ""


def _parked(reasons: Sequence[str]) -> str:
    """The reason that would have to change first for the shipment to move."""
    for why, parked in (
        ("timeout", "no_answer"),
        ("unreachable", "unreachable"),
        ("closed", "unreachable"),
        ("rejected", "rejected"),
        ("short", "no_stock"),
    ):
        if why in reasons:
            return parked
    return "no_warehouse"
