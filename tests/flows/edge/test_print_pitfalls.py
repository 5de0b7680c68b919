"""What went wrong in other people's print agents and must not here; one test a pitfall.

Each is named after the pitfall as the trackers of those projects tell it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from edge_agent.agent.printing import PrintWorker
from edge_agent.domain.print_job import MAX_REPRINTS, PrintKey
from edge_agent.domain.printer_status import (
    OFFLINE,
    READY,
    SILENT,
    PrinterLevel,
    PrinterStatus,
    SendOutcome,
)
from edge_agent.flows import print_label
from protocols import commands
from protocols.errors import Rejected
from protocols.messages import Token
from tests.support.edge import PLAN, PRINTED, Floor, cancel, grant
from tests.support.edge_live import HandPrinter, live_of, until

SHIPMENT = "DB2026AAAA-1"
WAYBILL = "WAAAA1"
KEY = PrintKey("waybill", WAYBILL, 1)
PAPER_OUT = PrinterStatus(PrinterLevel.ERROR, "paper_out", "缺纸")
STALLED = SendOutcome(400, 1000, SILENT, error="stalled")
TWO = replace(
    PLAN, printers=("label-1", "label-2"), stations={"S1": "label-1", "S2": "label-2"},
    spares={"label-1": "label-2", "label-2": "label-1"},
)  # fmt: skip


@pytest.fixture
def floor(tmp_path: Path) -> Floor:
    floor = Floor(tmp_path, TWO)
    floor.resynced()
    floor.tell(grant())
    return floor


def started(floor: Floor) -> list[tuple[str, int]]:
    """Which labels began to leave, at which printer."""
    return [(body["printer"], body["revision"]) for body in floor.bodies("label.started")]


def ask_again(floor: Floor, key: PrintKey, who: str = "演示乙", why: str = "污损") -> None:
    floor.write(
        lambda tx: print_label.ask_again(
            tx, key, operator=who, reason=why, clock_text="08:00", at=floor.bench
        )
    )


def test_01_an_automatic_retry_after_a_time_out_prints_twice(floor: Floor) -> None:
    assert floor.print_next(STALLED) == "unknown"
    everything: list[Callable[..., object]] = [
        print_label.core_heard,
        lambda tx: print_label.printer_ready(tx, "label-1"),
        lambda tx: print_label.fail_over(tx, "label-1", "label-2"),
    ]
    for work in everything:
        assert floor.write(work) == 0
    floor.restart()
    floor.core_seen = True
    for work in everything:
        assert floor.write(work) == 0
    assert floor.print_next() == ""
    assert started(floor) == [("label-1", 1)]


def test_02_a_late_printed_is_dropped_and_the_job_stays_failed(floor: Floor) -> None:
    floor.print_next()
    floor.restart()
    assert floor.job(SHIPMENT).job.state == "unknown"
    floor.write(lambda tx: print_label.finish(tx, KEY, PRINTED))
    assert floor.job(SHIPMENT).job.state == "confirmed"
    assert floor.bodies("label.printed")[0]["evidence"] == "printer"


def test_03_a_failed_row_can_be_retried_many_times(floor: Floor) -> None:
    floor.print_next(PRINTED)
    ask_again(floor, KEY)
    with pytest.raises(Rejected, match="print_step_refused"):
        ask_again(floor, KEY)
    for revision in range(2, MAX_REPRINTS + 1):
        floor.print_next(PRINTED)
        ask_again(floor, replace(KEY, revision=revision))
    floor.print_next(PRINTED)
    with pytest.raises(Rejected, match="reprint_limit"):
        ask_again(floor, replace(KEY, revision=MAX_REPRINTS + 1))
    assert len(started(floor)) == MAX_REPRINTS + 1


def test_03_a_reprint_without_a_name_or_a_reason_is_refused(floor: Floor) -> None:
    floor.print_next(PRINTED)
    for who, why, code in (("", "污损", "operator_missing"), ("演示乙", " ", "reprint_reason")):
        with pytest.raises(Rejected, match=code):
            ask_again(floor, KEY, who, why)
    assert floor.print_next() == ""


def test_04_the_printer_is_switched_off_in_mid_label_and_nobody_hears(floor: Floor) -> None:
    """All bytes left, the printer says nothing afterwards: nobody calls that printed."""
    assert floor.print_next(SendOutcome(1000, 1000, SILENT)) == "unknown"
    assert floor.events("label.printed") == []
    assert floor.bodies("label.unknown")[0]["reason"] == "no_answer"


def test_06_the_printer_prints_by_itself_after_new_paper(floor: Floor) -> None:
    """Out of paper in mid-label: it comes out of the printer's own memory, we never send again."""
    assert floor.print_next(SendOutcome(1000, 1000, PAPER_OUT)) == "unknown"
    floor.write(lambda tx: print_label.printer_ready(tx, "label-1"))
    assert floor.print_next() == ""
    assert floor.scan(WAYBILL).tone == "ok"
    assert floor.job(SHIPMENT).job.evidence == "scan"
    assert started(floor) == [("label-1", 1)]


def test_07_silence_is_read_as_no_paper_or_as_online(floor: Floor) -> None:
    """A silent printer is neither: the label may go, and counts as printed only on evidence."""
    assert floor.print_next(SendOutcome(1000, 1000, READY), status=SILENT) == "sent"
    assert floor.events("label.printed") == []
    floor.scan(f"TASK-{SHIPMENT}")
    assert floor.scan("$$OUT").code == "came_out"
    assert floor.bodies("label.printed")[0]["evidence"] == "operator"


