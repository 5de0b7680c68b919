"""Print a label or another paper: choose, begin, finish, recover (P6).

`label.started` and the job's `sending` are one commit before byte one; whatever happens after it,
the machine never sends that revision again. Knows no printer: it gets a status and an outcome.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from edge_agent.domain import print_job
from edge_agent.domain.print_job import (
    HELD_ZH,
    ONE_TIME,
    PrintJob,
    PrintKey,
    PrintState,
    SendGate,
)
from edge_agent.domain.printer_status import PrinterStatus, SendOutcome
from edge_agent.domain.task import GRANTED_STATES, Task, TaskState
from edge_agent.flows import bench, paper, print_news
from edge_agent.flows.bench import Bench
from edge_agent.journal import fences, jobs, papers, tasks
from edge_agent.journal.jobs import Placed
from edge_agent.journal.tx import Tx
from edge_agent.ports import Connection
from protocols.errors import Rejected
from protocols.messages import Token

WAYBILL = print_news.WAYBILL
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
    if token == paper.NO_TOKEN and key.kind != WAYBILL:
        return True
    if token < fences.of(db, placed.job.shipment_id):
        return False
    task = tasks.get(db, placed.job.shipment_id, token)
    return task is not None and task.state in GRANTED_STATES


def blocked(db: Connection, key: PrintKey) -> str:
    """What a person must confirm before this may print: `notice`, `old_label` or "".

    `old_label`: the label of an older grant of this shipment is not known to be torn up.
    """
    placed = jobs.get(db, key)
    if placed is None or not placed.job.shipment_id:
        return ""
    for task in tasks.all_of(db, placed.job.shipment_id):
        if task.token == placed.job.token and task.halted:
            return "notice"
        if task.token < placed.job.token and task.state is TaskState.STOPPING:
            return "old_label"
    return ""


def may_start(db: Connection, key: PrintKey) -> bool:
    """The last question right before byte one: the token lives and nothing waits for a person."""
    return token_live(db, key) and not blocked(db, key)


def may_print(db: Connection, current_epoch: str) -> bool:
    """Whether this card's memory is known to be whole: nothing prints during resynchronisation."""
    return bench.resynced_epoch(db) == current_epoch


def next_for(db: Connection, printer: str, *, whole: bool = True) -> Placed | None:
    """The label that has waited longest for a printer.

    Not `whole`: `may_print` said no, and only what this very run has made may go.
    """
    return jobs.next_queued(db, printer, () if whole else sorted(ONE_TIME))


def next_now(db: Connection, printer: str, current_epoch: str) -> Placed | None:
    """The same, of what may go now; asked after each scan, so the usual "nothing" is one look."""
    placed = next_for(db, printer)
    if placed is None or may_print(db, current_epoch):
        return placed
    return next_for(db, printer, whole=False)


