"""Cards: the `$$` command codes of a station, and the same acts pressed on the status page.

Each is a person's decision: confirm a stop, say whether a label came out, print or print again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from edge_agent.domain import packing
from edge_agent.domain import task as tasks_domain
from edge_agent.domain.answer import Answer, done, mind, refuse
from edge_agent.domain.print_job import PrintState
from edge_agent.domain.scan_meaning import Meaning
from edge_agent.domain.task import Line, Task, TaskState
from edge_agent.flows import count, parcel, print_label, returns, stop
from edge_agent.flows.bench import Bench
from edge_agent.journal import jobs, stations, tasks
from edge_agent.journal.jobs import Placed
from edge_agent.journal.stations import Station
from edge_agent.journal.tx import Tx
from protocols.errors import Rejected
from protocols.events import NoticeConfirmed, OfferRejected, PickShorted

CARD_REASON = "工位扫码补打"
FOUND_MAX = 1_000_000
SHORT_REASONS = {
    "card": "缺货",
    "none": "货位上没有",
    "lost": "找不到",
    "broken": "破损",
    "wrong": "放错了商品",
}
"""Why a shelf has less than was asked for; a card says it as `$$SHORT:BROKEN`."""

_Reply = tuple[Station, Answer]
_Card = Callable[[Tx, Station, str, "Task | None", Bench], _Reply]


def command(tx: Tx, station: Station, meaning: Meaning, task: Task | None, at: Bench) -> _Reply:
    """Do what the card says at this station. Raises `Rejected` with the reason if it cannot."""
    return _CARDS[meaning.ref](tx, station, meaning.argument, task, at)


def confirm_stop(tx: Tx, shipment: str, operator: str) -> Answer:
    """The goods of a cancelled shipment are back on the shelf. Raises `Rejected`."""
    stopping = [t for t in tasks.all_of(tx.db, shipment) if t.state is TaskState.STOPPING]
    if not stopping:
        raise Rejected("task_not_stopping", "不需要确认停止", "nothing to stop", field="shipment")
    for task in stopping:
        stop.confirm(tx, task, operator)
    return done("stopped", "已停止并放回", shipment)


def reject(tx: Tx, shipment: str, reason: str) -> Answer:
    """A person refuses an offer that was not granted yet. Raises `Rejected`."""
    task = tasks.newest(tx.db, shipment)
    if task is None:
        raise Rejected("task_unknown", "没有这个任务", "no such task", field="shipment")
    rejected = tasks_domain.reject(task)
    tasks.save(tx.db, rejected, changed_ms=tx.now.wall_ms)
    body = OfferRejected(shipment=shipment, token=task.token, reason=reason)
    tx.append("offer.rejected", body)
    return done("rejected", "已拒单", shipment)


def short(tx: Tx, task: Task | None, sku: str, found: int, *, station: str, reason: str) -> Answer:
    """Fewer units on the shelf than asked for; `found` are left there (0..1,000,000).

    The one way for the card and for the handheld's button. `reason` is a key of `SHORT_REASONS`;
    `sku` "" = the next line to pick. Raises `Rejected`: `no_task`, `stop` and `notice_open` while
    the station is red, and what names a wrong field.
    """
    task = _calm(tx, task)
    if reason not in SHORT_REASONS:
        raise Rejected("short_reason", "缺货原因不对", "unknown reason", field="reason")
    if not 0 <= found <= FOUND_MAX:
        raise Rejected("units_invalid", f"数量要 0 到 {FOUND_MAX}", "bad units", field="found")
    line = _short_line(task, sku)
    body = PickShorted(
        shipment=task.shipment,
        token=task.token,
        sku=line.sku,
        wanted=line.quantity - line.picked,
        found=found,
        reason=reason,
    )
    tx.append("pick.shorted", body, station=station)
    text = f"已报{SHORT_REASONS[reason]}: {line.name or line.sku}, 还有 {found} 件"
    return mind("shorted", text, task.shipment)


def _short_line(task: Task, sku: str) -> Line:
    if task.state not in (TaskState.GRANTED, TaskState.PICKING):
        raise Rejected("task_not_started", "不在拣货中", "task is not picking", field="state")
    for line in packing.pick_list(task):
        if line.picked < line.quantity and sku in ("", line.sku, *line.barcodes):
            return line
    raise Rejected("line_complete", "没有缺的商品", "nothing is missing", field="sku")


def confirm_notice(tx: Tx, task: Task, station: Station, at: Bench) -> Answer:
    """A person has read what the screen said: papers may print, the box may close again."""
    body = NoticeConfirmed(
        shipment=task.shipment,
        token=task.token,
        code=task.notice_code or "info",
        operator=station.operator,
    )
    tx.append("notice.confirmed", body, station=station.id)
    seen = tasks_domain.confirm_notice(task)
    tasks.save(tx.db, seen, changed_ms=tx.now.wall_ms)
    print_label.confirmed(tx, task.shipment)
    if seen.state is TaskState.PICKING and seen.all_verified:
        return parcel.pack(tx, seen, station, at)
    return done("confirmed", "已确认", task.shipment)


def acknowledge(tx: Tx, shipment: str, operator: str, at: Bench) -> Answer:
    """The same, pressed on a page for a shipment. Raises `Rejected` when no notice waits."""
    task = tasks.newest(tx.db, shipment)
    if task is None or not task.notice:
        raise Rejected("nothing_to_confirm", "没有需要确认的提示", "no notice", field="shipment")
    station = stations.get(tx.db, task.station) if task.station else Station("")
    return confirm_notice(tx, task, replace(station, operator=operator), at)


def _ok(tx: Tx, station: Station, _arg: str, task: Task | None, at: Bench) -> _Reply:
    if station.mode == "count":
        return count.finish(tx, station)
    if task is None or not task.notice:
        return station, mind("nothing_to_confirm", "没有需要确认的提示")
    return station, confirm_notice(tx, task, station, at)


def _count(_tx: Tx, station: Station, _arg: str, _task: Task | None, _at: Bench) -> _Reply:
    return count.begin(station)


def _number(_tx: Tx, station: Station, arg: str, _task: Task | None, _at: Bench) -> _Reply:
    return count.number(station, arg)


def _cancel(tx: Tx, station: Station, _arg: str, _task: Task | None, _at: Bench) -> _Reply:
    return replace(station, shipment="", mode="", dock=""), done("put_down", "已放下当前任务")


def _short(tx: Tx, station: Station, arg: str, task: Task | None, _at: Bench) -> _Reply:
    reason = arg.lower() if arg.lower() in SHORT_REASONS else ""
    sku = "" if reason else arg
    return station, short(tx, task, sku, 0, station=station.id, reason=reason or "card")


def _packed(tx: Tx, station: Station, _arg: str, task: Task | None, at: Bench) -> _Reply:
    held = _calm(tx, task)
    if held.notice:
        return station, mind("notice", f"{held.notice}; 确认后扫 $$OK", held.shipment)
    return station, parcel.pack(tx, held, station, at)


def _reprint(tx: Tx, station: Station, _arg: str, task: Task | None, at: Bench) -> _Reply:
    placed = _label_of(tx, _needed(task))
    print_label.ask_again(
        tx,
        placed.job.key,
        operator=station.operator or station.id,
        reason=CARD_REASON,
        clock_text=at.plan.clock_text(tx.now.wall_ms),
        at=at,
    )
    return station, done("reprint", "补打中", placed.job.shipment_id)


def _print(tx: Tx, station: Station, _arg: str, task: Task | None, at: Bench) -> _Reply:
    held = _needed(task)
    if jobs.newest(tx.db, print_label.WAYBILL, held.waybill) is None:
        raise Rejected("job_unknown", "面单还没有到打印的时候", "no label yet", field="job")
    placed = _label_of(tx, held)
    print_label.press_print(tx, placed.job.key, station.operator or station.id)
    return station, done("printing", "打印中", held.shipment)


def _out(tx: Tx, station: Station, _arg: str, task: Task | None, _at: Bench) -> _Reply:
    placed = _doubtful(tx, task)
    operator = station.operator or station.id
    print_label.answer(tx, placed.job.key, came_out=True, operator=operator)
    return station, done("came_out", "面单已确认", placed.job.shipment_id)


def _not_out(tx: Tx, station: Station, _arg: str, task: Task | None, _at: Bench) -> _Reply:
    placed = _doubtful(tx, task)
    operator = station.operator or station.id
    print_label.answer(tx, placed.job.key, came_out=False, operator=operator)
    text = "已记录没出来; 要再打一张请扫 $$REPRINT"
    return station, mind("not_out", text, placed.job.shipment_id)


def _stopped(tx: Tx, station: Station, _arg: str, task: Task | None, _at: Bench) -> _Reply:
    if task is None or task.state is not TaskState.STOPPING:
        waiting = tasks.by_state(tx.db, (TaskState.STOPPING,), 2)
        if len(waiting) != 1:
            return station, refuse("which_task", "请先扫要停止的任务码或面单")
        task = waiting[0]
    answer = confirm_stop(tx, task.shipment, station.operator or station.id)
    if station.shipment != task.shipment:
        return station, answer  # another bench's stop: what lies here stays in hand
    return replace(station, shipment="", mode=""), answer


def _pass(tx: Tx, station: Station, _arg: str, _task: Task | None, _at: Bench) -> _Reply:
    return returns.verdict_card(tx, station, "pass", "")


def _fail(tx: Tx, station: Station, arg: str, _task: Task | None, _at: Bench) -> _Reply:
    return returns.verdict_card(tx, station, "fail", arg)


def _done(tx: Tx, station: Station, _arg: str, _task: Task | None, _at: Bench) -> _Reply:
    return returns.done_card(tx, station)


def _needed(task: Task | None) -> Task:
    if task is None:
        raise Rejected("no_task", "请先扫任务码或面单", "no task in hand", field="station")
    return task


def _calm(tx: Tx, task: Task | None) -> Task:
    """The task in hand, unless a person must first stop, or confirm what the red screen says."""
    held = _needed(task)
    if held.state is TaskState.STOPPING:
        raise Rejected("stop", stop.red_zh(tx.db, held), "the task is stopping", field="state")
    if held.halted:
        raise Rejected("notice_open", f"{held.notice}; 先扫 $$OK", "a notice waits", field="state")
    return held


def _label_of(tx: Tx, task: Task) -> Placed:
    placed = jobs.newest(tx.db, print_label.WAYBILL, task.waybill)
    if placed is None:
        raise Rejected("job_unknown", "没有打印任务", "no print job", field="job")
    return placed


def _doubtful(tx: Tx, task: Task | None) -> Placed:
    """The label meant by 出来了 / 没出来: that of the task in hand, or the only one in doubt."""
    if task is not None:
        return _label_of(tx, task)
    doubtful = jobs.in_question(tx.db, (PrintState.UNKNOWN,), 2)
    if len(doubtful) != 1:
        raise Rejected("which_label", "请先扫任务码", "which label?", field="station")
    return doubtful[0]


_CARDS: dict[str, _Card] = {
    "OK": _ok,
    "CANCEL": _cancel,
    "SHORT": _short,
    "PACKED": _packed,
    "REPRINT": _reprint,
    "PRINT": _print,
    "OUT": _out,
    "NOTOUT": _not_out,
    "STOPPED": _stopped,
    "COUNT": _count,
    "N": _number,
    "PASS": _pass,
    "FAIL": _fail,
    "DONE": _done,
}
