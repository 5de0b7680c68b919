"""One event of a bench on its way through the fold: who says what, when, about which shipment."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from cloud_core.domain.progress import RANK, moves_forward
from cloud_core.domain.rows import Incident, Shipment
from cloud_core.flows.own import note, settle_order
from cloud_core.store.working_set import WorkingSet
from protocols.messages import Event, Token


class Report:
    """One event on its way through the fold: who says what, when, about which shipment."""

    __slots__ = ("agent", "at_ms", "body", "event", "shipment", "warehouse", "ws")

    def __init__(self, ws: WorkingSet, agent: str, event: Event, body: Any, at_ms: int) -> None:
        self.ws, self.agent, self.event, self.body, self.at_ms = ws, agent, event, body, at_ms
        info = ws.master.agents.get(agent)
        self.warehouse = info.warehouse if info else ""
        self.shipment: Shipment | None = None

    @property
    def actor(self) -> str:
        """The agent, as the trail names it."""
        return f"agent:{self.agent}"

    def put(self, change: str, **values: Any) -> Shipment:
        """Change the shipment and say so in the trail."""
        assert self.shipment is not None
        old = self.shipment
        new = replace(old, version=old.version + 1, **values)
        self.ws.shipments.put(new)
        if change:
            token: Token = self.body.token
            self.ws.trail(new.id, change, self.actor, f"{token.core_epoch}.{token.n}")
        self.shipment = new
        return new


def current(report: Report) -> bool:
    """Whether the fact was done under the token that owns the shipment now."""
    shipment = report.shipment
    assert shipment is not None
    return bool(
        report.body.token == shipment.token and shipment.agent == report.agent and not shipment.stop
    )


def stopping_owner(report: Report) -> bool:
    """Whether the fact comes from the bench that was told to stop and has not answered yet."""
    shipment = report.shipment
    assert shipment is not None
    return (
        shipment.stop == "stopping"
        and shipment.agent == report.agent
        and bool(report.body.token < shipment.token)
    )


def incident(report: Report, kind: str, effect: str) -> None:
    shipment = report.shipment
    assert shipment is not None
    token: Token = report.body.token
    report.ws.appended.append(
        Incident(
            report.ws.now_ms,
            kind,
            shipment.id,
            report.warehouse,
            token.core_epoch,
            token.n,
            effect,
            report.event.t,
        )
    )
    report.ws.alarm(
        "incident",
        shipment.id,
        f"发货单 {shipment.id}：仓库 {report.warehouse} 在失效令牌下上报 {report.event.t}",
    )
    note(report.ws, shipment, f"incident:{kind}", report.actor)


def left_with_old_label(report: Report, shipment: Shipment) -> None:
    """It left while its bench was told of another address: recorded, people told, never refused."""
    token: Token = report.body.token
    report.ws.appended.append(
        Incident(
            report.ws.now_ms, "handed_over_to_old_address", shipment.id, report.warehouse,
            token.core_epoch, token.n, "已按交接扣减库存", report.event.t,
        )
    )  # fmt: skip
    report.ws.alarm(
        "address_changed", shipment.id,
        f"发货单 {shipment.id} 改地址时已交接，面单 {shipment.waybill} 是旧地址，请联系承运商改址",
    )  # fmt: skip
    note(report.ws, shipment, "incident:handed_over_to_old_address", report.actor)


def confirmed(report: Report, what: str, operator: str) -> None:
    """Who at the bench said that they have read it, for who asks later; the state stays."""
    token: Token = report.body.token
    detail = f"{token.core_epoch}.{token.n} {operator}".strip()[:200]
    report.ws.trail(report.body.shipment, f"confirmed:{what}"[:64], report.actor, detail)


def advance(report: Report, state: str) -> bool:
    """Move the shipment forward to `state`; whether it did."""
    shipment = report.shipment
    assert shipment is not None
    if not moves_forward(shipment.state, state) or RANK[shipment.state] < RANK["granted"]:
        return False
    report.put(f"{shipment.state}>{state}", state=state)
    settle_order(report.ws, shipment.order_id)
    return True
