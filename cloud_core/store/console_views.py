"""What the staff console's lists read: always a bounded number of rows, always by keyset.

Every list takes the place behind which it goes on (the key of the last row of the page before) and
returns one row more than a page when there is another. Personal data is not read here (P12).
Must not know HTTP, pages or words.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from sqlalchemy import (
    Column,
    Connection,
    Engine,
    Select,
    and_,
    case,
    func,
    literal,
    or_,
    select,
    text,
)

from cloud_core.domain.urgency import LEFT, OPEN, WARN_MS
from cloud_core.store import schema as t
from cloud_core.store.engine import reading
from cloud_core.store.schema_breaker import breaker
from cloud_core.store.schema_console import LEFT_SHIPMENT, OPEN_SHIPMENT, STOPPED

PAGE_ROWS = 50
"""Rows of a page, of every list."""
COUNT_MAX = 10_000
"""Rows of one state are counted up to here; a page must not read a year of orders to say "many"."""
GOODS_MAX = 3
"""Articles of a shipment named in a list; the rest is a number."""
Json = dict[str, Any]
Key = tuple[int | str, ...]
"""The place of a row in a list: its sort columns, the last one unique."""

_SHIPMENT = tuple(
    t.shipment.c[name]
    for name in (
        "id", "order_id", "state", "stop", "parked", "parked_ms", "warehouse", "agent", "waiting",
        "carrier", "waybill", "label", "priority", "paid_ms", "ship_by_ms", "handed_over_ms",
    )
)  # fmt: skip
_ORDER = tuple(
    t.orders.c[name]
    for name in (
        "id", "channel", "native_id", "state", "stop", "created_ms", "paid_ms", "ship_by_ms",
        "amount_fen", "division_text", "tags", "flags",
    )
)  # fmt: skip


def order_place(state: str) -> tuple[str, ...]:
    """The columns by which orders of a state stand in their list."""
    if state == "created":
        return ("id",)
    return ("created_ms" if state == "stopped" else "ship_by_ms", "id")


def shipment_place(state: str) -> tuple[str, ...]:
    """The columns by which shipments of a state stand in their list."""
    if state == "stopped":
        return ("paid_ms", "id")
    return ("handed_over_ms" if state in LEFT else "ship_by_ms", "id")


class ConsoleViews:
    """Reads over one engine; safe to call from any thread."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    # --- overview --------------------------------------------------------------------------

    def overview(self, now_ms: int) -> Json:
        """Counts for the first page; each stops at `COUNT_MAX`, which then means "or more"."""
        o, s = t.orders.c, t.shipment.c
        live = {state: and_(o.state == state, o.stop == "") for state in (*OPEN, *LEFT)}
        racing = and_(text(OPEN_SHIPMENT), s.state.in_(OPEN), s.ship_by_ms > 0)
        with reading(self._engine) as connection:
            return {
                "orders": {state: _upto(connection, o.id, where) for state, where in live.items()},
                "stopping": _upto(connection, o.id, text(STOPPED), o.stop == "requested"),
                "lights": {
                    name: _upto(connection, s.id, racing, where)
                    for name, where in _lights(s, s.parked != "", now_ms).items()
                },
                "parked": self._parked_reasons(connection),
                "alarms": _upto(connection, t.alarm.c.id, t.alarm.c.closed_ms.is_(None)),
                "incidents": _upto(connection, t.incident.c.id, t.incident.c.resolved_ms.is_(None)),
                "quarantine": _upto(
                    connection, t.quarantine.c.id, t.quarantine.c.resolved_ms.is_(None)
                ),
                "agents": _upto(connection, t.agent.c.id, t.agent.c.enabled == 1),
                "agents_online": _upto(
                    connection, t.agent_state.c.agent, t.agent_state.c.online == 1
                ),
            }

    def _parked_reasons(self, connection: Connection) -> dict[str, int]:
        s = t.shipment.c
        some = select(s.parked).where(text("parked <> ''")).limit(COUNT_MAX).subquery()
        wanted = select(some.c.parked, func.count()).group_by(some.c.parked)
        return dict(connection.execute(wanted).all())

    # --- stock -----------------------------------------------------------------------------

    def stock(
        self, *, warehouse: str = "", sku: str = "", short_only: bool = False,
        after: Key | None = None,
    ) -> list[Json]:  # fmt: skip
        """Stock rows by (warehouse, SKU). `sku` is a code or how codes begin; `short_only` keeps
        rows with nothing left to promise."""
        c = t.stock.c
        available = (c.shelf + c.picked - c.held - c.safety).label("available")
        wanted = select(
            c.warehouse, c.sku, c.shelf, c.picked, c.held, c.safety, available, c.counted_ms,
            func.coalesce(t.sku.c.name, "").label("name"),
        ).join(t.sku, t.sku.c.id == c.sku, isouter=True)  # fmt: skip
        if warehouse:
            wanted = wanted.where(c.warehouse == warehouse)
        if sku:
            wanted = wanted.where(c.sku.startswith(sku, autoescape=True))
        if short_only:
            wanted = wanted.where(c.shelf + c.picked - c.held - c.safety <= 0)
        return self._page(wanted, (c.warehouse, c.sku), after)

    # --- orders and shipments --------------------------------------------------------------

    def orders(
        self, *, state: str = "", light: str = "", now_ms: int = 0, after: Key | None = None
    ) -> list[Json]:
        """Orders of a state, `stopped`, or all that race ("").

        What races stands with the nearest limit first, what has left or stopped newest first;
        `light` keeps one colour. Unpaid orders have no limit and stand by id.
        """
        c = t.orders.c
        parked = select(t.shipment.c.id).where(
            t.shipment.c.order_id == c.id, t.shipment.c.parked != ""
        )
        is_parked = parked.exists()
        shown = case((is_parked, 1), else_=0).label("is_parked")
        wanted = select(*_ORDER, shown)
        keys = [c[name] for name in order_place(state)]
        if state == "stopped":
            return self._page(wanted.where(text(STOPPED)), keys, after, newest=True)
        wanted = wanted.where(c.stop == "")
        if state == "created":
            return self._page(wanted.where(c.state == state), keys, after, newest=True)
        states = (state,) if state else OPEN
        wanted = wanted.where(c.state.in_(states), c.ship_by_ms.is_not(None))
        if light:
            wanted = wanted.where(_lights(c, is_parked, now_ms)[light])
        return self._page(wanted, keys, after, newest=state in LEFT)

    def shipments(
        self, *, state: str = "", warehouse: str = "", light: str = "", now_ms: int = 0,
        after: Key | None = None,
    ) -> list[Json]:  # fmt: skip
        """Shipments of a state, `stopped`, or all that race (""); in order as `orders`."""
        c = t.shipment.c
        wanted: Select[Any] = select(*_SHIPMENT)
        keys = [c[name] for name in shipment_place(state)]
        if warehouse:
            wanted = wanted.where(c.warehouse == warehouse)
        if state == "stopped":
            wanted = wanted.where(text(STOPPED))
            return self._with_goods(self._page(wanted, keys, after, newest=True))
        if state in LEFT:
            wanted = wanted.where(text(LEFT_SHIPMENT), c.state == state, c.stop == "")
            return self._with_goods(self._page(wanted, keys, after, newest=True))
        wanted = wanted.where(text(OPEN_SHIPMENT), c.state.in_((state,) if state else OPEN))
        if light:
            wanted = wanted.where(_lights(c, c.parked != "", now_ms)[light], c.ship_by_ms > 0)
        return self._with_goods(self._page(wanted, keys, after))

    def parked(self, *, reason: str = "", after: Key | None = None) -> list[Json]:
        """Parked shipments, the oldest payment first: the order in which they are served."""
        c = t.shipment.c
        wanted = select(*_SHIPMENT, c.decision).where(text("parked <> ''"))
        if reason:
            wanted = wanted.where(c.parked == reason)
        return self._with_goods(self._page(wanted, (c.paid_ms, c.id), after))

    # --- faults, agents --------------------------------------------------------------------

    def incidents(self, *, open_only: bool, after: Key | None = None) -> list[Json]:
        """Incidents, newest first."""
        wanted = select(t.incident)
        if open_only:
            wanted = wanted.where(t.incident.c.resolved_ms.is_(None))
        return self._page(wanted, (t.incident.c.id,), after, newest=True)

    def alarms(self, *, open_only: bool, after: Key | None = None) -> list[Json]:
        """Alarms, newest first."""
        wanted = select(t.alarm)
        if open_only:
            wanted = wanted.where(t.alarm.c.closed_ms.is_(None))
        return self._page(wanted, (t.alarm.c.id,), after, newest=True)

    def agents(self, *, after: Key | None = None) -> list[Json]:
        """Agents by id with what they last said; `online` is None for one never heard of."""
        a, s = t.agent.c, t.agent_state.c
        wanted = select(
            a.id, a.warehouse, a.name, a.enabled, s.online, s.seen_ms, s.sw, s.queued, s.oldest_ms
        ).join(t.agent_state, s.agent == a.id, isouter=True)
        return self._page(wanted, (a.id,), after)

    def breakers(self, *, after: Key | None = None) -> list[Json]:
        """Enabled warehouses by id, each with its breaker; one that never tripped is `closed`."""
        w, b = t.warehouse.c, breaker.c
        wanted = (
            select(
                w.id.label("warehouse"), w.name,
                func.coalesce(b.state, "closed").label("state"), b.since_ms, b.until_ms,
                b.openings, b.because, b.trials, func.coalesce(b.capped, 0).label("capped"),
                func.coalesce(b.forced, "").label("forced"), b.forced_until_ms, b.forced_by,
                b.forced_reason,
            )
            .join(breaker, b.warehouse == w.id, isouter=True)
            .where(w.enabled == 1)
        )  # fmt: skip
        rows = self._page(wanted, (w.id,), after)
        return [
            {**row, "because": _judged(row["because"]), "trials": _judged(row["trials"])}
            for row in rows
        ]

    def warehouses(self) -> list[Json]:
        """Id and name of the first `PAGE_ROWS` × 4 warehouses, for choices and headings."""
        c = t.warehouse.c
        wanted = select(c.id, c.name).order_by(c.priority, c.id).limit(PAGE_ROWS * 4)
        with reading(self._engine) as connection:
            return [dict(row) for row in connection.execute(wanted).mappings()]

    def names(self) -> dict[str, str]:
        """Names of those warehouses and of as many carriers, by id."""
        c = t.carrier.c
        wanted = select(c.id, c.name).order_by(c.id).limit(PAGE_ROWS * 4)
        with reading(self._engine) as connection:
            carriers = dict(connection.execute(wanted).all())
        return {**carriers, **{house["id"]: house["name"] for house in self.warehouses()}}

    # --- shared ----------------------------------------------------------------------------

    def _page(
        self, wanted: Select[Any], keys: Sequence[Column[Any]], after: Key | None, *,
        newest: bool = False,
    ) -> list[Json]:  # fmt: skip
        if after is not None:
            wanted = wanted.where(_behind(keys, after, newest=newest))
        order = [key.desc() if newest else key for key in keys]
        with reading(self._engine) as connection:
            found = connection.execute(wanted.order_by(*order).limit(PAGE_ROWS + 1)).mappings()
            return [dict(row) for row in found]

    def _with_goods(self, rows: list[Json]) -> list[Json]:
        """The rows with `goods`, at most `GOODS_MAX` (name, quantity), and `kinds`, how many."""
        names = [row["id"] for row in rows]
        for row in rows:
            row["goods"], row["kinds"] = [], 0
        of_id = {row["id"]: row for row in rows}
        with reading(self._engine) as connection:
            for shipment_id, kinds, name, quantity in _goods(connection, names):
                of_id[shipment_id]["goods"].append((name, quantity))
                of_id[shipment_id]["kinds"] = kinds
        return rows


