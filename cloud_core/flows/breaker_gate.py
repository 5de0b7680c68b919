"""Breaker gate: what routing asks before it gives a warehouse a new shipment.

The row of a breaker is read and changed in the commit that owns the shipment, so that the trials
of a half-open warehouse are counted once. Who judges breakers is `flows.trip`.
"""

from __future__ import annotations

from collections.abc import Iterable

from cloud_core.domain import breaker as law
from cloud_core.domain.breaker import BreakerState, Take
from cloud_core.store.breaker_rows import row_of, state_of
from cloud_core.store.working_set import WorkingSet

_YES = Take("yes", "", "正常接单")


def state_at(ws: WorkingSet, warehouse: str) -> BreakerState:
    """The breaker of a warehouse; one never judged is closed and counts from now."""
    row = ws.breakers.get(warehouse)
    if row is None:
        return BreakerState(warehouse, since_ms=ws.now_ms, counted_from_ms=ws.now_ms)
    return state_of(row)


def keep(ws: WorkingSet, state: BreakerState) -> int:
    """Put a breaker that changed into the working set; returns its version."""
    row = ws.breakers.get(state.warehouse)
    version = row.version if row else 0
    if row is None or state_of(row) != state:
        version += 1
        ws.breakers.put(row_of(state, version))
    return version


def may_take_now(ws: WorkingSet, warehouse: str, *, sole_holder: bool) -> Take:
    """Whether a new shipment may go to the warehouse: `yes`, `no` or `trial`, and why."""
    if ws.breakers.get(warehouse) is None:
        return _YES
    return law.may_take(
        state_at(ws, warehouse), ws.now_ms, ws.policy.breaker, sole_holder=sole_holder
    )


def note_trial(ws: WorkingSet, warehouse: str, shipment_id: str) -> None:
    """After `trial`: the shipment that was given takes one of the places."""
    keep(ws, law.give_trial(state_at(ws, warehouse), shipment_id, ws.now_ms, ws.policy.breaker))


def too_far_behind(ws: WorkingSet, agent: str) -> bool:
    """Whether an agent's queue of unsent events is too old for new work."""
    state = ws.agents.get(agent)
    if state is None:
        return True
    return law.is_behind(ws.now_ms, state.seen_ms, state.queued, state.oldest_ms, ws.policy.breaker)


def is_sole_holder(ws: WorkingSet, warehouse: str, lines: Iterable[tuple[str, int]]) -> bool:
    """Whether no other enabled warehouse can promise all of `lines` ((sku, quantity)).

    A shipment that already holds goods here does not change that for the others.
    """
    wanted = list(lines)
    ws.stock_for(sku for sku, _ in wanted)
    return not any(
        info.enabled
        and info.id != warehouse
        and ws.master.agents_of(info.id)
        and all(ws.available(info.id, sku) >= quantity for sku, quantity in wanted)
        for info in ws.master.warehouses.values()
    )
