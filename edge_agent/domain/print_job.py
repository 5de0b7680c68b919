"""The life of one label on its way to paper: the third axis of an order (DESIGN §6, P6).

    queued -> rendered -> sending -> sent -> confirmed
    side exits: failed (0 bytes left us), unknown (some did), held, cancelled, superseded

The law: at most one physical label per (kind, number, revision). Once a byte may have left, the
machine never sends that revision again; only a person makes a new, marked revision. Every
transition is a pure function that returns the next job; the caller commits it *before* its effect
(`sending` before byte one). Knows no printer, no database and no clock.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

from edge_agent.domain.printer_status import PrinterLevel, PrinterStatus, SendOutcome
from protocols.errors import Rejected

DEFAULT_TTL_S = 600
MAX_TTL_S = 7 * 86_400
MAX_REPRINTS = 10
MAX_REASON_CHARS = 200
ONE_TIME = frozenset({"pair_ticket"})
"""Kinds whose words are worth nothing after a restart: never printed by a later boot, never
reprinted, and, made by this very run, no question of what the card remembers."""


class PrintState(StrEnum):
    QUEUED = "queued"
    RENDERED = "rendered"
    SENDING = "sending"
    SENT = "sent"
    CONFIRMED = "confirmed"
    FAILED = "failed"
    UNKNOWN = "unknown"
    HELD = "held"
    CANCELLED = "cancelled"
    SUPERSEDED = "superseded"


TRANSITIONS: dict[PrintState, frozenset[PrintState]] = {
    PrintState.QUEUED: frozenset(
        {PrintState.RENDERED, PrintState.HELD, PrintState.FAILED, PrintState.CANCELLED}
    ),
    PrintState.RENDERED: frozenset(
        {PrintState.SENDING, PrintState.HELD, PrintState.FAILED, PrintState.CANCELLED}
    ),
    PrintState.SENDING: frozenset(
        {
            PrintState.SENT,
            PrintState.CONFIRMED,
            PrintState.FAILED,
            PrintState.HELD,
            PrintState.UNKNOWN,
        }
    ),
    PrintState.SENT: frozenset({PrintState.CONFIRMED, PrintState.UNKNOWN, PrintState.SUPERSEDED}),
    PrintState.UNKNOWN: frozenset({PrintState.CONFIRMED, PrintState.SUPERSEDED}),
    PrintState.HELD: frozenset({PrintState.QUEUED, PrintState.CANCELLED}),
    PrintState.FAILED: frozenset({PrintState.QUEUED, PrintState.CANCELLED}),
    PrintState.CONFIRMED: frozenset({PrintState.SUPERSEDED}),
    PrintState.CANCELLED: frozenset(),
    PrintState.SUPERSEDED: frozenset(),
}
"""Every legal step. From `sending` on there is no way back to `queued` except through `failed` or
`held`, which are entered from `sending` only when zero bytes left (see `settle`)."""

HELD_ZH: dict[str, str] = {
    "paper_out": "缺纸",
    "cover_open": "打印头未合上",
    "paper_jam": "卡纸",
    "ribbon_out": "碳带用完",
    "paused": "打印机已暂停",
    "offline": "连不上打印机",
    "no_answer": "打印机没有应答",
    "printer_error": "打印机报错",
    "boot_without_core": "开机后还没有连上云端, 不会自动打印旧任务",
    "expired": "等待太久, 包裹可能已经离开工位",
    "stale_token": "这票已经不归本仓",
    "cancelled": "订单已取消",
    "clock": "本机时钟不可信, 请人工确认",
    "notice": "有提示没有确认",
    "old_label": "旧面单还没有撕下",
}


@dataclass(frozen=True, slots=True, order=True)
class PrintKey:
    """Identity of one paper: `kind` (waybill, picklist, ...), its number, revision from 1."""

    kind: str
    number: str
    revision: int


@dataclass(frozen=True, slots=True)
class PrintJob:
    """One row of the job table. Times are the caller's wall clock in ms, sizes are bytes.

    `token` is the fencing token the label was granted under, as the wire writes it.
    `evidence` says what a confirmation stands on: `printer`, `scan` or `operator`.
    """

    key: PrintKey
    shipment_id: str
    token: tuple[int, int]
    queued_ms: int
    state: PrintState = PrintState.QUEUED
    ttl_s: int = DEFAULT_TTL_S
    bytes_sent: int = 0
    total_bytes: int = 0
    reason: str = ""
    evidence: str = ""
    operator: str = ""
    reprint_reason: str = ""
    copy_mark: str = ""
    superseded_by: int = 0


@dataclass(frozen=True, slots=True)
class SendGate:
    """What must be known right before a label may be sent; all of it read at that moment.

    `token_live`: no fence at this agent is above the job's token and the grant still stands.
    `core_seen`: the core has answered since this boot, or a person released the job by hand.
    `blocked`: what a person must confirm first (`notice`, `old_label`), "" if nothing.
    """

    now_ms: int
    token_live: bool
    core_seen: bool
    printer: PrinterStatus
    blocked: str = ""


def _step(job: PrintJob, state: PrintState, **changes: object) -> PrintJob:
    if state not in TRANSITIONS[job.state]:
        raise Rejected(
            "print_step_refused",
            f"打印任务 {job.key.number} 在“{job.state}”状态, 不能变为“{state}”",
            f"print job {job.key.number} cannot go from {job.state} to {state}",
            field="state",
        )
    return replace(job, state=state, **changes)  # type: ignore[arg-type]


def rendered(job: PrintJob, total_bytes: int) -> PrintJob:
    """The picture is drawn and framed into `total_bytes` bytes (> 0)."""
    return _step(job, PrintState.RENDERED, total_bytes=total_bytes, bytes_sent=0)


def hold_reason(job: PrintJob, gate: SendGate) -> str:
    """Why this job must not go to the printer now: a key of `HELD_ZH`, or "" if it may."""
    if not gate.token_live:
        return "stale_token"
    if gate.blocked:
        return gate.blocked
    if not gate.core_seen:
        return "boot_without_core"
    if gate.now_ms < job.queued_ms:
        return "clock"
    if gate.now_ms - job.queued_ms > job.ttl_s * 1000:
        return "expired"
    if gate.printer.level is PrinterLevel.ERROR:
        return gate.printer.code if gate.printer.code in HELD_ZH else "printer_error"
    return ""


def start_sending(job: PrintJob, gate: SendGate) -> PrintJob:
    """`rendered` -> `sending`, or `held` with the reason. Commit the result before byte one."""
    reason = hold_reason(job, gate)
    if reason:
        return hold(job, reason)
    return _step(job, PrintState.SENDING, bytes_sent=0, reason="")


def settle(job: PrintJob, outcome: SendOutcome) -> PrintJob:
    """Book what one sending came to. Zero bytes: `held` or `failed`, both may be tried again.

    Any byte: `confirmed` if the printer showed it, `sent` if all went out and the printer is well
    (or is of a kind that never answers), else `unknown`. A late outcome still lands on a job that
    recovery made `unknown`, but then only good news counts (never back to where it could be sent).
    """
    if job.state is not PrintState.SENDING:
        return _late(job, outcome)
    if outcome.bytes_sent == 0:
        return _nothing_left(job, outcome)
    seen = {"bytes_sent": outcome.bytes_sent, "reason": outcome.error or outcome.status_after.code}
    whole = outcome.bytes_sent >= outcome.total and not outcome.error
    if whole and outcome.printed:
        return _step(job, PrintState.CONFIRMED, evidence="printer", **seen)
    if whole and outcome.status_after.level in (PrinterLevel.OK, PrinterLevel.WARN):
        return _step(job, PrintState.SENT, **seen)
    return _step(job, PrintState.UNKNOWN, **seen)


def _nothing_left(job: PrintJob, outcome: SendOutcome) -> PrintJob:
    if outcome.error == "not_allowed":
        return _step(job, PrintState.HELD, reason="stale_token")
    code = outcome.status_after.code
    if outcome.error in ("not_ready", "no_answer", "offline"):
        return _step(job, PrintState.HELD, reason=code if code in HELD_ZH else "printer_error")
    return _step(job, PrintState.FAILED, reason=outcome.error or "printer_error")


def _late(job: PrintJob, outcome: SendOutcome) -> PrintJob:
    if job.state in (PrintState.SENT, PrintState.UNKNOWN) and outcome.printed:
        return _step(job, PrintState.CONFIRMED, evidence="printer", bytes_sent=outcome.bytes_sent)
    return job


def hold(job: PrintJob, reason: str) -> PrintJob:
    """Set aside, nothing printed; `reason` is a key of `HELD_ZH`."""
    assert reason in HELD_ZH, reason
    return _step(job, PrintState.HELD, reason=reason)


def release(job: PrintJob, *, now_ms: int, operator: str = "") -> PrintJob:
    """`held` or `failed` (nothing ever left) -> `queued`, same revision, no reprint mark.

    Without `operator` this is the machine's doing: allowed after a repaired printer or a core that
    came back, refused where a person must decide (expired, doubtful clock, cancelled, stale).
    A person's release starts the time to live afresh; who asked before stays on the record.
    """
    person_only = job.reason in ("expired", "clock", "cancelled", "stale_token")
    if person_only and not operator:
        raise Rejected(
            "print_needs_person",
            f"需要人工放行: {HELD_ZH[job.reason]}",
            f"only a person may release a job held for {job.reason}",
            field="operator",
        )
    queued_ms = now_ms if operator else job.queued_ms
    asked_by = operator or job.operator
    return _step(job, PrintState.QUEUED, reason="", queued_ms=queued_ms, operator=asked_by)


def recover(job: PrintJob) -> PrintJob:
    """What a job is after a crash or restart, before anything else runs.

    In flight -> `unknown` for good. Not yet sent -> `held` until the core has been heard or a
    person asks: a boot without the core never prints, unasked, what was queued before it. A paper
    that is good for one run only is cancelled.
    """
    if job.key.kind in ONE_TIME:
        job = cancel(job)
    if job.state in (PrintState.SENDING, PrintState.SENT):
        return _step(job, PrintState.UNKNOWN, reason="restart")
    if job.state in (PrintState.QUEUED, PrintState.RENDERED):
        return hold(job, "boot_without_core")
    return job


def label_scanned(job: PrintJob) -> PrintJob:
    """The paper itself was scanned: the best proof there is. Idempotent, never a step back."""
    if job.state in (PrintState.SENDING, PrintState.SENT, PrintState.UNKNOWN):
        return _step(job, PrintState.CONFIRMED, evidence="scan", reason="")
    return job


def answered(job: PrintJob, *, came_out: bool, operator: str) -> PrintJob:
    """A person's "出来了 / 没出来" on a `sent` or `unknown` job.

    "出来了" confirms. "没出来" leaves (or makes) it `unknown`: the way on is `reprint`, marked,
    because the printer may still bring the first paper out of its buffer.
    """
    if not operator:
        raise Rejected("operator_missing", "缺少操作员", "operator is required", field="operator")
    if came_out:
        return _step(job, PrintState.CONFIRMED, evidence="operator", operator=operator, reason="")
    if job.state is PrintState.SENT:
        return _step(job, PrintState.UNKNOWN, operator=operator, reason="operator_says_missing")
    if job.state is PrintState.UNKNOWN:
        return replace(job, operator=operator, reason="operator_says_missing")
    return _step(job, PrintState.UNKNOWN)


def cancel(job: PrintJob) -> PrintJob:
    """The order is stopped. Only what has not begun to leave can be cancelled; else unchanged."""
    if PrintState.CANCELLED in TRANSITIONS[job.state]:
        return _step(job, PrintState.CANCELLED, reason="cancelled")
    return job


def reprint(
    job: PrintJob, *, operator: str, reason: str, now_ms: int, clock_text: str, station: str
) -> tuple[PrintJob, PrintJob]:
    """A person asks for another paper: (old job superseded, new job with revision + 1).

    Bounds: operator and reason required (reason <= 200 characters), 10 reprints a number. Raises
    `Rejected` for a job that never printed (release it instead) and for one already superseded.
    `clock_text` is the local "HH:MM" drawn into the mark.
    """
    if not operator:
        raise Rejected(
            "operator_missing", "补打需要操作员", "operator is required", field="operator"
        )
    if not reason.strip() or len(reason) > MAX_REASON_CHARS:
        raise Rejected(
            "reprint_reason", "补打需要写明原因 (200 字以内)", "reason is required", field="reason"
        )
    number = job.key.revision
    if number > MAX_REPRINTS:
        raise Rejected(
            "reprint_limit",
            f"最多补打 {MAX_REPRINTS} 次",
            "reprint limit reached",
            field="revision",
        )
    old = _step(job, PrintState.SUPERSEDED, superseded_by=number + 1)
    new = PrintJob(
        key=replace(job.key, revision=number + 1),
        shipment_id=job.shipment_id,
        token=job.token,
        queued_ms=now_ms,
        ttl_s=job.ttl_s,
        operator=operator,
        reprint_reason=reason.strip(),
        copy_mark=f"补打 {number} · {clock_text} · {station}",
    )
    return old, new
