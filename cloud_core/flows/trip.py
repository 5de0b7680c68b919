"""Trip: judge the breakers, let a person force one, take un-granted work from a warehouse.

Loads the newest passed deadlines of each warehouse, asks the fold, and writes state, trail, alarm
and notices in one commit. What is granted stays where it is. While the core recovers from a backup
nothing is judged: the benches have not told it everything.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from cloud_core.domain import breaker as law
from cloud_core.domain.breaker import BreakerState, Dispatch, Event
from cloud_core.domain.breaker_commands import ForceBreaker, JudgeBreakers
from cloud_core.domain.policy import DAY_MS
from cloud_core.domain.rows import Audit, Shipment
from cloud_core.flows.breaker_gate import is_sole_holder, keep, state_at
from cloud_core.flows.notify import tell
from cloud_core.flows.own import own, take_back
from cloud_core.store.breaker_rows import Granted, all_breakers, granted_due, ungranted_of
from cloud_core.store.working_set import WorkingSet
from protocols.errors import Rejected

FORCE_DAYS_MAX = 30
REROUTED_MAX = 500
"""Un-granted shipments that leave a warehouse with its opening; others end with their offers."""
REASON_CHARS_MAX = 200
FORCED_BY_CHARS_MAX = 96
_ALARMS = {
    "opened": ("breaker_open",),
    "capped": ("breaker_cap",),
    "forced_open": ("breaker_forced",),
    "forced_closed": ("breaker_forced",),
}
_ENDS = {
    "opened": ("breaker_cap",),
    "closed": ("breaker_open", "breaker_cap"),
    "reversed": ("breaker_open",),
    "uncapped": ("breaker_cap",),
    "forced_open": ("breaker_open", "breaker_cap"),
    "forced_closed": ("breaker_open", "breaker_cap"),
    "force_ended": ("breaker_forced",),
}
"""Which alarms a change opens, and which it closes."""


def judge_breakers(ws: WorkingSet, _command: JudgeBreakers) -> int:
    """Judge every enabled warehouse; returns how many breakers changed."""
    if ws.recovering:
        return 0
    for row in all_breakers(ws.fetch.connection):
        ws.breakers.loaded(row.warehouse, row)
    names = sorted(w.id for w in ws.master.warehouses.values() if w.enabled)
    states = [state_at(ws, name) for name in names]
    facts = {state.warehouse: _facts(ws, state) for state in states}
    changed = 0
    opened = []
    for before, step in zip(
        states, law.judge(states, facts, ws.now_ms, ws.policy.breaker), strict=True
    ):
        version = keep(ws, step.state)
        _publish(ws, step.events, version, "core")
        changed += step.state != before
        if law.is_open(step.state) and not law.is_open(before):
            opened.append(step.state.warehouse)
    for warehouse in opened:  # when all are judged: what one loses does not go to the next
        reroute_ungranted(ws, warehouse, REROUTED_MAX, own)
    return changed


def force_breaker(ws: WorkingSet, command: ForceBreaker) -> BreakerState:
    """A person sets a breaker, audited in the same commit.

    Raises `Rejected` `warehouse_unknown`, `breaker_mode`, `reason_missing`, `until_invalid`.
    """
    reason = _checked(ws, command)
    before = state_at(ws, command.warehouse)
    step = law.force(
        before, command.mode, ws.now_ms, ws.policy.breaker,
        actor=(command.told or command.actor)[:FORCED_BY_CHARS_MAX], reason=reason,
        until_ms=command.until_ms,
    )  # fmt: skip
    version = keep(ws, step.state)
    _publish(ws, step.events, version, command.actor)
    ws.wake_parked = ws.wake_parked or command.mode != "open"
    detail = f"{command.mode}: {reason}" if reason else command.mode
    ws.appended.append(
        Audit(ws.now_ms, command.actor, command.source, "breaker.forced", command.warehouse, detail)
    )
    if law.is_open(step.state) and not law.is_open(before) and not ws.recovering:
        reroute_ungranted(ws, command.warehouse, REROUTED_MAX, own)
    return step.state


def reroute_ungranted(
    ws: WorkingSet,
    warehouse: str,
    limit: int,
    own_again: Callable[[WorkingSet, Shipment], Shipment],
) -> int:
    """Take offered, un-granted shipments from a warehouse whose breaker is open; how many moved.

    Granted ones stay, and so do those that no other warehouse could send. `own_again` routes; it
    must ask the gate, or the shipment comes straight back.
    """
    agents = [agent.id for agent in ws.master.agents_of(warehouse)]
    moved = 0
    for shipment_id in ungranted_of(ws.fetch.connection, agents, limit):
        shipment = ws.shipments.get(shipment_id)
        if shipment is None or shipment.warehouse != warehouse:
            continue
        if shipment.state != "offered" or shipment.stop:
            continue
        lines = [(line.sku, line.quantity) for line in ws.lines_of(shipment.id)]
        if not is_sole_holder(ws, warehouse, lines):
            own_again(ws, take_back(ws, shipment, "breaker"))
            moved += 1
    return moved


# --- parts -------------------------------------------------------------------------------------


def _facts(ws: WorkingSet, state: BreakerState) -> list[Dispatch]:
    """The newest passed deadlines of the warehouse, its trials and what opened its breaker."""
    policy, warehouse = ws.policy.breaker, state.warehouse
    found = {
        row.id: row for row in granted_due(ws.fetch.connection, warehouse, ws.now_ms, policy.window)
    }
    named = [judged.shipment for judged in (*state.trials, *state.because)]
    facts = [
        _dispatch(ws, row)
        for row in found.values()
        if row.id not in ws.shipments and row.id not in named
    ]
    ids = [i for i in found if i in ws.shipments] + named
    for shipment_id in dict.fromkeys(ids):  # what this very commit may have changed
        shipment = ws.shipments.get(shipment_id)
        if shipment is None or shipment.warehouse != warehouse:
            continue
        if shipment.stop and shipment.handed_over_ms is None:
            continue
        granted = shipment.granted_ms is not None and shipment.state not in ("routed", "offered")
        row = Granted(
            shipment.id, shipment.agent, shipment.ship_by_ms, shipment.granted_ms or 0,
            shipment.handed_over_ms,
        )  # fmt: skip
        facts.append(_dispatch(ws, row, granted=granted))
    return facts


def _dispatch(ws: WorkingSet, row: Granted, *, granted: bool = True) -> Dispatch:
    agent = ws.agents.get(row.agent)
    heard_ms = law.heard_until_ms(agent.seen_ms, agent.queued, agent.oldest_ms) if agent else 0
    due_ms = law.fair_due_ms(row.ship_by_ms, row.granted_ms, ws.policy.breaker)
    return Dispatch(row.id, due_ms, row.handed_over_ms, heard_ms, granted)


def _publish(ws: WorkingSet, events: Sequence[Event], version: int, actor: str) -> None:
    """Trail, alarms and notices of what happened to a breaker."""
    for event in events:
        place = event.warehouse
        info = ws.master.warehouses.get(place)
        name = info.name if info else place
        ws.trail(place, f"breaker:{event.kind}", actor, event.text)
        for kind in _ENDS.get(event.kind, ()):
            ws.close_alarm(kind, place)
        for kind in _ALARMS.get(event.kind, ()):
            ws.alarm(kind, place, f"{name}（{place}）：{event.text}")
        tell(
            ws, "breaker", place, f"breaker:{place}:{version}:{event.kind}",
            f"【熔断】{name}（{place}）", event.text,
        )  # fmt: skip
        if event.kind in ("half_opened", "closed", "reversed", "force_ended"):
            ws.wake_parked = True


def _checked(ws: WorkingSet, command: ForceBreaker) -> str:
    """The reason, cleaned. Raises as `force_breaker` says."""
    if command.warehouse not in ws.master.warehouses:
        name = command.warehouse[:64]
        raise Rejected(
            "warehouse_unknown", f"没有仓库 {name}", f"there is no warehouse {name}",
            field="warehouse",
        )  # fmt: skip
    if command.mode not in law.FORCE_MODES:
        raise Rejected(
            "breaker_mode", "熔断只能设为 open、closed 或 auto",
            "a breaker is set to open, closed or auto", field="mode",
        )  # fmt: skip
    reason = " ".join(command.reason.split())[:REASON_CHARS_MAX]
    if not reason and command.mode != "auto":
        raise Rejected(
            "reason_missing", "请写明原因", "a reason is needed, people will ask", field="reason"
        )
    until_ms = command.until_ms
    fits = until_ms is None or 0 < until_ms - ws.now_ms <= FORCE_DAYS_MAX * DAY_MS
    if not fits or (command.mode == "auto" and until_ms is not None):
        raise Rejected(
            "until_invalid", f"截止时间须在现在之后、{FORCE_DAYS_MAX} 天以内；auto 没有截止时间",
            f"until must lie in the next {FORCE_DAYS_MAX} days; auto takes none", field="until_ms",
        )  # fmt: skip
    return reason
