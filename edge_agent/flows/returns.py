"""Returns at the bench: the ticket prints by itself, a scan accepts, each unit gets a verdict.

All of it works without the core: tickets are durable here, facts wait in the journal. At a station
the ticket's barcode opens the return, an item's code and the card `$$PASS` or `$$FAIL` is one unit;
a PDA calls `inspect` at once. The last verdict closes the return in the same commit.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

from edge_agent.domain import return_ticket as rules
from edge_agent.domain.answer import Answer, done, mind, refuse
from edge_agent.domain.label import LabelLine, ReturnTicketFields
from edge_agent.domain.print_job import MAX_TTL_S
from edge_agent.domain.return_ticket import ReturnLine, Ticket, TicketState
from edge_agent.domain.scan_meaning import CodeKind, Known
from edge_agent.flows import paper, print_label
from edge_agent.flows.bench import Bench
from edge_agent.journal import jobs, returns
from edge_agent.journal.stations import Station
from edge_agent.journal.tx import Tx
from edge_agent.ports import Connection
from protocols import commands, events
from protocols.commands import OfferLine
from protocols.errors import Rejected

PAPER = "return_ticket"
MODE = "return"
"""`Station.mode` while a return is inspected; `shipment` is its ticket, `wants` the item's SKU."""
BOARD_MAX = 200
_TICKET = re.compile(r"RET-[0-9A-Z]{8,32}")
_Reply = tuple[Station, Answer]


# --- what the core says ---------------------------------------------------------------------------


def announce(tx: Tx, body: commands.ReturnTicket, at: Bench) -> None:
    """Keep the ticket and print it; one that is known, also as void, stays as it is.

    A ticket that cannot be printed is taken all the same: its number can be typed in.
    """
    if returns.get(tx.db, body.ticket) is not None:
        return
    ticket = Ticket(
        body.ticket, body.order, body.channel, body.native_id,
        tuple(
            ReturnLine(
                line.sku, line.quantity, line.name, tuple(line.barcodes), line.location,
                tuple(line.serials), line.serial,
            )
            for line in body.lines
        ),
        body.inspect_s, TicketState.ANNOUNCED, body.window_from_ms, body.window_to_ms,
        body.reason, body.waybill,
    )  # fmt: skip
    returns.save(tx.db, ticket, changed_ms=tx.now.wall_ms)
    if body.reissue:
        return
    try:
        with tx.part():
            paper.enqueue_paper(tx, PAPER, body.ticket, _fields(tx, body, at), at, ttl_s=MAX_TTL_S)
    except Rejected as error:
        failed = events.PaperEvent(kind=PAPER, number=body.ticket, revision=1, reason=error.code)
        tx.append("paper.failed", failed)


def void(tx: Tx, body: commands.ReturnVoid) -> None:
    """The goods do not come. A void that overtook its ticket is remembered until that is here."""
    known = returns.get(tx.db, body.ticket)
    ticket = known or Ticket(body.ticket, "-", "-", "", (), 60)
    returns.save(tx.db, rules.void(ticket), changed_ms=tx.now.wall_ms)


# --- what a person does ---------------------------------------------------------------------------


def accept(tx: Tx, ticket_id: str, operator: str, station: str, at: Bench) -> Answer:
    """The goods are here: scan to accept. Again is no error. Raises `Rejected`."""
    ticket = _needed(tx, ticket_id)
    if ticket.state is TicketState.CLOSED:
        return mind("return_closed", f"已质检完成: {_sum_zh(ticket)}", ticket_id)
    if ticket.state is TicketState.ACCEPTED:
        return done("return_open", f"继续质检, 剩 {ticket.left} 件", ticket_id)
    ticket = rules.accept(ticket, tx.now.wall_ms, operator)
    returns.save(tx.db, ticket, changed_ms=tx.now.wall_ms)
    body = events.ReturnAccepted(
        ticket=ticket.ticket, order=ticket.order, channel=ticket.channel,
        native_id=ticket.native_id, lines=_units(ticket), inspect_s=ticket.inspect_s,
        operator=operator,
    )  # fmt: skip
    tx.append("return.accepted", body, station=station)
    until = at.plan.clock_text(ticket.due_ms)
    text = f"已签收, 共 {ticket.left} 件, 请在 {until} 前质检完成"
    return done("return_accepted", text, ticket_id)


