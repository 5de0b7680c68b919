"""What people and pages read: lists and details of orders, faults and agents. Never writes.

Each call takes one read connection, so it sees one committed state. Personal data is not read
here: `contact.sealed` is never selected.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from sqlalchemy import (
    Connection,
    Engine,
    RowMapping,
    Select,
    Table,
    and_,
    exists,
    func,
    literal,
    or_,
    select,
    text,
    union_all,
)

from cloud_core.domain.decision_record import sentences
from cloud_core.domain.tracking import Item, Parcel, Step, Tracking
from cloud_core.store import schema as t
from cloud_core.store.any_number import ids_named
from cloud_core.store.engine import reading
from cloud_core.store.rules_rows import RulesRegister
from cloud_core.store.schema_breaker import breaker, notice_outbox

PAGE_MAX = 200
DETAIL_ROWS_MAX = 1_000
Json = dict[str, Any]

_ORDER_COLUMNS = (
    t.orders.c.id, t.orders.c.channel, t.orders.c.native_id, t.orders.c.state, t.orders.c.stop,
    t.orders.c.native_status, t.orders.c.created_ms, t.orders.c.paid_ms, t.orders.c.ship_by_ms,
    t.orders.c.expected_ms, t.orders.c.amount_fen, t.orders.c.province, t.orders.c.city,
    t.orders.c.district, t.orders.c.division_text, t.orders.c.division_flag, t.orders.c.remark,
    t.orders.c.tags, t.orders.c.flags, t.orders.c.track_token, t.orders.c.track_until_ms,
)  # fmt: skip
_SHIPMENT_COLUMNS = (
    t.shipment.c.id, t.shipment.c.order_id, t.shipment.c.kind, t.shipment.c.state,
    t.shipment.c.stop, t.shipment.c.parked, t.shipment.c.warehouse, t.shipment.c.agent,
    t.shipment.c.token_epoch, t.shipment.c.token_n, t.shipment.c.deadline_ms,
    t.shipment.c.waiting, t.shipment.c.carrier, t.shipment.c.waybill, t.shipment.c.label,
    t.shipment.c.label_revision, t.shipment.c.priority, t.shipment.c.paid_ms,
    t.shipment.c.ship_by_ms, t.shipment.c.expected_ms, t.shipment.c.granted_ms,
    t.shipment.c.handed_over_ms, t.shipment.c.decision,
)  # fmt: skip


_MASTER: Mapping[str, tuple[Table, frozenset[str]]] = {
    "skus": (t.sku, frozenset()),
    "shelf_locations": (t.shelf_location, frozenset()),
    "warehouses": (t.warehouse, frozenset()),
    "agents": (t.agent, frozenset({"secret_hash"})),
    "stations": (t.station, frozenset()),
    "carriers": (t.carrier, frozenset()),
    "transit_days": (t.carrier_transit, frozenset()),
    "carrier_service": (t.carrier_service, frozenset()),
    "freight": (t.freight, frozenset()),
    "opening_stock": (t.stock, frozenset({"version"})),
    "waybill_numbers": (t.waybill, frozenset()),
}
"""The table of each kind of master data, and columns that are not shown."""


class Views:
    """Reads over one engine; safe to call from any thread."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.rules = RulesRegister(engine)

    # --- the buyer's page ------------------------------------------------------------------

    def tracking(self, token: str) -> Tracking | None:
        """The order behind a tracking token, expired or not; None when there is none."""
        with reading(self._engine) as connection:
            found = select(*_ORDER_COLUMNS).where(t.orders.c.track_token == token)
            order = connection.execute(found).mappings().first()
            return _tracking(connection, order) if order else None

    # --- orders ----------------------------------------------------------------------------

    def orders(
        self, *, state: str = "", channel: str = "", q: str = "", before: tuple[int, str] | None,
        limit: int,
    ) -> list[Json]:  # fmt: skip
        """Orders, newest first, at most `limit` (1..200).

        `state` is an order state, `cancelled` or `parked`; `q` any id: global, native, shipment,
        waybill, hold, return ticket or serial number. `before` is (created_ms, id) of the last row
        of the page before.
        """
        wanted: Select[Any] = select(*_ORDER_COLUMNS)
        if state:
            wanted = wanted.where(_in_state(state))
        if channel:
            wanted = wanted.where(t.orders.c.channel == channel)
        if q:
            wanted = wanted.where(t.orders.c.id.in_(ids_named(q)))
        if before:
            at_ms, order_id = before
            wanted = wanted.where(
                or_(
                    t.orders.c.created_ms < at_ms,
                    and_(t.orders.c.created_ms == at_ms, t.orders.c.id < order_id),
                )
            )
        wanted = wanted.order_by(t.orders.c.created_ms.desc(), t.orders.c.id.desc())
        with reading(self._engine) as connection:
            found = connection.execute(wanted.limit(min(limit, PAGE_MAX))).mappings()
            return [_plain_order(row) for row in found]

    def parked_among(self, orders: Sequence[str]) -> set[str]:
        """Those of `orders` (at most 200) of which a shipment is parked."""
        wanted = select(t.orders.c.id).where(t.orders.c.id.in_(orders), _in_state("parked"))
        return {row["id"] for row in self._rows(wanted, PAGE_MAX)}

    def order(self, name: str) -> Json | None:
        """One order by any of its ids, with lines, shipments, masked contact, incidents, trail."""
        with reading(self._engine) as connection:
            found = select(*_ORDER_COLUMNS).where(t.orders.c.id.in_(ids_named(name))).limit(1)
            row = connection.execute(found).mappings().first()
            return _order_detail(connection, row) if row else None

    def shipment(self, name: str) -> Json | None:
        """One shipment by its id or waybill number, with lines, trail and milestones; by any
        number of an order its first one."""
        wanted = select(*_SHIPMENT_COLUMNS).where(
            or_(t.shipment.c.id == name.upper(), t.shipment.c.waybill == name)
        )
        with reading(self._engine) as connection:
            row = connection.execute(wanted.limit(1)).mappings().first()
            if row is None:
                of_order = select(*_SHIPMENT_COLUMNS).where(
                    t.shipment.c.order_id.in_(ids_named(name))
                )
                first = of_order.order_by(t.shipment.c.id).limit(1)
                row = connection.execute(first).mappings().first()
            if row is None:
                return None
            (shipment,) = _shipments(connection, [row])
            shipment["trail"] = _trail(connection, [row["id"]])
            shipment["incidents"] = _incidents_of(connection, [row["id"]])
            return shipment

    # --- faults and people -----------------------------------------------------------------

    def alarms(self, *, open_only: bool, limit: int) -> list[Json]:
        """Alarms, newest first."""
        wanted = select(t.alarm).order_by(t.alarm.c.id.desc())
        if open_only:
            wanted = wanted.where(t.alarm.c.closed_ms.is_(None))
        return self._rows(wanted, limit)

    def quarantine(self, *, open_only: bool, limit: int) -> list[Json]:
        """Quarantined input, newest first; the bytes themselves are not shown (P12)."""
        shown = [column for column in t.quarantine.c if column.name != "body"]
        size = func.length(t.quarantine.c.body).label("body_bytes")
        wanted = select(*shown, size).order_by(t.quarantine.c.id.desc())
        if open_only:
            wanted = wanted.where(t.quarantine.c.resolved_ms.is_(None))
        return self._rows(wanted, limit)

    def outside_checks(self, *, open_only: bool, limit: int) -> list[Json]:
        """Checks by other systems, newest first; without what was asked."""
        c, s = t.outside_check.c, t.shipment.c
        wanted = select(
            c.id, c.order_id, c.shipment_id, c.rule.label("system"), c.state, c.fallback,
            c.created_ms, c.deadline_ms, c.attempts, c.answer, c.done_ms,
        )  # fmt: skip
        if open_only:
            waits = s.parked.in_(("outside", "outside_refused", "outside_timeout"))
            wanted = wanted.join(t.shipment, s.id == c.shipment_id).where(waits, s.stop == "")
        return self._rows(wanted.order_by(c.created_ms.desc(), c.id), limit)

    def incidents(self, *, open_only: bool, limit: int) -> list[Json]:
        """Incidents, newest first."""
        wanted = select(t.incident).order_by(t.incident.c.id.desc())
        if open_only:
            wanted = wanted.where(t.incident.c.resolved_ms.is_(None))
        return self._rows(wanted, limit)

    def agents(self) -> list[Json]:
        """Every agent with what it last said of itself; `replay_missing` after a restore."""
        state = [column for column in t.agent_state.c if column.name not in ("agent", "next_cs")]
        wanted = (
            select(t.agent.c.id, t.agent.c.warehouse, t.agent.c.name, t.agent.c.enabled, *state)
            .join(t.agent_state, t.agent_state.c.agent == t.agent.c.id, isouter=True)
            .order_by(t.agent.c.id)
        )
        m = t.core_meta.c
        facts = {row["key"]: row["value"] for row in self._rows(select(m.key, m.value), 1_000)}
        recovering, epoch = facts.get("recovering") == "1", int(facts["core_epoch"])
        return [
            {
                **row,
                "detail": _json(row["detail"]),
                "replay_missing": recovering
                and bool(row["enabled"])
                and not row["waived"]
                and row["replayed_epoch"] != epoch,
            }
            for row in self._rows(wanted, 10_000)
        ]

    def master(self, kind: str, *, start: int, limit: int) -> list[Json]:
        """Rows of one kind of master data by their key, `limit` (1..200) from row `start` on."""
        table, hidden = _MASTER[kind]
        shown = [column for column in table.c if column.name not in hidden]
        wanted = select(*shown).order_by(*table.primary_key.columns).offset(start)
        rows = self._rows(wanted, min(limit, PAGE_MAX))
        if kind == "skus":
            self._add_barcodes(rows)
        return rows

    def _add_barcodes(self, rows: Sequence[Json]) -> None:
        c = t.sku_barcode.c
        wanted = select(c.sku, c.barcode).where(c.sku.in_([row["id"] for row in rows]))
        of_sku: dict[str, list[str]] = {}
        with reading(self._engine) as connection:
            for sku, barcode in connection.execute(wanted.order_by(c.barcode)):
                of_sku.setdefault(sku, []).append(barcode)
        for row in rows:
            row["barcodes"] = of_sku.get(row["id"], [])

    def sites(self) -> dict[str, str]:
        """The site of every enabled agent: who may have an account at the broker."""
        wanted = (
            select(t.agent.c.id, t.warehouse.c.site)
            .join(t.warehouse, t.warehouse.c.id == t.agent.c.warehouse)
            .where(t.agent.c.enabled == 1)
            .order_by(t.agent.c.id)
        )
        with reading(self._engine) as connection:
            return dict(connection.execute(wanted).all())

    def audit(self, *, limit: int) -> list[Json]:
        """Who changed what, newest first."""
        return self._rows(select(t.audit).order_by(t.audit.c.id.desc()), limit)

    def reports(self, raw_id: int) -> Json | None:
        """What became of one stored message: when it came and when it was processed."""
        raw = t.raw_message
        wanted = select(
            raw.c.id, raw.c.channel, raw.c.kind, raw.c.received_ms, raw.c.processed_ms,
            raw.c.attempts,
        ).where(raw.c.id == raw_id)  # fmt: skip
        return next(iter(self._rows(wanted, 1)), None)

    def seen(self, channel: str, keys: Sequence[str]) -> dict[str, str]:
        """What the event ids among `keys` (at most 500) stood for, if they came before."""
        c = t.seen_key.c
        wanted = select(c.key, c.result).where(c.scope == channel, c.key.in_(keys))
        with reading(self._engine) as connection:
            return dict(connection.execute(wanted).all())

    def counts(self) -> Json:
        """Numbers for the metrics page: one small grouped statement a table."""
        with reading(self._engine) as connection:
            return {
                "orders": _grouped(connection, t.orders.c.state),
                "alarms": _count(connection, t.alarm.c.closed_ms),
                "incidents": _count(connection, t.incident.c.resolved_ms),
                "quarantine": _count(connection, t.quarantine.c.resolved_ms),
                "raw_open": _count(connection, t.raw_message.c.processed_ms),
                "shop_calls_open": _count(connection, t.shop_outbox.c.done_ms),
                "commands_open": _count(connection, t.outbox.c.received_ms),
                "notices_waiting": _count(connection, notice_outbox.c.done_ms),
                "parked": _parked(connection),
                "holds": _live_holds(connection),
                "breakers": _breakers(connection),
                "agents_online": connection.execute(
                    select(func.count()).where(t.agent_state.c.online == 1)
                ).scalar_one(),
            }

    def highest_waybill(self, carrier: str, prefix: str) -> str:
        """The highest number of a carrier that begins with `prefix`, "" if there is none."""
        c = t.waybill.c
        wanted = select(func.max(c.number)).where(
            c.carrier == carrier, c.number.startswith(prefix, autoescape=True)
        )
        with reading(self._engine) as connection:
            return connection.execute(wanted).scalar() or ""

    def ping(self) -> None:
        """Raise the database's error when it cannot be read."""
        with reading(self._engine) as connection:
            connection.execute(select(literal(1))).one()

    def _rows(self, wanted: Select[Any], limit: int) -> list[Json]:
        with reading(self._engine) as connection:
            return [dict(row) for row in connection.execute(wanted.limit(limit)).mappings()]


