"""One shipment's work at this warehouse under one token: from offer to hand-over or stop.

    offered -> accepted -> granted -> picking -> packed -> handed_over
    side exits: rejected (before the grant), stopping -> stopped

Only a grant gives the right to pick and print (P4). Every function returns the next task or
raises `Rejected`; the caller commits it together with its event. Knows no scanner and no database.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

from protocols.errors import Rejected
from protocols.messages import Token


class TaskState(StrEnum):
    OFFERED = "offered"
    ACCEPTED = "accepted"
    GRANTED = "granted"
    PICKING = "picking"
    PACKED = "packed"
    HANDED_OVER = "handed_over"
    STOPPING = "stopping"
    STOPPED = "stopped"
    REJECTED = "rejected"


OPEN = frozenset(
    {
        TaskState.OFFERED,
        TaskState.ACCEPTED,
        TaskState.GRANTED,
        TaskState.PICKING,
        TaskState.PACKED,
        TaskState.STOPPING,
    }
)
"""States that a person or the core still has to do something about."""
GRANTED_STATES = frozenset({TaskState.GRANTED, TaskState.PICKING, TaskState.PACKED})

STATE_ZH: dict[str, str] = {
    "offered": "待接单",
    "accepted": "已接单, 等授权",
    "granted": "待拣货",
    "picking": "拣货复核中",
    "packed": "已打包",
    "handed_over": "已交接",
    "stopping": "停! 待放回",
    "stopped": "已停止",
    "rejected": "已拒单",
}


CALM_NOTICES = frozenset({"", "remark", "info"})
"""Notices that are read before the box closes; any other code turns the station red at once."""


@dataclass(frozen=True, slots=True)
class Line:
    """Units of one SKU: asked for, in the tote, scanned at packing.

    `serial`: each unit's serial number is scanned, too. `gift`: it belongs to the gift child.
    """

    sku: str
    quantity: int
    name: str = ""
    barcodes: tuple[str, ...] = ()
    location: str = ""
    picked: int = 0
    verified: int = 0
    serial: bool = False
    gift: bool = False


STOP_ZH: dict[str, str] = {
    "refund": "订单已取消 (退款)",
    "address_changed": "收货地址已更改, 旧面单作废, 等新任务",
    "re_own": "已改由别的仓发货",
}


@dataclass(frozen=True, slots=True)
class PackStart:
    """The scan that began packing: boot counter, wall clock and CLOCK_BOOTTIME in ms."""

    boot: int
    wall_ms: int
    mono_ms: int


@dataclass(frozen=True, slots=True)
class Task:
    """One task. Times are this machine's wall clock in ms; no personal data lives here (P12).

    `gift` is the number of the gift child riding in the parcel ("" if none). `stop_reason` and
    `stop_text` are the cancel's, while the task is stopping.
    """

    shipment: str
    token: Token
    order: str
    channel: str
    native_id: str
    state: TaskState
    lines: tuple[Line, ...]
    ship_by_ms: int
    waybill: str = ""
    carrier: str = ""
    print_on: str = "grant"
    priority: int = 0
    reissue: bool = False
    station: str = ""
    operator: str = ""
    notice: str = ""
    fence: Token | None = None
    changed_ms: int = 0
    notice_code: str = ""
    gift: str = ""
    stop_reason: str = ""
    stop_text: str = ""
    packing: PackStart | None = None

    @property
    def halted(self) -> bool:
        """Whether a person must confirm a notice before anything prints, moves or closes."""
        return bool(self.notice) and self.notice_code not in CALM_NOTICES

    @property
    def all_picked(self) -> bool:
        return all(line.picked >= line.quantity for line in self.lines)

    @property
    def all_verified(self) -> bool:
        return all(line.verified >= line.quantity for line in self.lines)

    @property
    def touched(self) -> bool:
        """Whether anybody began to work on it."""
        return self.state in (TaskState.PICKING, TaskState.PACKED) or any(
            line.picked for line in self.lines
        )


def start(task: Task, station: str, operator: str) -> Task:
    """`granted` -> `picking` at a station; a task already begun moves to the station."""
    if task.state is TaskState.GRANTED:
        return replace(task, state=TaskState.PICKING, station=station, operator=operator)
    if task.state is TaskState.PICKING:
        return replace(task, station=station, operator=operator or task.operator)
    raise _refused(task, "task_not_granted", "不能开始拣货")


def pick(task: Task, sku: str) -> tuple[Task, Line]:
    """One unit from the shelf into the tote: (task, the line after it)."""
    if task.state is not TaskState.PICKING:
        raise _refused(task, "task_not_started", "不能拣货")
    return _count(task, sku, "picked")


def begin_packing(task: Task, start: PackStart) -> Task:
    """The scan that begins packing; the first one counts."""
    return task if task.packing is not None else replace(task, packing=start)


def verify(task: Task, sku: str) -> tuple[Task, Line]:
    """One unit scanned at packing: (task, the line after it). Only what was picked counts."""
    if task.state is not TaskState.PICKING:
        raise _refused(task, "task_not_started", "不能复核")
    return _count(task, sku, "verified")


def pack(task: Task) -> Task:
    """`picking` -> `packed` when every unit was verified, the gift's, too, and nothing is red."""
    if task.state is not TaskState.PICKING or not task.all_verified:
        raise _refused(task, "not_all_verified", "还没有复核齐")
    _check_calm(task)
    return replace(task, state=TaskState.PACKED)


