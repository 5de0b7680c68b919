"""Papers beside the waybill, and finished pictures that come in parts: same law, defined errors."""

from __future__ import annotations

from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest

from edge_agent.domain.label import LabelLine, NoticeFields, PictureFields, ReturnTicketFields
from edge_agent.domain.moment import ServerOffset
from edge_agent.domain.print_job import PrintJob, PrintKey
from edge_agent.domain.printer_status import READY
from edge_agent.flows import blob, label_text, print_label, purge
from edge_agent.flows.paper import enqueue_paper
from edge_agent.journal import jobs, papers
from protocols import chunks, commands
from protocols.errors import Corrupt, Rejected
from protocols.messages import Chunk, Token
from tests.support.edge import PRINTED, Floor, cancel, grant

TICKET = ReturnTicketFields(
    ticket="RET-AAAA0001", order_id="DB2026AAAA", native_order_id="N-1",
    contact_name_masked="测*", contact_phone_masked="100******01", window="明天 09:00-12:00",
    lines=(LabelLine("SKU-P", "手机", 1, ("SN-1",)),), created="2026-01-02 10:32",
    warehouse="演示仓",
)  # fmt: skip
KEY = PrintKey("return_ticket", "RET-AAAA0001", 1)
SHIPMENT = "DB2026AAAA-1"
PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 500
ZPL = b"^XA^FO10,10^FDTEST^FS^XZ"


@pytest.fixture
def floor(tmp_path: Path) -> Floor:
    floor = Floor(tmp_path)
    floor.resynced()
    return floor


def queue(floor: Floor) -> PrintJob:
    job: PrintJob = floor.write(
        lambda tx: enqueue_paper(tx, KEY.kind, KEY.number, TICKET, floor.bench)
    )
    return job


def test_a_return_ticket_is_one_paper_however_often_it_is_asked_for(floor: Floor) -> None:
    assert queue(floor).state == "queued"
    assert floor.print_next(PRINTED) == "confirmed"
    assert queue(floor).state == "confirmed"
    assert floor.print_next() == ""
    told = floor.bodies("paper.printed")
    assert [(body["kind"], body["number"], body["evidence"]) for body in told] == [
        ("return_ticket", "RET-AAAA0001", "printer")
    ]
    assert floor.events("label.started") == []


def test_a_paper_is_reprinted_with_a_mark_and_proved_by_its_scan(floor: Floor) -> None:
    queue(floor)
    floor.print_next(PRINTED)
    floor.write(
        lambda tx: print_label.ask_again(
            tx, KEY, operator="演示乙", reason="污损", clock_text="08:00", at=floor.bench
        )
    )
    second = replace(KEY, revision=2)
    drawn = floor.read(lambda db: label_text.fields_of(db, second, floor.plan))
    assert (drawn.ticket, drawn.lines) == (TICKET.ticket, TICKET.lines)
    assert drawn.copy_mark.startswith("补打 1 · 08:00")
    floor.print_next()
    floor.restart()
    floor.write(lambda tx: print_label.label_scanned(tx, KEY.number, KEY.kind))
    assert floor.bodies("paper.printed")[-1]["evidence"] == "scan"


def test_a_paper_queued_before_the_power_cut_waits_for_the_core(floor: Floor) -> None:
    queue(floor)
    assert floor.restart().held == 1
    assert floor.print_next() == ""
    floor.core_seen = True
    assert floor.write(print_label.core_heard) == 1
    assert floor.print_next(PRINTED) == "confirmed"


def test_a_paper_nobody_wants_any_more_is_given_up(floor: Floor) -> None:
    queue(floor)
    floor.write(lambda tx: print_label.give_up(tx, KEY, "演示乙"))
    assert floor.print_next() == ""
    floor.tell(grant())
    floor.print_next(PRINTED)
    label = PrintKey("waybill", "WAAAA1", 1)
    with pytest.raises(Rejected, match="print_step_refused"):
        floor.write(lambda tx: print_label.give_up(tx, label, "演示乙"))


@pytest.mark.parametrize(
    ("kind", "number", "fields", "code"),
    [
        ("waybill", "X1", TICKET, "paper_invalid"),
        ("Return", "X1", TICKET, "paper_invalid"),
        ("return_ticket", "退货", TICKET, "paper_invalid"),
        ("return_ticket", "X" * 65, TICKET, "paper_invalid"),
        ("return_ticket", "X1", replace(TICKET, contact_phone_masked="10000000001"),
         "label_not_masked"),
        ("slip", "X1", NoticeFields("题", ("电话 10000000001",), "", ""), "label_not_masked"),
        ("slip", "X1", NoticeFields("题" * 301, (), "", ""), "label_text_long"),
    ],
)  # fmt: skip
def test_a_paper_that_must_not_be_printed_is_refused_before_it_is_kept(
    floor: Floor, kind: str, number: str, fields: ReturnTicketFields | NoticeFields, code: str
) -> None:
    with pytest.raises(Rejected, match=code):
        floor.write(lambda tx: enqueue_paper(tx, kind, number, fields, floor.bench))
    assert floor.read(jobs.counts) == {}


def test_what_a_paper_says_is_purged_in_time_but_not_while_it_waits(floor: Floor) -> None:
    queue(floor)
    floor.clock.step(25 * purge.HOUR_MS)
    floor.write(lambda tx: purge.purge_due(tx, floor.bench))
    assert floor.read(lambda db: papers.get(db, KEY.kind, KEY.number)) is not None
    floor.write(lambda tx: print_label.give_up(tx, KEY, ""))
    floor.write(lambda tx: purge.purge_due(tx, floor.bench))
    assert floor.read(lambda db: papers.get(db, KEY.kind, KEY.number)) is None
    with pytest.raises(Rejected, match="label_purged"):
        floor.read(lambda db: label_text.fields_of(db, KEY, floor.plan))


