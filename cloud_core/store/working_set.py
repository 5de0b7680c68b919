"""The rows one commit works on: loaded in bulk, replaced by decisions, written once at the end.

Later commands of a batch see what earlier ones decided. `savepoint`/`rollback` undo the decisions
of a single command, so that one that fails leaves its neighbours alone. A key that was not loaded
in bulk is fetched alone, inside the same transaction; None means that the row does not exist.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from operator import attrgetter
from typing import Any

from msgspec.structs import replace
from sqlalchemy.exc import DBAPIError

from cloud_core.domain.after_rows import Change, Gift, Return
from cloud_core.domain.decision_values import WarehouseNow
from cloud_core.domain.master import Master
from cloud_core.domain.policy import Policy
from cloud_core.domain.routing_table import RoutingTable
from cloud_core.domain.rows import (
    AgentState,
    Alarm,
    Audit,
    Breaker,
    Contact,
    Hold,
    Milestone,
    Movement,
    Notice,
    Order,
    OrderLine,
    OriginRow,
    OutboxRow,
    OutsideCheck,
    Quarantine,
    SeenKey,
    Shipment,
    ShipmentLine,
    ShopCall,
    Stock,
    Stream,
    Trail,
    Waybill,
)
from cloud_core.ports import Carrier
from cloud_core.store.hold_rows import hold_lines
from cloud_core.store.kept_stock import Shelves, shelves_of
from cloud_core.store.loading import SqlFetch
from cloud_core.store.row_map import MISSING, Rows, Undo, WatchedRows


class WorkedOut:
    """What was worked out of the rows, and which new rows make it stale.

    An object of its own that knows no working set: rows that pointed back at theirs would be a
    cycle, and everything a commit has loaded would wait for the cycle collector.
    """

    def __init__(self) -> None:
        self.moved: set[str] = set()
        """SKUs of which this commit has changed a row."""
        self.units: dict[str, dict[str, int]] = {}
        """Units of a SKU that each warehouse may still promise."""
        self.warehouses_now: dict[str, WarehouseNow] | None = None
        """What routing knows of each warehouse; None once something has changed."""

    def stock_changed(self, row: Stock) -> None:
        """The units of this SKU here are others now."""
        self.moved.add(row.sku)
        units = self.units.get(row.sku)
        if units is not None:
            units[row.warehouse] = row.available

    def places_changed(self, _row: object) -> None:
        """A warehouse may be another choice now."""
        self.warehouses_now = None

    def rolled_back(self) -> None:
        """Decisions were forgotten, whichever they were."""
        self.units.clear()
        self.warehouses_now = None


class WorkingSet:
    """What the commands of one commit see and change.

    `now_ms` is the database clock of this commit, `core_epoch` the life of this core. Flows read
    and put rows here and append facts; nothing reaches the database before the save.
    """

    def __init__(
        self,
        fetch: SqlFetch,
        *,
        now_ms: int,
        core_epoch: int,
        recovering: bool,
        master: Master,
        policy: Policy,
        carrier: Callable[[str], Carrier],
        track_token: Callable[[], str],
        shelves: Shelves | None = None,
    ) -> None:
        undo: Undo = []
        self._undo = undo
        worked_out = self.worked_out = WorkedOut()
        self.fetch = fetch
        self.now_ms, self.core_epoch, self.recovering = now_ms, core_epoch, recovering
        self.master, self.policy = master, policy
        self._next_n: int | None = None
        self._next_stream_id: int | None = None
        self.carrier = carrier
        self.track_token = track_token
        self.pools: dict[str, list[Waybill]] = {}
        self.pool_ends: dict[str, str] = {}
        self.orders: Rows[Order] = Rows(attrgetter("id"), fetch.order, undo)
        self.contacts: Rows[Contact] = Rows(attrgetter("order_id"), fetch.contact, undo)
        self.shipments: Rows[Shipment] = Rows(attrgetter("id"), fetch.shipment, undo)
        self.holds: Rows[Hold] = Rows(attrgetter("id"), fetch.hold, undo)
        self.stock: Rows[Stock] = WatchedRows(
            attrgetter("warehouse", "sku"), fetch.stock, undo, worked_out.stock_changed
        )
        self.waybills: Rows[Waybill] = Rows(attrgetter("number"), fetch.waybill, undo)
        self.agents: Rows[AgentState] = WatchedRows(
            attrgetter("agent"), fetch.agent_state, undo, worked_out.places_changed
        )
        self.streams: Rows[Stream] = Rows(attrgetter("agent", "name", "epoch"), fetch.stream, undo)
        self.outbox: Rows[OutboxRow] = Rows(attrgetter("id"), fetch.outbox, undo)
        self.shop_calls: Rows[ShopCall] = Rows(attrgetter("id"), fetch.shop_call, undo)
        self.seen: Rows[SeenKey] = Rows(attrgetter("scope", "key"), fetch.seen, undo)
        self.breakers: Rows[Breaker] = WatchedRows(
            attrgetter("warehouse"), fetch.breaker, undo, worked_out.places_changed
        )
        self.notices: Rows[Notice] = Rows(attrgetter("id"), fetch.notice, undo)
        self.alarms: Rows[Alarm] = Rows(attrgetter("kind", "key"), fetch.alarm, undo)
        self.lines: Rows[tuple[OrderLine, ...]] = Rows(
            lambda r: r[0].order_id, fetch.order_lines, undo
        )
        self.shipment_lines: Rows[tuple[ShipmentLine, ...]] = Rows(
            lambda r: r[0].shipment_id, fetch.shipment_lines, undo
        )
        self.outside_checks: Rows[OutsideCheck] = Rows(attrgetter("id"), fetch.outside_check, undo)
        self.changes: Rows[Change] = Rows(attrgetter("id"), fetch.change, undo)
        self.gifts: Rows[Gift] = Rows(attrgetter("id"), fetch.gift, undo)
        self.returns: Rows[Return] = Rows(attrgetter("id"), fetch.ticket, undo)
        self._begin_notes()
        self._shelves: Shelves = {} if shelves is None else shelves

    def _begin_notes(self) -> None:
        """What stands beside the rows: facts to append, numbers drawn, look-ups made once."""
        self.paid_baskets: dict[tuple[str, str], list[str]] = {}
        """Confirmed holds by (channel, the shop's own name), the first confirmed first."""
        self.hold_lines: dict[str, tuple[tuple[str, str, int], ...]] = {}
        self.hold_lines_stored: dict[str, tuple[tuple[str, str, int], ...]] = {}
        self._shipments_of: dict[str, list[str]] = {}
        self._native: dict[tuple[str, str], str | None] = {}
        self.took: set[tuple[str, str]] = set()
        self.appended: list[Any] = []
        self.processed_raw: list[int] = []
        self.purged_raw: list[int] = []
        self.purged_quarantine: list[int] = []
        self.origins: dict[OriginRow, bool] = {}
        self.replay_goals: dict[str, dict[str, int]] = {}
        self.next_raw_id = 0
        self._raw_ids_drawn: list[int] = []
        self.new_raw = 1
        self.raw_ids: dict[tuple[str, str], int] = {}
        self.resolved_incidents: list[tuple[int, str]] = []
        self.wake_parked = False
        self._offsets: dict[str, dict[int, int]] = {}
        self.learned_offsets: dict[tuple[str, int], int] = {}
        self.writes: list[Callable[[Any], None]] = []
        self.meta: dict[str, str] = {}
        self.load: dict[str, int] | None = None
        self.places: tuple[str, ...] | None = None
        self.routing: RoutingTable | None = None
        self.used_stored: dict[str, int] | None = None
        self.waiting_line: list[tuple[str, tuple[tuple[str, int], ...]]] | None = None
        """Paid shipments that wait, as they stood before this commit; None until it is asked."""
        self.touched_agents: set[str] = set()

    # --- undo ----------------------------------------------------------------------------------

    def savepoint(self) -> tuple[int, int]:
        """Remember where the decisions of the next command begin."""
        return len(self._undo), len(self.appended)

    def rollback(self, mark: tuple[int, int]) -> None:
        """Forget every decision since `mark`."""
        while len(self._undo) > mark[0]:
            rows, key, old = self._undo.pop()
            if old is MISSING:
                rows.pop(key, None)
            else:
                rows[key] = old
        del self.appended[mark[1] :]
        self.worked_out.rolled_back()

    def _note(self, mapping: dict[Any, Any], key: Any, value: Any) -> None:
        self._undo.append((mapping, key, mapping.get(key, MISSING)))
        mapping[key] = value

    # --- orders and shipments ------------------------------------------------------------------

    def order_by_native(self, channel: str, native_id: str) -> Order | None:
        """The order a shop knows by its own number."""
        key = (channel, native_id)
        if key not in self._native:
            self._native[key] = self.fetch.order_id_by_native(channel, native_id)
        order_id = self._native[key]
        return self.orders.get(order_id) if order_id else None

    def native_loaded(self, channel: str, native_id: str, order_id: str | None) -> None:
        """Note the result of a bulk look-up by native number."""
        self._native.setdefault((channel, native_id), order_id)

    def add_order(self, order: Order) -> None:
        """A new order."""
        self.orders.add(order)
        self._note(self._native, (order.channel, order.native_id), order.id)
        self._shipments_of.setdefault(order.id, [])

    def add_shipment(self, shipment: Shipment, lines: tuple[ShipmentLine, ...]) -> None:
        """A new shipment of an order."""
        self.shipments.add(shipment)
        self.shipment_lines.add(lines)
        known = self.shipment_ids(shipment.order_id)
        self._note(self._shipments_of, shipment.order_id, [*known, shipment.id])

    def shipment_ids(self, order_id: str) -> list[str]:
        """The ids of an order's shipments, oldest first."""
        if order_id not in self._shipments_of:
            self._shipments_of[order_id] = self.fetch.shipment_ids(order_id)
        return self._shipments_of[order_id]

    def shipments_loaded(self, order_id: str, ids: list[str]) -> None:
        """Note the result of a bulk look-up of shipments."""
        self._shipments_of.setdefault(order_id, ids)

    def shipments_of(self, order_id: str) -> list[Shipment]:
        """An order's shipments, oldest first."""
        get = self.shipments.get
        return [s for i in self.shipment_ids(order_id) if (s := get(i)) is not None]

    def fresh_shipments_of(self, order_id: str) -> list[Shipment]:
        """As `shipments_of`, for a decision about all of them together; the order must be loaded.

        Beside other writers those that this commit did not change are read again: then they are not
        older than the order's version, which the save checks.
        """
        found = self.shipments_of(order_id)
        if len(found) < 2 or self.fetch.alone:
            return found
        for shipment in self.fetch.shipments_of([order_id]):
            self.shipments.refresh(shipment.id, shipment)
        return self.shipments_of(order_id)

    def lines_of(self, shipment_id: str) -> tuple[ShipmentLine, ...]:
        """A shipment's lines, unique by SKU."""
        return self.shipment_lines.get(shipment_id) or ()

    # --- stock ---------------------------------------------------------------------------------

    def stock_for(self, skus: Iterable[str]) -> None:
        """Make sure that every warehouse's row of these SKUs is in memory."""
        missing = [s for s in skus if s not in self._shelves]
        if missing:
            self._shelves.update(shelves_of(missing, self.fetch.stock_of(missing)))

    def available_of(self, sku: str) -> dict[str, int]:
        """Units of `sku` that each warehouse may still promise. Not to be changed."""
        units = self.worked_out.units.get(sku)
        if units is None:
            self.stock_for((sku,))
            units = self.worked_out.units[sku] = dict(self._shelves[sku].units)
            if sku in self.worked_out.moved:
                for warehouse in self.master.warehouses:
                    row = self.stock_at(warehouse, sku)
                    if row is not None:
                        units[warehouse] = row.available
        return units

    def available(self, warehouse: str, sku: str) -> int:
        """Units of `sku` that `warehouse` may still promise."""
        row = self.stock_at(warehouse, sku)
        return row.available if row else 0

    def stock_at(self, warehouse: str, sku: str) -> Stock | None:
        """A stock row; None if the warehouse never had the SKU."""
        key = (warehouse, sku)
        row = self.stock.peek(key)
        if row is None:
            shelf = self._shelves.get(sku)
            if shelf is not None:
                self.stock.loaded(key, shelf.rows.get(warehouse))
            row = self.stock.get(key)
        return row

    def move(
        self,
        warehouse: str,
        sku: str,
        *,
        shelf: int = 0,
        picked: int = 0,
        held: int = 0,
        reason: str,
        ref: str,
    ) -> Stock:
        """Change one stock row and write the movement that explains it."""
        row = self.stock_at(warehouse, sku) or Stock(warehouse, sku)
        if held > 0:
            self.took.add((warehouse, sku))
        row = replace(
            row,
            shelf=row.shelf + shelf,
            picked=row.picked + picked,
            held=row.held + held,
            version=row.version + 1,
        )
        self.stock.put(row)
        self.appended.append(
            Movement(self.now_ms, warehouse, sku, shelf, picked, held, reason, ref)
        )
        return row

    def _take_n(self) -> int:
        """The next creation number of a command; beside other writers the save draws it."""
        if self._next_n is None:
            self._next_n = self.fetch.max_outbox_n() + 1 if self.fetch.alone else 0
        self._next_n += 1
        return self._next_n - 1

    # --- agents --------------------------------------------------------------------------------

    def take_stream_id(self) -> int:
        """The id of a stream epoch that is seen for the first time."""
        if not self.fetch.alone:
            return self.fetch.draw("stream_id_seq", 1)[0]
        if self._next_stream_id is None:
            self._next_stream_id = self.fetch.max_stream_id() + 1
        self._next_stream_id += 1
        return self._next_stream_id - 1

    def take_raw_id(self) -> int:
        """The id of a message that is kept for the first time."""
        if self.fetch.alone:
            self.next_raw_id = (self.next_raw_id or self.fetch.max_raw_id()) + 1
            return self.next_raw_id
        if not self._raw_ids_drawn:
            self._raw_ids_drawn = self.fetch.draw("raw_message_id_seq", self.new_raw)[::-1]
        return self._raw_ids_drawn.pop()

    def clock_offsets(self, agent: str) -> dict[int, int]:
        """Server minus boot-time milliseconds per start of an agent, by its number."""
        if agent not in self._offsets:
            self._offsets[agent] = self.fetch.clock_offsets(agent)
        return self._offsets[agent]

    def learn_offset(self, agent: str, boot: int, offset_ms: int) -> None:
        """Keep the smallest offset seen: the one with the shortest way to the core."""
        known = self.clock_offsets(agent)
        if boot not in known or offset_ms < known[boot]:
            known[boot] = offset_ms
            self.learned_offsets[(agent, boot)] = offset_ms

    def apply_origin(self, origin: OriginRow) -> bool:
        """Note where a carried-over row stood first; False if it has had its effect already."""
        if origin in self.origins or self.fetch.origin_held(
            origin.agent, origin.name, origin.epoch, origin.seq, origin.hash
        ):
            return False
        self._note(self.origins, origin, True)
        self.appended.append(origin)
        return True

    def cover_hold(self, hold_id: str, lines: Iterable[tuple[str, str, int]]) -> None:
        """Write down which units a new hold sets aside: (warehouse, sku, quantity)."""
        self._note(self.hold_lines, hold_id, tuple(lines))

    def lines_of_hold(self, hold_id: str) -> tuple[tuple[str, str, int], ...]:
        """The units that a hold sets aside: (warehouse, sku, quantity)."""
        found = self.hold_lines.get(hold_id) or self.hold_lines_stored.get(hold_id)
        if found is None:
            found = hold_lines(self.fetch.connection, [hold_id]).get(hold_id, ())
            self.hold_lines_stored[hold_id] = found
        return found

    # --- facts ---------------------------------------------------------------------------------

    def trail(
        self, subject: str, change: str, actor: str, detail: str = "", source: str = ""
    ) -> None:
        """Write down a change of state, applied or refused."""
        self.appended.append(Trail(self.now_ms, subject, change, actor, source, detail))

    def audit(self, actor: str, source: str, action: str, target: str, detail: str = "") -> None:
        """Write down what a person changed, in the commit that changes it: refusals leave none."""
        self.appended.append(Audit(self.now_ms, actor, source, action, target, detail))

    def milestone(
        self, shipment_id: str, code: str, text: str, source: str, at_ms: int | None = None
    ) -> None:
        """Write down a step that the buyer may see."""
        self.appended.append(
            Milestone(shipment_id, self.now_ms if at_ms is None else at_ms, code, text, source)
        )

    def quarantine(
        self, source: str, code: str, field: str, message: str, ref: str, body: bytes | None = None
    ) -> None:
        """Keep bad input apart and open an alarm for its source."""
        self.appended.append(Quarantine(self.now_ms, source, code, field, message, ref, body))
        self.alarm("quarantine", source, f"{message}（{code}）")

    def quarantine_bug(
        self, source: str, error: Exception, ref: str = "", body: bytes | None = None
    ) -> None:
        """Keep what tripped one of our own assertions; its neighbours go on.

        Called with a failure of the database it raises that again: the whole commit has failed.
        """
        if isinstance(error, DBAPIError):
            raise error
        self.quarantine(source, "assertion", "", f"内部错误 {error!r}"[:500], ref, body)

    def alarm(self, kind: str, key: str, text: str) -> None:
        """Open an alarm, or count it up if it is open."""
        row = self.alarms.get((kind, key))
        if row is None:
            self.alarms.put(Alarm(0, kind, key, self.now_ms, None, 1, text))
        else:  # one that was closed in this very commit stays the same alarm
            self.alarms.put(replace(row, closed_ms=None, count=row.count + 1, text=text))

    def close_alarm(self, kind: str, key: str) -> None:
        """Close an alarm if it is open."""
        row = self.alarms.get((kind, key))
        if row is not None and row.closed_ms is None:
            self.alarms.put(replace(row, closed_ms=self.now_ms))

    def send(
        self,
        command_id: str,
        agent: str,
        kind: str,
        body: bytes,
        *,
        shipment_id: str = "",
        ttl_s: int | None = None,
        fresh: bool = False,
    ) -> None:
        """Put a command into the outbox; the same id is never queued twice.

        `fresh`: the id names a token that was made in this commit, so no row can have it.
        """
        if fresh:
            self.outbox.loaded(command_id, None)
        if self.outbox.get(command_id) is not None:
            return
        self.outbox.put(
            OutboxRow(
                command_id,
                agent,
                kind,
                shipment_id,
                body,
                ttl_s,
                self._take_n(),
                None,
                self.now_ms,
                None,
                None,
            )
        )
        self.touched_agents.add(agent)