def _in_state(state: str) -> Any:
    if state == "cancelled":
        return t.orders.c.stop == "cancelled"
    if state == "parked":
        parked = and_(t.shipment.c.order_id == t.orders.c.id, t.shipment.c.parked != "")
        return exists(select(t.shipment.c.id).where(parked))
    return and_(t.orders.c.state == state, t.orders.c.stop != "cancelled")


def _plain_order(row: RowMapping) -> Json:
    return {**row, "tags": _words(row["tags"]), "flags": _words(row["flags"])}


def _order_detail(connection: Connection, row: RowMapping) -> Json:
    order_id = row["id"]
    lines = select(t.order_line).where(t.order_line.c.order_id == order_id)
    contact = select(
        t.contact.c.name_masked, t.contact.c.phone_masked, t.contact.c.address_masked,
        t.contact.c.purged_ms,
    ).where(t.contact.c.order_id == order_id)  # fmt: skip
    masked = connection.execute(contact).mappings().first()
    wanted = select(*_SHIPMENT_COLUMNS).where(t.shipment.c.order_id == order_id)
    rows = connection.execute(wanted.order_by(t.shipment.c.id)).mappings().all()
    names = [shipment["id"] for shipment in rows]
    return {
        **_plain_order(row),
        "contact": dict(masked) if masked else None,
        "lines": _dicts(connection, lines.order_by(t.order_line.c.line_no), drop="order_id"),
        "shipments": _shipments(connection, rows),
        "incidents": _incidents_of(connection, names),
        "trail": _trail(connection, [order_id, *names]),
    }


