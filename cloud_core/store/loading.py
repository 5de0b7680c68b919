"""Reads rows for a working set: bulk look-ups by key lists, single ones as the rare fallback."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import Select, func, select, text

from cloud_core.domain import after_rows as a
from cloud_core.domain import rows as r
from cloud_core.store import after_rows
from cloud_core.store import schema as t
from cloud_core.store import schema_breaker as b
from cloud_core.store.due import DueFetch
from cloud_core.store.hold_rows import outside_check
from cloud_core.store.reading import R, among, many, one, parts, selecting

_ORDER = selecting(t.orders, r.Order)
_CONTACT = selecting(t.contact, r.Contact)
_SHIPMENT = selecting(t.shipment, r.Shipment)
_HOLD = selecting(t.hold, r.Hold)
_STOCK = selecting(t.stock, r.Stock)
_WAYBILL = selecting(t.waybill, r.Waybill)
_AGENT = selecting(t.agent_state, r.AgentState)
_STREAM = selecting(t.stream, r.Stream)
_OUTBOX = selecting(t.outbox, r.OutboxRow)
_CALL = selecting(t.shop_outbox, r.ShopCall)
_SEEN = selecting(t.seen_key, r.SeenKey)
_ALARM = selecting(t.alarm, r.Alarm)
_BREAKER = selecting(b.breaker, r.Breaker)
_NOTICE = selecting(b.notice_outbox, r.Notice)
_LINE = selecting(t.order_line, r.OrderLine)
_SHIP_LINE = selecting(t.shipment_line, r.ShipmentLine)


class SqlFetch(DueFetch):
    """The database behind a working set, on the connection of its transaction."""

    def _one(self, statement: Select[Any], kind: type[R]) -> R | None:
        return one(self.connection, statement, kind)

    def _many(self, statement: Select[Any], kind: type[R]) -> list[R]:
        return many(self.connection, statement, kind)

    def _among(self, column: Any, part: list[Any]) -> Any:
        return among(self.connection, column, part)

    # --- one row -------------------------------------------------------------------------------

    def order(self, key: str) -> r.Order | None:
        """An order by global id."""
        return self._one(_ORDER.where(t.orders.c.id == key), r.Order)

    def order_id_by_native(self, channel: str, native_id: str) -> str | None:
        """The global id of a shop's order."""
        return self.connection.execute(
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
        return sorted(self.connection.execute(statement).scalars())

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

    def agent_states(self) -> list[r.AgentState]:
        """The state of every agent that was ever seen."""
        return self._many(_AGENT, r.AgentState)

    def given_since(self, since_ms: int) -> dict[str, int]:
        """Shipments by the warehouse that got them since then and keeps or has sent them.

        Goods that are kept for a shipment that waits are not work given.
        """
        c, s = t.hold.c, t.shipment.c
        waits = select(s.id).where(s.parked != "")
        given = text(t.HOLD_GIVEN), c.created_ms >= since_ms, c.shipment_id.not_in(waits)
        wanted = select(c.warehouse, func.count()).where(*given).group_by(c.warehouse)
        return {row[0]: row[1] for row in self.connection.execute(wanted)}

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

    def breaker(self, key: str) -> r.Breaker | None:
        """A warehouse's breaker."""
        return self._one(_BREAKER.where(b.breaker.c.warehouse == key), r.Breaker)

    def notice(self, key: str) -> r.Notice | None:
        """A notice by its idempotency key."""
        return self._one(_NOTICE.where(b.notice_outbox.c.id == key), r.Notice)

    def alarm(self, key: tuple[str, str]) -> r.Alarm | None:
        """The open alarm of (kind, key)."""
        c = t.alarm.c
        return self._one(
            _ALARM.where(c.kind == key[0], c.key == key[1], c.closed_ms.is_(None)), r.Alarm
        )

    def outside_check(self, key: str) -> r.OutsideCheck | None:
        """An outside check by id."""
        return outside_check(self.connection, key)

    def change(self, key: str) -> a.Change | None:
        """A change request by id."""
        return after_rows.change(self.connection, key)

    def gift(self, key: str) -> a.Gift | None:
        """A gift child by id."""
        return after_rows.gift(self.connection, key)

    def ticket(self, key: str) -> a.Return | None:
        """A return by id."""
        return after_rows.ticket(self.connection, key)

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
        return self.connection.execute(
            select(t.event.c.hash).where(t.event.c.stream_id == stream_id, t.event.c.seq == seq)
        ).scalar()

    def origin_held(self, agent: str, name: str, epoch: str, seq: int, digest: bytes) -> bool:
        """Whether a row that first stood at (epoch, seq) with this hash has had its effect."""
        c = t.origin.c
        carried = select(c.seq).where(
            c.agent == agent, c.name == name, c.epoch == epoch, c.seq == seq, c.hash == digest
        )
        if self.connection.execute(carried).first() is not None:
            return True
        s, e = t.stream.c, t.event.c
        direct = (
            select(e.seq)
            .select_from(t.event.join(t.stream, s.id == e.stream_id))
            .where(
                s.agent == agent, s.name == name, s.epoch == epoch, e.seq == seq, e.hash == digest
            )
        )
        return self.connection.execute(direct).first() is not None

    def clock_offsets(self, agent: str) -> dict[int, int]:
        """The learned clock offset of each boot of an agent."""
        c = t.clock_offset.c
        return {
            row[0]: row[1]
            for row in self.connection.execute(select(c.boot, c.offset_ms).where(c.agent == agent))
        }

    def raw_id(self, channel: str, digest: str) -> int | None:
        """The row of a raw message with these bytes."""
        c = t.raw_message.c
        return self.connection.execute(
            select(c.id).where(c.channel == channel, c.digest == digest)
        ).scalar()

    def max_raw_id(self) -> int:
        """The highest id of a raw message."""
        return self.connection.execute(select(func.max(t.raw_message.c.id))).scalar() or 0

    def picked_for(self, warehouse: str, sku: str, ref: str) -> int:
        """Units of `sku` that the movements of one shipment left picked in a warehouse."""
        c = t.movement.c
        moved = select(func.sum(c.d_picked)).where(
            c.warehouse == warehouse, c.sku == sku, c.ref == ref
        )
        return self.connection.execute(moved).scalar() or 0

    def open_incident(self, incident_id: int) -> r.Incident | None:
        """An incident that nobody has closed."""
        c = t.incident.c
        wanted = selecting(t.incident, r.Incident)
        return self._one(wanted.where(c.id == incident_id, c.resolved_ms.is_(None)), r.Incident)

    # --- bulk ----------------------------------------------------------------------------------

    def orders_by_native(self, keys: Sequence[tuple[str, str]]) -> list[r.Order]:
        """The orders among `keys` ((channel, native id)) that exist."""
        c = t.orders.c
        found: list[r.Order] = []
        by_channel: dict[str, list[str]] = {}
        for channel, native in keys:
            by_channel.setdefault(channel, []).append(native)
        for channel, natives in by_channel.items():
            for part in parts(natives):
                found += self._many(
                    _ORDER.where(c.channel == channel, self._among(c.native_id, part)), r.Order
                )
        return found

    def seen_many(self, scope: str, keys: Iterable[str]) -> list[r.SeenKey]:
        """The idempotency keys among `keys` that exist."""
        c = t.seen_key.c
        return [
            row
            for part in parts(keys)
            for row in self._many(
                _SEEN.where(c.scope == scope, self._among(c.key, part)), r.SeenKey
            )
        ]

    def shipments_by_id(self, ids: Iterable[str]) -> list[r.Shipment]:
        """Shipments by id."""
        return [
            row
            for part in parts(ids)
            for row in self._many(_SHIPMENT.where(self._among(t.shipment.c.id, part)), r.Shipment)
        ]

    def shipments_of(self, order_ids: Iterable[str]) -> list[r.Shipment]:
        """The shipments of these orders, in order."""
        return [
            row
            for part in parts(order_ids)
            for row in self._many(
                _SHIPMENT.where(self._among(t.shipment.c.order_id, part)).order_by(t.shipment.c.id),
                r.Shipment,
            )
        ]

    def orders_by_id(self, ids: Iterable[str]) -> list[r.Order]:
        """Orders by global id."""
        return [
            row
            for part in parts(ids)
            for row in self._many(_ORDER.where(self._among(t.orders.c.id, part)), r.Order)
        ]

    def contacts_of(self, order_ids: Iterable[str]) -> list[r.Contact]:
        """The contact rows of these orders."""
        return [
            row
            for part in parts(order_ids)
            for row in self._many(
                _CONTACT.where(self._among(t.contact.c.order_id, part)), r.Contact
            )
        ]

    def lines_of_shipments(self, ids: Iterable[str]) -> dict[str, list[r.ShipmentLine]]:
        """Shipment lines by shipment, each list sorted by SKU."""
        found: dict[str, list[r.ShipmentLine]] = {}
        for part in parts(ids):
            for line in self._many(
                _SHIP_LINE.where(self._among(t.shipment_line.c.shipment_id, part)).order_by(
                    t.shipment_line.c.sku
                ),
                r.ShipmentLine,
            ):
                found.setdefault(line.shipment_id, []).append(line)
        return found

    def lines_of_orders(self, order_ids: Iterable[str]) -> dict[str, list[r.OrderLine]]:
        """Order lines by order, in order."""
        found: dict[str, list[r.OrderLine]] = {}
        c = t.order_line.c
        for part in parts(order_ids):
            wanted = _LINE.where(self._among(c.order_id, part)).order_by(c.line_no)
            for line in self._many(wanted, r.OrderLine):
                found.setdefault(line.order_id, []).append(line)
        return found

    def holds_by_id(self, ids: Iterable[str]) -> list[r.Hold]:
        """Holds by id."""
        return [
            row
            for part in parts(ids)
            for row in self._many(_HOLD.where(self._among(t.hold.c.id, part)), r.Hold)
        ]

    def outbox_by_id(self, ids: Iterable[str]) -> list[r.OutboxRow]:
        """Commands by id."""
        return [
            row
            for part in parts(ids)
            for row in self._many(_OUTBOX.where(self._among(t.outbox.c.id, part)), r.OutboxRow)
        ]

    def waybills_by_number(self, numbers: Iterable[str]) -> list[r.Waybill]:
        """Waybills by number."""
        return [
            row
            for part in parts(numbers)
            for row in self._many(_WAYBILL.where(self._among(t.waybill.c.number, part)), r.Waybill)
        ]

    def shop_calls_by_id(self, ids: Iterable[str]) -> list[r.ShopCall]:
        """Write-backs by id."""
        return [
            row
            for part in parts(ids)
            for row in self._many(_CALL.where(self._among(t.shop_outbox.c.id, part)), r.ShopCall)
        ]

    def open_alarms(self, kind: str, keys: Iterable[str]) -> list[r.Alarm]:
        """The open alarms of one kind among `keys`."""
        c = t.alarm.c
        return [
            row
            for part in parts(keys)
            for row in self._many(
                _ALARM.where(c.kind == kind, self._among(c.key, part), c.closed_ms.is_(None)),
                r.Alarm,
            )
        ]

    def stock_of(self, skus: Iterable[str]) -> list[r.Stock]:
        """Every warehouse's row of these SKUs."""
        return [
            row
            for part in parts(skus)
            for row in self._many(_STOCK.where(self._among(t.stock.c.sku, part)), r.Stock)
        ]

    def free_waybills(self, carrier: str, behind: str, limit: int) -> list[r.Waybill]:
        """The next free numbers of a carrier behind a number, in order.

        Beside other writers: those nobody else is drawing from, kept until the commit; waits for
        the others only when there are no more.
        """
        c = t.waybill.c
        free = _WAYBILL.where(c.carrier == carrier, c.state == "free", c.number > behind)
        free = free.order_by(c.number).limit(limit)
        if self.alone:
            return self._many(free, r.Waybill)
        found = self._many(free.with_for_update(skip_locked=True), r.Waybill)
        return found or self._many(free.with_for_update(), r.Waybill)

    def agent_load(self) -> dict[str, int]:
        """Open shipments per agent."""
        c = t.shipment.c
        statement = (
            select(c.agent, func.count())
            .where(c.agent != "", c.state.in_(("offered", "granted", "picking", "packed")))
            .group_by(c.agent)
        )
        return {row[0]: row[1] for row in self.connection.execute(statement)}

    def max_stream_id(self) -> int:
        """The highest stream id given out."""
        return self.connection.execute(select(func.max(t.stream.c.id))).scalar() or 0

    def streams_of(self, agent: str, name: str) -> list[r.Stream]:
        """Every epoch of one stream of an agent."""
        c = t.stream.c
        return self._many(_STREAM.where(c.agent == agent, c.name == name).order_by(c.id), r.Stream)
