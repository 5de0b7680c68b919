"""Record: an event batch of an agent becomes stored rows and their effects, in one commit.

Rows must continue the core's hash chain: a restored or cloned card is told to open a new epoch
(`fork`). Rows the core holds already have no second effect (P2). A row that cannot be understood
is quarantined alone and acknowledged; it never stops the rows behind it (P11).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec.structs import replace

from cloud_core.domain.commands import RecordBatch
from cloud_core.domain.rows import EventRow, OriginRow, Shipment, Stream
from cloud_core.flows.facts import apply_fact, call_id
from cloud_core.flows.grant import grant_id
from cloud_core.flows.recover import note_replayed
from cloud_core.store.row_map import Rows
from cloud_core.store.working_set import WorkingSet
from protocols import chain, codec, limits
from protocols.errors import Corrupt, Rejected
from protocols.events import CommandReceived
from protocols.messages import Ack, Event, Refusal

_SHIPMENT_EVENTS_BULK = 20
"""From this many rows on, shipments are loaded in bulk before the rows are applied."""


def prefetch(ws: WorkingSet, commands: list[RecordBatch]) -> None:
    """Load in bulk the shipments and the commands that the rows of these batches name."""
    names: list[str] = []
    received: list[str] = []
    for command in commands:
        if command.stream == "floor" and len(command.rows) >= _SHIPMENT_EVENTS_BULK:
            names += [found for row in command.rows if (found := _shipment_in(row))]
        if command.stream == "floor":
            received += [found for row in command.rows for found in _received_in(row)]
    if names:
        _load(ws, ws.fetch.shipments_by_id(names))
    if received:
        _loaded(ws.outbox, received, {row.id: row for row in ws.fetch.outbox_by_id(received)})


def _load(ws: WorkingSet, shipments: Sequence[Shipment]) -> None:
    """Everything that facts about these shipments may look at, also what is not there."""
    for shipment in shipments:
        ws.shipments.loaded(shipment.id, shipment)
    lines = ws.fetch.lines_of_shipments(s.id for s in shipments)
    for shipment_id, found_lines in lines.items():
        ws.shipment_lines.loaded(shipment_id, tuple(found_lines))
    order_ids = {s.order_id: None for s in shipments}
    for order in ws.fetch.orders_by_id(order_ids):
        ws.orders.loaded(order.id, order)
    siblings: dict[str, list[str]] = {order_id: [] for order_id in order_ids}
    for shipment in ws.fetch.shipments_of(order_ids):
        ws.shipments.loaded(shipment.id, shipment)
        siblings[shipment.order_id].append(shipment.id)
    for order_id, ids in siblings.items():
        ws.shipments_loaded(order_id, ids)
    for contact in ws.fetch.contacts_of(order_ids):
        ws.contacts.loaded(contact.order_id, contact)
    for hold in ws.fetch.holds_by_id(f"{s.id}@{s.token_n}" for s in shipments):
        ws.holds.loaded(hold.id, hold)
    ws.stock_for({line.sku for found_lines in lines.values() for line in found_lines})
    _load_for_grants(ws, [s for s in shipments if s.state == "offered"])
    _load_for_labels(ws, [s for s in shipments if s.waybill])


def _load_for_grants(ws: WorkingSet, shipments: Sequence[Shipment]) -> None:
    """An accept looks at the order's lines and at the command it is about to queue."""
    for order_id, lines in ws.fetch.lines_of_orders(s.order_id for s in shipments).items():
        ws.lines.loaded(order_id, tuple(lines))
    ids = [grant_id(shipment) for shipment in shipments]
    _loaded(ws.outbox, ids, {row.id: row for row in ws.fetch.outbox_by_id(ids)})