def _places(connection: Connection, orders: Sequence[str]) -> dict[str, str]:
    """The receivers' places by any code a decision may name them with."""
    c = t.orders.c
    wanted = select(c.division_text, c.district, c.city).where(c.id.in_(orders))
    found = connection.execute(wanted).all()
    return {code: row[0] for row in found for code in row[1:] if code and row[0]}


def _shipments(connection: Connection, rows: Sequence[RowMapping]) -> list[Json]:
    """Shipments with lines, steps and reasons: four statements however many there are."""
    names = [row["id"] for row in rows]
    places = _places(connection, [row["order_id"] for row in rows])
    lines = select(t.shipment_line).where(t.shipment_line.c.shipment_id.in_(names))
    steps = select(t.milestone).where(t.milestone.c.shipment_id.in_(names))
    of_lines = _by_shipment(_dicts(connection, lines.order_by(t.shipment_line.c.sku)))
    of_steps = _by_shipment(_dicts(connection, steps.order_by(t.milestone.c.id), drop="id"))
    known = union_all(select(t.warehouse.c.id, t.warehouse.c.name),
                      select(t.carrier.c.id, t.carrier.c.name))  # fmt: skip
    called = {row[0]: row[1] for row in connection.execute(known)} if rows else {}
    return [
        {
            **row,
            "decision": _json(row["decision"]),
            "reasons": sentences(row["decision"], called, places),
            "lines": of_lines.get(row["id"], []),
            "milestones": of_steps.get(row["id"], []),
        }
        for row in rows
    ]


