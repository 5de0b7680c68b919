"""Returns: goods will come back; the ticket goes to the warehouse in the commit that knows of it.

The command is durable: it prints there in seconds, or when the bench is back (004.48). What happens
at the warehouse comes back as facts (`flows.return_facts`).
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from cloud_core.domain import returning
from cloud_core.domain.after_rows import Return
from cloud_core.domain.change_commands import KeyedAnswer, OpenReturn, VoidReturn, WantedReturn
from cloud_core.domain.policy import DAY_MS, HOUR_MS
from cloud_core.domain.progress import GONE
from cloud_core.domain.rows import Order, Shipment
from cloud_core.flows.keyed import remember, replay
from cloud_core.flows.notify import tell
from cloud_core.flows.route import is_reachable
from cloud_core.store import after_rows
from cloud_core.store.working_set import WorkingSet
from protocols import codec, limits
from protocols.commands import Purge, ReturnLine, ReturnTicket, ReturnVoid
from protocols.errors import Rejected, Unavailable


def open_return(ws: WorkingSet, command: OpenReturn) -> KeyedAnswer:
    """Announce a return and send its ticket.

    Raises `Rejected`: `order_unknown`, `return_not_shipped`, `return_too_late`, `return_opened`,
    `window_invalid`, `warehouse_unknown`, `return_no_agent`, those of `returning.choose`;
    `Unavailable` `recovering`, `id_taken`.
    """
    stored = replay(ws, command.keyed)
    if stored is not None:
        return stored
    wanted = command.wanted
    order = ws.orders.get(wanted.order_id)
    if order is None:
        raise Rejected("order_unknown", "没有这个订单", "no such order", field="order_id")
    if ws.recovering:
        raise Unavailable("recovering", "系统恢复中，暂不能登记退货", "recovering from a backup")
    if ws.returns.get(wanted.id) is not None:
        raise Unavailable("id_taken", "编号冲突，请重试", "the drawn number is taken, try again")
    sent = [s for s in ws.shipments_of(order.id) if s.state in GONE]
    _check(ws, wanted, sent)
    lines = _lines(ws, order, wanted, sent)
    warehouse, agent = _where(ws, wanted, sent)
    row = Return(
        wanted.id, order.id, order.channel, order.native_id, warehouse, agent, "announced", "", "",
        wanted.reason, wanted.waybill, returning.write_lines(lines), wanted.window_from_ms,
        wanted.window_to_ms, ws.policy.return_inspect_s, ws.now_ms, None, None, None, None, 0, "",
        0, command.actor[:96], wanted.approved_by[:96],
    )  # fmt: skip
    ws.returns.put(row)
    send_ticket(ws, row)
    text = f"退货 {row.id}（订单 {order.id}），工单已下发 {agent}：{row.reason or '未写原因'}"
    tell(ws, "return_announced", warehouse, f"return_announced:{row.id}", "退货待收", text)
    ws.trail(order.id, "return:announced", command.actor, row.id, command.source)
    ws.audit(command.actor, command.source, "return.open", order.id, row.id)
    ws.milestone(sent[-1].id, "return_announced", "退货申请已通过，等待寄回", command.actor)
    return remember(ws, command.keyed, shown(row))


def void_return(ws: WorkingSet, command: VoidReturn) -> str:
    """The goods do not come; twice is once. Raises `return_unknown`, `return_arrived`."""
    row = ws.returns.get(command.return_id)
    if row is None:
        raise Rejected("return_unknown", "没有这个退货单", "there is no such return", field="id")
    if row.state in ("accepted", "closed"):
        raise Rejected(
            "return_arrived", "退货已签收，不能作废", "the goods have arrived", field="id"
        )
    if row.state == "announced":
        ws.returns.put(
            replace(row, state="void", closed_ms=ws.now_ms, next_ms=None, version=row.version + 1)
        )
        body = codec.encode(ReturnVoid(row.id, command.reason[:200]))
        ws.send(f"return-void:{row.id}", row.agent, "return_void", body)
        ws.trail(row.order_id, "return:void", command.actor, row.id, command.source)
        ws.audit(command.actor, command.source, "return.void", row.id, command.reason[:200])
    return "void"


def send_ticket(ws: WorkingSet, row: Return, *, suffix: str = "", reissue: bool = False) -> str:
    """Queue the ticket for the return's agent; `suffix` tells one sent again. The command's id."""
    contact = ws.contacts.get(row.order_id)
    ticket = ReturnTicket(
        row.id, row.order_id, row.channel, row.native_id,
        [_line(ws, row, line) for line in _unseen(row)],
        row.inspect_s, row.window_from_ms, row.window_to_ms,
        contact.name_masked if contact else "", contact.phone_masked if contact else "",
        row.reason, row.waybill, reissue,
    )  # fmt: skip
    name = f"return:{row.id}{suffix}"
    ws.send(name, row.agent, "return_ticket", codec.encode(ticket), shipment_id=row.id)
    return name


def reissue_open(ws: WorkingSet, agent: str, epoch: str) -> list[str]:
    """An agent's card forgot: its open tickets again, without printing. Ids of the commands."""
    sent = []
    for return_id in after_rows.open_returns_at(ws.fetch.connection, agent):
        row = ws.returns.get(return_id)
        if row is not None and row.state in returning.OPEN and row.agent == agent:
            sent.append(send_ticket(ws, row, suffix=f":{epoch}", reissue=True))
    return sent