def _load_for_labels(ws: WorkingSet, shipments: Sequence[Shipment]) -> None:
    """Labels look at their number and their alarm, a hand-over at what the shop was told."""
    for waybill in ws.fetch.waybills_by_number(s.waybill for s in shipments):
        ws.waybills.loaded(waybill.number, waybill)
    ids = [shipment.id for shipment in shipments]
    keys = [("label_unknown", shipment_id) for shipment_id in ids]
    alarms = ws.fetch.open_alarms("label_unknown", ids)
    _loaded(ws.alarms, keys, {(alarm.kind, alarm.key): alarm for alarm in alarms})
    calls = [call_id(shipment_id) for shipment_id in ids]
    _loaded(ws.shop_calls, calls, {row.id: row for row in ws.fetch.shop_calls_by_id(calls)})


def _loaded(rows: Rows[Any], keys: Sequence[Any], found: Mapping[Any, Any]) -> None:
    for key in keys:
        rows.loaded(key, found.get(key))


def record_batch(ws: WorkingSet, command: RecordBatch) -> Ack:
    """Store and apply the rows that are new; return what to acknowledge after the commit.

    Raises `Rejected("agent_site")`: an agent speaks for the warehouse it belongs to, no other.
    """
    check_site(ws, command.agent, command.site)
    stream = ws.streams.get((command.agent, command.stream, command.epoch))
    if stream is None:  # an older epoch that is replayed: the current one was opened by the hello
        stream = open_stream(ws, command.agent, command.stream, command.epoch, current=False)
    last = command.first_seq + len(command.rows) - 1
    if command.first_seq > stream.have + 1:
        if not 0 < command.skip_from <= stream.have + 1:
            return _ack(ws, stream, rewind=True)
        stream = _declare_gap(ws, stream, command)
    if last <= stream.have:
        held = ws.fetch.event_hash(stream.id, last)
        forked = held is not None and held != chain.extend(command.hash_before, command.rows)[-1]
        return _ack(ws, stream, fork=forked)
    hashes = chain.extend(command.hash_before, command.rows)
    overlap = stream.have - command.first_seq + 1
    before = hashes[overlap - 1] if overlap else command.hash_before
    if before != stream.hash:
        return _ack(ws, stream, fork=True)
    offsets = ws.clock_offsets(command.agent)
    refusals = []
    for position in range(overlap, len(command.rows)):
        seq = command.first_seq + position
        code = _record_row(ws, command, stream, seq, hashes[position], offsets)
        if code:
            refusals.append(Refusal(seq, code))
    stream = replace(stream, have=last, hash=hashes[-1])
    ws.streams.put(stream)
    if command.agent in ws.replay_goals:
        note_replayed(ws, command.agent)
    return _ack(ws, stream, rej=refusals)


def check_site(ws: WorkingSet, agent: str, site: str) -> None:
    """A known agent's warehouse is the one it speaks for. Raises `Rejected("agent_site")`."""
    info = ws.master.agents.get(agent)
    warehouse = ws.master.warehouses.get(info.warehouse) if info else None
    if warehouse is not None and warehouse.site != site:
        raise Rejected(
            "agent_site", "代理不属于这个仓库", "agent belongs to another site", field="site"
        )


def open_stream(
    ws: WorkingSet, agent: str, name: str, epoch: str, *, current: bool = True
) -> Stream:
    """A stream epoch seen for the first time; a current one takes that from the one before it."""
    others = (ws.streams.get((agent, name, o.epoch)) for o in ws.fetch.streams_of(agent, name))
    before = [other for other in others if other is not None and other.current]
    for other in before if current else ():
        ws.streams.put(replace(other, current=0))
    start = chain.genesis(agent, name, epoch)
    stream = Stream(
        ws.take_stream_id(), agent, name, epoch, 0, start, ws.now_ms,
        current=int(current or not before),
    )  # fmt: skip
    ws.streams.loaded((agent, name, epoch), None)
    ws.streams.put(stream)
    return stream