def test_25_the_shop_ships_on_a_false_printed(floor: Floor) -> None:
    """Whatever came of a label, the core is told `printed` once and with what it stands on."""
    floor.print_next(STALLED)
    floor.scan(f"TASK-{SHIPMENT}")
    floor.scan("$$NOTOUT")
    assert floor.events("label.printed") == []
    floor.scan(WAYBILL)
    floor.scan(WAYBILL)
    told = floor.bodies("label.printed")
    assert [(body["evidence"], body["revision"]) for body in told] == [("scan", 1)]


# --- another printer --------------------------------------------------------------------------


def test_a_label_goes_to_the_spare_only_while_not_a_byte_was_sent(floor: Floor) -> None:
    assert floor.print_next(status=PAPER_OUT) == "held"
    assert floor.write(lambda tx: print_label.fail_over(tx, "label-1", "label-2")) == 1
    placed = floor.job(SHIPMENT)
    assert (placed.printer, placed.moved_from, placed.job.key.revision) == ("label-2", "label-1", 1)
    floor.write(lambda tx: print_label.printer_ready(tx, "label-1"))
    assert floor.print_next() == ""


def test_a_label_is_not_thrown_to_and_fro_between_two_bad_printers(floor: Floor) -> None:
    floor.print_next(status=PAPER_OUT)
    floor.write(lambda tx: print_label.fail_over(tx, "label-1", "label-2"))
    key = floor.job(SHIPMENT).job.key
    offline = SendOutcome(0, 1000, OFFLINE, error="offline")
    floor.write(lambda tx: print_label.begin(tx, key, 1000, READY, core_seen=True))
    floor.write(lambda tx: print_label.finish(tx, key, offline))
    assert floor.write(lambda tx: print_label.fail_over(tx, "label-2", "label-1")) == 0
    floor.write(lambda tx: print_label.press_print(tx, key, "演示乙", printer="label-1"))
    assert floor.print_next(PRINTED) == "confirmed"


@pytest.mark.parametrize("reason", ["expired", "stale"])
def test_what_a_person_must_decide_does_not_move_by_itself(floor: Floor, reason: str) -> None:
    if reason == "expired":
        floor.clock.step(601_000)
        assert floor.print_next() == "held"
    else:
        floor.tell(cancel())
    assert floor.write(lambda tx: print_label.fail_over(tx, "label-1", "label-2")) == 0


async def test_the_worker_of_a_printer_without_paper_hands_its_labels_over(
    floor: Floor, tmp_path: Path
) -> None:
    telemetry = Floor(tmp_path, TWO, stream="telemetry")
    floor.tell(grant("DB2026BBBB-1"))
    bad, good = HandPrinter(PAPER_OUT), HandPrinter()
    live = live_of(floor, telemetry, bad)
    live.ports.printers["label-2"] = good  # type: ignore[index]
    live.printer_status.update({"label-1": PAPER_OUT, "label-2": READY})
    tasks = [asyncio.create_task(PrintWorker(live, name).run()) for name in TWO.printers]
    live.ring_printers()
    try:
        await until(lambda: len(good.sent) == 2)
    finally:
        for task in tasks:
            task.cancel()
    assert bad.sent == []


async def test_the_token_is_checked_again_right_before_the_first_byte(
    floor: Floor, tmp_path: Path
) -> None:
    """The cancel comes after `label.started` was committed and before the printer took a byte."""
    telemetry = Floor(tmp_path, TWO, stream="telemetry")

    class LateCancel(HandPrinter):
        async def send(self, data: bytes, before_first_byte: Callable[[], bool]) -> SendOutcome:
            floor.tell(cancel())
            return await super().send(data, before_first_byte)

    printer = LateCancel()
    live = live_of(floor, telemetry, printer)
    live.printer_status["label-1"] = READY
    task = asyncio.create_task(PrintWorker(live, "label-1").run())
    live.ring_printers()
    try:
        await until(lambda: floor.job(SHIPMENT).job.state == "held")
    finally:
        task.cancel()
    assert printer.sent == []
    assert floor.job(SHIPMENT).job.reason == "stale_token"


async def test_a_notice_right_before_the_first_byte_waits_for_a_person(
    floor: Floor, tmp_path: Path
) -> None:
    telemetry = Floor(tmp_path, TWO, stream="telemetry")

    class LateNotice(HandPrinter):
        async def send(self, data: bytes, before_first_byte: Callable[[], bool]) -> SendOutcome:
            if not floor.events("label.held"):
                floor.tell(commands.Notice(SHIPMENT, "refund_requested", "买家申请退款"))
            return await super().send(data, before_first_byte)

    printer = LateNotice()
    live = live_of(floor, telemetry, printer)
    live.printer_status["label-1"] = READY
    task = asyncio.create_task(PrintWorker(live, "label-1").run())
    live.ring_printers()
    try:
        await until(lambda: floor.job(SHIPMENT).job.state == "held")
        assert (printer.sent, floor.job(SHIPMENT).job.reason) == ([], "notice")
        floor.scan(f"TASK-{SHIPMENT}")
        assert floor.scan("$$OK").code == "confirmed"
        live.ring_printers()
        await until(lambda: len(printer.sent) == 1)
    finally:
        task.cancel()


def test_a_command_under_an_old_token_prints_nothing(floor: Floor) -> None:
    floor.tell(cancel())
    taken = floor.tell(commands.Reprint(SHIPMENT, Token(1, 1), "客服甲", "面单破损"))
    assert taken.refused[0][1] == "stale_token"
    refused = floor.tell(grant(n=1, waybill="WOLD0001"))
    assert refused.refused[0][1] == "stale_token"
    assert floor.print_next() == ""
