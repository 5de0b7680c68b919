"""A label prints at most once unless a person asks; what is not known stays unknown (P6)."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from msgspec.structs import replace as replace_struct

from edge_agent.domain.label import LabelFields
from edge_agent.domain.print_job import PrintKey
from edge_agent.domain.printer_status import READY, SILENT, PrinterLevel, PrinterStatus, SendOutcome
from edge_agent.flows import label_text, print_label
from protocols import commands
from protocols.errors import Rejected
from protocols.messages import Token
from tests.support.edge import PLAN, PRINTED, Floor, cancel, grant
from tests.support.labels import renderer, template

SHIPMENT = "DB2026AAAA-1"
WAYBILL = "WAAAA1"
PAPER_OUT = PrinterStatus(PrinterLevel.ERROR, "paper_out", "缺纸")
BROKEN = SendOutcome(400, 1000, SILENT, error="broken")
ALL_SENT = SendOutcome(1000, 1000, READY)


@pytest.fixture
def floor(tmp_path: Path) -> Floor:
    floor = Floor(tmp_path)
    floor.resynced()
    return floor


def labels(floor: Floor) -> list[str]:
    return [t for t in floor.types() if t.startswith("label.")]


def test_started_is_durable_before_the_first_byte(floor: Floor) -> None:
    floor.tell(grant())
    assert floor.print_next() == "sending"
    assert labels(floor) == ["label.started"]


def test_the_label_says_what_the_grant_said(floor: Floor) -> None:
    told = grant()
    floor.tell(replace_struct(told, label=replace_struct(told.label, weight_g=1250, remark="轻放")))
    key = floor.job(SHIPMENT).job.key
    fields = floor.read(lambda db: label_text.fields_of(db, key, floor.plan))
    assert isinstance(fields, LabelFields)
    assert (fields.waybill, fields.order_id, fields.native_order_id) == (WAYBILL, told.order, "N-1")
    assert [(line.sku, line.name, line.qty) for line in fields.lines] == [
        ("SKU-A", "商品 SKU-A", 2), ("SKU-B", "商品 SKU-B", 1),
    ]  # fmt: skip
    assert fields.receiver_name_masked == told.label.receiver_name
    assert (fields.weight, fields.shipped_note, fields.copy_mark) == ("1.25 kg", "轻放", "")
    image = renderer().render(template(), fields)
    assert image.size == (800, 1200), "empty optional fields leave their boxes out"


def test_a_crash_while_printing_leaves_it_unknown_and_nothing_prints_again(floor: Floor) -> None:
    floor.tell(grant())
    floor.print_next()
    recovered = floor.restart()
    assert (recovered.unknown, recovered.held) == (1, 0)
    floor.core_seen = True
    floor.write(print_label.core_heard)
    floor.write(lambda tx: print_label.printer_ready(tx, "label-1"))
    assert floor.print_next() == ""
    assert labels(floor) == ["label.started", "label.unknown"]


def test_a_boot_without_the_core_never_prints_unasked(floor: Floor) -> None:
    floor.tell(grant())
    assert floor.restart().held == 1
    assert floor.print_next() == ""
    floor.write(lambda tx: print_label.printer_ready(tx, "label-1"))
    assert floor.print_next() == ""
    floor.core_seen = True
    assert floor.write(print_label.core_heard) == 1
    assert floor.print_next(PRINTED) == "confirmed"


def test_a_person_may_print_without_the_core(floor: Floor) -> None:
    floor.tell(grant())
    floor.restart()
    floor.scan(f"TASK-{SHIPMENT}")
    assert floor.scan("$$PRINT").code == "printing"
    assert floor.print_next(PRINTED) == "confirmed"


def test_after_the_first_welcome_an_old_job_waits_for_a_person(floor: Floor) -> None:
    floor.tell(grant())
    floor.restart()
    floor.clock.step(601_000)
    floor.core_seen = True
    floor.write(print_label.core_heard)
    assert floor.print_next() == "held"
    assert floor.job(SHIPMENT).job.reason == "expired"
    assert floor.bodies("label.held")[0]["reason"] == "expired"


def test_no_paper_holds_and_new_paper_prints(floor: Floor) -> None:
    floor.tell(grant())
    assert floor.print_next(status=PAPER_OUT) == "held"
    assert floor.print_next() == ""
    floor.write(lambda tx: print_label.printer_ready(tx, "label-1"))
    assert floor.print_next(PRINTED) == "confirmed"
    assert labels(floor) == ["label.held", "label.started", "label.printed"]


def test_half_a_label_is_unknown_until_it_is_scanned(floor: Floor) -> None:
    floor.tell(grant())
    assert floor.print_next(BROKEN) == "unknown"
    floor.scan(WAYBILL)
    assert floor.job(SHIPMENT).job.state == "confirmed"
    assert floor.bodies("label.printed")[0]["evidence"] == "scan"


def test_a_person_says_whether_it_came_out(floor: Floor) -> None:
    floor.tell(grant())
    floor.print_next(BROKEN)
    assert floor.scan("$$OUT").code == "came_out"
    assert floor.bodies("label.printed")[0]["evidence"] == "operator"


def test_a_missing_label_is_printed_again_only_as_a_marked_reprint(floor: Floor) -> None:
    floor.tell(grant())
    floor.print_next(BROKEN)
    floor.scan(f"TASK-{SHIPMENT}")
    floor.scan("$$NOTOUT")
    assert floor.print_next() == ""
    assert floor.scan("$$REPRINT").tone == "ok"
    job = floor.job(SHIPMENT).job
    assert (job.key.revision, job.state) == (2, "queued")
    assert job.copy_mark.startswith("补打 1 · ")
    assert floor.print_next(PRINTED) == "confirmed"
    assert [body["revision"] for body in floor.bodies("label.printed")] == [2]


def test_sent_without_a_word_from_the_printer_is_not_called_printed(floor: Floor) -> None:
    floor.tell(grant())
    assert floor.print_next(ALL_SENT) == "sent"
    assert labels(floor) == ["label.started"]
    assert floor.restart().unknown == 1


def test_a_cancel_before_the_first_byte_prints_nothing(floor: Floor) -> None:
    floor.tell(grant())
    key = PrintKey("waybill", WAYBILL, 1)
    assert floor.read(lambda db: print_label.token_live(db, key))
    floor.tell(cancel())
    assert not floor.read(lambda db: print_label.token_live(db, key))
    assert floor.print_next() == ""
    assert floor.job(SHIPMENT).job.state == "cancelled"


def test_a_cancel_while_it_prints_leaves_the_paper_to_be_pulled(floor: Floor) -> None:
    floor.tell(grant())
    floor.print_next()
    floor.tell(cancel())
    assert floor.state(SHIPMENT) == "stopping"
    key = PrintKey("waybill", WAYBILL, 1)
    floor.write(lambda tx: print_label.finish(tx, key, PRINTED))
    assert floor.job(SHIPMENT).job.state == "confirmed"


def test_the_same_grant_twice_is_one_label(floor: Floor) -> None:
    floor.tell(grant())
    floor.print_next(PRINTED)
    floor.tell(grant())
    assert floor.print_next() == ""


def test_a_reissued_grant_starts_in_doubt(floor: Floor) -> None:
    floor.tell(grant(reissue=True))
    assert floor.print_next() == ""
    assert floor.bodies("label.unknown")[0]["reason"] == "reissue"


def test_a_restored_card_believes_its_queue_no_more(floor: Floor) -> None:
    floor.tell(grant())
    floor.tell(grant(reissue=True))
    assert floor.print_next() == ""
    assert floor.job(SHIPMENT).job.state == "unknown"


def test_a_proven_label_stays_proven(floor: Floor) -> None:
    floor.tell(grant())
    floor.print_next(PRINTED)
    floor.tell(grant(reissue=True))
    assert floor.job(SHIPMENT).job.state == "confirmed"


def test_nothing_prints_during_resynchronisation(tmp_path: Path) -> None:
    floor = Floor(tmp_path)
    floor.tell(grant())
    assert floor.print_next() == ""
    floor.tell(commands.ResyncDone(floor.core.position.epoch))
    assert floor.print_next() == "sending"


def test_the_core_asks_for_a_reprint(floor: Floor) -> None:
    floor.tell(grant())
    floor.print_next(PRINTED)
    floor.tell(commands.Reprint(SHIPMENT, Token(1, 1), "客服甲", "面单破损"))
    assert floor.print_next(PRINTED) == "confirmed"
    started = floor.bodies("label.started")
    assert [body["revision"] for body in started] == [1, 2]
    assert (started[1]["operator"], started[1]["reason"]) == ("客服甲", "面单破损")


def test_a_void_token_cannot_be_reprinted(floor: Floor) -> None:
    floor.tell(grant())
    floor.print_next(PRINTED)
    floor.tell(cancel())
    key = PrintKey("waybill", WAYBILL, 1)
    with pytest.raises(Rejected, match="stale_token"):
        floor.write(
            lambda tx: print_label.ask_again(
                tx, key, operator="演示乙", reason="x", clock_text="08:00", at=floor.bench
            )
        )


def test_a_reprint_that_waited_for_paper_still_names_who_asked_and_why(floor: Floor) -> None:
    floor.tell(grant())
    floor.print_next(PRINTED)
    floor.tell(commands.Reprint(SHIPMENT, Token(1, 1), "客服甲", "面单破损"))
    assert floor.print_next(status=PAPER_OUT) == "held"
    assert floor.bodies("label.held")[0]["reason"] == "paper_out"
    floor.write(lambda tx: print_label.printer_ready(tx, "label-1"))
    floor.print_next(PRINTED)
    started = floor.bodies("label.started")[1]
    assert (started["operator"], started["reason"]) == ("客服甲", "面单破损")


def test_what_a_person_asked_for_before_the_power_cut_waits_for_the_core_too(
    floor: Floor,
) -> None:
    floor.tell(grant())
    floor.restart()
    floor.scan(f"TASK-{SHIPMENT}")
    assert floor.scan("$$PRINT").code == "printing"
    assert floor.print_next(status=PAPER_OUT) == "held"
    floor.restart()
    floor.write(lambda tx: print_label.printer_ready(tx, "label-1"))
    assert floor.print_next() == "held"
    assert floor.job(SHIPMENT).job.reason == "boot_without_core"


def test_labels_follow_a_printer_that_was_renamed(floor: Floor) -> None:
    floor.tell(grant())
    floor.tell(grant("DB2026BBBB-1"))
    assert floor.print_next(PRINTED) == "confirmed"
    floor.plan = replace(PLAN, printers=("label-9",), stations={"S1": "label-9"})
    floor.restart()
    floor.core_seen = True
    floor.write(print_label.core_heard)
    assert floor.read(lambda db: print_label.next_for(db, "label-9")) is not None
    floor.tell(commands.Reprint(SHIPMENT, Token(1, 1), "客服甲", "面单破损"))
    assert floor.job(SHIPMENT).printer == "label-9"


def test_packing_does_not_put_a_reprint_in_doubt_again(floor: Floor) -> None:
    floor.tell(grant(print_on="pack", reissue=True, lines={"SKU-A": 1}))
    floor.scan(f"TASK-{SHIPMENT}")
    floor.scan("SKU-A")
    assert floor.scan("$$REPRINT").tone == "ok"
    assert floor.print_next(status=PAPER_OUT) == "held"
    floor.scan(f"TASK-{SHIPMENT}")
    assert floor.scan("SKU-A").code == "packed"
    floor.write(lambda tx: print_label.printer_ready(tx, "label-1"))
    assert floor.print_next(PRINTED) == "confirmed"


def test_a_label_stopped_before_its_first_byte_leaves_no_paper_to_pull(floor: Floor) -> None:
    floor.tell(grant())
    assert floor.print_next() == "sending"
    floor.tell(cancel())
    key = PrintKey("waybill", WAYBILL, 1)
    stopped = SendOutcome(0, 1000, READY, error="not_allowed")
    assert floor.write(lambda tx: print_label.finish(tx, key, stopped)).state == "held"
    floor.scan(f"TASK-{SHIPMENT}")
    assert floor.scan("$$STOPPED").code == "stopped"
    assert floor.bodies("task.stopped")[0].get("label", "none") == "none"