def _trail(connection: Connection, subjects: Sequence[str]) -> list[Json]:
    wanted = select(t.trail).where(t.trail.c.subject.in_(subjects)).order_by(t.trail.c.id)
    return _dicts(connection, wanted.limit(DETAIL_ROWS_MAX))


def _incidents_of(connection: Connection, shipments: Sequence[str]) -> list[Json]:
    wanted = select(t.incident).where(t.incident.c.shipment_id.in_(shipments))
    return _dicts(connection, wanted.order_by(t.incident.c.id).limit(DETAIL_ROWS_MAX))


def _dicts(connection: Connection, wanted: Select[Any], drop: str = "") -> list[Json]:
    rows = connection.execute(wanted).mappings()
    return [{key: value for key, value in row.items() if key != drop} for row in rows]


def _by_shipment(rows: Sequence[Json]) -> dict[str, list[Json]]:
    grouped: dict[str, list[Json]] = {}
    for row in rows:
        grouped.setdefault(row.pop("shipment_id"), []).append(row)
    return grouped


def _tracking(connection: Connection, order: RowMapping) -> Tracking:
    detail = _order_detail(connection, order)
    contact: Mapping[str, str] = detail["contact"] or {}
    wanted = {line["sku"] for line in detail["lines"]}
    wanted |= {line["sku"] for shipment in detail["shipments"] for line in shipment["lines"]}
    names = dict(
        connection.execute(select(t.sku.c.id, t.sku.c.name).where(t.sku.c.id.in_(wanted))).all()
    )
    titles = {line["sku"]: line["title"] for line in detail["lines"] if line["title"]}
    carriers = dict(connection.execute(select(t.carrier.c.id, t.carrier.c.name)).all())
    article = {sku: titles.get(sku) or names.get(sku) or sku for sku in wanted}
    return Tracking(
        order_id=order["id"],
        native_id=order["native_id"],
        state=order["state"],
        stop=order["stop"],
        created_ms=order["created_ms"],
        paid_ms=order["paid_ms"],
        expected_ms=order["expected_ms"],
        until_ms=order["track_until_ms"],
        name_masked=contact.get("name_masked", ""),
        phone_masked=contact.get("phone_masked", ""),
        place=order["division_text"],
        address_masked=contact.get("address_masked", ""),
        parcels=tuple(_parcel(shipment, article, carriers) for shipment in detail["shipments"]),
        items=tuple(Item(article[line["sku"]], line["quantity"]) for line in detail["lines"]),
    )