# --- finished pictures ------------------------------------------------------------------------


def keep(floor: Floor, part: Chunk) -> None:
    floor.write(lambda tx: blob.keep(tx, part))


def picture(job: str = "PIC-1", data: bytes = PNG, **more: object) -> commands.PrintBlob:
    kind = "png" if data is PNG else "raw"
    digest = sha256(data).hexdigest()
    return commands.PrintBlob(job=job, kind=kind, digest=digest, **more)  # type: ignore[arg-type]


def test_a_picture_in_parts_prints_once_all_came_in_any_order(floor: Floor) -> None:
    first, last = chunks.split(PNG)
    keep(floor, last)
    keep(floor, last)
    assert floor.tell(picture(), cmd_id="pic").done == ()
    assert floor.events("command.received") == []
    keep(floor, first)
    assert floor.tell(picture(), cmd_id="pic").done == ("pic",)
    drawn = floor.read(
        lambda db: label_text.fields_of(db, PrintKey("blob", "PIC-1", 1), floor.plan)
    )
    assert drawn == PictureFields(PNG)
    assert floor.print_next(PRINTED) == "confirmed"
    assert floor.bodies("paper.printed")[0]["number"] == "PIC-1"
    assert floor.core.db.execute("SELECT COUNT(*) FROM chunk").fetchone()[0] == 0


def test_a_picture_that_never_becomes_whole_is_refused_and_delays_nobody(floor: Floor) -> None:
    keep(floor, chunks.split(PNG)[0])
    waiting = floor.command(picture(), cmd_id="pic")
    other = floor.command(grant(), cmd_id="other")
    from edge_agent.flows import receive

    taken = floor.write(lambda tx: receive.receive(tx, [waiting, other], floor.bench))
    assert taken.done == ("other",)
    floor.offset = ServerOffset(waiting.sent_ms - floor.clock.mono_ms, 10)
    floor.clock.step(601_000)
    assert floor.tell(picture(), cmd_id="pic").refused == (("pic", "chunk_missing"),)


def test_parts_of_another_payload_under_its_name_are_found_out(floor: Floor) -> None:
    false = replace_data(chunks.split(ZPL)[0], b"^XA^XZ")
    keep(floor, false)
    assert floor.tell(picture(data=ZPL)).refused[0][1] == "digest_mismatch"
    keep(floor, chunks.split(ZPL)[0])
    assert floor.tell(picture(data=ZPL)).done
    with pytest.raises(Corrupt, match="chunk_conflict"):
        keep(floor, Chunk(1, "0" * 64, 3, 2, b"x"))


def replace_data(chunk: Chunk, data: bytes) -> Chunk:
    return Chunk(chunk.v, chunk.digest, chunk.index, chunk.count, data)


@pytest.mark.parametrize(
    ("data", "code"),
    [(b"MZ\x90 not for a printer", "print_raw_language"), (ZPL, ""), (b"SIZE 100 mm", ""),
     (b"\x1b@hello", ""), (b"! 0 200 200 1200 1\r\n", ""), (b"! hello", "print_raw_language")],
)  # fmt: skip
def test_raw_bytes_must_begin_as_a_printer_language_does(
    floor: Floor, data: bytes, code: str
) -> None:
    for part in chunks.split(data):
        keep(floor, part)
    refused = floor.tell(picture(data=data)).refused
    assert [found for _id, found in refused] == ([code] if code else [])


def test_a_picture_for_a_shipment_prints_only_under_a_living_token(floor: Floor) -> None:
    floor.tell(grant(print_on="pack"))
    for part in chunks.split(PNG):
        keep(floor, part)
    floor.tell(picture(shipment=SHIPMENT, token=Token(1, 1)))
    floor.tell(cancel())
    assert floor.print_next() == ""
    assert floor.read(lambda db: papers.get(db, "blob", "PIC-1")) is None
    late = floor.tell(picture("PIC-2", shipment=SHIPMENT, token=Token(1, 1)))
    assert (late.refused, late.done) == ((), ())
    for part in chunks.split(PNG):
        keep(floor, part)
    late = floor.tell(picture("PIC-2", shipment=SHIPMENT, token=Token(1, 1)))
    assert late.refused[0][1] == "stale_token"


def test_a_picture_for_a_printer_that_is_not_here_is_refused(floor: Floor) -> None:
    for part in chunks.split(PNG):
        keep(floor, part)
    assert floor.tell(picture(printer="label-9")).refused[0][1] == "printer_unknown"


def test_a_picture_that_cannot_be_drawn_fails_by_name_and_the_next_label_prints(
    floor: Floor,
) -> None:
    for part in chunks.split(PNG):
        keep(floor, part)
    floor.tell(picture())
    floor.tell(grant())
    broken = PrintKey("blob", "PIC-1", 1)
    floor.write(lambda tx: print_label.cannot_draw(tx, broken, "picture_broken"))
    assert floor.bodies("paper.failed")[0]["reason"] == "picture_broken"
    assert floor.print_next(PRINTED, status=READY) == "confirmed"


def test_parts_nobody_asks_for_do_not_fill_the_card(
    floor: Floor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blob, "KEPT_BYTES_MAX", len(PNG) + 10)
    for number in range(4):
        for part in chunks.split(PNG + bytes([number])):
            keep(floor, part)
            floor.clock.step(1)
    kept = floor.core.db.execute("SELECT COUNT(DISTINCT digest) FROM chunk").fetchone()[0]
    assert kept == 1
    floor.clock.step(blob.KEPT_MS + 1)
    floor.write(lambda tx: purge.purge_due(tx, floor.bench))
    assert floor.core.db.execute("SELECT COUNT(*) FROM chunk").fetchone()[0] == 0
