"""Excluded: warehouses that would not take a shipment, and when they are asked again (DESIGN §6).

A refusal keeps a warehouse out until its stock or hours change, one of its agents starts anew, a
printer there becomes able, or its cool-down is over; every further refusal of the same shipment
doubles that. An offer that nobody answered keeps it out for a shorter time. All of it stands in the
shipment's row, by the database's clock: a restart of the core forgets none of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from cloud_core.domain.rows import Shipment
from cloud_core.store.working_set import WorkingSet
from protocols import codec
from protocols.errors import PacklineError
from protocols.messages import AgentState

Lines = Sequence[tuple[str, int]]
TIMEOUT_OUT_MS = 300_000
"""A warehouse that let an offer pass may be asked for the same shipment again after this."""
REJECT_OUT_MS = 300_000
REJECT_OUT_MS_MAX = 3_600_000
"""How long a refusal counts at first and at most; it doubles with every one in a row."""
START_OUT_MS = 60_000
"""A new connection of an agent ends a refusal only from this age on: a line that comes and goes
does not have a whole queue offered and refused each time."""
REASON_CHARS_MAX = 32
_ABLE = frozenset({"ok", "warn"})
"""Levels of a printer that prints, as an agent's heartbeat names them."""


def exclude(ws: WorkingSet, shipment: Shipment, why: str, reason: str = "") -> str:
    """What `excluded` becomes when the shipment's warehouse is out of its next routing.

    `reason` is the agent's word for a refusal, "" when it gave none.
    """
    excluded = msgspec.json.decode(shipment.excluded) if shipment.excluded else {}
    warehouse = shipment.warehouse
    lines = [(line.sku, line.quantity) for line in ws.lines_of(shipment.id)]
    out: dict[str, Any] = {"why": why, "at": ws.now_ms, "sig": _signature(ws, warehouse, lines)}
    if why == "rejected":
        before = excluded.get(warehouse, {})
        times = before.get("n", 1) + 1 if before.get("why") == "rejected" else 1
        started, able = _agents_now(ws, warehouse)
        out |= {"reason": reason[:REASON_CHARS_MAX], "n": times, "inc": started, "able": able}
    excluded[warehouse] = out
    return msgspec.json.encode(excluded).decode()


def excluded_now(ws: WorkingSet, shipment: Shipment, lines: Lines) -> dict[str, str]:
    """Warehouses that are not asked now, each with why: `timeout`, `rejected:no_printer`…"""
    if not shipment.excluded:
        return {}
    found: dict[str, str] = {}
    for warehouse, out in msgspec.json.decode(shipment.excluded).items():
        if warehouse in ws.master.warehouses and _still_out(ws, warehouse, out, lines):
            reason = out.get("reason", "")
            found[warehouse] = f"{out['why']}:{reason}" if reason else out["why"]
    return found


def _still_out(ws: WorkingSet, warehouse: str, out: Mapping[str, Any], lines: Lines) -> bool:
    why, since_ms = out["why"], ws.now_ms - out["at"]
    if why != "taken_back" and out["sig"] != _signature(ws, warehouse, lines):
        return False
    if why == "timeout":
        return bool(since_ms <= TIMEOUT_OUT_MS)
    if why == "rejected":
        return since_ms < _cool_down_ms(out.get("n", 1)) and not _came_back(ws, warehouse, out)
    return True


def _cool_down_ms(times: int) -> int:
    """How long the refusal counts that is the `times`-th in a row, from 1."""
    longest = REJECT_OUT_MS_MAX // REJECT_OUT_MS
    return min(REJECT_OUT_MS_MAX, REJECT_OUT_MS << min(times - 1, longest))


def _came_back(ws: WorkingSet, warehouse: str, out: Mapping[str, Any]) -> bool:
    """Whether an agent there started anew since the refusal, or a printer became able."""
    if "inc" not in out:
        return False
    started, able = _agents_now(ws, warehouse)
    if not set(able) <= set(out["able"]):
        return True
    before = out["inc"]
    anew = any(inc != before.get(agent, 0) for agent, inc in started.items())
    return anew and ws.now_ms - out["at"] >= START_OUT_MS


def _agents_now(ws: WorkingSet, warehouse: str) -> tuple[dict[str, int], list[str]]:
    """The incarnation of every agent there, and its printers that print, as `agent/printer`."""
    started: dict[str, int] = {}
    able: list[str] = []
    for agent in ws.master.agents_of(warehouse):
        state = ws.agents.get(agent.id)
        started[agent.id] = state.inc if state is not None else 0
        for name, level in _printers(state.detail if state is not None else "").items():
            if level in _ABLE:
                able.append(f"{agent.id}/{name}")
    return started, sorted(able)


def _printers(detail: str) -> Mapping[str, str]:
    """The printers of a stored heartbeat; none when there is none yet."""
    if not detail or detail == "{}":
        return {}
    try:
        return codec.decode(detail.encode(), AgentState).printers
    except PacklineError:
        return {}


def _signature(ws: WorkingSet, warehouse: str, lines: Lines) -> str:
    """Changes when the warehouse's stock of these SKUs or its hours change."""
    info = ws.master.warehouses[warehouse]
    rows = (ws.stock_at(warehouse, sku) for sku, _ in lines)
    return info.hours + "/" + "/".join(str(row.on_hand if row else 0) for row in rows)
