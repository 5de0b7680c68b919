"""What crosses the broker and what is left lying about: personal data and grants (P4, P12).

Looks at every payload that anybody publishes, inflated, and at the bytes of both databases.
"""

from __future__ import annotations

import re
import sqlite3
import zlib
from collections.abc import Iterable

import msgspec

from protocols.commands import Cancel, Fences, Grant
from protocols.events import CommandReceived
from protocols.messages import Ack, Batch, Command, Event
from tests.simulation.truth import GrantSeen, Truth, Violation

CLEAR = re.compile(
    "1000000[0-9]{4}|[测演试样例][甲乙丙丁戊己庚辛壬癸]{4}|演示路[0-9]+号".encode()
    .replace("[测演试样例]".encode(), "(?:测|演|试|样|例)".encode())
    .replace("[甲乙丙丁戊己庚辛壬癸]".encode(), "(?:甲|乙|丙|丁|戊|己|庚|辛|壬|癸)".encode())
)
"""Any receiver of the history in clear, as bytes of UTF-8."""

_command = msgspec.json.Decoder(Command)
_grant = msgspec.json.Decoder(Grant)
_cancel = msgspec.json.Decoder(Cancel)
_fences = msgspec.json.Decoder(Fences)
_event = msgspec.json.Decoder(Event)
_received = msgspec.json.Decoder(CommandReceived)
_batch = msgspec.json.Decoder(Batch)
_ack = msgspec.json.Decoder(Ack)
_RECEIPT = b'"t":"command.received"'


def plain(payload: bytes) -> bytes:
    """The payload, inflated if it was compressed and is sound."""
    if payload[:1] != b"\x78":
        return payload
    try:
        return zlib.decompress(payload)
    except zlib.error:
        return payload


class Wiretap:
    """Called by the broker for each publish."""

    def __init__(self, truth: Truth) -> None:
        self._truth = truth
        self._batches: dict[tuple[str, str, int], int] = {}

    def __call__(self, client: str, topic: str, payload: bytes) -> None:
        found = CLEAR.search(plain(payload))
        if found:
            self._truth.broken(Violation("P12", f"{found[0].decode()} in clear on {topic}"))
        if client == "core" and topic.endswith("/dn/cmd"):
            self._command_seen(topic, payload)
        elif topic.endswith("/up/ev-floor"):
            self._batch_seen(client, payload)
        elif client == "core" and topic.endswith("/dn/ack"):
            self._ack_seen(topic, payload)

    def _batch_seen(self, client: str, payload: bytes) -> None:
        try:
            batch = _batch.decode(plain(payload))
        except msgspec.DecodeError:
            return
        key = (client, batch.e, batch.s)
        self._batches[key] = self._batches.get(key, 0) + 1
        for row in batch.ev:
            if _RECEIPT in bytes(row):
                self._receipt_seen(client, bytes(row))

    def _receipt_seen(self, client: str, row: bytes) -> None:
        """The agent says which commands its card keeps: a fence among them binds it (P4)."""
        body = _received.decode(_event.decode(row).d)
        refused = {item.id for item in body.refused}
        for command in body.ids:
            if command not in refused:
                self._truth.fence_stored(client, command)

    def _ack_seen(self, topic: str, payload: bytes) -> None:
        ack = _ack.decode(payload)
        agent = topic.split("/")[2]
        for (name, epoch, first), times in list(self._batches.items()):
            if (name, epoch) == (agent, ack.e) and first <= ack.have:
                del self._batches[name, epoch, first]
                if times > 1:
                    self._truth.reached("resent_batch_acked")

    def _command_seen(self, topic: str, payload: bytes) -> None:
        command = _command.decode(plain(payload))
        if command.k == "grant":
            self._grant_seen(topic.split("/")[2], _grant.decode(command.d))
        elif command.k == "cancel":
            body = _cancel.decode(command.d)
            self._truth.fences_sent[command.id] = [(body.shipment, tuple(body.fence))]
        elif command.k == "fences":
            fences = _fences.decode(command.d).fences
            self._truth.fences_sent[command.id] = [(f.shipment, tuple(f.fence)) for f in fences]

    def _grant_seen(self, agent: str, body: Grant) -> None:
        seen = GrantSeen(agent, body.shipment, tuple(body.token), body.waybill, body.order)
        known = self._truth.grants.setdefault(body.waybill, [])
        if seen not in known:
            known.append(seen)


def must_be_clean(where: str, values: Iterable[object]) -> None:
    """Raise P12 for the first value that holds a receiver in clear."""
    for value in values:
        data = value.encode() if isinstance(value, str) else value
        if isinstance(data, bytes) and (found := CLEAR.search(data)):
            raise Violation("P12", f"{found[0].decode()} in clear in {where}")


def database_is_clean(database: sqlite3.Connection, *, except_tables: frozenset[str]) -> None:
    """No column of any table but the named ones holds a receiver in clear."""
    tables = [
        row[0]
        for row in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        if row[0] not in except_tables and not row[0].startswith("sqlite_")
    ]
    for table in tables:
        for row in database.execute(f"SELECT * FROM {table}"):
            must_be_clean(f"table {table}", tuple(row))
