"""The order file dialect: several rows of one order number are one order with several lines.

The report names the row as a spreadsheet program counts it and the column as the sender wrote it.
An order with one bad row is not taken at all: half an order would be shipped. Other orders go on.
This module must not know HTTP, SQL, a clock or another dialect.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

from cloud_core.channels.spreadsheet import cells
from cloud_core.channels.spreadsheet.columns import Columns, find_columns, shipped_words
from cloud_core.channels.spreadsheet.reader import read_sheet
from cloud_core.domain import intake
from cloud_core.domain.address import detail_without_division
from cloud_core.domain.sheet import SheetRow
from cloud_core.domain.shop_order import (
    Division,
    Parsed,
    Receiver,
    RowProblem,
    ShopEvent,
    ShopEventKind,
    ShopLine,
)
from cloud_core.ports import ChannelConfig, Divide
from protocols.errors import Rejected

# What describes the order, not the line: rows of one order must agree on it.
ORDER_FIELDS = (
    "name", "phone", "address", "province", "city", "district", "town", "detail", "amount_yuan",
    "amount_fen", "paid_at", "updated_at", "ship_deadline", "remark", "status", "platform_token",
    "hold",
)  # fmt: skip
LINE_TEXTS = ("sku", "title")
VALUES = frozenset(
    {
        "quantity", "price_yuan", "price_fen", "amount_yuan", "amount_fen", "paid_at",
        "updated_at", "ship_deadline",
    }
)  # fmt: skip


@dataclass(slots=True)
class _Order:
    """The rows of one order number, gathered in file order."""

    native_id: str
    first_row: int
    fields: dict[str, str] = field(default_factory=dict)
    rows: dict[str, int] = field(default_factory=dict)  # where a field was first given
    lines: list[ShopLine] = field(default_factory=list)
    bad: bool = False


def read_order_file(
    raw: bytes, file_name: str, config: ChannelConfig, received_at_ms: int, divide: Divide
) -> Parsed:
    """Orders and a report by row (1-based) of a CSV or XLSX file.

    Raises `Rejected` when the file as a whole is refused; codes as in `reader.read_sheet` and
    `columns.find_columns`. Row codes: `formula_cell`, `cell_too_long`, `number_broken`,
    `time_broken`, `row_conflict`, `duplicate_row`, `order_has_bad_rows` and those of `intake`.
    """
    sheet = read_sheet(raw, file_name)
    columns = find_columns(sheet, config.columns)
    problems: list[RowProblem] = []
    orders: dict[str, _Order] = {}
    seen: dict[tuple[str, ...], int] = {}
    for row in sheet.rows:
        if row.number > columns.header_row:
            _take_row(row, columns, orders, seen, problems)
    events = []
    for order in orders.values():
        event = _finish(order, columns, config, received_at_ms, divide, problems)
        if event is not None:
            events.append(event)
    problems.sort(key=lambda problem: problem.position)
    return Parsed(tuple(events), tuple(problems))


def _take_row(
    row: SheetRow,
    columns: Columns,
    orders: dict[str, _Order],
    seen: dict[tuple[str, ...], int],
    problems: list[RowProblem],
) -> None:
    given = {name: row.cell(column) for name, column in columns.at.items()}
    if not any(given.values()):
        return
    header = columns.header("native_id")
    order: _Order | None = None
    try:
        native_id = intake.clean_native_id(given["native_id"], field=header)
        order = orders.setdefault(native_id, _Order(native_id, row.number))
        _check_cells(row, given, columns)
        first = seen.setdefault(tuple(given.values()), row.number)
        if first != row.number:
            problems.append(_duplicate(row.number, first, header, native_id))
            return
        order.lines.append(_line(len(order.lines) + 1, given, columns))
        _merge(order, given, columns, row.number)
    except Rejected as refused:
        native_id = order.native_id if order else ""
        problems.append(intake.problem_of(row.number, refused, native_id=native_id))
        if order is not None:
            order.bad = True


def _check_cells(row: SheetRow, given: dict[str, str], columns: Columns) -> None:
    for name, text in given.items():
        header = columns.header(name)
        formula = columns.at[name] in row.formulas
        if name in VALUES:
            cells.check_value(text, formula=formula, header=header)
        else:
            cells.check_text(text, formula=formula, header=header, phone=name == "phone")


def _line(line_no: int, given: dict[str, str], columns: Columns) -> ShopLine:
    line = ShopLine(
        line_no=line_no,
        sku=given["sku"],
        quantity=cells.whole_number(given["quantity"], header=columns.header("quantity")),
        price_fen=_price_fen(given, columns),
        title=intake.clean_text(given.get("title", ""), intake.MAX_TITLE_CHARS),
        is_gift=cells.yes_or_no(given.get("gift", ""), header=columns.header("gift")),
    )
    price = "price_fen" if given.get("price_fen") else "price_yuan"
    intake.check_line(
        line,
        sku_field=columns.header("sku"),
        quantity_field=columns.header("quantity"),
        price_field=columns.header(price),
    )
    return line


def _price_fen(given: dict[str, str], columns: Columns) -> int:
    if given.get("price_fen"):
        return cells.whole_number(given["price_fen"], header=columns.header("price_fen"))
    if given.get("price_yuan"):
        return cells.fen_of_yuan(given["price_yuan"], header=columns.header("price_yuan"))
    return 0


def _merge(order: _Order, given: dict[str, str], columns: Columns, number: int) -> None:
    """Take the order's own fields from this row; empty cells say nothing."""
    for name in ORDER_FIELDS:
        text = given.get(name, "")
        if not text:
            continue
        known = order.fields.setdefault(name, text)
        order.rows.setdefault(name, number)
        if known != text:
            raise Rejected(
                "row_conflict",
                f"与同一单号第 {order.rows[name]} 行的内容不一致",
                f"differs from row {order.rows[name]} of the same order",
                field=columns.header(name),
            )


