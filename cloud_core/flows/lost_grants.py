"""Lost grants: what this core believes to be on a bench, and the bench's card knows nothing of.

The core was restored from a backup, and in the life it forgot a card was lost: the new card was
told what the forgotten core knew (that the parcel had left, say), so it has a fence and no task.
Nobody else will ever speak of such a shipment. Once every agent has told what it keeps, it goes to
its bench again under a token of this life; its number goes with it, and its label, which may lie on
the box already, comes up in doubt there, so that a person looks first.
"""

from __future__ import annotations

from collections.abc import Iterator

from msgspec.structs import replace

from cloud_core.domain.policy import DAY_MS
from cloud_core.domain.progress import ON_THE_BENCH
from cloud_core.domain.rows import EventRow, OutboxRow, Shipment, Stream
from cloud_core.flows.changes import READDRESS
from cloud_core.flows.grant import grant_id, send_grant
from cloud_core.flows.own import lift, note
from cloud_core.flows.readdress import SCREEN_ZH
from cloud_core.store.working_set import WorkingSet
from protocols import codec
from protocols.commands import Cancel
from protocols.errors import Corrupt
from protocols.events import GrantStored

STORED = "grant.stored"
_CLOCK_SLACK_MS = DAY_MS
"""How far an agent's clock may be off when its rows are read back to the time of a grant."""


def find_lost(ws: WorkingSet, agent: str) -> None:
    """Give an agent that has replayed again what its card should have and does not.

    Only where a card was replaced, and only for tokens of a forgotten life; a grant that is still
    on its way is no lost one: its bench answers it.
    """
    streams = ws.fetch.streams_of(agent, "floor")
    rows = (ws.streams.get((agent, "floor", stream.epoch)) for stream in streams)
    card = next((row for row in rows if row is not None and row.current), None)
    if card is None or len(streams) < 2:
        return
    found = (ws.shipments.get(name) for name in ws.fetch.on_bench(agent, ws.core_epoch))
    live = {s.id: s for s in found if s is not None and _may_be_lost(ws, agent, s)}
    if not live:
        return
    waiting = (ws.outbox.get(row.id) for row in ws.fetch.open_commands(agent, 100_000))
    for command in (*waiting, *ws.outbox.known()):
        if command is not None and command.received_ms is None and command.agent == agent:
            asked = live.get(command.shipment_id)
            if asked is not None and _asks(command, asked):
                del live[asked.id]
    if not live:
        return
    for name in _on_card(ws, card, live):
        live.pop(name, None)
        if not live:
            return
    for shipment in live.values():
        _give_again(ws, shipment)


def grant_refused(ws: WorkingSet, agent: str, row: OutboxRow) -> None:
    """The owner's own bench has a fence above the token it was granted: a forgotten life set it."""
    shipment = ws.shipments.get(row.shipment_id)
    if ws.recovering or shipment is None or not _may_be_lost(ws, agent, shipment):
        return
    if not shipment.stop and _asks(row, shipment):
        _give_again(ws, shipment)


def stop_again(ws: WorkingSet, shipment: Shipment, suffix: str) -> str:
    """Ask a bench once more to stop; `suffix` tells the command from the first. Its id."""
    moving = shipment.waiting == READDRESS
    why, text = ("address_changed", SCREEN_ZH) if moving else ("stopping", "")
    body = Cancel(shipment.id, shipment.token, why, shipment.order_id, True, text)
    cancel = f"cancel:{shipment.id}:{shipment.token_epoch}.{shipment.token_n}{suffix}"
    ws.send(cancel, shipment.agent, "cancel", codec.encode(body), shipment_id=shipment.id)
    return cancel


def _asks(command: OutboxRow, shipment: Shipment) -> bool:
    """Whether the command is what the shipment's bench has to answer now."""
    if shipment.stop:
        return command.kind == "cancel"
    return f"{command.id}:".startswith(f"{grant_id(shipment)}:")


def _may_be_lost(ws: WorkingSet, agent: str, shipment: Shipment) -> bool:
    return (
        shipment.agent == agent
        and shipment.state in ON_THE_BENCH
        and shipment.stop in ("", "stopping")
        and shipment.token_epoch < ws.core_epoch
    )


def _on_card(ws: WorkingSet, card: Stream, live: dict[str, Shipment]) -> Iterator[str]:
    """Shipments of which the card has told that it keeps their grant, the newest first."""
    for row in ws.appended:
        if isinstance(row, EventRow) and row.stream_id == card.id and row.type == STORED:
            yield _shipment_in(row.row)
    oldest_ms = min(s.granted_ms or s.paid_ms for s in live.values()) - _CLOCK_SLACK_MS
    for row_bytes in ws.fetch.rows_back(card.id, card.have, STORED, oldest_ms):
        yield _shipment_in(row_bytes)


def _shipment_in(row: bytes) -> str:
    try:
        body = codec.decode_event_body("floor", codec.decode_event(row))
    except Corrupt:
        return ""
    return body.shipment if isinstance(body, GrantStored) else ""


def _give_again(ws: WorkingSet, shipment: Shipment) -> None:
    """The bench gets it under the next token of this life, or is asked once more to stop."""
    if shipment.stop == "stopping":
        stop_again(ws, shipment, f":{ws.core_epoch}")
        return
    before = shipment.token
    shipment = lift(ws, replace(shipment, top_n=max(shipment.token_n, shipment.top_n) + 1))
    given = replace(shipment, token_epoch=ws.core_epoch, version=shipment.version + 1)
    ws.shipments.put(given)
    number = ws.waybills.get(given.waybill) if given.waybill else None
    if number is not None:
        ws.waybills.put(replace(number, token_epoch=given.token_epoch, token_n=given.token_n))
    send_grant(ws, given, reissue=True)
    note(ws, given, "given_again", "core")
    ws.alarm(
        "grant_lost", given.id,
        f"发货单 {given.id} 在恢复之前已派给 {given.agent}（令牌 {before.core_epoch}.{before.n}），"
        f"工位的存储卡上没有它的记录，已重新派出；运单 {given.waybill} 可能已经发走，请先核对",
    )  # fmt: skip
