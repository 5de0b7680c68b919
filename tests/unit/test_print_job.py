"""P6 as a law: at most one paper per (kind, number, revision), whatever crashes when."""

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from edge_agent.domain import print_job as law
from edge_agent.domain.print_job import PrintJob, PrintKey, PrintState, SendGate
from edge_agent.domain.printer_status import (
    OFFLINE,
    READY,
    SILENT,
    PrinterLevel,
    PrinterStatus,
    SendOutcome,
)
from protocols.errors import Rejected

KEY = PrintKey("waybill", "YT0000000000001", 1)
PAPER_OUT = PrinterStatus(PrinterLevel.ERROR, "paper_out", "缺纸")
FINE = SendGate(now_ms=1_000, token_live=True, core_seen=True, printer=READY)


def job(state: PrintState = PrintState.QUEUED, **changes: object) -> PrintJob:
    made = PrintJob(KEY, "DB2026AAAAAAAA-1", (1, 7), queued_ms=1_000)
    return replace(made, state=state, **changes)  # type: ignore[arg-type]


def sending() -> PrintJob:
    return law.start_sending(law.rendered(job(), 100), FINE)


def test_the_good_day() -> None:
    done = law.settle(sending(), SendOutcome(100, 100, READY, printed=True))
    assert (done.state, done.evidence) == (PrintState.CONFIRMED, "printer")


@pytest.mark.parametrize(
    ("outcome", "state", "reason"),
    [
        (SendOutcome(0, 100, OFFLINE, error="offline"), PrintState.HELD, "offline"),
        (SendOutcome(0, 100, PAPER_OUT, error="not_ready"), PrintState.HELD, "paper_out"),
        (SendOutcome(0, 100, SILENT, error="no_answer"), PrintState.HELD, "no_answer"),
        (SendOutcome(0, 100, READY, error="not_allowed"), PrintState.HELD, "stale_token"),
        (SendOutcome(0, 100, SILENT, error="broken"), PrintState.FAILED, "broken"),
        (SendOutcome(1, 100, SILENT, error="stalled"), PrintState.UNKNOWN, "stalled"),
        (SendOutcome(100, 100, SILENT, error="broken"), PrintState.UNKNOWN, "broken"),
        (SendOutcome(100, 100, PAPER_OUT), PrintState.UNKNOWN, "paper_out"),
        (SendOutcome(100, 100, SILENT), PrintState.UNKNOWN, "no_answer"),
        (SendOutcome(100, 100, READY), PrintState.SENT, ""),
    ],
)
def test_every_ending_of_a_sending(outcome: SendOutcome, state: PrintState, reason: str) -> None:
    done = law.settle(sending(), outcome)
    assert (done.state, done.reason) == (state, reason)


@pytest.mark.parametrize(
    ("gate", "reason"),
    [
        (replace(FINE, token_live=False), "stale_token"),
        (replace(FINE, core_seen=False), "boot_without_core"),
        (replace(FINE, now_ms=1_000 + 600_001), "expired"),
        (replace(FINE, now_ms=999), "clock"),
        (replace(FINE, printer=PAPER_OUT), "paper_out"),
    ],
)
def test_the_gate_holds_what_must_not_print(gate: SendGate, reason: str) -> None:
    held = law.start_sending(law.rendered(job(), 100), gate)
    assert (held.state, held.reason) == (PrintState.HELD, reason)
    assert law.HELD_ZH[reason]


def test_ten_minutes_to_the_millisecond_still_print() -> None:
    gate = replace(FINE, now_ms=1_000 + 600_000)
    assert law.start_sending(law.rendered(job(), 1), gate).state is PrintState.SENDING


@pytest.mark.parametrize("state", [PrintState.SENDING, PrintState.SENT])
def test_a_restart_makes_work_in_flight_unknown(state: PrintState) -> None:
    assert law.recover(job(state)).state is PrintState.UNKNOWN