def hand_over(task: Task) -> Task:
    """`packed` -> `handed_over`."""
    if task.state is not TaskState.PACKED:
        raise _refused(task, "not_packed", "还没有打包, 不能交接")
    _check_calm(task)
    return replace(task, state=TaskState.HANDED_OVER)


def confirm_notice(task: Task) -> Task:
    """A person has read the notice."""
    return replace(task, notice="", notice_code="")


def stop(task: Task, fence: Token, *, reason: str = "", text: str = "") -> Task:
    """The token is void: begun work waits for a person (`stopping`), the rest ends at once.

    A task that ended before stays as it is: a parcel that left has left. `text` is for the screen.
    """
    if task.state not in OPEN or task.state is TaskState.STOPPING or task.token >= fence:
        return task
    state = TaskState.STOPPING if task.touched else TaskState.STOPPED
    return replace(task, state=state, fence=fence, stop_reason=reason, stop_text=text)


def stop_zh(task: Task, *, pull: bool) -> str:
    """What the red screen says of a task that is stopping; `pull`: a paper may be out."""
    why = task.stop_text or STOP_ZH.get(task.stop_reason, "订单已取消")
    label = f"撕下面单 {task.waybill}; " if pull and task.waybill else ""
    return f"停! {why}; {label}商品放回货架后扫 $$STOPPED"


def confirm_stop(task: Task) -> Task:
    """A person put the goods back and pulled the label: `stopping` -> `stopped`."""
    if task.state is not TaskState.STOPPING:
        raise _refused(task, "task_not_stopping", "不需要确认停止")
    return replace(task, state=TaskState.STOPPED)


def reject(task: Task) -> Task:
    """Refuse an offer that was not granted yet."""
    if task.state not in (TaskState.OFFERED, TaskState.ACCEPTED):
        raise _refused(task, "task_already_granted", "已经授权, 不能拒单")
    return replace(task, state=TaskState.REJECTED)


def find_sku(task: Task, code: str) -> str:
    """The SKU of the task that `code` (a barcode or the SKU itself) means, "" if none."""
    for line in task.lines:
        if code == line.sku or code in line.barcodes:
            return line.sku
    return ""


def put_back(task: Task) -> dict[str, int]:
    """SKU -> units in the tote that go back to the shelf."""
    units: dict[str, int] = {}
    for line in task.lines:
        if line.picked:
            units[line.sku] = units.get(line.sku, 0) + line.picked
    return units


def _count(task: Task, sku: str, field: str) -> tuple[Task, Line]:
    for index, line in enumerate(task.lines):
        done: int = getattr(line, field)
        limit = line.quantity if field == "picked" else min(line.quantity, line.picked)
        if line.sku == sku and done < limit:
            line = replace(line, **{field: done + 1})  # type: ignore[arg-type]
            lines = (*task.lines[:index], line, *task.lines[index + 1 :])
            return replace(task, lines=lines), line
    if not any(line.sku == sku for line in task.lines):
        raise Rejected("not_in_task", "商品不属于本单", "item is not in this task", field="code")
    verb = "拣够" if field == "picked" else "复核够"
    raise Rejected("line_complete", f"该商品已{verb}", "this line is complete", field="code")


def _check_calm(task: Task) -> None:
    if task.halted:
        raise Rejected(
            "notice_open", f"{task.notice}; 确认后扫 $$OK", "a notice waits", field="notice"
        )


def _refused(task: Task, code: str, zh: str) -> Rejected:
    told = f"任务是“{STATE_ZH[task.state]}”, {zh}"
    return Rejected(code, told, f"task is {task.state}", field="state")
