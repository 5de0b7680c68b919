"""One return at this warehouse, from its ticket to its verdicts.

    announced -> accepted -> closed;  announced -> void

The scan that accepts starts the countdown; each unit gets a verdict, the last one closes. Goods
that come although their ticket is void are accepted all the same: a fact is never thrown away.
Every function returns the next ticket or raises `Rejected`. Knows no scanner and no database.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from protocols.errors import Rejected


class TicketState(StrEnum):
    ANNOUNCED = "announced"
    ACCEPTED = "accepted"
    CLOSED = "closed"
    VOID = "void"


STATE_ZH: Final[Mapping[str, str]] = {
    "announced": "待退回", "accepted": "质检中", "closed": "质检完成", "void": "已作废",
}  # fmt: skip
VERDICT_ZH: Final[Mapping[str, str]] = {"pass": "合格", "fail": "不合格"}
FAIL_ZH: Final[Mapping[str, str]] = {
    "": "不合格", "BROKEN": "破损", "USED": "已使用", "DIRTY": "污渍", "WRONG": "发回的不是本商品",
    "SERIAL": "序列号不符", "MISSING": "缺件",
}  # fmt: skip
"""Why a unit fails; a card says it as `$$FAIL:BROKEN`."""


@dataclass(frozen=True, slots=True)
class ReturnLine:
    """Units of one SKU that are to come back, and the verdicts so far."""

    sku: str
    quantity: int
    name: str = ""
    barcodes: tuple[str, ...] = ()
    location: str = ""
    serials: tuple[str, ...] = ()
    serial: bool = False
    passed: int = 0
    failed: int = 0

    @property
    def left(self) -> int:
        """Units without a verdict."""
        return max(0, self.quantity - self.passed - self.failed)


@dataclass(frozen=True, slots=True)
class Ticket:
    """One return. Times are this machine's wall clock in ms; no personal data lives here (P12)."""

    ticket: str
    order: str
    channel: str
    native_id: str
    lines: tuple[ReturnLine, ...]
    inspect_s: int
    state: TicketState = TicketState.ANNOUNCED
    window_from_ms: int = 0
    window_to_ms: int = 0
    reason: str = ""
    waybill: str = ""
    accepted_ms: int = 0
    operator: str = ""
    changed_ms: int = 0

    @property
    def due_ms(self) -> int:
        """When inspection must be over; 0 before the goods were accepted."""
        return self.accepted_ms + self.inspect_s * 1000 if self.accepted_ms else 0

    @property
    def left(self) -> int:
        """Units without a verdict."""
        return sum(line.left for line in self.lines)

    @property
    def outcome(self) -> str:
        """`passed` when all announced units did, `failed` when none did, else `partial`."""
        if not any(line.passed for line in self.lines):
            return "failed"
        whole = all(line.passed >= line.quantity for line in self.lines)
        return "passed" if whole else "partial"

    def is_overdue(self, now_ms: int) -> bool:
        """Whether its inspection takes too long."""
        return self.state is TicketState.ACCEPTED and now_ms > self.due_ms


def accept(ticket: Ticket, now_ms: int, operator: str) -> Ticket:
    """The goods came: `announced` (or void) -> `accepted`; the countdown runs from here."""
    if ticket.state not in (TicketState.ANNOUNCED, TicketState.VOID) or not ticket.lines:
        raise _refused(ticket, "return_not_open", "不能签收")
    return replace(ticket, state=TicketState.ACCEPTED, accepted_ms=now_ms, operator=operator)


def inspect(ticket: Ticket, sku: str, verdict: str, quantity: int = 1) -> tuple[Ticket, ReturnLine]:
    """A verdict (`pass`, `fail`) on `quantity` units: (ticket, the line after it)."""
    if ticket.state is not TicketState.ACCEPTED:
        raise _refused(ticket, "return_not_accepted", "请先扫退货工单签收")
    if verdict not in VERDICT_ZH:
        raise Rejected("verdict_unknown", "结果须为合格或不合格", "pass or fail", field="verdict")
    for index, line in enumerate(ticket.lines):
        if line.sku != sku:
            continue
        if not 1 <= quantity <= line.left:
            raise Rejected(
                "line_complete", f"该商品只剩 {line.left} 件待质检", "no such units left",
                field="quantity",
            )  # fmt: skip
        if verdict == "pass":
            line = replace(line, passed=line.passed + quantity)
        else:
            line = replace(line, failed=line.failed + quantity)
        lines = (*ticket.lines[:index], line, *ticket.lines[index + 1 :])
        return replace(ticket, lines=lines), line
    raise Rejected("not_in_return", "商品不属于本退货工单", "not in this return", field="sku")


def close(ticket: Ticket) -> Ticket:
    """Inspection is over; units without a verdict did not come."""
    if ticket.state is not TicketState.ACCEPTED:
        raise _refused(ticket, "return_not_accepted", "不能结束质检")
    return replace(ticket, state=TicketState.CLOSED)


def void(ticket: Ticket) -> Ticket:
    """The goods do not come; what was accepted stays."""
    return replace(ticket, state=TicketState.VOID) if _waits(ticket) else ticket


def find(ticket: Ticket, code: str) -> tuple[str, str]:
    """(SKU, serial number) of the ticket that a code means, ("", "") if none."""
    for line in ticket.lines:
        if code in line.serials:
            return line.sku, code
    for line in ticket.lines:
        if code == line.sku or code in line.barcodes:
            return line.sku, ""
    return "", ""


def _waits(ticket: Ticket) -> bool:
    return ticket.state is TicketState.ANNOUNCED


def _refused(ticket: Ticket, code: str, zh: str) -> Rejected:
    told = f"退货工单是“{STATE_ZH[ticket.state]}”, {zh}"
    return Rejected(code, told, f"the return is {ticket.state}", field="state")
