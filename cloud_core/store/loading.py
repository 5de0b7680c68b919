"""Reads rows for a working set: bulk look-ups by key lists, single ones as the rare fallback."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

import msgspec
from sqlalchemy import Connection, Row, Select, Table, and_, func, or_, select

from cloud_core.domain import rows as r
from cloud_core.domain.master import (
    AgentInfo,
    CarrierInfo,
    Master,
    SkuInfo,
    WarehouseInfo,
)
from cloud_core.store import schema as t

R = TypeVar("R", bound=Any)
_IN_MAX = 500


def columns(table: Table, kind: type[Any]) -> list[Any]:
    """The table's columns in the order of the row class's fields."""
    return [table.c[f.name] for f in msgspec.structs.fields(kind)]


def _select(table: Table, kind: type[Any]) -> Select[Any]:
    return select(*columns(table, kind))


_ORDER = _select(t.orders, r.Order)
_CONTACT = _select(t.contact, r.Contact)
_SHIPMENT = _select(t.shipment, r.Shipment)
_HOLD = _select(t.hold, r.Hold)
_STOCK = _select(t.stock, r.Stock)
_WAYBILL = _select(t.waybill, r.Waybill)
_AGENT = _select(t.agent_state, r.AgentState)
_STREAM = _select(t.stream, r.Stream)
_OUTBOX = _select(t.outbox, r.OutboxRow)
_CALL = _select(t.shop_outbox, r.ShopCall)
_SEEN = _select(t.seen_key, r.SeenKey)
_ALARM = _select(t.alarm, r.Alarm)
_LINE = _select(t.order_line, r.OrderLine)
_SHIP_LINE = _select(t.shipment_line, r.ShipmentLine)


class SqlFetch:
    """The database behind a working set, on the connection of its transaction."""

    def __init__(self, connection: Connection) -> None:
        self._c = connection

    @property
    def connection(self) -> Connection:
        """The connection of the transaction, for the store's own bulk statements."""
        return self._c

    def _one(self, statement: Select[Any], kind: type[R]) -> R | None:
        row: Row[Any] | None = self._c.execute(statement).first()
        return kind(*row) if row is not None else None

    def _many(self, statement: Select[Any], kind: type[R]) -> list[R]:
        return [kind(*row) for row in self._c.execute(statement)]

    # --- one row -------------------------------------------------------------------------------

    def order(self, key: str) -> r.Order | None:
        """An order by global id."""
        return self._one(_ORDER.where(t.orders.c.id == key), r.Order)

    def order_id_by_native(self, channel: str, native_id: str) -> str | None:
        """The global id of a shop's order."""
        return self._c.execute(
            select(t.orders.c.id).where(
                t.orders.c.channel == channel, t.orders.c.native_id == native_id
            )
        ).scalar()

    def contact(self, key: str) -> r.Contact | None:
        """The contact row of an order."""
        return self._one(_CONTACT.where(t.contact.c.order_id == key), r.Contact)

    def shipment(self, key: str) -> r.Shipment | None:
        """A shipment by id."""
        return self._one(_SHIPMENT.where(t.shipment.c.id == key), r.Shipment)

    def shipment_ids(self, order_id: str) -> list[str]:
        """The ids of an order's shipments, in order."""
        statement = select(t.shipment.c.id).where(t.shipment.c.order_id == order_id)
        return sorted(self._c.execute(statement).scalars())

    def hold(self, key: str) -> r.Hold | None:
        """A hold by id."""
        return self._one(_HOLD.where(t.hold.c.id == key), r.Hold)

    def stock(self, key: tuple[str, str]) -> r.Stock | None:
        """A stock row by (warehouse, sku)."""
        return self._one(
            _STOCK.where(t.stock.c.warehouse == key[0], t.stock.c.sku == key[1]), r.Stock
        )

    def waybill(self, key: str) -> r.Waybill | None:
        """A waybill by number."""
        return self._one(_WAYBILL.where(t.waybill.c.number == key), r.Waybill)

    def agent_state(self, key: str) -> r.AgentState | None:
        """An agent's state."""
        return self._one(_AGENT.where(t.agent_state.c.agent == key), r.AgentState)

    def stream(self, key: tuple[str, str, str]) -> r.Stream | None:
        """A stream epoch by (agent, name, epoch)."""
        c = t.stream.c
        return self._one(
            _STREAM.where(c.agent == key[0], c.name == key[1], c.epoch == key[2]), r.Stream
        )

    def outbox(self, key: str) -> r.OutboxRow | None:
        """A command by id."""
        return self._one(_OUTBOX.where(t.outbox.c.id == key), r.OutboxRow)

    def shop_call(self, key: str) -> r.ShopCall | None:
        """A write-back by id."""
        return self._one(_CALL.where(t.shop_outbox.c.id == key), r.ShopCall)

    def seen(self, key: tuple[str, str]) -> r.SeenKey | None:
        """An idempotency key."""
        return self._one(
            _SEEN.where(t.seen_key.c.scope == key[0], t.seen_key.c.key == key[1]), r.SeenKey
        )

    def alarm(self, key: tuple[str, str]) -> r.Alarm | None:
        """The open alarm of (kind, key)."""
        c = t.alarm.c
        return self._one(
            _ALARM.where(c.kind == key[0], c.key == key[1], c.closed_ms.is_(None)), r.Alarm
        )

    def order_lines(self, order_id: str) -> tuple[r.OrderLine, ...] | None:
        """An order's lines."""
        found = self._many(
            _LINE.where(t.order_line.c.order_id == order_id).order_by(t.order_line.c.line_no),
            r.OrderLine,
        )
        return tuple(found) or None

    def shipment_lines(self, shipment_id: str) -> tuple[r.ShipmentLine, ...] | None:
        """A shipment's lines."""
        found = self._many(
            _SHIP_LINE.where(t.shipment_line.c.shipment_id == shipment_id).order_by(
                t.shipment_line.c.sku
            ),
            r.ShipmentLine,
        )
        return tuple(found) or None

    def event_hash(self, stream_id: int, seq: int) -> bytes | None:
        """The chain hash after a stored row."""
        return self._c.execute(
            select(t.event.c.hash).where(t.event.c.stream_id == stream_id, t.event.c.seq == seq)
        ).scalar()

    def origin_held(self, agent: str, name: str, epoch: str, seq: int, digest: bytes) -> bool:
        """Whether a row that first stood at (epoch, seq) with this hash has had its effect."""
        c = t.origin.c
        carried = select(c.seq).where(
            c.agent == agent, c.name == name, c.epoch == epoch, c.seq == seq, c.hash == digest
        )
        if self._c.execute(carried).first() is not None:
            return True
        s, e = t.stream.c, t.event.c
        direct = (
            select(e.seq)
            .select_from(t.event.join(t.stream, s.id == e.stream_id))
            .where(
                s.agent == agent, s.name == name, s.epoch == epoch, e.seq == seq, e.hash == digest
            )
        )
        return self._c.execute(direct).first() is not None

    def clock_offsets(self, agent: str) -> dict[int, int]:
        """The learned clock offset of each boot of an agent."""
        c = t.clock_offset.c
        return {
            row[0]: row[1]
            for row in self._c.execute(select(c.boot, c.offset_ms).where(c.agent == agent))
        }

    def raw_id(self, channel: str, digest: str) -> int | None:
        """The row of a raw message with these bytes."""
        c = t.raw_message.c
        return self._c.execute(
            select(c.id).where(c.channel == channel, c.digest == digest)
        ).scalar()

    def max_raw_id(self) -> int:
        """The highest id of a raw message."""
        return self._c.execute(select(func.max(t.raw_message.c.id))).scalar() or 0

    def incident_open(self, incident_id: int) -> bool:
        """Whether an incident exists and nobody has closed it."""
        c = t.incident.c
        return (
            self._c.execute(
                select(c.id).where(c.id == incident_id, c.resolved_ms.is_(None))
            ).first()
            is not None
        )

    # --- bulk ----------------------------------------------------------------------------------

    def orders_by_native(self, keys: Sequence[tuple[str, str]]) -> list[r.Order]:
        """The orders among `keys` ((channel, native id)) that exist."""
        c = t.orders.c
        found: list[r.Order] = []
        by_channel: dict[str, list[str]] = {}
        for channel, native in keys:
            by_channel.setdefault(channel, []).append(native)
        for channel, natives in by_channel.items():
            for part in _parts(natives):
                found += self._many(
                    _ORDER.where(c.channel == channel, c.native_id.in_(part)), r.Order
                )
        return found

    def seen_many(self, scope: str, keys: Iterable[str]) -> list[r.SeenKey]:
        """The idempotency keys among `keys` that exist."""
        c = t.seen_key.c
        return [
            row
            for part in _parts(keys)
            for row in self._many(_SEEN.where(c.scope == scope, c.key.in_(part)), r.SeenKey)
        ]

    def shipments_by_id(self, ids: Iterable[str]) -> list[r.Shipment]:
        """Shipments by id."""
        return [
            row
            for part in _parts(ids)
            for row in self._many(_SHIPMENT.where(t.shipment.c.id.in_(part)), r.Shipment)
        ]

    def shipments_of(self, order_ids: Iterable[str]) -> list[r.Shipment]:
        """The shipments of these orders, in order."""
        return [
            row
            for part in _parts(order_ids)
            for row in self._many(
                _SHIPMENT.where(t.shipment.c.order_id.in_(part)).order_by(t.shipment.c.id),
                r.Shipment,
            )
        ]

    def orders_by_id(self, ids: Iterable[str]) -> list[r.Order]:
        """Orders by global id."""
        return [
            row
            for part in _parts(ids)
            for row in self._many(_ORDER.where(t.orders.c.id.in_(part)), r.Order)
        ]

    def contacts_of(self, order_ids: Iterable[str]) -> list[r.Contact]:
        """The contact rows of these orders."""
        return [
            row
            for part in _parts(order_ids)
            for row in self._many(_CONTACT.where(t.contact.c.order_id.in_(part)), r.Contact)
        ]

    def lines_of_shipments(self, ids: Iterable[str]) -> dict[str, list[r.ShipmentLine]]:
        """Shipment lines by shipment, each list sorted by SKU."""
        found: dict[str, list[r.ShipmentLine]] = {}
        for part in _parts(ids):
            for line in self._many(
                _SHIP_LINE.where(t.shipment_line.c.shipment_id.in_(part)).order_by(
                    t.shipment_line.c.sku
                ),
                r.ShipmentLine,
            ):
                found.setdefault(line.shipment_id, []).append(line)
        return found

    def holds_by_id(self, ids: Iterable[str]) -> list[r.Hold]:
        """Holds by id."""
        return [
            row
            for part in _parts(ids)
            for row in self._many(_HOLD.where(t.hold.c.id.in_(part)), r.Hold)
        ]

    def outbox_by_id(self, ids: Iterable[str]) -> list[r.OutboxRow]:
        """Commands by id."""
        return [
            row
            for part in _parts(ids)
            for row in self._many(_OUTBOX.where(t.outbox.c.id.in_(part)), r.OutboxRow)
        ]

    def stock_of(self, skus: Iterable[str]) -> list[r.Stock]:
        """Every warehouse's row of these SKUs."""
        return [
            row
            for part in _parts(skus)
            for row in self._many(_STOCK.where(t.stock.c.sku.in_(part)), r.Stock)
        ]

    def free_waybills(self, carrier: str, limit: int) -> list[r.Waybill]:
        """The next free numbers of a carrier, in order."""
        c = t.waybill.c
        return self._many(
            _WAYBILL.where(c.carrier == carrier, c.state == "free").order_by(c.number).limit(limit),
            r.Waybill,
        )

    def agent_load(self) -> dict[str, int]:
        """Open shipments per agent."""
        c = t.shipment.c
        statement = (
            select(c.agent, func.count())
            .where(c.agent != "", c.state.in_(("offered", "granted", "picking", "packed")))
            .group_by(c.agent)
        )
        return {row[0]: row[1] for row in self._c.execute(statement)}

    def max_stream_id(self) -> int:
        """The highest stream id given out."""
        return self._c.execute(select(func.max(t.stream.c.id))).scalar() or 0

    def streams_of(self, agent: str, name: str) -> list[r.Stream]:
        """Every epoch of one stream of an agent."""
        c = t.stream.c
        return self._many(_STREAM.where(c.agent == agent, c.name == name).order_by(c.id), r.Stream)

    # --- sweeps --------------------------------------------------------------------------------

    def due_offers(self, now_ms: int, limit: int) -> list[str]:
        """Shipments whose offer deadline has passed, earliest first."""
        c = t.shipment.c
        return list(
            self._c.execute(
                select(c.id)
                .where(c.deadline_ms.is_not(None), c.deadline_ms <= now_ms)
                .order_by(c.deadline_ms)
                .limit(limit)
            ).scalars()
        )

    def parked(self, limit: int) -> list[str]:
        """Parked shipments, the most urgent first, then by payment time."""
        c = t.shipment.c
        return list(
            self._c.execute(
                select(c.id)
                .where(c.parked != "")
                .order_by(c.priority.desc(), c.paid_ms, c.id)
                .limit(limit)
            ).scalars()
        )

    def waiting_for_waybill(self, limit: int) -> list[str]:
        """Accepted shipments without a number, oldest payment first."""
        c = t.shipment.c
        return list(
            self._c.execute(
                select(c.id)
                .where(c.state == "offered", c.waiting != "")
                .order_by(c.paid_ms, c.id)
                .limit(limit)
            ).scalars()
        )

    def to_purge(self, before_ms: int, limit: int) -> list[str]:
        """Shipments that left or were cancelled before `before_ms` with label fields kept."""
        c = t.shipment.c
        return list(
            self._c.execute(
                select(c.id)
                .where(
                    c.purged_ms.is_(None),
                    or_(
                        and_(c.handed_over_ms.is_not(None), c.handed_over_ms <= before_ms),
                        and_(
                            c.stop == "cancelled",
                            c.parked_ms.is_not(None),
                            c.parked_ms <= before_ms,
                        ),
                    ),
                )
                .limit(limit)
            ).scalars()
        )

    def shipments_for_resync(self, agent: str, after_ms: int) -> list[str]:
        """Every shipment this agent was ever offered since `after_ms`."""
        c = t.outbox.c
        statement = (
            select(c.shipment_id)
            .where(c.agent == agent, c.shipment_id != "", c.created_ms >= after_ms)
            .distinct()
        )
        found = set(self._c.execute(statement).scalars())
        owned = select(t.shipment.c.id).where(
            t.shipment.c.agent == agent, t.shipment.c.paid_ms >= after_ms
        )
        return sorted(found | set(self._c.execute(owned).scalars()))

    def open_commands(self, agent: str, limit: int) -> list[r.OutboxRow]:
        """Commands the agent has not confirmed, in order of creation."""
        c = t.outbox.c
        return self._many(
            _OUTBOX.where(c.agent == agent, c.received_ms.is_(None)).order_by(c.n).limit(limit),
            r.OutboxRow,
        )

    def grants_of(self, shipment_ids: Iterable[str]) -> list[r.OutboxRow]:
        """The grant commands of these shipments."""
        c = t.outbox.c
        return [
            row
            for part in _parts(shipment_ids)
            for row in self._many(
                _OUTBOX.where(c.shipment_id.in_(part), c.kind == "grant"), r.OutboxRow
            )
        ]

    def max_outbox_n(self) -> int:
        """The highest creation number of any command."""
        return self._c.execute(select(func.max(t.outbox.c.n))).scalar() or 0

    def raw_to_purge(self, before_ms: int, limit: int) -> list[int]:
        """Raw messages processed before `before_ms` whose bytes are still kept."""
        c = t.raw_message.c
        return list(
            self._c.execute(
                select(c.id)
                .where(
                    c.processed_ms.is_not(None),
                    c.processed_ms <= before_ms,
                    func.length(c.body) > 0,
                )
                .limit(limit)
            ).scalars()
        )


