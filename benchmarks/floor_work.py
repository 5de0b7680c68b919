"""What a bench reports while it works off its granted tasks, in the order people work.

Bodies are those of the agent's own flows; several stations work at once, so that shipments
interleave as they do in a warehouse.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import zip_longest

from msgspec import Struct

from edge_agent.domain.task import Task, TaskState
from edge_agent.journal import tasks
from edge_agent.ports import Connection
from protocols.commands import OfferLine
from protocols.events import (
    ItemPicked,
    ItemVerified,
    LabelEvent,
    ParcelHandedOver,
    ParcelPacked,
    TaskStarted,
)

STATIONS = 4
TASKS_MAX = 100_000
Row = tuple[str, Struct, str]


def granted_count(db: Connection) -> int:
    """Tasks this agent may work on."""
    return tasks.counts(db).get(TaskState.GRANTED.value, 0)


def remaining_work(db: Connection, done: set[str]) -> list[Row]:
    """Every event of every granted task: (type, body, station), stations taking turns.

    Leaves out the shipments in `done` and adds the others to it: the journal's task table is left
    alone, as only the events are measured.
    """
    granted = tasks.by_state(db, [TaskState.GRANTED], TASKS_MAX)
    found = [task for task in granted if task.shipment not in done]
    done |= {task.shipment for task in found}
    shares = [found[at::STATIONS] for at in range(STATIONS)]
    streams = [_station(share, f"pack-{at + 1}") for at, share in enumerate(shares)]
    turns = zip_longest(*streams)
    return [row for turn in turns for row in turn if row is not None]


def _station(share: Sequence[Task], station: str) -> Iterator[Row]:
    for task in share:
        for type_, body in _journey(task):
            yield type_, body, station


def _journey(task: Task) -> Iterator[tuple[str, Struct]]:
    """Start, pick and verify each unit, pack, print, hand over."""
    who = (task.shipment, task.token)
    named = (task.order, task.channel, task.native_id)
    yield "task.started", TaskStarted(*who, operator="甲")
    for line in task.lines:
        for _unit in range(line.quantity):
            yield "item.picked", ItemPicked(*who, line.sku, 1, line.location)
    for line in task.lines:
        for _unit in range(line.quantity):
            yield "item.verified", ItemVerified(*who, line.sku, 1)
    yield "parcel.packed", ParcelPacked(*who, task.waybill, operator="甲")
    label = LabelEvent(*who, task.waybill, 1, *named, printer="paper")
    yield "label.started", label
    yield "label.printed", LabelEvent(*who, task.waybill, 1, *named, evidence="printer")
    units: dict[str, int] = {}
    for line in task.lines:
        units[line.sku] = units.get(line.sku, 0) + line.quantity
    lines = [OfferLine(sku, count) for sku, count in units.items()]
    yield "parcel.handed_over", ParcelHandedOver(*who, task.waybill, *named, lines, operator="甲")
