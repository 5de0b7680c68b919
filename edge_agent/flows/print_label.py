"""Print a label: choose, begin, finish, recover (P6).

`label.started` and the job's `sending` are one commit before byte one; whatever happens after it,
the machine never sends that revision again. Knows no printer: it gets a status and an outcome.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from edge_agent.domain import print_job
from edge_agent.domain.print_job import PrintJob, PrintKey, PrintState, SendGate
from edge_agent.domain.printer_status import PrinterStatus, SendOutcome
from edge_agent.domain.task import GRANTED_STATES, Task
from edge_agent.flows import bench
from edge_agent.flows.bench import Bench
from edge_agent.journal import fences, jobs, tasks
from edge_agent.journal.jobs import Placed
from edge_agent.journal.tx import Tx
from edge_agent.ports import Connection
from protocols.errors import Rejected
from protocols.events import LabelEvent
from protocols.messages import Token

WAYBILL = "waybill"
_STATE_EVENT = {
    PrintState.SENDING: "label.started",
    PrintState.CONFIRMED: "label.printed",
    PrintState.UNKNOWN: "label.unknown",
    PrintState.FAILED: "label.failed",
    PrintState.HELD: "label.held",
}
_TROUBLE = frozenset({PrintState.HELD, PrintState.FAILED, PrintState.UNKNOWN})
"""States whose event says what went wrong; the others say why a reprint was asked for."""
_PRINTER_REASONS = frozenset(
    {"paper_out", "cover_open", "paper_jam", "ribbon_out", "paused", "offline", "no_answer",
     "printer_error", "stalled", "broken"}
)  # fmt: skip
"""Reasons of `held` and `failed` (nothing left us) that a recovered printer cures."""


@dataclass(frozen=True, slots=True)
class Recovered:
    """What a restart found: labels in doubt, and labels that wait for the core."""

    unknown: int
    held: int


def order_label(tx: Tx, task: Task, station: str, at: Bench) -> bool:
    """Queue the first label of a granted task; True if there is something to print now.

    The same number never gets a second first revision. A reissued grant's label may have come out
    before this card's memory begins, so it starts in doubt.
    """
    known = jobs.newest(tx.db, WAYBILL, task.waybill)
    if known is not None:
        if task.reissue:
            _doubt(tx, known, task)
        return False
    job = PrintJob(
        key=PrintKey(WAYBILL, task.waybill, 1),
        shipment_id=task.shipment,
        token=task.token,
        queued_ms=tx.now.wall_ms,
        ttl_s=at.plan.print_ttl_s,
    )
    placed = Placed(job, at.plan.printer_of(station), station, tx.boot)
    if task.reissue:
        _doubt(tx, placed, task)
        return False
    jobs.save(tx.db, placed)
    return True


def token_live(db: Connection, key: PrintKey) -> bool:
    """Whether the job's token still has the right to print; asked again right before byte one."""
    placed = jobs.get(db, key)
    if placed is None:
        return False
    token = Token(*placed.job.token)
    if token < fences.of(db, placed.job.shipment_id):
        return False
    task = tasks.get(db, placed.job.shipment_id, token)
    return task is not None and task.state in GRANTED_STATES


def may_print(db: Connection, current_epoch: str) -> bool:
    """Whether this card's memory is known to be whole: nothing prints during resynchronisation."""
    return bench.resynced_epoch(db) == current_epoch


def next_for(db: Connection, printer: str) -> Placed | None:
    """The label that has waited longest for a printer."""
    return jobs.next_queued(db, printer)


def begin(tx: Tx, key: PrintKey, size: int, status: PrinterStatus, *, core_seen: bool) -> PrintJob:
    """The label is drawn (`size` bytes): become `sending` with `label.started`, or `held`.

    Only a job returned in state `sending` may be sent. Returns it unchanged when it is not queued
    any more or nothing may be printed now.
    """
    placed = jobs.get(tx.db, key)
    assert placed is not None
    job = placed.job
    if job.state is not PrintState.QUEUED or not may_print(tx.db, tx.head.epoch):
        return job
    gate = SendGate(
        now_ms=tx.now.wall_ms,
        token_live=token_live(tx.db, key),
        core_seen=core_seen or (bool(job.operator) and placed.boot == tx.boot),
        printer=status,
    )
    return _move(tx, placed, print_job.start_sending(print_job.rendered(job, size), gate))