def _finish(
    order: _Order,
    columns: Columns,
    config: ChannelConfig,
    received_at_ms: int,
    divide: Divide,
    problems: list[RowProblem],
) -> ShopEvent | None:
    if order.bad:
        if order.lines:
            problems.append(_has_bad_rows(order, columns))
        return None
    try:
        return _shop_event(order, columns, config, received_at_ms, divide)
    except Rejected as refused:
        row = order.first_row
        problems.append(intake.problem_of(row, refused, native_id=order.native_id))
        return None


def _shop_event(
    order: _Order, columns: Columns, config: ChannelConfig, received_at_ms: int, divide: Divide
) -> ShopEvent:
    given = order.fields
    status = given.get("status", "")
    kinds = shipped_words().kinds
    kind = kinds.get(status, ShopEventKind.UNMAPPED) if status else ShopEventKind.PAID
    times = {
        name: cells.time_ms(
            given[name], header=columns.header(name), zone_minutes=config.zone_minutes
        )
        for name in ("paid_at", "updated_at", "ship_deadline")
        if name in given
    }
    receiver, division = _receiver(given, columns, divide)
    intake.check_line_count(len(order.lines), field=columns.header("sku"))
    paid_at_ms = times.get("paid_at")
    if kind is ShopEventKind.PAID and paid_at_ms is None:
        paid_at_ms = received_at_ms  # a hand-made order counts as paid when it is handed in
    occurred_at_ms = times.get("updated_at") or times.get("paid_at") or received_at_ms
    return ShopEvent(
        channel=config.name,
        native_id=order.native_id,
        dedupe_key=_dedupe_key(order),
        kind=kind,
        # Without a time in the file anything a webhook said is newer.
        version=times.get("updated_at") or times.get("paid_at") or 0,
        occurred_at_ms=occurred_at_ms,
        native_status=intake.clean_text(status, intake.MAX_TITLE_CHARS),
        paid_at_ms=paid_at_ms,
        amount_fen=_amount_fen(order, columns),
        lines=tuple(order.lines),
        receiver=receiver,
        division=division,
        remark=intake.clean_text(given.get("remark", ""), intake.MAX_REMARK_CHARS),
        ship_deadline_ms=times.get("ship_deadline"),
        hold=intake.clean_hold(given.get("hold", ""), field=columns.header("hold")),
    )


def _receiver(given: dict[str, str], columns: Columns, divide: Divide) -> tuple[Receiver, Division]:
    parts = [given.get(name, "") for name in ("province", "city", "district", "town")]
    detail = given.get("detail") or given.get("address", "")
    division = divide(parts[0], parts[1], parts[2], parts[3], detail)
    detail = detail_without_division(detail, division)
    if parts[3] and not detail.startswith(parts[3]):
        detail = parts[3] + detail
    fields = intake.ReceiverFields(
        name=given.get("name", ""),
        phone=given.get("phone", ""),
        detail=detail,
        platform_token=given.get("platform_token", ""),
    )
    try:
        return intake.make_receiver(fields, prefix=""), division
    except Rejected as refused:
        name = refused.field
        if name == "detail" and "detail" not in columns.at:
            name = "address"
        raise Rejected(
            refused.code, refused.zh, refused.en, field=columns.header(name)
        ) from refused


def _amount_fen(order: _Order, columns: Columns) -> int:
    given = order.fields
    amount, name = intake.total_fen(order.lines), "amount_yuan"
    if "amount_fen" in given:
        name = "amount_fen"
        amount = cells.whole_number(given[name], header=columns.header(name))
    elif name in given:
        amount = cells.fen_of_yuan(given[name], header=columns.header(name))
    intake.check_amount(amount, field=columns.header(name))
    return amount


def _dedupe_key(order: _Order) -> str:
    """The same content of the same order has one effect, however often a file is uploaded."""
    digest = hashlib.sha256(order.native_id.encode())
    for name in sorted(order.fields):
        digest.update(f"\0{name}={order.fields[name]}".encode())
    for line in order.lines:
        digest.update(f"\0{line.sku}*{line.quantity}@{line.price_fen}{line.is_gift}".encode())
    return f"file:{digest.hexdigest()[:40]}"


def _duplicate(number: int, first: int, header: str, native_id: str) -> RowProblem:
    return RowProblem(
        number,
        "duplicate_row",
        header,
        f"与第 {first} 行完全相同，未重复计入",
        f"the same as row {first}; not counted again",
        native_id,
    )


def _has_bad_rows(order: _Order, columns: Columns) -> RowProblem:
    return RowProblem(
        order.first_row,
        "order_has_bad_rows",
        columns.header("native_id"),
        "该订单有其他行出错，整单未导入",
        "another row of this order was refused, so the order was not taken",
        order.native_id,
    )