def inspect(
    tx: Tx, ticket_id: str, sku: str, verdict: str, *, quantity: int = 1, reason: str = "",
    serial: str = "", operator: str = "", station: str = "",
) -> Answer:  # fmt: skip
    """One verdict (`pass` or `fail`) on units of a SKU; the last one closes. Raises `Rejected`.

    `reason` says why units fail, `serial` is that of the one unit.
    """
    ticket, line = rules.inspect(_needed(tx, ticket_id), sku, verdict, quantity)
    returns.save(tx.db, ticket, changed_ms=tx.now.wall_ms)
    body = events.ReturnInspected(
        ticket=ticket.ticket, order=ticket.order, sku=sku, quantity=quantity, verdict=verdict,
        reason=reason[:200], serial=serial, operator=operator,
    )  # fmt: skip
    tx.append("return.inspected", body, station=station)
    if ticket.left == 0:
        return close(tx, ticket_id, operator, station)
    where = f", 放回 {line.location}" if verdict == "pass" and line.location else ""
    text = f"{line.name or sku} {rules.VERDICT_ZH[verdict]}{where}; 还剩 {ticket.left} 件"
    return done(f"return_{verdict}", text, ticket_id)


def close(tx: Tx, ticket_id: str, operator: str, station: str) -> Answer:
    """Inspection is over; what has no verdict did not come. Raises `Rejected`."""
    ticket = rules.close(_needed(tx, ticket_id))
    returns.save(tx.db, ticket, changed_ms=tx.now.wall_ms)
    results: dict[str, tuple[int, int]] = {}
    for line in ticket.lines:
        passed, failed = results.get(line.sku, (0, 0))
        results[line.sku] = (passed + line.passed, failed + line.failed)
    body = events.ReturnClosed(
        ticket=ticket.ticket, order=ticket.order, channel=ticket.channel,
        native_id=ticket.native_id, outcome=ticket.outcome,
        results=[events.ReturnResult(sku, *units) for sku, units in results.items()],
        operator=operator,
    )  # fmt: skip
    tx.append("return.closed", body, station=station)
    return done("return_closed", f"质检完成: {_sum_zh(ticket)}", ticket_id)


def reprint(tx: Tx, ticket_id: str, operator: str, reason: str, at: Bench) -> None:
    """A person wants the ticket on paper once more: marked, counted. Raises `Rejected`."""
    placed = jobs.newest(tx.db, PAPER, ticket_id)
    if placed is None:
        raise Rejected("job_unknown", "没有这个打印任务", "no such print job", field="ticket")
    print_label.ask_again(
        tx, placed.job.key, operator=operator, reason=reason,
        clock_text=at.plan.clock_text(tx.now.wall_ms), at=at,
    )  # fmt: skip


def board(db: Connection, now_ms: int) -> list[dict[str, Any]]:
    """What pages show: open returns, those that run out of time first, at most `BOARD_MAX`."""
    return [shown(ticket, now_ms) for ticket in returns.open_tickets(db, BOARD_MAX)]


def shown(ticket: Ticket, now_ms: int) -> dict[str, Any]:
    """One return for a page: plain values, no personal data."""
    left_ms = ticket.due_ms - now_ms if ticket.due_ms else 0
    return {
        "ticket": ticket.ticket, "order": ticket.order, "native_id": ticket.native_id,
        "state": ticket.state.value, "state_zh": rules.STATE_ZH[ticket.state],
        "reason": ticket.reason, "due_ms": ticket.due_ms, "left_min": left_ms // 60_000,
        "overdue": ticket.is_overdue(now_ms), "left": ticket.left,
        "lines": [
            {
                "sku": line.sku, "name": line.name, "quantity": line.quantity,
                "passed": line.passed, "failed": line.failed, "left": line.left,
                "location": line.location, "serials": list(line.serials),
            }
            for line in ticket.lines
        ],
    }  # fmt: skip


# --- what a scan at a station does ----------------------------------------------------------------


def known(db: Connection, code: str, station: Station) -> list[Known]:
    """A ticket's barcode, or an item of the ticket in hand."""
    if _TICKET.fullmatch(code):  # also one of another bench: the answer says so
        return [Known(CodeKind.RETURN, code)]
    ticket = returns.get(db, station.shipment) if station.mode == MODE else None
    sku = rules.find(ticket, code)[0] if ticket is not None else ""
    # The code itself goes on: a serial number names the unit, not only its SKU.
    return [Known(CodeKind.RETURN, code)] if sku else []


def scanned(tx: Tx, station: Station, code: str, at: Bench) -> _Reply:
    """What `known` found: a ticket or an item of the one in hand. Raises `Rejected`."""
    if _TICKET.fullmatch(code):
        return _ticket_scanned(tx, station, code, at)
    return _item_scanned(tx, station, code)


