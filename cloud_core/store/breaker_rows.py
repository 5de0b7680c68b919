"""Breakers: their rows, the shipments they are judged by, and what people see of them.

Statements on `breaker`, and narrow reads of `shipment` by the partial index `shipment_judged`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import Connection, Engine, or_, select, text

from cloud_core.domain.breaker import BreakerState, Judged
from cloud_core.domain.rows import Breaker
from cloud_core.store import schema as t
from cloud_core.store.engine import reading
from cloud_core.store.reading import many, selecting
from cloud_core.store.schema_breaker import GRANTED, breaker

_ALL = selecting(breaker, Breaker)
_Shown = list[tuple[str, int, bool]]


class Granted(NamedTuple):
    """What a judgement needs to know of a shipment on, or gone from, a bench."""

    id: str
    agent: str
    ship_by_ms: int
    granted_ms: int
    handed_over_ms: int | None


def granted_due(connection: Connection, warehouse: str, until_ms: int, limit: int) -> list[Granted]:
    """The newest granted shipments of a warehouse promised before `until_ms`, newest first.

    Stopped ones count only if they left all the same; a gift rides in its main shipment.
    """
    c = t.shipment.c
    wanted = (
        select(c.id, c.agent, c.ship_by_ms, c.granted_ms, c.handed_over_ms)
        .where(
            text(GRANTED), c.warehouse == warehouse, c.ship_by_ms < until_ms, c.kind == "main",
            c.state.not_in(("routed", "offered")),
            or_(c.stop == "", c.handed_over_ms.is_not(None)),
        )
        .order_by(c.ship_by_ms.desc(), c.id.desc())
        .limit(limit)
    )  # fmt: skip
    return [Granted(*row) for row in connection.execute(wanted)]


def ungranted_of(connection: Connection, agents: Sequence[str], limit: int) -> list[str]:
    """Shipments offered to these agents and not granted, the most urgent first."""
    c = t.shipment.c
    wanted = select(c.id).where(c.agent.in_(agents), c.state == "offered", c.stop == "")
    wanted = wanted.order_by(c.priority.desc(), c.paid_ms, c.id).limit(limit)
    return list(connection.execute(wanted).scalars())


def all_breakers(connection: Connection) -> list[Breaker]:
    """Every breaker there is."""
    return many(connection, _ALL, Breaker)


def state_of(row: Breaker) -> BreakerState:
    """A row as the domain knows it."""
    return BreakerState(
        row.warehouse, row.state, row.since_ms, row.until_ms, row.openings, row.counted_from_ms,
        _judged(row.because), _judged(row.trials), bool(row.capped), row.forced,
        row.forced_until_ms, row.forced_by, row.forced_reason,
    )  # fmt: skip


def row_of(state: BreakerState, version: int) -> Breaker:
    """A state as a row."""
    return Breaker(
        state.warehouse, state.state, state.since_ms, state.until_ms, state.openings,
        state.counted_from_ms, _text(state.because), _text(state.trials), int(state.capped),
        state.forced, state.forced_until_ms, state.forced_by, state.forced_reason, version,
    )  # fmt: skip


class BreakerReads:
    """What people see of breakers; safe from any thread."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def all(self) -> list[tuple[str, str, BreakerState]]:
        """(warehouse, its name, its breaker) of every enabled warehouse, by id."""
        w = t.warehouse.c
        wanted = select(w.id, w.name).where(w.enabled == 1).order_by(w.id)
        with reading(self._engine) as connection:
            names = connection.execute(wanted).all()
            states = {row.warehouse: state_of(row) for row in all_breakers(connection)}
        return [(name[0], name[1], states.get(name[0], BreakerState(name[0]))) for name in names]


def _judged(column: str) -> tuple[Judged, ...]:
    return tuple(Judged(*one) for one in msgspec.json.decode(column, type=_Shown))


def _text(found: Sequence[Judged]) -> str:
    values: list[Any] = [[j.shipment, j.due_ms, j.on_time] for j in found]
    return msgspec.json.encode(values).decode()
