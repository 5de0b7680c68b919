"""What one station's screen and its PDA show: the task in hand and everything still wanted of it.

Reads the journal, changes nothing, holds no personal data (P12). Times are wall ms of this machine;
minutes left are by the server's clock once it is known.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from edge_agent.domain import packing
from edge_agent.domain.moment import Now, ServerOffset
from edge_agent.domain.task import STATE_ZH, Line, Task, TaskState
from edge_agent.flows import stop, work
from edge_agent.journal import stations, tasks
from edge_agent.journal.stations import Station
from edge_agent.ports import Connection

MINUTE_MS = 60_000


def clocks(now: Now, offset: ServerOffset | None) -> dict[str, int]:
    """The two clocks that the views below want: this machine's, and the server's if known."""
    server_ms = now.wall_ms if offset is None else offset.server_ms(now.mono_ms)
    return {"wall_ms": now.wall_ms, "server_ms": server_ms}


def station(db: Connection, at: Station, *, wall_ms: int, server_ms: int) -> dict[str, Any]:
    """One station: the columns of its row, `task` in hand, and what to do next.

    `do`: `pick`, `pack`, `serial`, `gift`, `confirm`, `load`, `count` or "" (scan a task);
    `line` is the line at hand; `want_zh` says it in words; `said` is the last answer.
    """
    held = work.in_hand(db, at)
    shown = None if held is None else task(db, held, wall_ms=wall_ms, server_ms=server_ms)
    line = None if held is None else _line_at_hand(held, at)
    last = stations.last_scan(db, at.id)
    return {
        **asdict(at),
        "task": shown,
        "do": _next_step(held, at, shown),
        "line": None if line is None else _line(line),
        "want_zh": _want_zh(held, at, line),
        "said": None if last is None else asdict(last),
    }


def task(db: Connection, shown: Task, *, wall_ms: int, server_ms: int) -> dict[str, Any]:
    """One task; its lines stand in walking order.

    `red` with `red_zh` and `confirm` (the card or button that ends it) when a person must stop;
    `pull_label`: a paper of it is or may be out. `minutes_left` is negative once it is late.
    """
    stopping = shown.state is TaskState.STOPPING
    red = stopping or shown.halted
    serials: dict[str, list[str]] = {}
    if any(line.serial for line in shown.lines):
        for sku, serial in tasks.serials_of(db, shown):
            serials.setdefault(sku, []).append(serial)
    return {
        "shipment": shown.shipment,
        "order": shown.order,
        "native_id": shown.native_id,
        "waybill": shown.waybill,
        "carrier": shown.carrier,
        "state": shown.state.value,
        "state_zh": STATE_ZH[shown.state.value],
        "station": shown.station,
        "operator": shown.operator,
        "priority": shown.priority,
        "ship_by_ms": shown.ship_by_ms,
        "minutes_left": minutes_left(shown, server_ms),
        "notice": shown.notice,
        "notice_code": shown.notice_code,
        "red": red,
        "red_zh": _red_zh(db, shown) if red else "",
        "confirm": ("$$STOPPED" if stopping else "$$OK") if red or shown.notice else "",
        "stop_reason": shown.stop_reason,
        "pull_label": stopping and stop.paper_out(db, shown),
        "gift": shown.gift,
        "gift_missing": packing.gift_missing(shown),
        "units": sum(line.quantity for line in shown.lines),
        "units_picked": sum(line.picked for line in shown.lines),
        "units_verified": sum(line.verified for line in shown.lines),
        "packing_ms": max(0, wall_ms - shown.packing.wall_ms) if shown.packing else 0,
        "lines": [
            {**_line(line), "serials": serials.get(line.sku, [])}
            for line in packing.pick_list(shown)
        ],
    }


def minutes_left(shown: Task, server_ms: int) -> int:
    """Whole minutes until `ship_by` (003.27), negative once it has passed."""
    return (shown.ship_by_ms - server_ms) // MINUTE_MS


def _line(line: Line) -> dict[str, Any]:
    return {
        "sku": line.sku,
        "name": line.name,
        "location": line.location,
        "quantity": line.quantity,
        "picked": line.picked,
        "verified": line.verified,
        "serial": line.serial,
        "gift": line.gift,
    }


def _red_zh(db: Connection, shown: Task) -> str:
    if shown.state is TaskState.STOPPING:
        return stop.red_zh(db, shown)
    return f"停! {shown.notice}; 确认后扫 $$OK"


def _line_at_hand(held: Task, at: Station) -> Line | None:
    """The next line to pick, or the next to verify; while a serial is wanted, its line."""
    if held.state not in (TaskState.GRANTED, TaskState.PICKING):
        return None
    field = "verified" if at.mode == "pack" else "picked"
    for line in packing.pick_list(held):
        if at.wants in ("", line.sku) and getattr(line, field) < line.quantity:
            return line
    return None


def _next_step(held: Task | None, at: Station, shown: dict[str, Any] | None) -> str:
    if shown is not None and shown["red"]:
        return "confirm"
    if at.mode in ("load", "count"):
        return at.mode
    if held is None or held.state is not TaskState.PICKING:
        return "load" if held is not None and held.state is TaskState.PACKED else ""
    if at.mode != "pack":
        return "pick"
    if at.wants:
        return "serial"
    if held.all_verified:
        return "confirm" if held.notice else ""
    return "gift" if packing.gift_missing(held) else "pack"


def _want_zh(held: Task | None, at: Station, line: Line | None) -> str:
    if held is None or held.state is TaskState.STOPPING or held.halted:
        return ""
    if at.mode == "pack" and at.wants and line is not None:
        return f"请扫序列号: {line.name or line.sku} {line.verified + 1}/{line.quantity}"
    if at.mode == "pack" and packing.gift_missing(held):
        return packing.gift_zh(held)
    if line is None:
        return "请扫装车码" if held.state is TaskState.PACKED else ""
    if at.mode == "pack":
        return f"请扫商品: {line.name or line.sku} {line.verified}/{line.quantity}"
    return work.where_zh(line)
