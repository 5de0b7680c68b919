"""A pairing ticket: one paper a code, printed by the start that made the code or never."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from edge_agent.domain.label import NoticeFields
from edge_agent.domain.print_job import PrintJob, PrintKey
from edge_agent.domain.printer_status import PrinterLevel, PrinterStatus, SendOutcome
from edge_agent.flows import label_text, print_label
from edge_agent.flows.pair_ticket import KIND, PairTicket, print_pairing
from edge_agent.journal import jobs
from edge_agent.pages.pairing import PAPER_VALID_MS, VALID_MS, PairingCodes
from protocols.errors import Rejected
from tests.support.edge import PRINTED, Floor, grant

TICKET = PairTicket("pair-1-1", "22223333", "http://192.0.2.2:8091/pda", 1_800_000, "edge-agent")
KEY = PrintKey(KIND, TICKET.number, 1)
NO_PAPER = PrinterStatus(PrinterLevel.ERROR, "paper_out", "缺纸")


@pytest.fixture
def fresh(tmp_path: Path) -> Floor:
    """A box on its first day: it has never heard the core."""
    floor = Floor(tmp_path)
    floor.core_seen = False
    return floor


def queue(floor: Floor, ticket: PairTicket = TICKET) -> PrintJob:
    job: PrintJob = floor.write(lambda tx: print_pairing(tx, ticket, floor.bench))
    return job


def test_a_box_that_never_heard_the_core_prints_it_and_nothing_else(fresh: Floor) -> None:
    queue(fresh)
    assert fresh.print_next(PRINTED) == "confirmed"
    fresh.tell(grant())
    assert fresh.print_next(PRINTED) == "", "a label waits for the core as before"


def test_a_code_is_on_one_paper_however_often_it_is_asked_for(fresh: Floor) -> None:
    queue(fresh)
    assert fresh.print_next(PRINTED) == "confirmed"
    assert queue(fresh).state == "confirmed"
    assert fresh.print_next(PRINTED) == ""
    queue(fresh, replace(TICKET, number="pair-1-2", code="44445555"))
    assert fresh.print_next(PRINTED) == "confirmed"


def test_the_paper_says_where_and_with_which_code_and_until_when(fresh: Floor) -> None:
    queue(fresh)
    drawn = fresh.read(lambda db: label_text.fields_of(db, KEY, fresh.plan))
    assert isinstance(drawn, NoticeFields)
    assert drawn.qr == "http://192.0.2.2:8091/pda#pair=22223333"
    told = " ".join(drawn.lines)
    for words in ("2222-3333", "http://192.0.2.2:8091/pda", "只能用一次", "重启后作废"):
        assert words in told


def test_the_code_stands_on_the_paper_and_in_no_event(fresh: Floor) -> None:
    queue(fresh)
    fresh.print_next(PRINTED)
    assert fresh.types().count("paper.printed") == 1
    rows = fresh.core.db.execute("SELECT row FROM row").fetchall()
    assert not any(TICKET.code.encode() in row for (row,) in rows)


def test_out_of_paper_it_waits_and_comes_when_paper_is_in(fresh: Floor) -> None:
    queue(fresh)
    assert fresh.print_next(status=NO_PAPER) == "held"
    fresh.write(lambda tx: print_label.printer_ready(tx, "label-1"))
    assert fresh.print_next(PRINTED) == "confirmed"


@pytest.mark.parametrize("held", [False, True])
def test_a_later_start_prints_none_of_an_earlier_one(fresh: Floor, held: bool) -> None:
    queue(fresh)
    if held:
        fresh.print_next(status=NO_PAPER)
    fresh.restart()
    fresh.write(lambda tx: print_label.printer_ready(tx, "label-1"))
    fresh.write(print_label.core_heard)
    fresh.core_seen = True
    fresh.resynced()
    assert fresh.print_next(PRINTED) == ""
    placed = fresh.read(lambda db: jobs.get(db, KEY))
    assert placed.job.state == "cancelled"
    with pytest.raises(Rejected, match="paper_one_time"):
        fresh.write(lambda tx: print_label.press_print(tx, KEY, "演示乙"))
    with pytest.raises(Rejected, match="label_purged"):
        fresh.read(lambda db: label_text.fields_of(db, KEY, fresh.plan))


def test_a_start_that_broke_off_while_it_printed_leaves_it_unknown(fresh: Floor) -> None:
    queue(fresh)
    assert fresh.print_next() == "sending"
    fresh.restart()
    assert fresh.read(lambda db: jobs.get(db, KEY)).job.state == "unknown"
    with pytest.raises(Rejected, match="paper_one_time"):
        fresh.write(
            lambda tx: print_label.ask_again(
                tx, KEY, operator="演示乙", reason="没出来", clock_text="08:00", at=fresh.bench
            )
        )


def test_what_may_have_come_out_is_not_sent_again(fresh: Floor) -> None:
    queue(fresh)
    broken = SendOutcome(10, 1000, NO_PAPER, error="broken")
    assert fresh.print_next(broken) == "unknown"
    fresh.write(lambda tx: print_label.printer_ready(tx, "label-1"))
    assert fresh.print_next(PRINTED) == ""


def test_a_code_on_paper_lives_longer_and_keeps_its_number() -> None:
    picks = iter(range(100))
    codes = PairingCodes(lambda below: next(picks) % below)
    shown, printed = codes.new(0), codes.new(0)
    number, left_ms = codes.on_paper(printed, 1000, 77)
    assert left_ms == PAPER_VALID_MS
    assert codes.on_paper(printed, 2000, 88) == (number, PAPER_VALID_MS - 1000)
    late = VALID_MS + 2000
    with pytest.raises(Rejected, match="pair_code_unknown"):
        codes.use(shown, late)
    codes.use(printed, late)
    with pytest.raises(Rejected, match="pair_code_unknown"):
        codes.on_paper(printed, late, 99)
