"""Print news: what became of a label or another paper, as the event that the core reads."""

from __future__ import annotations

from edge_agent.domain.print_job import PrintJob, PrintState
from edge_agent.journal import tasks
from edge_agent.journal.jobs import Placed
from edge_agent.journal.tx import Tx
from protocols.events import LabelEvent, PaperEvent
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


def tell(tx: Tx, placed: Placed, job: PrintJob) -> None:
    """The job has come to a new state: write the event, if the core should know of it."""
    type_ = _STATE_EVENT.get(job.state)
    if type_ is None:
        return
    if job.key.kind != WAYBILL:
        _tell_paper(tx, placed, job)
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


def _tell_paper(tx: Tx, placed: Placed, job: PrintJob) -> None:
    """The fate of a paper that is no label; that it was begun is nobody's business."""
    if job.state is PrintState.SENDING:
        return
    body = PaperEvent(
        kind=job.key.kind,
        number=job.key.number,
        revision=job.key.revision,
        evidence=job.evidence if job.state is PrintState.CONFIRMED else "",
        reason=job.reason if job.state in _TROUBLE else job.reprint_reason,
        operator=job.operator,
        printer=placed.printer,
    )
    type_ = _STATE_EVENT[job.state].replace("label.", "paper.")
    tx.append(type_, body, station=placed.station, reserve=True)
