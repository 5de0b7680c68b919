"""Take in: keep verified raw bytes before anything is answered, and bad input where it belongs."""

from __future__ import annotations

from cloud_core.domain.commands import QuarantineInput, ResolveIncident, StoredRaw, StoreRaw
from cloud_core.domain.rows import Audit, RawMessage
from cloud_core.flows.incident_holds import end_by_person
from cloud_core.store.working_set import WorkingSet
from protocols.errors import Rejected


def prefetch_raw(ws: WorkingSet, commands: list[StoreRaw]) -> None:
    """Say how many messages may be new, so that their numbers are drawn together."""
    ws.new_raw = len(commands)


def store_raw(ws: WorkingSet, command: StoreRaw) -> StoredRaw:
    """Store a message once; the same bytes again are the same row."""
    key = (command.channel, command.digest)
    known = ws.raw_ids.get(key) or ws.fetch.raw_id(*key)
    if known is not None:
        return StoredRaw(known, duplicate=True)
    raw_id = ws.raw_ids[key] = ws.take_raw_id()
    ws.appended.append(
        RawMessage(
            raw_id,
            command.channel,
            command.kind,
            command.digest,
            command.body,
            command.note,
            ws.now_ms,
            command.source,
        )
    )
    return StoredRaw(raw_id, duplicate=False)


def quarantine_input(ws: WorkingSet, command: QuarantineInput) -> None:
    """Keep bad input with the code and field of its fault."""
    ref = f"raw:{command.raw_id}" if command.raw_id is not None else ""
    ws.quarantine(
        command.source, command.code, command.field, command.message, ref, command.body or None
    )
    if command.raw_id is not None:
        ws.processed_raw.append(command.raw_id)


def resolve_incident(ws: WorkingSet, command: ResolveIncident) -> None:
    """A person closes an incident; who and from where is kept.

    Raises `Rejected` `incident_unknown`, `stock_effect_invalid`, `stock_effect_missing`.
    """
    found = ws.fetch.open_incident(command.incident_id)
    if found is None:
        raise Rejected(
            "incident_unknown", "没有这个未处理的异常", "no such open incident", field="id"
        )
    end_by_person(ws, found, command)
    ws.resolved_incidents.append((command.incident_id, command.actor))
    ws.appended.append(
        Audit(
            ws.now_ms,
            command.actor,
            command.source,
            "incident.resolved",
            str(command.incident_id),
            command.stock_effect,
        )
    )
