"""Whatever happens in whatever order: one paper a revision, and none that must not be printed.

A seeded hand drives the real flows over a real journal: grants, notices, cancels, printers that
are well, empty or die in mid-label, restarts, people who press and scan. A Hypothesis machine of
the same steps printed too few labels in the same time to find planted bugs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from random import Random

import msgspec
import pytest

from edge_agent.domain.print_job import PrintKey
from edge_agent.domain.printer_status import (
    OFFLINE,
    READY,
    SILENT,
    PrinterLevel,
    PrinterStatus,
    SendOutcome,
)
from edge_agent.domain.task import TaskState
from edge_agent.flows import cards, print_label
from edge_agent.journal import fences, jobs, tasks
from protocols import commands
from protocols.messages import Token
from tests.support.edge import PLAN, PRINTED, Floor, cancel, grant

SHIPMENT = "DB2026AAAA-1"
TOKENS = 5
SPARED = replace(PLAN, printers=("label-1", "label-2"), spares={"label-1": "label-2"})
PAPER_OUT = PrinterStatus(PrinterLevel.ERROR, "paper_out", "缺纸")
STATUSES = (READY, READY, SILENT, PAPER_OUT)
OUTCOMES = (
    PRINTED,
    SendOutcome(1000, 1000, READY),
    SendOutcome(1000, 1000, PAPER_OUT),
    SendOutcome(400, 1000, SILENT, error="broken"),
    SendOutcome(0, 1000, OFFLINE, error="offline"),
    SendOutcome(0, 1000, READY, error="stalled"),
)


class PrintMachine:
    """One shipment under a few tokens, two printers, one station."""

    def __init__(self, folder: Path) -> None:
        self.floor = Floor(folder, SPARED)
        self.floor.resynced()
        self.token = 1
        self.papers: Counter[PrintKey] = Counter()
        self.in_flight: PrintKey | None = None
        self.floor.tell(self._grant())

    def _grant(self) -> commands.Grant:
        body: commands.Grant = grant(n=self.token, lines={"SKU-A": 1}, waybill=f"W00{self.token}")
        return body

    def begin(self, printer: str, status: PrinterStatus) -> None:
        """The worker of a printer takes what is next; `send` or a restart ends it."""
        placed = self.floor.read(lambda db: print_label.next_for(db, printer))
        if self.in_flight is not None or placed is None:
            return
        key, seen = placed.job.key, self.floor.core_seen
        job = self.floor.write(
            lambda tx: print_label.begin(tx, key, 1000, status, core_seen=seen, printer=printer)
        )
        self.in_flight = key if job.state == "sending" else None

    def send(self, outcome: SendOutcome) -> None:
        """What became of the label that was begun; the last question comes before byte one."""
        key, self.in_flight = self.in_flight, None
        if key is None:
            return
        if not self.floor.read(lambda db: print_label.may_start(db, key)):
            outcome = SendOutcome(0, 1000, READY, error="not_allowed")
        elif outcome.bytes_sent:
            self.papers[key] += 1
            self._must_be_free(key)
        self.floor.write(lambda tx: print_label.finish(tx, key, outcome))

    def print_whole(self, printer: str, outcome: SendOutcome) -> None:
        """A label goes through at once."""
        self.begin(printer, READY)
        if self.in_flight is not None:
            self.send(outcome)

    def _must_be_free(self, key: PrintKey) -> None:
        """A byte leaves: the token is good, and nothing waits for a person."""
        placed = self.floor.read(lambda db: jobs.get(db, key))
        known = self.floor.read(lambda db: tasks.all_of(db, SHIPMENT))
        token = Token(*placed.job.token)
        assert token >= self.floor.read(lambda db: fences.of(db, SHIPMENT))
        assert not any(task.halted for task in known if task.token == token)
        assert not any(t.state is TaskState.STOPPING for t in known if t.token < token)

    def restart(self, cut: bool) -> None:
        """The process dies, maybe in mid-label with some of it on paper."""
        if self.in_flight is not None and cut:
            self.papers[self.in_flight] += 1
        self.in_flight = None
        self.floor.restart()

    def core_is_heard(self) -> None:
        self.floor.core_seen = True
        self.floor.write(print_label.core_heard)

    def printer_is_well(self, printer: str) -> None:
        self.floor.write(lambda tx: print_label.printer_ready(tx, printer))

    def printer_is_not_well(self) -> None:
        self.floor.write(lambda tx: print_label.fail_over(tx, "label-1", "label-2"))

    def someone_asks_for_a_refund(self) -> None:
        self.floor.tell(commands.Notice(SHIPMENT, "refund_requested", "买家申请退款"))

    def the_address_changes(self, told: bool) -> None:
        """A new token; `told`: the cancel is heard before the grant that follows it."""
        if self.token == TOKENS:
            return
        self.token += 1
        if told:
            self.floor.tell(cancel(fence=self.token))
        self.floor.tell(self._grant())

    def the_grant_comes_again(self, kind: str) -> None:
        again = self._grant()
        self.floor.tell(msgspec.structs.replace(again, reissue=kind == "reissue"))

    def time_passes(self, seconds: int) -> None:
        self.floor.clock.step(seconds * 1000)

    def someone_scans(self, code: str) -> None:
        self.floor.scan(code)

    def someone_puts_it_right(self) -> None:
        """The packer does what the screen asks for, then wants a label."""
        for code in ("TASK-" + SHIPMENT, "$$STOPPED", "TASK-" + SHIPMENT, "$$OK", "$$PRINT"):
            self.floor.scan(code)
        if self.floor.job(SHIPMENT).job.state in ("unknown", "sent", "confirmed"):
            self.floor.scan("$$REPRINT")

    def someone_confirms_at_the_desk(self) -> None:
        waiting = self.floor.read(lambda db: tasks.newest(db, SHIPMENT)).notice
        if waiting:
            self.floor.write(lambda tx: cards.acknowledge(tx, SHIPMENT, "演示乙", self.floor.bench))

    def one_paper_a_revision(self) -> None:
        assert all(count == 1 for count in self.papers.values()), self.papers

    def every_paper_was_announced(self) -> None:
        """`label.started` is in the journal before any paper, and reprints name who asked."""
        begun = {
            (body["waybill"], body["revision"]): body for body in self.floor.bodies("label.started")
        }
        for key in self.papers:
            body = begun[key.number, key.revision]
            assert key.revision == 1 or body["operator"]


CODES = (
    "TASK-" + SHIPMENT, "SKU-A", "W001", "W002", "LOAD-7", "$$OK", "$$PRINT", "$$REPRINT",
    "$$OUT", "$$NOTOUT", "$$STOPPED", "$$STOPPED",
)  # fmt: skip
STEPS = 120
Step = Callable[[PrintMachine, Random], None]
STEPS_OF: list[tuple[int, Step]] = [
    (8, lambda on, rng: on.begin(rng.choice(SPARED.printers), rng.choice(STATUSES))),
    (8, lambda on, rng: on.send(rng.choice(OUTCOMES))),
    (6, lambda on, rng: on.print_whole(rng.choice(SPARED.printers), rng.choice(OUTCOMES))),
    (2, lambda on, rng: on.restart(rng.random() < 0.5)),
    (3, lambda on, rng: on.core_is_heard()),
    (3, lambda on, rng: on.printer_is_well(rng.choice(SPARED.printers))),
    (2, lambda on, rng: on.printer_is_not_well()),
    (1, lambda on, rng: on.someone_asks_for_a_refund()),
    (1, lambda on, rng: on.the_address_changes(rng.random() < 0.5)),
    (1, lambda on, rng: on.the_grant_comes_again(rng.choice(("again", "again", "reissue")))),
    (1, lambda on, rng: on.time_passes(rng.choice((1, 1, 1, 700)))),
    (4, lambda on, rng: on.someone_scans(rng.choice(CODES))),
    (1, lambda on, rng: on.someone_confirms_at_the_desk()),
    (4, lambda on, rng: on.someone_puts_it_right()),
]
"""How often each happens: printers work more often than people change their minds."""


@pytest.mark.parametrize("seed", [0, 1, 3, 4])
def test_one_paper_a_revision_whatever_happens(tmp_path: Path, seed: int) -> None:
    rng = Random(seed)
    machine = PrintMachine(tmp_path)
    weights = [weight for weight, _step in STEPS_OF]
    for _ in range(STEPS):
        ((_weight, step),) = rng.choices(STEPS_OF, weights)
        step(machine, rng)
        machine.one_paper_a_revision()
    machine.every_paper_was_announced()
    assert sum(machine.papers.values()) > 0