@pytest.mark.parametrize("state", [PrintState.QUEUED, PrintState.RENDERED])
def test_a_restart_holds_what_was_waiting_until_the_core_is_heard(state: PrintState) -> None:
    held = law.recover(job(state))
    assert (held.state, held.reason) == (PrintState.HELD, "boot_without_core")
    assert law.release(held, now_ms=2_000).state is PrintState.QUEUED


@pytest.mark.parametrize("reason", ["expired", "clock", "stale_token"])
def test_what_a_person_must_release_the_machine_does_not(reason: str) -> None:
    held = law.hold(job(), reason)
    with pytest.raises(Rejected) as refused:
        law.release(held, now_ms=9_999_999)
    assert refused.value.field == "operator"
    again = law.release(held, now_ms=9_999_999, operator="op1")
    assert (again.queued_ms, again.key.revision, again.copy_mark) == (9_999_999, 1, "")


@pytest.mark.parametrize("state", [PrintState.SENDING, PrintState.SENT, PrintState.UNKNOWN])
def test_the_paper_itself_is_the_best_proof(state: PrintState) -> None:
    done = law.label_scanned(job(state))
    assert (done.state, done.evidence) == (PrintState.CONFIRMED, "scan")
    assert law.label_scanned(done) == done


def test_a_late_success_lands_on_an_unknown_job() -> None:
    late = SendOutcome(100, 100, READY, printed=True)
    assert law.settle(job(PrintState.UNKNOWN), late).state is PrintState.CONFIRMED
    bad = SendOutcome(0, 100, OFFLINE, error="offline")
    assert law.settle(job(PrintState.UNKNOWN), bad).state is PrintState.UNKNOWN


def test_the_operator_answers_an_unknown() -> None:
    unknown = job(PrintState.UNKNOWN)
    assert law.answered(unknown, came_out=True, operator="op1").evidence == "operator"
    missing = law.answered(unknown, came_out=False, operator="op1")
    assert missing.state is PrintState.UNKNOWN, "the printer may still bring it: no quiet resend"
    with pytest.raises(Rejected):
        law.answered(unknown, came_out=True, operator="")


@pytest.mark.parametrize("state", [PrintState.UNKNOWN, PrintState.CONFIRMED, PrintState.SENT])
def test_a_reprint_is_a_new_marked_revision(state: PrintState) -> None:
    old, new = law.reprint(
        job(state), operator="op1", reason="撕坏了", now_ms=5, clock_text="10:32", station="台1"
    )
    assert (old.state, old.superseded_by) == (PrintState.SUPERSEDED, 2)
    assert (new.key.revision, new.state, new.copy_mark) == (
        2,
        PrintState.QUEUED,
        "补打 1 · 10:32 · 台1",
    )


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"operator": ""}, "operator"),
        ({"reason": " "}, "reason"),
        ({"reason": "长" * 201}, "reason"),
        ({"job": job(PrintState.UNKNOWN, key=replace(KEY, revision=11))}, "revision"),
        ({"job": job(PrintState.HELD)}, "state"),
        ({"job": job(PrintState.SUPERSEDED)}, "state"),
    ],
)
def test_reprints_that_are_refused(change: dict[str, object], field: str) -> None:
    asked = {
        "operator": "op1",
        "reason": "撕坏了",
        "now_ms": 5,
        "clock_text": "10:32",
        "station": "台1",
        **change,
    }
    with pytest.raises(Rejected) as refused:
        law.reprint(asked.pop("job", job(PrintState.UNKNOWN)), **asked)  # type: ignore[arg-type]
    assert refused.value.field == field


def test_cancelling_stops_only_what_has_not_begun_to_leave() -> None:
    stopped = {state for state in PrintState if law.cancel(job(state)).reason == "cancelled"}
    assert stopped == {
        PrintState.QUEUED,
        PrintState.RENDERED,
        PrintState.HELD,
        PrintState.FAILED,
    }


def test_no_road_leads_from_a_sent_byte_back_to_the_queue() -> None:
    reach = {PrintState.SENT, PrintState.UNKNOWN}
    while True:
        further = reach | {after for state in reach for after in law.TRANSITIONS[state]}
        if further == reach:
            break
        reach = further
    assert reach.isdisjoint({PrintState.QUEUED, PrintState.RENDERED, PrintState.SENDING})