def cannot_draw(tx: Tx, key: PrintKey, reason: str) -> None:
    """The label could not be drawn: nothing left, a person is told why."""
    placed = jobs.get(tx.db, key)
    if placed is None or placed.job.state is not PrintState.QUEUED:
        return
    _move(tx, placed, replace(placed.job, state=PrintState.FAILED, reason=reason[:64]))


def finish(tx: Tx, key: PrintKey, outcome: SendOutcome) -> PrintJob:
    """Book what became of one sending."""
    placed = jobs.get(tx.db, key)
    assert placed is not None
    return _move(tx, placed, print_job.settle(placed.job, outcome))


def recover(tx: Tx, at: Bench) -> Recovered:
    """After a start: in flight -> `unknown`, not yet sent -> `held` until the core is heard.

    Labels of which nothing left go to the printer that serves their station now: theirs may have
    been renamed or taken out of the settings.
    """
    flight = (PrintState.SENDING, PrintState.SENT)
    waiting = (PrintState.QUEUED, PrintState.RENDERED)
    unknown = jobs.in_states(tx.db, flight)
    held = jobs.in_states(tx.db, waiting)
    for placed in (*unknown, *held):
        _move(tx, placed, print_job.recover(placed.job), quiet=placed in held)
    for placed in jobs.in_states(tx.db, (PrintState.HELD, PrintState.FAILED)):
        jobs.save(tx.db, replace(placed, printer=_printer_for(placed, at)))
    return Recovered(len(unknown), len(held))


def core_heard(tx: Tx) -> int:
    """The first welcome of this boot: what waited only for it queues again."""
    return _release_where(tx, lambda placed: placed.job.reason == "boot_without_core")


def printer_ready(tx: Tx, printer: str) -> int:
    """The printer is well again: what waited for it, or failed with nothing sent, queues again."""
    return _release_where(tx, lambda placed: _cured_by(placed, printer))


def waits_for(db: Connection, printer: str) -> bool:
    """Whether a label would queue again now that the printer is well."""
    waiting = jobs.in_states(db, (PrintState.HELD, PrintState.FAILED))
    return any(_cured_by(placed, printer) for placed in waiting)


def press_print(tx: Tx, key: PrintKey, operator: str) -> None:
    """A person pressed 打印 on a held or failed label. Raises `Rejected`."""
    placed = _known(tx, key)
    if not token_live(tx.db, key):
        raise Rejected("stale_token", "这票已经不归本仓, 不能打印", "token is void", field="token")
    job = print_job.release(placed.job, now_ms=tx.now.wall_ms, operator=operator or "station")
    jobs.save(tx.db, replace(placed, job=job, boot=tx.boot))


def answer(tx: Tx, key: PrintKey, *, came_out: bool, operator: str) -> PrintJob:
    """A person said 出来了 or 没出来. Raises `Rejected`."""
    placed = _known(tx, key)
    job = print_job.answered(placed.job, came_out=came_out, operator=operator)
    return _move(tx, placed, job)


def ask_again(
    tx: Tx, key: PrintKey, *, operator: str, reason: str, clock_text: str, at: Bench
) -> PrintJob:
    """A person asks for another paper: revision + 1, marked 补打 and audited. Raises `Rejected`.

    A label that never left is not reprinted but released. `clock_text` is the local HH:MM.
    """
    placed = _known(tx, key)
    if not token_live(tx.db, key):
        raise Rejected("stale_token", "这票已经不归本仓, 不能补打", "token is void", field="token")
    if placed.job.state in (PrintState.HELD, PrintState.FAILED):
        press_print(tx, key, operator)
        return _known(tx, key).job
    old, new = print_job.reprint(
        placed.job,
        operator=operator,
        reason=reason,
        now_ms=tx.now.wall_ms,
        clock_text=clock_text,
        station=placed.station or at.plan.agent,
    )
    jobs.save(tx.db, replace(placed, job=old))
    printer = _printer_for(placed, at)
    jobs.save(tx.db, replace(placed, job=new, boot=tx.boot, printer=printer))
    return new


