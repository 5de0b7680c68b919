"""Stop a shipment: a fence voids older tokens, begun work waits for a person, the rest ends.

The fence is kept even for a shipment never seen, so that an offer overtaken by its cancel finds it.
"""

from __future__ import annotations

from dataclasses import replace

from edge_agent.domain import task as tasks_domain
from edge_agent.domain.print_job import PrintState
from edge_agent.domain.task import Task, TaskState
from edge_agent.flows import print_label
from edge_agent.journal import fences, jobs, papers, tasks
from edge_agent.journal.tx import Tx
from edge_agent.ports import Connection
from protocols.commands import Cancel, Fence
from protocols.errors import Rejected
from protocols.events import PutBack, TaskStopped
from protocols.messages import Token

_NEVER_LEFT = (PrintState.CANCELLED, PrintState.HELD, PrintState.FAILED)
"""Not a byte of these went to a printer: there is no paper to pull."""


def cancel(tx: Tx, body: Cancel) -> None:
    """Take back every token below the fence; answer at once when nobody has to do anything."""
    raise_fence(tx, body.shipment, body.fence, reason=body.reason, text=body.text)
    if not body.answer:
        return
    older = [task for task in tasks.all_of(tx.db, body.shipment) if task.token < body.fence]
    if any(task.state in (TaskState.STOPPING, TaskState.HANDED_OVER) for task in older):
        return
    if not older or older[-1].state in (TaskState.STOPPED, TaskState.REJECTED):
        token = older[-1].token if older else _before(body.fence)
        stopped = TaskStopped(
            shipment=body.shipment, token=token, fence=body.fence, reason=body.reason
        )
        tx.append("task.stopped", stopped)


def fence_off(tx: Tx, body: Fence) -> None:
    """One fence of a resynchronisation."""
    raise_fence(tx, body.shipment, body.fence)


def raise_fence(tx: Tx, shipment: str, fence: Token, *, reason: str = "", text: str = "") -> None:
    """Keep the fence and stop every task of the shipment under an older token.

    A grant may overtake the cancel before it: what the cancel says reaches the screen all the same.
    """
    fences.raise_to(tx.db, shipment, fence)
    for task in tasks.all_of(tx.db, shipment):
        if task.token < fence:
            _stop(tx, task, fence, reason, text)


def paper_out(db: Connection, task: Task) -> bool:
    """Whether a label of the task may exist on paper, to be pulled off and torn up."""
    return any(
        Token(*placed.job.token) == task.token and placed.job.state not in _NEVER_LEFT
        for placed in jobs.of_shipment(db, task.shipment)
    )


def red_zh(db: Connection, task: Task) -> str:
    """The sentence of the red screen of a task that is stopping."""
    return tasks_domain.stop_zh(task, pull=paper_out(db, task))


def confirm(tx: Tx, task: Task, operator: str) -> Task:
    """A person put the goods back and pulled the label. Raises `Rejected`."""
    stopped = replace(tasks_domain.confirm_stop(task), operator=operator or task.operator)
    label = "pulled" if paper_out(tx.db, task) else "none"
    body = TaskStopped(
        shipment=task.shipment,
        token=task.token,
        fence=task.fence or fences.of(tx.db, task.shipment),
        put_back=[PutBack(sku, units) for sku, units in tasks_domain.put_back(task).items()],
        label=label,
        operator=operator,
        reason=task.stop_reason[:32],
    )
    tasks.save(tx.db, stopped, changed_ms=tx.now.wall_ms)
    tx.append("task.stopped", body, station=task.station)
    print_label.confirmed(tx, task.shipment)
    return stopped


def check_token(tx: Tx, shipment: str, token: Token) -> None:
    """Raise `Rejected("stale_token")` when a fence is above the token."""
    if token < fences.of(tx.db, shipment):
        raise Rejected("stale_token", "令牌已失效", "the token is below the fence", field="token")


def _stop(tx: Tx, task: Task, fence: Token, reason: str, text: str) -> None:
    if task.state is TaskState.STOPPING and reason and not task.stop_reason:
        told = replace(task, stop_reason=reason, stop_text=text)
        tasks.save(tx.db, told, changed_ms=tx.now.wall_ms)
    if task.state not in tasks_domain.OPEN or task.state is TaskState.STOPPING:
        return
    paper = print_label.stop_labels(tx, task)
    stopped = tasks_domain.stop(task, fence, reason=reason, text=text)
    if paper != "none" and stopped.state is TaskState.STOPPED:
        stopped = replace(stopped, state=TaskState.STOPPING)
    tasks.save(tx.db, stopped, changed_ms=tx.now.wall_ms)
    # Below the fence nothing prints any more, so nobody needs the receiver here; on a card that was
    # put back these may be fields which the core had purged long ago (P12).
    gone = [tasks.drop_label(tx.db, task)]
    for placed in jobs.of_shipment(tx.db, task.shipment):
        if Token(*placed.job.token) == task.token:
            gone.append(papers.forget(tx.db, placed.job.key.kind, placed.job.key.number))
    tx.scrub |= any(gone)


def _before(fence: Token) -> Token:
    """The newest token a fence voids, for a shipment this agent never saw."""
    return Token(fence.core_epoch, max(0, fence.n - 1))