def purge_returns(ws: WorkingSet, limit: int) -> int:
    """Forget the masked contact on tickets of ended returns, here and at their agents (P12)."""
    before = ws.now_ms - ws.policy.personal_hours * HOUR_MS
    agents: dict[str, list[str]] = {}
    count = 0
    for return_id in after_rows.returns_to_purge(ws.fetch.connection, before, limit):
        row = ws.returns.get(return_id)
        if row is None or row.purged_ms is not None:
            continue
        ws.returns.put(replace(row, purged_ms=ws.now_ms, version=row.version + 1))
        for command_id in after_rows.tickets_sent(ws.fetch.connection, row.id):
            known = ws.outbox.get(command_id)
            if known is not None and known.body:
                ws.outbox.put(replace(known, body=b"", received_ms=known.received_ms or ws.now_ms))
        agents.setdefault(row.agent, []).append(row.id)
        count += 1
    for agent, ids in agents.items():
        ws.send(purge_id(ws, ids), agent, "purge", codec.encode(Purge(ids)))
    return count


def purge_id(ws: WorkingSet, ids: Sequence[str]) -> str:
    """The id of the command to forget these; each is forgotten once in a life of the core.

    A core restored from a backup may begin with the same one and go on with others: under an id of
    its earlier life an agent would take that for a repeat and keep their label fields.
    """
    return f"purge:{ids[0]}:{ws.core_epoch}"


def shown(row: Return) -> dict[str, object]:
    """A return as doors answer it."""
    return {
        "id": row.id, "order_id": row.order_id, "state": row.state, "warehouse": row.warehouse,
        "agent": row.agent, "inspect_s": row.inspect_s, "window_from_ms": row.window_from_ms,
        "window_to_ms": row.window_to_ms, "created_ms": row.created_ms,
        "lines": [
            {"sku": line.sku, "quantity": line.quantity, "serials": list(line.serials)}
            for line in returning.read_lines(row.lines)
        ],
    }  # fmt: skip


# --- parts ----------------------------------------------------------------------------------------


