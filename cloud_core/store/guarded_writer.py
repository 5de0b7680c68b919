"""Writes rows the PostgreSQL way: other processes write too, so every chosen row is checked again.

Statements gather and go out together (one round trip), each carries a whole batch as arrays. An
UPDATE finds a row only if it still is what the fold loaded: the same `version`, or the same values
where a table has none. Holds only add to `held` and carry the guard themselves, so that commits on
one SKU follow each other without being folded anew. Rows that exist are locked in the order of
their keys first. A row that is not found raises `GuardMissed` (adr/0008).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any

import msgspec
import psycopg
from sqlalchemy import Column, Connection, LargeBinary, Table

from cloud_core.domain import rows as r
from cloud_core.store import schema as t
from cloud_core.store.capacity import Place
from cloud_core.store.pg_values import Literal, array_type, literal_of
from cloud_core.store.plain_writer import came_lines, covered, gone_lines
from cloud_core.store.row_map import Rows
from cloud_core.store.working_set import WorkingSet

Chosen = dict[str, set[tuple[Any, ...]]]
"""Keys of the rows a commit changed, by table, in the order in which they are locked."""
_GUARDS: dict[str, tuple[str, ...]] = {
    "outbox": ("cs", "sent_ms", "received_ms"),
    "shop_outbox": ("attempts", "done_ms"),
    "notice_outbox": ("attempts", "done_ms"),
    "stream": ("have", "current", "resynced"),
    "waybill": ("state", "shipment_id"),
}
"""What must still be so where a table has no version; every value where it is not named here."""
_FIRST_ON_CONFLICT = {"seen_key": " ON CONFLICT DO NOTHING"}
_FROM_SEQUENCE = {"outbox": ("n", "outbox_n")}


class GuardMissed(Exception):
    """Somebody else was first. `chosen` names the rows to lock before the batch is folded anew."""

    def __init__(self, table: str, chosen: Chosen) -> None:
        super().__init__(f"a row of {table} was changed meanwhile")
        self.chosen = chosen


@dataclass(frozen=True, slots=True)
class _Plan:
    """The statements of one table and how rows become their arguments."""

    insert: str
    update: str
    lock: str
    values: Callable[[Any], tuple[Any, ...]]
    key: Callable[[Any], tuple[Any, ...]]
    guard: Callable[[Any], tuple[Any, ...]]
    literals: tuple[Literal, ...]
    key_literals: tuple[Literal, ...]
    guard_literals: tuple[Literal, ...]


@dataclass(slots=True)
class _Statement:
    sql: str
    arguments: Sequence[Any]
    wanted: int | None
    """How many rows it must find; None when that says nothing."""
    table: str


@dataclass(slots=True)
class _Gathered:
    statements: list[_Statement] = field(default_factory=list)
    chosen: Chosen = field(default_factory=dict)


_plans: dict[str, _Plan] = {}


class GuardedWriter:
    """The statements of one commit, run by `finish`."""

    def __init__(self, connection: Connection, ws: WorkingSet, mark: str) -> None:
        self._connection, self._ws = connection, ws
        self._out = _Gathered()
        self._all_chosen = self._out.chosen
        if mark:
            self._add(
                "INSERT INTO commit_mark (id, at_ms) VALUES (%s, %s)", (mark, ws.now_ms),
                None, "commit_mark",
            )  # fmt: skip

    def lock_places(self, places: Sequence[Place]) -> None:
        """Whoever gives work to a warehouse with a capacity does so after whoever did before."""
        if places:
            plan = _plans.setdefault("warehouse", _made(t.warehouse, ["id", "capacity_per_day"]))
            keys = [(place.warehouse,) for place in places]
            self._all_chosen.setdefault("warehouse", set()).update(keys)
            self._add(plan.lock, _columns(plan.key_literals, keys), None, "warehouse")

    def check_places(self, places: Sequence[Place]) -> None:
        """What each was given today, by others meanwhile and by this commit, is not too much."""
        c = t.hold.c
        waits = "(SELECT id FROM shipment WHERE parked <> '')"
        given = (
            "hold.warehouse = d.a0 AND hold.created_ms >= d.a1 AND " + t.HOLD_GIVEN
            + " AND hold.shipment_id NOT IN " + waits
        )  # fmt: skip
        self._arrays(
            f"SELECT 1 FROM {{}} WHERE (SELECT count(*) FROM hold WHERE {given}) <= d.a2",  # noqa: S608
            (c.warehouse, c.created_ms, c.created_ms),
            [(place.warehouse, place.since_ms, place.at_most) for place in places],
            "warehouse", len(places),
        )  # fmt: skip

    def rows(
        self,
        table: Table,
        kind: type[Any],
        rows: Rows[Any],
        key: Callable[[Any], Any] | None = None,
    ) -> None:
        """New and changed rows of a table; `key` is not asked, keys give the order."""
        new, changed = rows.pairs()
        if table is t.orders:
            self._insert(table, kind, sorted(new, key=attrgetter("channel", "native_id")))
            self._orders(kind, changed)
        elif table is t.stock:
            self._insert(table, kind, new)
            self._stock(changed)
        else:
            self._insert(table, kind, new)
            self._update(table, kind, changed)

    def lines(self, table: Table, kind: type[Any], rows: Rows[Any]) -> None:
        """As `rows`, for tuples of rows that belong to one parent; a split one has fewer."""
        new, changed = rows.pairs()
        more = (*(line for lines in new for line in lines), *came_lines(changed))
        self._insert(table, kind, more)
        c = t.shipment_line.c
        self._arrays(
            "DELETE FROM shipment_line USING {} "
            "WHERE shipment_line.shipment_id = d.a0 AND shipment_line.sku = d.a1",
            (c.shipment_id, c.sku), gone_lines(changed), "shipment_line",
        )  # fmt: skip
        pairs = []
        for old, now in changed:
            before = {line.sku: line for line in old}
            kept = [(before[line.sku], line) for line in now if line.sku in before]
            pairs += [(was, line) for was, line in kept if was is not line]
        self._update(table, kind, pairs)

    def order_lines(self, rows: Rows[Any]) -> None:
        """An order changed before payment may have other lines; the order's version guards them."""
        new, changed = rows.pairs()
        if changed:
            ids = t.order_line.c.order_id
            self._add(
                "DELETE FROM order_line WHERE order_id = ANY(%s::text[])",
                (literal_of(ids)([old[0].order_id for old, _ in changed]),), None, "order_line",
            )  # fmt: skip
        every = [*new, *(now for _, now in changed)]
        self._insert(t.order_line, r.OrderLine, [line for lines in every for line in lines])

    def hold_lines(self, ws: WorkingSet) -> None:
        """What new holds cover; written once."""
        c = t.hold_line.c
        self._arrays(
            "INSERT INTO hold_line (hold_id, warehouse, sku, quantity) SELECT * FROM {} "
            "ON CONFLICT DO NOTHING",
            (c.hold_id, c.warehouse, c.sku, c.quantity), covered(ws), "hold_line",
        )  # fmt: skip

    def alarms(self, rows: Rows[r.Alarm]) -> None:
        """Opened or counted up, whoever opened it; closed if it is still open."""
        new, changed = rows.pairs()
        more = [(a.kind, a.key, a.opened_ms, a.count, a.text) for a in new if a.closed_ms is None]
        more += [
            (now.kind, now.key, now.opened_ms, now.count - old.count, now.text)
            for old, now in changed
            if now.closed_ms is None
        ]
        c = t.alarm.c
        self._arrays(
            "INSERT INTO alarm (kind, key, opened_ms, count, text) SELECT * FROM {} "
            "ON CONFLICT (kind, key) WHERE closed_ms IS NULL "
            "DO UPDATE SET count = alarm.count + excluded.count, text = excluded.text",
            (c.kind, c.key, c.opened_ms, c.count, c.text), sorted(more), "alarm",
        )  # fmt: skip
        gone = [(a.kind, a.key, a.opened_ms, a.closed_ms, a.count, a.text) for a in new]
        self._arrays(
            "INSERT INTO alarm (kind, key, opened_ms, closed_ms, count, text) SELECT * FROM {}",
            (c.kind, c.key, c.opened_ms, c.closed_ms, c.count, c.text),
            [values for values in gone if values[3] is not None], "alarm",
        )  # fmt: skip
        ended = [
            (now.id, now.closed_ms, now.count - old.count, now.text)
            for old, now in changed
            if now.closed_ms is not None
        ]
        self._arrays(
            "UPDATE alarm SET closed_ms = d.a1, count = alarm.count + d.a2, text = d.a3 FROM {} "
            "WHERE alarm.id = d.a0 AND alarm.closed_ms IS NULL",
            (c.id, c.closed_ms, c.count, c.text), sorted(ended), "alarm",
        )  # fmt: skip

    def append(self, table: Table, kind: type[Any], rows: Sequence[Any]) -> None:
        """Rows of a table that only grows."""
        self._insert(table, kind, rows)

    def set_by_id(self, table: Table, column: str, value: Any, ids: Sequence[int]) -> None:
        """One value into a column of many rows."""
        if ids:
            cast = array_type(table.c[column]).removesuffix("[]")
            self._add(
                f"UPDATE {table.name} SET {column} = %s::{cast} WHERE id = ANY(%s::bigint[])",  # noqa: S608
                (value, literal_of(table.c.id)(sorted(ids))), None, table.name,
            )  # fmt: skip

    def resolve_incidents(self, now_ms: int, resolved: Sequence[tuple[int, str]]) -> None:
        """(incident, who closed it); only the first closes it."""
        c = t.incident.c
        self._arrays(
            "UPDATE incident SET resolved_ms = d.a1, resolved_by = d.a2 FROM {} "
            "WHERE incident.id = d.a0 AND incident.resolved_ms IS NULL",
            (c.id, c.resolved_ms, c.resolved_by),
            [(incident_id, now_ms, actor) for incident_id, actor in sorted(resolved)],
            "incident", len(resolved),
        )  # fmt: skip

    def clock_offsets(self, learned: dict[tuple[str, int], int]) -> None:
        """The offsets learned, by (agent, boot); the smallest known stays."""
        c = t.clock_offset.c
        self._arrays(
            "INSERT INTO clock_offset (agent, boot, offset_ms) SELECT * FROM {} "
            "ON CONFLICT (agent, boot) DO UPDATE "
            "SET offset_ms = least(clock_offset.offset_ms, excluded.offset_ms)",
            (c.agent, c.boot, c.offset_ms),
            [(agent, boot, offset) for (agent, boot), offset in sorted(learned.items())],
            "clock_offset",
        )  # fmt: skip

    def statements(self, writes: Sequence[Callable[[Connection], None]]) -> None:
        """What writes its own statements: imports of master data."""
        if writes:
            self.finish()
        for write in writes:
            write(self._connection)

    def meta(self, values: dict[str, str]) -> None:
        """The core's own facts; each import of two at once makes a version of its own."""
        c = t.core_meta.c
        self._arrays(
            "INSERT INTO core_meta (key, value) SELECT * FROM {} ON CONFLICT (key) DO UPDATE "
            "SET value = CASE core_meta.key WHEN 'master_version' "
            "THEN (core_meta.value::bigint + 1)::text ELSE excluded.value END",
            (c.key, c.value), sorted(values.items()), "core_meta",
        )  # fmt: skip

    def finish(self) -> None:
        """Send everything and compare what was found. Raises `GuardMissed`, `psycopg.Error`."""
        out, self._out = self._out, _Gathered()
        if not out.statements:
            return
        driver = self._connection.connection.driver_connection
        assert isinstance(driver, psycopg.Connection)
        with driver.pipeline():
            ran = [driver.execute(s.sql.encode(), s.arguments) for s in out.statements]
        for statement, cursor in zip(out.statements, ran, strict=True):
            if statement.wanted is not None and cursor.rowcount != statement.wanted:
                raise GuardMissed(statement.table, self._all_chosen)

    # --- parts ---------------------------------------------------------------------------------

    def _insert(self, table: Table, kind: type[Any], rows: Sequence[Any]) -> None:
        if not rows:
            return
        plan = _plan(table, kind)
        arguments = _columns(plan.literals, map(plan.values, rows))
        counted = len(rows) if table.name in _FIRST_ON_CONFLICT else None
        self._add(plan.insert, arguments, counted, table.name)

    def _update(self, table: Table, kind: type[Any], pairs: Sequence[tuple[Any, Any]]) -> None:
        if not pairs:
            return
        plan = _plan(table, kind)
        self._lock(plan, table, [plan.key(old) for old, _ in pairs])
        arguments = _columns(plan.literals, (plan.values(now) for _, now in pairs))
        arguments += _columns(plan.guard_literals, (plan.guard(old) for old, _ in pairs))
        self._add(plan.update, arguments, len(pairs), table.name)

    def _orders(self, kind: type[Any], changed: list[tuple[Any, Any]]) -> None:
        """Changed orders, and those of which only a shipment changes: their version grows as well.

        So two commits that change two shipments of one order cannot both fold its state from what
        they loaded.
        """
        own = {now.id for _, now in changed}
        new_shipments, changed_shipments = self._ws.shipments.pairs()
        parents = {s.order_id for s in new_shipments} | {s.order_id for _, s in changed_shipments}
        pairs, unread = list(changed), []
        for order_id in sorted(parents - own):
            row = self._ws.orders.stored(order_id)
            if row is not None:
                pairs.append((row, row))
            elif order_id not in self._ws.orders:
                unread.append(order_id)
        self._update(t.orders, kind, pairs)
        if unread:
            self._add(
                "UPDATE orders SET version = version + 1 WHERE id = ANY(%s::text[])",
                (literal_of(t.orders.c.id)(unread),), None, "orders",
            )  # fmt: skip

    def _stock(self, changed: list[tuple[Any, Any]]) -> None:
        """Holds as differences with the guard in the row, everything else as a whole.

        What counts the shelf or moves goods was decided on the very numbers loaded; a hold only
        needs that enough is left, whoever else held or released meanwhile.
        """
        if not changed:
            return
        plan = _plan(t.stock, r.Stock)
        self._lock(plan, t.stock, [plan.key(old) for old, _ in changed])
        whole: list[tuple[Any, Any]] = []
        differences: list[tuple[Any, ...]] = []
        for old, now in changed:
            took = (now.warehouse, now.sku) in self._ws.took
            same = (old.shelf, old.picked, old.safety, old.counted_ms) == (
                now.shelf, now.picked, now.safety, now.counted_ms,
            )  # fmt: skip
            if same and not (took and now.available < 0):
                held = now.held - old.held
                differences.append((now.warehouse, now.sku, held, int(took)))
            else:
                whole.append((old, now))
        c = t.stock.c
        self._arrays(
            "UPDATE stock SET held = stock.held + d.a2, version = stock.version + 1 FROM {} "
            "WHERE stock.warehouse = d.a0 AND stock.sku = d.a1 AND (d.a3 = 0 "
            "OR stock.shelf + stock.picked - stock.held - stock.safety - d.a2 >= 0)",
            (c.warehouse, c.sku, c.held, c.version), differences, "stock", len(differences),
        )  # fmt: skip
        if whole:
            arguments = _columns(plan.literals, (plan.values(now) for _, now in whole))
            arguments += _columns(plan.guard_literals, (plan.guard(old) for old, _ in whole))
            self._add(plan.update, arguments, len(whole), "stock")

    def _lock(self, plan: _Plan, table: Table, keys: list[tuple[Any, ...]]) -> None:
        self._all_chosen.setdefault(table.name, set()).update(keys)
        if len(keys) > 1:
            self._add(plan.lock, _columns(plan.key_literals, keys), None, table.name)

    def _arrays(
        self,
        sql: str,
        columns: Sequence[Column[Any]],
        rows: Sequence[tuple[Any, ...]],
        table: str,
        wanted: int | None = None,
    ) -> None:
        """A statement with `{}` where the rows stand, as `d (a0, a1, …)`."""
        if rows:
            arguments = _columns([literal_of(c) for c in columns], rows)
            self._add(sql.format(_unnest(columns)), arguments, wanted, table)

    def _add(self, sql: str, arguments: Sequence[Any], wanted: int | None, table: str) -> None:
        self._out.statements.append(_Statement(sql, arguments, wanted, table))