class Bench(RuleBasedStateMachine):
    """A printer, a journal that keeps only what was committed, crashes at every point."""

    def __init__(self) -> None:
        super().__init__()
        self.disk = {KEY: job()}
        self.paper: Counter[PrintKey] = Counter()
        self.in_buffer: list[PrintKey] = []
        self.now_ms = 1_000

    def commit(self, *jobs: PrintJob) -> None:
        self.disk.update({one.key: one for one in jobs})

    def latest(self) -> PrintJob:
        return self.disk[max(self.disk)]

    @rule(
        room=st.booleans(),
        bytes_out=st.sampled_from([0, 1, 100]),
        crash=st.sampled_from(["no", "before", "after_bytes"]),
        status=st.sampled_from([READY, SILENT, OFFLINE, PAPER_OUT]),
        live=st.booleans(),
    )
    def machine_prints(
        self, room: bool, bytes_out: int, crash: str, status: PrinterStatus, live: bool
    ) -> None:
        """The worker's own loop: exactly what the agent does without being asked."""
        for one in list(self.disk.values()):
            if one.state in (PrintState.HELD, PrintState.FAILED):
                try:
                    self.commit(law.release(one, now_ms=self.now_ms))
                except Rejected:
                    continue
            elif one.state is PrintState.QUEUED:
                self.commit(law.rendered(one, 100))
        ready = [one for one in self.disk.values() if one.state is PrintState.RENDERED]
        if not ready:
            return
        begun = law.start_sending(ready[0], SendGate(self.now_ms, live, True, READY))
        self.commit(begun)
        if crash == "before":
            self.restart()
        elif begun.state is PrintState.SENDING:
            self.bytes_leave(begun, bytes_out, room, crash, status)

    def bytes_leave(
        self, begun: PrintJob, bytes_out: int, room: bool, crash: str, status: PrinterStatus
    ) -> None:
        if bytes_out == 100:
            if room:
                self.paper[begun.key] += 1
            else:
                self.in_buffer.append(begun.key)  # waits for paper inside the printer
        if crash == "after_bytes":
            self.restart()
            return
        error = {0: "offline", 1: "stalled", 100: ""}[bytes_out]
        printed = room and bytes_out == 100 and status is READY
        self.commit(law.settle(begun, SendOutcome(bytes_out, 100, status, error, printed)))

    @rule()
    def restart(self) -> None:
        self.commit(*(law.recover(one) for one in self.disk.values()))

    @rule()
    def paper_is_loaded(self) -> None:
        self.paper.update(self.in_buffer)
        self.in_buffer.clear()

    @rule()
    def somebody_scans_a_label(self) -> None:
        for key in self.paper:
            self.commit(law.label_scanned(self.disk[key]))

    @rule(minutes=st.integers(0, 20))
    def time_passes(self, minutes: int) -> None:
        self.now_ms += minutes * 60_000

    @precondition(
        lambda self: (
            PrintState.SUPERSEDED in law.TRANSITIONS[self.latest().state]
            and self.latest().key.revision <= law.MAX_REPRINTS
        )
    )
    @rule()
    def a_person_reprints(self) -> None:
        self.commit(
            *law.reprint(
                self.latest(),
                operator="op1",
                reason="没出来",
                now_ms=self.now_ms,
                clock_text="10:32",
                station="台1",
            )
        )

    @invariant()
    def one_paper_a_revision(self) -> None:
        every = self.paper + Counter(self.in_buffer)
        assert all(count <= 1 for count in every.values()), every

    @invariant()
    def every_revision_but_the_first_is_marked(self) -> None:
        for one in self.disk.values():
            assert bool(one.copy_mark) == (one.key.revision > 1)


Bench.TestCase.settings = settings(max_examples=150, stateful_step_count=25, deadline=None)
test_the_bench_never_doubles_a_label = Bench.TestCase
