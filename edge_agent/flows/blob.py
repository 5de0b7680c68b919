"""Blob: a finished picture or byte string of a platform arrives in parts and becomes a paper.

The parts may come before or after their command, in any order and more than once. The command
waits for them (it is not receipted, so the core sends it again) until its time is up; what comes
out wrong is refused by name. Whether the picture can be printed is seen when it is drawn.
"""

from __future__ import annotations

import contextlib

from edge_agent.domain import moment
from edge_agent.domain.label import PaperFields, PictureFields, RawFields
from edge_agent.flows import stop
from edge_agent.flows.bench import Bench
from edge_agent.flows.paper import NO_TOKEN, enqueue_paper
from edge_agent.journal import chunks
from edge_agent.journal.tx import Tx
from protocols import chunks as parts
from protocols import codec, commands
from protocols.errors import Corrupt, Rejected
from protocols.messages import Chunk, Command

KIND = "blob"
KEPT_BYTES_MAX = 32 * 1024 * 1024
"""Parts of payloads whose command has not come or is not complete; beyond it the oldest go."""
KEPT_MS = 3_600_000
WAIT_S = 600
"""How long a command without a time to live of its own waits for its parts."""
_DAY_MS = 86_400_000


def keep(tx: Tx, chunk: Chunk) -> None:
    """One part came. Raises `Corrupt("chunk_conflict")` for an index beyond the count."""
    if chunk.index >= chunk.count:
        raise Corrupt("chunk_conflict", "分片序号超过数量", "index beyond count", field="index")
    now_ms = tx.now.wall_ms
    chunks.put(tx.db, chunk, now_ms)
    chunks.trim(tx.db, KEPT_BYTES_MAX, now_ms - KEPT_MS, now_ms + _DAY_MS, spare=chunk.digest)


def waits(tx: Tx, command: Command, body: commands.PrintBlob, at: Bench) -> bool:
    """Whether parts are still on their way and there is time to wait for them."""
    ttl_s = WAIT_S if command.ttl_s is None else command.ttl_s
    over = moment.expired(command.sent_ms, ttl_s, at.offset, tx.now.mono_ms)
    return not over and chunks.missing(tx.db, body.digest)


def order(tx: Tx, body: commands.PrintBlob, at: Bench) -> None:
    """Queue what the command asks for. Raises `Rejected`, `Corrupt` with the reason by name."""
    if body.shipment and body.token is not None:
        stop.check_token(tx, body.shipment, body.token)
    if body.printer and body.printer not in at.plan.printers:
        raise Rejected("printer_unknown", "本机没有这台打印机", "no such printer", field="printer")
    data = parts.join(body.digest, chunks.of(tx.db, body.digest))
    token = body.token or NO_TOKEN
    enqueue_paper(
        tx,
        KIND,
        body.job,
        _fields(body, data),
        at,
        printer=body.printer,
        shipment=body.shipment if token != NO_TOKEN else "",
        token=token,
    )
    chunks.forget(tx.db, body.digest)


def drop(tx: Tx, command: Command) -> None:
    """The command was refused: its parts are of no use, false ones would spoil the next try."""
    with contextlib.suppress(Corrupt):
        body = codec.decode_command_body(command)
        assert isinstance(body, commands.PrintBlob)
        chunks.forget(tx.db, body.digest)


def _fields(body: commands.PrintBlob, data: bytes) -> PaperFields:
    if body.kind == "png":
        return PictureFields(data)
    language = _language_of(data)
    if not language:
        raise Rejected(
            "print_raw_language", "看不出打印数据的语言", "unknown printer language", field="digest"
        )
    return RawFields(language, data)


def _language_of(data: bytes) -> str:
    """The printer language of finished bytes by how they must begin, "" if it is none we know.

    ZPL II labels start `^XA` or with a `~` command, TSPL jobs with a set-up word, ESC/POS with an
    ESC or GS command, CPCL with `! ` and an offset (the programming manuals of the four).
    """
    head = data[:64].lstrip(b"\r\n \xef\xbb\xbf")
    if head.startswith((b"^XA", b"~")):
        return "zpl"
    if head[:1] in (b"\x1b", b"\x1d"):
        return "escpos"
    if head[:2] == b"! " and head[2:3].isdigit():
        return "cpcl"
    word = head.split(b" ", 1)[0].split(b"\r", 1)[0].split(b"\n", 1)[0].upper()
    return "tspl" if word in (b"SIZE", b"CLS", b"GAP", b"DIRECTION", b"SPEED", b"DENSITY") else ""
