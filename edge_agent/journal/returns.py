"""Return tickets and their lines; no personal data (what the paper shows stands in `papers`)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from edge_agent.domain.return_ticket import ReturnLine, Ticket, TicketState
from edge_agent.ports import Connection

_COLUMNS = """ticket, order_id, channel, native_id, inspect_s, state, window_from_ms, window_to_ms,
    reason, waybill, accepted_ms, operator, changed_ms"""


def get(db: Connection, ticket: str) -> Ticket | None:
    """One ticket."""
    found = _many(db, "ticket=?", (ticket,))
    return found[0] if found else None


def open_tickets(db: Connection, limit: int) -> list[Ticket]:
    """Tickets somebody still has to do something about: those that run out of time first."""
    where = """state IN ('announced', 'accepted')
        ORDER BY state, accepted_ms + inspect_s * 1000, changed_ms, ticket LIMIT ?"""
    return _many(db, where, (limit,))


def overdue(db: Connection, now_ms: int) -> int:
    """How many accepted tickets should have been inspected by now."""
    found = db.execute(
        """SELECT COUNT(*) FROM return_ticket WHERE state='accepted'
        AND accepted_ms + inspect_s * 1000<?""",
        (now_ms,),
    ).fetchone()
    return int(found[0])


def save(db: Connection, ticket: Ticket, *, changed_ms: int) -> None:
    """Insert or replace a ticket with its lines."""
    marks = ", ".join("?" * 13)
    db.execute(
        f"""INSERT INTO return_ticket({_COLUMNS}, age_no)
        SELECT {marks}, COALESCE(MAX(no), 0) FROM age WHERE true
        ON CONFLICT(ticket) DO UPDATE SET order_id=excluded.order_id, channel=excluded.channel,
        native_id=excluded.native_id, inspect_s=excluded.inspect_s, state=excluded.state,
        window_from_ms=excluded.window_from_ms, window_to_ms=excluded.window_to_ms,
        reason=excluded.reason, waybill=excluded.waybill, accepted_ms=excluded.accepted_ms,
        operator=excluded.operator, changed_ms=excluded.changed_ms,
        age_no=excluded.age_no""",  # noqa: S608
        (
            ticket.ticket, ticket.order, ticket.channel, ticket.native_id, ticket.inspect_s,
            ticket.state.value, ticket.window_from_ms, ticket.window_to_ms, ticket.reason,
            ticket.waybill, ticket.accepted_ms, ticket.operator, changed_ms,
        ),
    )  # fmt: skip
    db.execute("DELETE FROM return_line WHERE ticket=?", (ticket.ticket,))
    db.executemany(
        "INSERT INTO return_line VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [
            (
                ticket.ticket, number, line.sku, line.quantity, line.name,
                json.dumps(line.barcodes, ensure_ascii=False), line.location,
                json.dumps(line.serials, ensure_ascii=False), int(line.serial), line.passed,
                line.failed,
            )
            for number, line in enumerate(ticket.lines)
        ],
    )  # fmt: skip


def prune(db: Connection, age_no: int) -> None:
    """Forget tickets that ended before the mark `age_no` was made, with their lines."""
    gone = db.execute(
        "DELETE FROM return_ticket WHERE state IN ('closed', 'void') AND age_no<? RETURNING ticket",
        (age_no,),
    ).fetchall()
    db.executemany("DELETE FROM return_line WHERE ticket=?", gone)


def _many(db: Connection, where: str, values: Sequence[Any]) -> list[Ticket]:
    found = db.execute(
        f"SELECT {_COLUMNS} FROM return_ticket WHERE {where}",  # noqa: S608
        values,
    ).fetchall()
    return [_ticket(db, row) for row in found]


def _ticket(db: Connection, row: tuple[Any, ...]) -> Ticket:
    lines = db.execute(
        """SELECT sku, quantity, name, barcodes, location, serials, serial, passed, failed
        FROM return_line WHERE ticket=? ORDER BY line_no""",
        row[:1],
    ).fetchall()
    return Ticket(
        ticket=row[0],
        order=row[1],
        channel=row[2],
        native_id=row[3],
        inspect_s=row[4],
        state=TicketState(row[5]),
        window_from_ms=row[6],
        window_to_ms=row[7],
        reason=row[8],
        waybill=row[9],
        accepted_ms=row[10],
        operator=row[11],
        changed_ms=row[12],
        lines=tuple(
            ReturnLine(
                sku, quantity, name, tuple(json.loads(barcodes)), location,
                tuple(json.loads(serials)), bool(serial), passed, failed,
            )
            for sku, quantity, name, barcodes, location, serials, serial, passed, failed in lines
        ),
    )  # fmt: skip