def lock_chosen(connection: Connection, chosen: Chosen) -> None:
    """Lock rows before anything is loaded, so that nobody changes them until the commit."""
    driver = connection.connection.driver_connection
    assert isinstance(driver, psycopg.Connection)
    with driver.pipeline():
        for table, keys in chosen.items():
            plan = _plans[table]
            driver.execute(plan.lock.encode(), _columns(plan.key_literals, sorted(keys)))


def _columns(literals: Sequence[Literal], rows: Any) -> list[str]:
    """Rows turned into one array literal per column."""
    return [
        literal(column) for literal, column in zip(literals, zip(*rows, strict=True), strict=True)
    ]


def _unnest(columns: Sequence[Column[Any]]) -> str:
    casts = ", ".join(f"%s::{array_type(c)}" for c in columns)
    names = ", ".join(f"a{i}" for i in range(len(columns)))
    return f"unnest({casts}) AS d ({names})"


def _plan(table: Table, kind: type[Any]) -> _Plan:
    plan = _plans.get(table.name)
    if plan is None:
        plan = _plans[table.name] = _made(table, [f.name for f in msgspec.structs.fields(kind)])
    return plan


def _made(table: Table, names: list[str]) -> _Plan:
    """The plan of a table whose rows have these fields."""
    drawn, sequence = _FROM_SEQUENCE.get(table.name, ("", ""))
    given = [n for n in names if n != drawn]
    keys = [c.name for c in table.primary_key.columns if c.name in names]
    guard = ["version"] if "version" in names else list(_GUARDS.get(table.name, ()))
    if not guard:
        large = {c.name for c in table.columns if isinstance(c.type, LargeBinary)}
        guard = [n for n in names if n not in keys and n not in large]
    columns = [table.c[n] for n in given]
    listed = ", ".join([*given, drawn] if drawn else given)
    chosen = ", ".join(f"d.a{i}" for i in range(len(given)))
    drawing = f", nextval('{sequence}')" if drawn else ""
    same_key = " AND ".join(f"{table.name}.{k} = d.a{given.index(k)}" for k in keys)
    sets = ", ".join(
        f"version = {table.name}.version + 1" if n == "version" else f"{n} = d.a{i}"
        for i, n in enumerate(given)
        if n not in keys
    )
    still = " AND ".join(
        f"{table.name}.{n} IS NOT DISTINCT FROM d.a{len(given) + i}"
        if table.c[n].nullable
        else f"{table.name}.{n} = d.a{len(given) + i}"
        for i, n in enumerate(guard)
    )
    ordered = ", ".join(f"{table.name}.{k}" for k in keys)
    matched = " AND ".join(f"{table.name}.{k} = d.a{i}" for i, k in enumerate(keys))
    key_columns = [table.c[k] for k in keys]
    guard_columns = [table.c[n] for n in guard]
    return _Plan(
        insert=f"INSERT INTO {table.name} ({listed}) SELECT {chosen}{drawing} "  # noqa: S608
        f"FROM {_unnest(columns)}{_FIRST_ON_CONFLICT.get(table.name, '')}",
        update=f"UPDATE {table.name} SET {sets} FROM {_unnest([*columns, *guard_columns])} "  # noqa: S608
        f"WHERE {same_key} AND {still}",
        lock=f"SELECT 1 FROM {table.name} JOIN {_unnest(key_columns)} ON {matched} "  # noqa: S608
        f"ORDER BY {ordered} FOR NO KEY UPDATE OF {table.name}",
        values=_getter(given), key=_getter(keys), guard=_getter(guard),
        literals=tuple(map(literal_of, columns)),
        key_literals=tuple(map(literal_of, key_columns)),
        guard_literals=tuple(map(literal_of, guard_columns)),
    )  # fmt: skip


def _getter(names: list[str]) -> Callable[[Any], tuple[Any, ...]]:
    """Fields of a row as a tuple, also when there is only one, or none."""
    if len(names) > 1:
        return attrgetter(*names)
    return lambda row: tuple(getattr(row, name) for name in names)