def label_scanned(tx: Tx, waybill: str) -> None:
    """The paper itself was scanned: the best proof there is."""
    placed = jobs.newest(tx.db, WAYBILL, waybill)
    if placed is not None:
        _move(tx, placed, print_job.label_scanned(placed.job))


def stop_labels(tx: Tx, task: Task) -> str:
    """The task's token is void: cancel what has not left. Returns `none`, `printed`, `unknown`.

    That is what may exist on paper and must be pulled off and torn up.
    """
    worst = "none"
    for placed in jobs.of_shipment(tx.db, task.shipment):
        if Token(*placed.job.token) != task.token:
            continue
        job = print_job.cancel(placed.job)
        jobs.save(tx.db, replace(placed, job=job))
        if job.state in (PrintState.CONFIRMED, PrintState.SUPERSEDED):
            worst = "printed" if worst == "none" else worst
        elif job.state is not PrintState.CANCELLED:
            worst = "unknown"
    return worst


def _doubt(tx: Tx, placed: Placed, task: Task) -> None:
    """Whatever this card believes, unless the paper was proven: it may have come out."""
    if placed.job.state in (PrintState.CONFIRMED, PrintState.UNKNOWN):
        jobs.save(tx.db, replace(placed, job=replace(placed.job, token=task.token)))
        return
    job = replace(placed.job, state=PrintState.UNKNOWN, reason="reissue", token=task.token)
    jobs.save(tx.db, replace(placed, job=job))
    _tell(tx, placed, job)


def _printer_for(placed: Placed, at: Bench) -> str:
    known = placed.printer in at.plan.printers
    return placed.printer if known else at.plan.printer_of(placed.station)


def _cured_by(placed: Placed, printer: str) -> bool:
    return placed.printer == printer and placed.job.reason in _PRINTER_REASONS


def _release_where(tx: Tx, wanted: Callable[[Placed], bool]) -> int:
    released = 0
    for placed in jobs.in_states(tx.db, (PrintState.HELD, PrintState.FAILED)):
        if wanted(placed):
            job = print_job.release(placed.job, now_ms=tx.now.wall_ms)
            jobs.save(tx.db, replace(placed, job=job))
            released += 1
    return released


def _move(tx: Tx, placed: Placed, job: PrintJob, *, quiet: bool = False) -> PrintJob:
    """Save the job; a new state that the core should know of becomes an event."""
    if job == placed.job:
        return job
    jobs.save(tx.db, replace(placed, job=job))
    if job.state is not placed.job.state and not quiet:
        _tell(tx, placed, job)
    return job


def _tell(tx: Tx, placed: Placed, job: PrintJob) -> None:
    type_ = _STATE_EVENT.get(job.state)
    if type_ is None or job.key.kind != WAYBILL:
        return
    token = Token(*job.token)
    task = tasks.get(tx.db, job.shipment_id, token)
    if task is None:
        return  # its task aged out long ago; nobody waits for this label any more
    body = LabelEvent(
        shipment=job.shipment_id,
        token=token,
        waybill=job.key.number,
        revision=job.key.revision,
        order=task.order,
        channel=task.channel,
        native_id=task.native_id,
        evidence=job.evidence if job.state is PrintState.CONFIRMED else "",
        reason=job.reason if job.state in _TROUBLE else job.reprint_reason or job.reason,
        operator=job.operator,
        printer=placed.printer,
    )
    # A new label is refused by a full journal; what became of an older one is not, or the agent
    # could neither start nor go on printing.
    reserve = job.state is not PrintState.SENDING
    tx.append(type_, body, station=placed.station, reserve=reserve)


def _known(tx: Tx, key: PrintKey) -> Placed:
    placed = jobs.get(tx.db, key)
    if placed is None:
        raise Rejected("job_unknown", "没有这个打印任务", "no such print job", field="job")
    return placed
