"""Paper: queue anything to print that is no waybill, under the same law of one paper a revision.

A flow fills one of `domain.label`'s papers and calls `enqueue_paper` in its own commit; from there
on it lives like a waybill's job: held, unknown, reprinted with a mark. The same kind and number
again is the same job.
"""

from __future__ import annotations

import re
from dataclasses import replace

import msgspec

from edge_agent.domain.label import (
    BoxLabelFields,
    LabelFields,
    NoticeFields,
    PaperFields,
    PictureFields,
    RawFields,
    ReturnTicketFields,
    assert_masked,
    text_values,
)
from edge_agent.domain.print_job import MAX_TTL_S, PrintJob, PrintKey
from edge_agent.flows.bench import Bench
from edge_agent.journal import jobs, papers
from edge_agent.journal.jobs import Placed
from edge_agent.journal.tx import Tx
from edge_agent.ports import Connection
from protocols.errors import Rejected
from protocols.messages import Token

NO_TOKEN = Token(0, 0)
_KIND = re.compile(r"[a-z][a-z_]{1,31}\Z")
_NUMBER = re.compile(r"[!-~]{1,64}\Z")
_encode = msgspec.msgpack.Encoder().encode
_SHAPES: dict[str, type[PaperFields]] = {
    shape.kind: shape
    for shape in (ReturnTicketFields, BoxLabelFields, NoticeFields, PictureFields, RawFields)
}


def enqueue_paper(
    tx: Tx,
    kind: str,
    number: str,
    fields: PaperFields,
    at: Bench,
    *,
    printer: str = "",
    station: str = "",
    operator: str = "",
    ttl_s: int = 0,
    shipment: str = "",
    token: Token = NO_TOKEN,
) -> PrintJob:
    """Queue one paper; the job there is already when kind and number are known.

    `kind` (`return_ticket`, `box`, `status_ticket`, ... never `waybill`) and `number` (1..64 ASCII
    characters) are its identity. `printer` "" = the one that serves `station`. `operator` = who
    asked ("" = the machine: then a restart without the core holds it). `ttl_s` 0 = the plan's, at
    most a week. With `shipment` and `token` it prints only while that grant stands. Raises
    `Rejected` `paper_invalid`, `label_not_masked`, `label_text_long`, `no_printer`.
    """
    _check(kind, number, fields)
    known = jobs.newest(tx.db, kind, number)
    if known is not None:
        return known.job
    chosen = printer if printer in at.plan.printers else at.plan.printer_of(station)
    if not chosen:
        raise Rejected("no_printer", "本机没有打印机", "no printer here", field="printer")
    job = PrintJob(
        key=PrintKey(kind, number, 1),
        shipment_id=shipment,
        token=token,
        queued_ms=tx.now.wall_ms,
        ttl_s=min(ttl_s or at.plan.print_ttl_s, MAX_TTL_S),
        operator=operator,
    )
    stored = _encode([fields.kind, fields])
    papers.put(tx.db, kind, number, stored, queued_ms=tx.now.wall_ms)
    jobs.save(tx.db, Placed(job, chosen, station, tx.boot))
    return job


def paper_of(db: Connection, key: PrintKey) -> PaperFields:
    """What to draw for one job, with its mark. Raises `Rejected("label_purged")` once forgotten."""
    placed = jobs.get(db, key)
    stored = papers.get(db, key.kind, key.number)
    if placed is None or stored is None:
        raise Rejected("label_purged", "单据内容已按规定清除", "paper fields are gone", field="job")
    shape, raw = msgspec.msgpack.decode(stored, type=tuple[str, msgspec.Raw])
    fields: PaperFields = msgspec.msgpack.decode(raw, type=_SHAPES[shape])
    if isinstance(fields, PictureFields | RawFields):
        return fields
    return replace(fields, copy_mark=placed.job.copy_mark)


def _check(kind: str, number: str, fields: PaperFields) -> None:
    if not _KIND.match(kind) or kind == LabelFields.kind:
        raise _bad("kind", "单据种类不对")
    if not _NUMBER.match(number):
        raise _bad("number", "单据号要 1 到 64 个可打印的 ASCII 字符")
    if fields.kind not in _SHAPES:
        raise _bad("fields", "这种单据不能这样打印")
    if not isinstance(fields, PictureFields | RawFields):
        assert_masked(fields)
        text_values(fields)


def _bad(field: str, zh: str) -> Rejected:
    return Rejected("paper_invalid", zh, "the paper cannot be printed so", field=field)