def _parcel(shipment: Json, article: Mapping[str, str], carriers: Mapping[str, str]) -> Parcel:
    return Parcel(
        shipment_id=shipment["id"],
        state=shipment["state"],
        # For a changed address the bench stops, too; the buyer's parcel is not being cancelled.
        stop="" if shipment["waiting"] == "readdress" else shipment["stop"],
        carrier=carriers.get(shipment["carrier"], shipment["carrier"]),
        waybill=shipment["waybill"],
        expected_ms=shipment["expected_ms"],
        handed_over_ms=shipment["handed_over_ms"],
        steps=tuple(
            Step(step["at_ms"], step["code"], step["text"]) for step in shipment["milestones"]
        ),
        items=tuple(Item(article[line["sku"]], line["quantity"]) for line in shipment["lines"]),
    )


def _grouped(connection: Connection, column: Any) -> dict[str, int]:
    return dict(connection.execute(select(column, func.count()).group_by(column)).all())


def _parked(connection: Connection) -> dict[str, int]:
    c = t.shipment.c
    wanted = select(c.parked, func.count()).where(text("parked <> ''"), c.stop == "")
    return dict(connection.execute(wanted.group_by(c.parked)).all())


def _live_holds(connection: Connection) -> dict[tuple[str, str], int]:
    """Holds that still set goods aside, by kind and state; ended ones are history."""
    c = t.hold.c
    wanted = select(c.kind, c.state, func.count()).where(text(t.HOLD_LIVE))
    found = connection.execute(wanted.group_by(c.kind, c.state))
    return {(kind, state): number for kind, state, number in found}


def _breakers(connection: Connection) -> dict[str, str]:
    """State by enabled warehouse: `closed`, `half_open`, `open`, `forced_open`, `forced_closed`."""
    w, b = t.warehouse.c, breaker.c
    wanted = select(w.id, func.coalesce(b.state, "closed"), func.coalesce(b.forced, "")).join(
        breaker, b.warehouse == w.id, isouter=True
    )
    found = connection.execute(wanted.where(w.enabled == 1))
    return {name: f"forced_{forced}" if forced else state for name, state, forced in found}


def _count(connection: Connection, open_where_null: Any) -> int:
    return int(
        connection.execute(select(func.count()).where(open_where_null.is_(None))).scalar_one()
    )


def _words(text: str) -> list[str]:
    return [word for word in text.split(",") if word]


def _json(text: str | None) -> Any:
    if not text:
        return {}
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError:
        return {"text": text}