def begin(
    tx: Tx,
    key: PrintKey,
    size: int,
    status: PrinterStatus,
    *,
    core_seen: bool,
    printer: str = "",
) -> PrintJob:
    """The label is drawn (`size` bytes): become `sending` with `label.started`, or `held`.

    Only a job returned in state `sending` may be sent. Returns it unchanged when it is not queued
    (for `printer`, if given) any more or nothing may be printed now.
    """
    placed = jobs.get(tx.db, key)
    assert placed is not None
    job = placed.job
    if job.state is not PrintState.QUEUED:
        return job
    if key.kind not in ONE_TIME and not may_print(tx.db, tx.head.epoch):
        return job
    if printer not in ("", placed.printer):
        return replace(job, state=PrintState.HELD)  # another printer's by now; nothing is booked
    gate = SendGate(
        now_ms=tx.now.wall_ms,
        token_live=token_live(tx.db, key),
        core_seen=core_seen or (bool(job.operator) and placed.boot == tx.boot),
        printer=status,
        blocked=blocked(tx.db, key),
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
    job = print_job.settle(placed.job, outcome)
    if outcome.error == "not_allowed" and job.state is PrintState.HELD and token_live(tx.db, key):
        # Nobody took the token: a person had something to confirm, maybe has done so by now.
        why = blocked(tx.db, key)
        held = _move(tx, placed, replace(job, reason=why or "notice"))
        return held if why else _requeue(tx, replace(placed, job=held))
    return _move(tx, placed, job)


def confirmed(tx: Tx, shipment: str) -> int:
    """A person confirmed what blocked the shipment's papers: they queue again."""
    waits = ("notice", "old_label")
    return _release_where(
        tx,
        lambda placed: (
            placed.job.shipment_id == shipment
            and placed.job.reason in waits
            and not blocked(tx.db, placed.job.key)
        ),
    )


def fail_over(tx: Tx, printer: str, spare: str) -> int:
    """Labels that `printer` cannot print, with not a byte sent, go to `spare`; how many.

    Each is moved once by the machine; after that a person decides.
    """
    moved = 0
    for placed in jobs.in_states(tx.db, (PrintState.HELD, PrintState.FAILED)):
        if _may_move(placed, printer):
            _requeue(tx, replace(placed, printer=spare, moved_from=printer))
            moved += 1
    return moved


def may_fail_over(db: Connection, printer: str) -> bool:
    """Whether a label waits that another printer could print."""
    waiting = jobs.in_states(db, (PrintState.HELD, PrintState.FAILED))
    return any(_may_move(placed, printer) for placed in waiting)


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
    _end_one_time(tx)
    for placed in jobs.in_states(tx.db, (PrintState.HELD, PrintState.FAILED)):
        jobs.save(tx.db, replace(placed, printer=_printer_for(placed, at)))
    return Recovered(len(unknown), len(held))


def _end_one_time(tx: Tx) -> None:
    """Papers good for one run only: what waited is cancelled, and none of them is drawn again."""
    for placed in jobs.in_states(tx.db, (PrintState.HELD, PrintState.FAILED)):
        if placed.job.key.kind in ONE_TIME:
            _move(tx, placed, print_job.cancel(placed.job))
    for kind in ONE_TIME:
        papers.forget_kind(tx.db, kind)


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


def press_print(tx: Tx, key: PrintKey, operator: str, *, printer: str = "") -> None:
    """A person pressed 打印 on a held or failed label, maybe for another `printer` ("" = its own).

    Raises `Rejected`.
    """
    placed = _known(tx, key)
    _check_free(tx, key, "打印")
    job = print_job.release(placed.job, now_ms=tx.now.wall_ms, operator=operator or "station")
    moved = {"printer": printer, "moved_from": placed.printer} if printer else {}
    jobs.save(tx.db, replace(placed, job=job, boot=tx.boot, **moved))


def give_up(tx: Tx, key: PrintKey, operator: str) -> None:
    """A person does not want a paper that never left any more. Raises `Rejected`."""
    placed = _known(tx, key)
    job = print_job.cancel(placed.job)
    if job.state is not PrintState.CANCELLED or key.kind == WAYBILL:
        raise Rejected("print_step_refused", "这个任务不能取消", "cannot be cancelled", field="job")
    jobs.save(tx.db, replace(placed, job=replace(job, operator=operator or job.operator)))


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
    _check_free(tx, key, "补打")
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
    jobs.save(tx.db, replace(placed, job=new, boot=tx.boot, printer=printer, moved_from=""))
    return new


def label_scanned(tx: Tx, number: str, kind: str = WAYBILL) -> None:
    """The paper itself was scanned: the best proof there is."""
    placed = jobs.newest(tx.db, kind, number)
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
    print_news.tell(tx, placed, job)


def _printer_for(placed: Placed, at: Bench) -> str:
    known = placed.printer in at.plan.printers
    return placed.printer if known else at.plan.printer_of(placed.station)


def _cured_by(placed: Placed, printer: str) -> bool:
    return placed.printer == printer and placed.job.reason in _PRINTER_REASONS


def _may_move(placed: Placed, printer: str) -> bool:
    job = placed.job
    return _cured_by(placed, printer) and job.bytes_sent == 0 and not placed.moved_from


def _release_where(tx: Tx, wanted: Callable[[Placed], bool]) -> int:
    released = 0
    for placed in jobs.in_states(tx.db, (PrintState.HELD, PrintState.FAILED)):
        if wanted(placed):
            _requeue(tx, placed)
            released += 1
    return released


def _requeue(tx: Tx, placed: Placed) -> PrintJob:
    """What kept a label of which nothing left is over: it waits its turn again, as it is."""
    job = print_job.release(placed.job, now_ms=tx.now.wall_ms)
    jobs.save(tx.db, replace(placed, job=job))
    return job


def _check_free(tx: Tx, key: PrintKey, verb: str) -> None:
    if key.kind in ONE_TIME:
        text = f"这种单据只打一次, 不能{verb}, 请重新生成"
        raise Rejected("paper_one_time", text, "make a fresh one instead", field="kind")
    if not token_live(tx.db, key):
        raise Rejected(
            "stale_token", f"这票已经不归本仓, 不能{verb}", "token is void", field="token"
        )
    why = blocked(tx.db, key)
    if why:
        raise Rejected(f"{why}_open", f"{HELD_ZH[why]}, 不能{verb}", "confirm first", field="job")


def _move(tx: Tx, placed: Placed, job: PrintJob, *, quiet: bool = False) -> PrintJob:
    """Save the job; a new state that the core should know of becomes an event."""
    if job == placed.job:
        return job
    jobs.save(tx.db, replace(placed, job=job))
    if job.state is not placed.job.state and not quiet:
        print_news.tell(tx, placed, job)
    return job


def _known(tx: Tx, key: PrintKey) -> Placed:
    placed = jobs.get(tx.db, key)
    if placed is None:
        raise Rejected("job_unknown", "没有这个打印任务", "no such print job", field="job")
    return placed