def _ticket_scanned(tx: Tx, station: Station, ticket_id: str, at: Bench) -> _Reply:
    """The paper was scanned: proof that it came out, and the start of acceptance."""
    print_label.label_scanned(tx, ticket_id, PAPER)
    answer = accept(tx, ticket_id, station.operator, station.id, at)
    if answer.code == "return_closed":
        return station, answer
    return replace(station, shipment=ticket_id, mode=MODE, dock="", wants=""), answer


def _item_scanned(tx: Tx, station: Station, code: str) -> _Reply:
    """An item of the return: its verdict is the next card."""
    ticket = _needed(tx, station.shipment)
    sku, serial = rules.find(ticket, code)
    line = next(line for line in ticket.lines if line.sku == sku)
    if ticket.state is not TicketState.ACCEPTED or line.left == 0:
        return station, mind("line_complete", "该商品已质检完", ticket.ticket)
    wants = replace(station, wants=sku, dock=serial)
    text = f"{line.name or sku}: 合格扫 $$PASS, 不合格扫 $$FAIL"
    return wants, done("return_item", text, ticket.ticket)


def verdict_card(tx: Tx, station: Station, verdict: str, reason: str) -> _Reply:
    """`$$PASS` or `$$FAIL` on the item scanned before."""
    if station.mode != MODE or not station.wants:
        return station, refuse("no_item", "请先扫退货工单和商品", station.shipment)
    if verdict == "fail" and reason and reason not in rules.FAIL_ZH:
        # A card may carry anything; what it says becomes an event and stays (P12).
        return station, refuse("reason_unknown", "没有这种不合格原因", station.shipment)
    answer = inspect(
        tx, station.shipment, station.wants, verdict, reason=_reason_zh(verdict, reason),
        serial=station.dock, operator=station.operator, station=station.id,
    )  # fmt: skip
    return _after(station, answer), answer


def done_card(tx: Tx, station: Station) -> _Reply:
    """`$$DONE`: the rest did not come."""
    if station.mode != MODE:
        return station, refuse("no_return", "请先扫退货工单")
    answer = close(tx, station.shipment, station.operator, station.id)
    return _after(station, answer), answer


def _after(station: Station, answer: Answer) -> Station:
    if answer.code == "return_closed":
        return replace(station, shipment="", mode="", dock="", wants="")
    return replace(station, wants="", dock="")


# --- parts ----------------------------------------------------------------------------------------


def _reason_zh(verdict: str, reason: str) -> str:
    return rules.FAIL_ZH.get(reason, reason) if verdict == "fail" else ""


def _sum_zh(ticket: Ticket) -> str:
    passed = sum(line.passed for line in ticket.lines)
    failed = sum(line.failed for line in ticket.lines)
    missing = f", 未到 {ticket.left}" if ticket.left else ""
    return f"合格 {passed}, 不合格 {failed}{missing}"


def _units(ticket: Ticket) -> list[OfferLine]:
    units: dict[str, int] = {}
    for line in ticket.lines:
        units[line.sku] = units.get(line.sku, 0) + line.quantity
    return [OfferLine(sku, quantity) for sku, quantity in units.items()]


def _needed(tx: Tx, ticket_id: str) -> Ticket:
    ticket = returns.get(tx.db, ticket_id)
    if ticket is None:
        raise Rejected(
            "return_unknown",
            "本机没有这张退货工单, 请到打印它的工位",
            "no such return",
            field="ticket",
        )
    return ticket


def _fields(tx: Tx, body: commands.ReturnTicket, at: Bench) -> ReturnTicketFields:
    hours, minutes = divmod(body.inspect_s // 60, 60)
    window = ""
    if body.window_to_ms:
        start = at.plan.date_text(body.window_from_ms)
        window = f"{start}–{at.plan.clock_text(body.window_to_ms)}"
    return ReturnTicketFields(
        ticket=body.ticket,
        order_id=body.order,
        native_order_id=body.native_id,
        contact_name_masked=body.name,
        contact_phone_masked=body.phone,
        window=window,
        lines=tuple(
            LabelLine(line.sku, line.name, line.quantity, tuple(line.serials))
            for line in body.lines
        ),
        created=at.plan.date_text(tx.now.wall_ms),
        warehouse=at.plan.warehouse_name or at.plan.site,
        reason=body.reason,
        waybill=body.waybill,
        note=f"签收扫码后 {hours} 小时{f' {minutes} 分' if minutes else ''}内完成质检",
    )
