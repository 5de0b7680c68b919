"""What one station's screen or handheld shows: the last answer, the parcel in hand, what waits.

Reads the journal and the live state; changes nothing. No personal data: the parcel's waybill
number, goods and shelves, never who it goes to (P12).
"""

from __future__ import annotations

from typing import Any

from edge_agent.agent import bench_view
from edge_agent.agent.board import Board, Shown
from edge_agent.agent.parts import Live
from edge_agent.domain.packing import pick_list
from edge_agent.domain.task import Task, TaskState
from edge_agent.flows import print_label, returns
from edge_agent.journal import jobs, stations, tasks
from edge_agent.journal import returns as tickets
from edge_agent.journal.stations import Station
from edge_agent.ports import Connection

WAITING_SHOWN = 12


def mark(live: Live, board: Board, station: str) -> object:
    """Equal to the last one only if `of` would say the same."""
    return (
        board.at(station).n,
        live.floor.position,
        live.welcomed,
        live.floor.full,
        tuple((state.level, state.code) for state in live.printer_status.values()),
    )


def of(live: Live, board: Board, station: str) -> dict[str, Any]:
    """One station now, as `bench_view.station` and more; times are wall ms of this machine."""
    printer = live.plan.printer_of(station)
    state = live.printer_status.get(printer)
    clocks = bench_view.clocks(live.ports.clock.now(), live.offset)
    level = None if state is None else {
        "name": printer, "level": state.level.value, "reason_zh": state.reason_zh,
    }  # fmt: skip
    return {
        "warehouse": live.plan.warehouse_name or live.plan.site,
        "now_ms": clocks["server_ms"],
        "online": live.welcomed,
        "full": live.floor.full,
        "printer": level,
        "answer": _answer(board.at(station)),
        **live.floor.read(lambda db: _work(db, station, clocks)),
    }


def _work(db: Connection, name: str, clocks: dict[str, int]) -> dict[str, Any]:
    station = stations.get(db, name)
    stopping = tasks.by_state(db, (TaskState.STOPPING,), WAITING_SHOWN)
    return {
        **bench_view.station(db, station, **clocks),
        "label": _label(db, station.shipment),
        "stops": [
            bench_view.task(db, one, **clocks)
            for one in stopping
            if one.station == name or one.shipment == station.shipment
        ],
        "waiting": [_waiting(task) for task in _granted(db)],
        "returns": returns.board(db, clocks["wall_ms"])[:WAITING_SHOWN],
        "return": _return(db, station, clocks["wall_ms"]),
    }


def _return(db: Connection, station: Station, now_ms: int) -> dict[str, Any] | None:
    """The return in hand."""
    ticket = tickets.get(db, station.shipment) if station.mode == returns.MODE else None
    return None if ticket is None else returns.shown(ticket, now_ms)


def _granted(db: Connection) -> list[Task]:
    """Tasks that nobody has begun, the most urgent first."""
    return tasks.by_state(db, (TaskState.GRANTED,), WAITING_SHOWN)


def _waiting(task: Task) -> dict[str, Any]:
    first = next(iter(pick_list(task)), None)
    return {
        "shipment": task.shipment,
        "waybill": task.waybill,
        "ship_by_ms": task.ship_by_ms,
        "units": sum(line.quantity for line in task.lines),
        "first": first.location if first is not None else "",
    }


def _label(db: Connection, shipment: str) -> str:
    """The state of the newest label of the shipment in hand, "" when none was ever queued."""
    task = tasks.newest(db, shipment) if shipment else None
    if task is None or not task.waybill:
        return ""
    placed = jobs.newest(db, print_label.WAYBILL, task.waybill)
    return "" if placed is None else placed.job.state.value


def _answer(shown: Shown) -> dict[str, Any] | None:
    if shown.answer is None:
        return None
    given = shown.answer
    return {
        "n": shown.n,
        "wall_ms": shown.wall_ms,
        "tone": given.tone,
        "light": given.light,
        "code": given.code,
        "text_zh": given.text_zh,
        "shipment": given.shipment,
    }