def _check(ws: WorkingSet, wanted: WantedReturn, sent: Sequence[Shipment]) -> None:
    if not sent:
        raise Rejected(
            "return_not_shipped", "订单还没有发出，请用取消", "nothing was sent; cancel instead",
            field="order_id",
        )  # fmt: skip
    returning.check_window(wanted.window_from_ms, wanted.window_to_ms, ws.now_ms)
    left_ms = max(s.handed_over_ms or 0 for s in sent)
    if ws.now_ms - left_ms > ws.policy.return_days * DAY_MS and not wanted.approved_by:
        raise Rejected(
            "return_too_late", f"发出已超过 {ws.policy.return_days} 天，须主管批准",
            f"sent more than {ws.policy.return_days} days ago; a manager must approve",
            field="approved_by",
        )  # fmt: skip
    if wanted.opened and not wanted.approved_by:
        raise Rejected(
            "return_opened", "商品已拆封，须主管批准", "it was opened; a manager must approve",
            field="approved_by",
        )  # fmt: skip


def _lines(
    ws: WorkingSet, order: Order, wanted: WantedReturn, sent: Sequence[Shipment]
) -> tuple[returning.Line, ...]:
    units: dict[str, int] = {}
    for shipment in sent:
        for line in ws.lines_of(shipment.id):
            units[line.sku] = units.get(line.sku, 0) + line.quantity
    back: dict[str, int] = {}
    for row in returns_of(ws, order.id):
        for past in returning.read_lines(row.lines) if row.state != "void" else ():
            back[past.sku] = back.get(past.sku, 0) + past.quantity
    known: dict[str, tuple[str, ...]] = {}
    for serial in after_rows.serials_of(ws.fetch.connection, [s.id for s in sent]):
        known[serial.sku] = (*known.get(serial.sku, ()), serial.serial)
    return returning.choose(wanted.lines, units, back, prices_of(ws, order.id), known)


def prices_of(ws: WorkingSet, order_id: str) -> dict[str, int]:
    """The unit price of each SKU in an order; of two lines the lower one."""
    prices: dict[str, int] = {}
    for line in ws.lines.get(order_id) or ():
        if not line.gift:
            prices[line.sku] = min(line.price_fen, prices.get(line.sku, line.price_fen))
    return prices


def returns_of(ws: WorkingSet, order_id: str) -> list[Return]:
    """Every return of an order that this commit can see."""
    ids = after_rows.returns_of_order(ws.fetch.connection, order_id)
    ids += [row.id for row in ws.returns.known() if row.order_id == order_id and row.id not in ids]
    return [row for row in map(ws.returns.get, ids) if row is not None]


def _where(ws: WorkingSet, wanted: WantedReturn, sent: Sequence[Shipment]) -> tuple[str, str]:
    """The warehouse that takes the goods, and its agent: the one that sent them, if it may."""
    last = sent[-1]
    warehouse = wanted.warehouse or last.warehouse
    if warehouse not in ws.master.warehouses:
        raise Rejected(
            "warehouse_unknown", "没有这个仓库", "there is no such warehouse", field="warehouse"
        )
    agents = [agent.id for agent in ws.master.agents_of(warehouse) if agent.enabled]
    if not agents:
        raise Rejected(
            "return_no_agent", f"仓库 {warehouse} 没有可用的边缘代理", "the warehouse has no agent",
            field="warehouse",
        )  # fmt: skip
    if last.agent in agents:
        return warehouse, last.agent
    return warehouse, next((agent for agent in agents if is_reachable(ws, agent)), agents[0])


def _unseen(row: Return) -> Sequence[returning.Line]:
    """The lines with units that have no verdict: one with all would be booked a second time."""
    lines = returning.read_lines(row.lines)
    return [x for x in lines if x.passed + x.failed < x.quantity] or lines


def _line(ws: WorkingSet, row: Return, line: returning.Line) -> ReturnLine:
    info = ws.master.skus.get(line.sku)
    done = line.passed + line.failed
    return ReturnLine(
        line.sku,
        max(1, line.quantity - done),
        info.name[:80] if info else line.sku,
        list(info.barcodes[: limits.BARCODES_MAX]) if info else [],
        ws.master.locations.get((row.warehouse, line.sku), ""),
        list(line.serials),
        bool(info and info.serial),
    )
