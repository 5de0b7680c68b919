"""What a warehouse reports of returns and papers: states, stock, the countdown, the refund.

A unit that passed is on the shelf again, one that failed is not sellable; both are booked with the
verdict. With the last verdict the return is closed and the shop is asked for the refund in the same
commit (004.25): its call is a row with an idempotency key. A return this core has forgotten is
known again from the fact itself.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec
from msgspec.structs import replace

from cloud_core.domain import returning
from cloud_core.domain.after_rows import Return, Serial
from cloud_core.domain.rows import ShopCall
from cloud_core.flows.report import Report
from cloud_core.flows.returns import prices_of, returns_of
from cloud_core.store import after_rows
from cloud_core.store.working_set import WorkingSet
from protocols import events as e

_encode = msgspec.json.Encoder().encode
PAPER = "return_ticket"


def return_accepted(report: Report) -> None:
    """The ticket was scanned at the door: the countdown runs from there."""
    body: e.ReturnAccepted = report.body
    row = _known(report, body.order, body.channel, body.native_id)
    if not returning.read_lines(row.lines):
        prices = prices_of(report.ws, row.order_id)
        lines = [returning.Line(x.sku, x.quantity, prices.get(x.sku, 0)) for x in body.lines]
        row = replace(row, lines=returning.write_lines(lines), inspect_s=body.inspect_s)
    if row.state in ("accepted", "closed"):
        report.ws.returns.put(row)
        return
    _accept(report, row)


def return_inspected(report: Report) -> None:
    """Units got their verdict; with the last one the return is closed."""
    body: e.ReturnInspected = report.body
    row = _known(report, body.order, "", "")
    if row.state in ("announced", "void"):
        row = _accept(report, row)
    _book(report, row, body)
    lines = returning.found(returning.read_lines(row.lines), body.sku, body.quantity, body.verdict)
    row = replace(row, lines=returning.write_lines(lines), version=row.version + 1)
    report.ws.returns.put(row)
    if row.state != "closed" and returning.is_complete(lines):
        _close(report, row)


def return_closed(report: Report) -> None:
    """The clerk is through, also when not everything came."""
    body: e.ReturnClosed = report.body
    row = _known(report, body.order, body.channel, body.native_id)
    if row.state != "closed":
        _close(report, row)


def paper(report: Report) -> None:
    """The fate of a paper that is no waybill label; of tickets the return keeps it."""
    body: e.PaperEvent = report.body
    row = report.ws.returns.get(body.number) if body.kind == PAPER else None
    if row is None:
        return
    state = report.event.t.partition(".")[2]
    report.ws.returns.put(replace(row, printed=state, version=row.version + 1))
    if state == "printed":
        report.ws.close_alarm("return_unprinted", row.id)
    elif row.state == "announced":
        report.ws.alarm(
            "return_unprinted", row.id,
            f"退货 {row.id}：{returning.PRINTED_ZH[state]}（{body.reason}），请到 {row.agent} 处理",
        )  # fmt: skip


def keep_serial(report: Report) -> None:
    """A serial number was scanned into a parcel; from now on its unit can be told."""
    body: e.ItemVerified = report.body
    row = Serial(body.shipment, body.sku, body.serial[:128], report.at_ms, report.agent)
    report.ws.writes.append(lambda connection: after_rows.keep_serials(connection, [row]))


def refund_answered(ws: WorkingSet, call: ShopCall, answer: str) -> None:
    """The shop took the request for a refund, or a person must see to it."""
    row = ws.returns.get(call.id.removeprefix("refund:"))
    if row is None or row.refund != "requested":
        return
    taken = answer.startswith("2")
    ws.returns.put(replace(row, refund="done" if taken else "by_hand", version=row.version + 1))
    if not taken:
        ws.alarm(
            "refund_by_hand", row.id,
            f"退货 {row.id}（订单 {row.order_id}）的退款 {row.refund_fen / 100:.2f} 元店铺未受理，"
            f"请人工处理：{answer[:80]}",
        )  # fmt: skip
        return
    _tell_buyer(ws, row, "refund_done", "退款已受理，原路退回", "shop", ws.now_ms)


# --- parts ----------------------------------------------------------------------------------------


def _known(report: Report, order_id: str, channel: str, native_id: str) -> Return:
    """The return; one that this core has forgotten (a restored backup) is known again."""
    ws = report.ws
    row = ws.returns.get(report.body.ticket)
    if row is not None:
        return row
    order = ws.orders.get(order_id)
    row = Return(
        report.body.ticket, order_id, order.channel if order else channel,
        order.native_id if order else native_id, report.warehouse, report.agent, "announced", "",
        "", "", "", "[]", 0, 0, ws.policy.return_inspect_s, ws.now_ms, None, None, None, None, 0,
        "", 0, report.actor, "",
    )  # fmt: skip
    ws.returns.put(row)
    ws.trail(order_id, "return:reattached", report.actor, row.id)
    return row


def _accept(report: Report, row: Return) -> Return:
    due_ms = report.at_ms + row.inspect_s * 1000
    row = replace(
        row, state="accepted", accepted_ms=report.at_ms, due_ms=due_ms, next_ms=due_ms,
        closed_ms=None, warehouse=report.warehouse or row.warehouse, agent=report.agent,
        version=row.version + 1,
    )  # fmt: skip
    report.ws.returns.put(row)
    report.ws.trail(row.order_id, "return:accepted", report.actor, row.id)
    report.ws.close_alarm("return_unprinted", row.id)
    text = f"退货已入库，质检中（预计 {max(1, row.inspect_s // 3600)} 小时内完成）"
    _tell_buyer(report.ws, row, "return_accepted", text, report.actor, report.at_ms)
    return row


def _book(report: Report, row: Return, body: e.ReturnInspected) -> None:
    """Passed units are on the shelf again, unless it was counted since; failed ones are not."""
    stock = report.ws.stock_at(report.warehouse, body.sku)
    counted = stock is not None and report.at_ms < stock.counted_ms
    shelf = body.quantity if body.verdict == "pass" and not counted else 0
    report.ws.move(
        report.warehouse, body.sku, shelf=shelf, reason=f"return_{body.verdict}", ref=row.id
    )
    if shelf:
        report.ws.wake_parked = True


def _close(report: Report, row: Return) -> None:
    ws = report.ws
    lines = returning.read_lines(row.lines)
    outcome = returning.outcome_of(lines)
    order = ws.orders.get(row.order_id)
    others = sum(x.refund_fen for x in returns_of(ws, row.order_id) if x.id != row.id)
    fen = returning.refund_fen(lines, order.amount_fen if order else 0, others)
    back = outcome != "failed"
    row = replace(
        row, state="closed", outcome=outcome, closed_ms=report.at_ms, next_ms=None,
        due_ms=row.due_ms, refund="requested" if back else "", refund_fen=fen if back else 0,
        version=row.version + 1,
    )  # fmt: skip
    ws.returns.put(row)
    ws.close_alarm("return_overdue", row.id)
    ws.trail(row.order_id, f"return:{outcome}", report.actor, row.id)
    _ask_shop(ws, row, lines, "refund" if back else "return_refused")
    text = "质检通过，退款已发起" if back else "质检未通过，客服会与您联系"
    _tell_buyer(ws, row, f"return_{outcome}", text, report.actor, report.at_ms)


def _ask_shop(ws: WorkingSet, row: Return, lines: tuple[returning.Line, ...], kind: str) -> None:
    """The request to the shop, once a return; `id` is its idempotency key (P8)."""
    call_id = f"{kind}:{row.id}"
    if ws.shop_calls.get(call_id) is not None:
        return
    body = _encode(
        {
            "order": row.order_id, "native_id": row.native_id, "return": row.id,
            "outcome": row.outcome, "refund_fen": row.refund_fen, "route": "original",
            "closed_at_ms": row.closed_ms,
            "lines": [
                {"sku": x.sku, "quantity": x.quantity, "passed": x.passed, "failed": x.failed}
                for x in lines
            ],
        }
    ).decode()  # fmt: skip
    ws.shop_calls.put(
        ShopCall(call_id, row.channel, row.order_id, kind, body, ws.now_ms, ws.now_ms)
    )


def _tell_buyer(ws: WorkingSet, row: Return, code: str, text: str, source: str, at_ms: int) -> None:
    shipments = ws.shipment_ids(row.order_id)
    if shipments:
        ws.milestone(shipments[-1], code, text, source, at_ms)


RETURN_FACTS: dict[str, Callable[[Report], None]] = {
    "return.accepted": return_accepted,
    "return.inspected": return_inspected,
    "return.closed": return_closed,
    "paper.printed": paper,
    "paper.unknown": paper,
    "paper.failed": paper,
    "paper.held": paper,
}