def _record_row(
    ws: WorkingSet,
    command: RecordBatch,
    stream: Stream,
    seq: int,
    digest: bytes,
    offsets: dict[int, int],
) -> str:
    """Store one row and apply it; returns the code of a refusal or ""."""
    row = command.rows[seq - command.first_seq]
    mark = ws.savepoint()
    kind, at_ms, code = "?", ws.now_ms, ""
    try:
        event = codec.decode_event(row)
        kind = event.t
        if event.q != seq:
            raise Corrupt("seq_mismatch", "行内序号与位置不符", "row number differs", field="q")
        at_ms = _corrected(event, offsets, ws.now_ms)
        if event.o is None or not _carried(ws, command, event):
            body = codec.decode_event_body(command.stream, event)
            apply_fact(ws, command.agent, event, body, at_ms)
    except (Corrupt, Rejected) as error:
        ws.rollback(mark)
        code = error.code
        ws.quarantine(
            f"agent:{command.agent}/{command.stream}",
            code,
            error.field,
            error.zh,
            f"{command.epoch}#{seq}",
            row,
        )
    except Exception as error:  # our bug: this row alone, or the agent would send it for ever
        ws.rollback(mark)
        code = "assertion"
        source = f"agent:{command.agent}/{command.stream}"
        ws.quarantine_bug(source, error, f"{command.epoch}#{seq}", row)
    ws.appended.append(EventRow(stream.id, seq, digest, kind[:48], row, at_ms, code))
    return code


def _carried(ws: WorkingSet, command: RecordBatch, event: Event) -> bool:
    """Whether a carried-over row has had its effect already; notes its origin if not."""
    assert event.o is not None
    origin = OriginRow(
        command.agent, command.stream, event.o.epoch, event.o.seq, bytes.fromhex(event.o.hash)
    )
    return not ws.apply_origin(origin)


def _declare_gap(ws: WorkingSet, stream: Stream, command: RecordBatch) -> Stream:
    """Rows before this batch are gone at the agent: named and alarmed, never silent (P2)."""
    missing = f"{stream.have + 1}..{command.first_seq - 1}"
    ws.alarm(
        "stream_gap",
        f"{stream.agent}/{stream.name}/{stream.epoch}",
        f"代理 {stream.agent} 的 {stream.name} 流缺少第 {missing} 行",
    )
    ws.trail(
        stream.agent, f"gap:{stream.name}", f"agent:{stream.agent}", f"{stream.epoch} {missing}"
    )
    stream = replace(stream, have=command.first_seq - 1, hash=command.hash_before)
    ws.streams.put(stream)
    return stream


def _corrected(event: Event, offsets: dict[int, int], now_ms: int) -> int:
    """The event's time by the server's clock: boot time plus the boot's learned offset."""
    offset = offsets.get(event.b)
    if offset is None:
        return min(event.w, now_ms)
    return min(event.m + offset, now_ms)


def _ack(
    ws: WorkingSet,
    stream: Stream,
    *,
    rewind: bool = False,
    fork: bool = False,
    rej: list[Refusal] | None = None,
) -> Ack:
    return Ack(
        limits.VERSION,
        stream.name,
        stream.epoch,
        stream.have,
        stream.hash.hex(),
        ws.now_ms,
        rewind=rewind,
        fork=fork,
        rej=rej or [],
    )


def _received_in(row: bytes) -> list[str]:
    """The commands an encoded `command.received` names; none for any other row."""
    if _RECEIPT not in row:
        return []
    try:
        body = codec.decode_event_body("floor", codec.decode_event(row))
    except Corrupt:
        return []  # quarantined when its turn comes
    if not isinstance(body, CommandReceived):
        return []
    return [*body.ids, *(item.id for item in body.refused)]


_RECEIPT = b'"t":"command.received"'
_SHIPMENT_KEY = b'"shipment":"'


def _shipment_in(row: bytes) -> str:
    """The shipment id in an encoded row, without decoding it; "" if it names none."""
    start = row.find(_SHIPMENT_KEY)
    if start < 0:
        return ""
    start += len(_SHIPMENT_KEY)
    end = row.find(b'"', start, start + limits.ID_CHARS_MAX + 1)
    return row[start:end].decode("ascii", "ignore") if end > 0 else ""