def load_meta(connection: Connection) -> dict[str, str]:
    """The core's own facts: core_epoch, recovering, master_version…"""
    return {
        row[0]: row[1] for row in connection.execute(select(t.core_meta.c.key, t.core_meta.c.value))
    }


def load_master(connection: Connection, version: int) -> Master:
    """The whole master data as one snapshot."""
    barcodes: dict[str, list[str]] = {}
    for barcode, code in connection.execute(
        select(t.sku_barcode.c.barcode, t.sku_barcode.c.sku).order_by(t.sku_barcode.c.barcode)
    ):
        barcodes.setdefault(code, []).append(barcode)
    w, a, s, c, d = t.warehouse.c, t.agent.c, t.sku.c, t.carrier.c, t.carrier_transit.c
    return Master(
        version=version,
        warehouses={
            row[0]: WarehouseInfo(*row[:7], bool(row[7]), *row[8:])
            for row in connection.execute(
                select(
                    w.id,
                    w.site,
                    w.name,
                    w.priority,
                    w.hours,
                    w.carrier,
                    w.print_on,
                    w.enabled,
                    w.division,
                    w.address,
                    w.sender_name,
                    w.sender_phone,
                )
            )
        },
        agents={
            row[0]: AgentInfo(row[0], row[1], bool(row[2]))
            for row in connection.execute(select(a.id, a.warehouse, a.enabled))
        },
        skus={
            row[0]: SkuInfo(row[0], row[1], row[2], bool(row[3]), tuple(barcodes.get(row[0], ())))
            for row in connection.execute(select(s.id, s.name, s.weight_g, s.serial))
        },
        carriers={
            row[0]: CarrierInfo(*row)
            for row in connection.execute(select(c.id, c.name, c.kind, c.transit_days, c.pattern))
        },
        transit={
            (row[0], row[1], row[2]): row[3]
            for row in connection.execute(select(d.carrier, d.warehouse, d.province, d.days))
        },
        locations={
            (row[0], row[1]): row[2]
            for row in connection.execute(
                select(
                    t.shelf_location.c.warehouse,
                    t.shelf_location.c.sku,
                    t.shelf_location.c.location,
                )
            )
        },
    )


def _parts(keys: Iterable[Any]) -> list[list[Any]]:
    """Key lists small enough for one IN."""
    every = list(dict.fromkeys(keys))
    return [every[i : i + _IN_MAX] for i in range(0, len(every), _IN_MAX)]