def _judged(written: str | None) -> list[str]:
    """The shipments of a breaker's column: `[shipment, deadline, on time]` each."""
    found = msgspec.json.decode(written or "[]", type=list[list[Any]])
    return [str(one[0]) for one in found[:GOODS_MAX]]


def _goods(connection: Connection, names: Sequence[str]) -> Sequence[Any]:
    """(shipment, articles in it, name, quantity) of its first `GOODS_MAX` articles."""
    if not names:
        return ()
    line = t.shipment_line.c
    ranked = select(
        line.shipment_id, line.sku, line.quantity,
        func.row_number().over(partition_by=line.shipment_id, order_by=line.sku).label("n"),
        func.count().over(partition_by=line.shipment_id).label("kinds"),
    ).where(line.shipment_id.in_(names)).subquery()  # fmt: skip
    wanted = (
        select(
            ranked.c.shipment_id, ranked.c.kinds,
            func.coalesce(t.sku.c.name, ranked.c.sku), ranked.c.quantity,
        )
        .join(t.sku, t.sku.c.id == ranked.c.sku, isouter=True)
        .where(ranked.c.n <= GOODS_MAX)
        .order_by(ranked.c.shipment_id, ranked.c.n)
    )  # fmt: skip
    return connection.execute(wanted).all()


def _lights(c: Any, is_parked: Any, now_ms: int) -> Mapping[str, Any]:
    """The rows of each colour among those that race: `domain.urgency.light` in SQL."""
    free, warn_ms = ~is_parked, now_ms + WARN_MS
    return {
        "red": or_(c.ship_by_ms <= now_ms, is_parked),
        "yellow": and_(c.ship_by_ms > now_ms, c.ship_by_ms <= warn_ms, free),
        "green": and_(c.ship_by_ms > warn_ms, free),
    }


def _upto(connection: Connection, key: Any, *where: Any) -> int:
    some = select(literal(1)).select_from(key.table).where(*where).limit(COUNT_MAX).subquery()
    return int(connection.execute(select(func.count()).select_from(some)).scalar_one())


def _behind(keys: Sequence[Column[Any]], after: Key, *, newest: bool) -> Any:
    """The rows behind a place; written out, for SQLite and PostgreSQL alike use the index."""
    (first, *rest), (value, *values) = keys, after
    beyond = first < value if newest else first > value
    if not rest:
        return beyond
    same = and_(first == value, _behind(rest, tuple(values), newest=newest))
    return and_(first <= value if newest else first >= value, or_(beyond, same))
