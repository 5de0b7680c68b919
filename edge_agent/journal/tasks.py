"""Tasks and their lines; the label fields stand beside the task, apart from all else (P12)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import msgspec

from edge_agent.domain.task import Line, PackStart, Task, TaskState
from edge_agent.ports import Connection
from protocols.messages import Token

_COLUMNS = """shipment, token_epoch, token_n, order_id, channel, native_id, waybill, carrier, state,
    ship_by_ms, print_on, priority, reissue, station, operator, notice, fence_epoch, fence_n,
    changed_ms, notice_code, gift, stop_reason, stop_text, pack_boot, pack_wall_ms,
    pack_mono_ms"""
_KEY = "shipment=? AND token_epoch=? AND token_n=?"
_barcodes = msgspec.json.Decoder(tuple[str, ...]).decode


def get(db: Connection, shipment: str, token: Token) -> Task | None:
    """The task of a shipment under one token."""
    return _one(db, _KEY, (shipment, token.core_epoch, token.n))


def newest(db: Connection, shipment: str) -> Task | None:
    """The task of a shipment under its highest token."""
    order = "shipment=? ORDER BY token_epoch DESC, token_n DESC LIMIT 1"
    return _one(db, order, (shipment,))


def all_of(db: Connection, shipment: str) -> list[Task]:
    """The shipment's tasks under every token, oldest first."""
    return _many(db, "shipment=? ORDER BY token_epoch, token_n", (shipment,))


def by_waybill(db: Connection, waybill: str) -> Task | None:
    """The newest task with this waybill number."""
    order = "waybill=? AND waybill<>'' ORDER BY token_epoch DESC, token_n DESC LIMIT 1"
    return _one(db, order, (waybill,))


def by_state(db: Connection, states: Sequence[TaskState], limit: int) -> list[Task]:
    """Tasks in these states, the most urgent first."""
    marks = ", ".join("?" * len(states))
    where = f"state IN ({marks}) ORDER BY priority DESC, ship_by_ms, shipment LIMIT ?"
    return _many(db, where, (*(state.value for state in states), limit))


def recent(db: Connection, limit: int) -> list[Task]:
    """The tasks that changed last, newest first; for pages."""
    return _many(db, "1 ORDER BY changed_ms DESC LIMIT ?", (limit,))


def counts(db: Connection) -> dict[str, int]:
    """State -> number of tasks."""
    return dict(db.execute("SELECT state, COUNT(*) FROM task GROUP BY state").fetchall())


def save(db: Connection, task: Task, *, changed_ms: int) -> None:
    """Insert or replace the task without its lines and label."""
    fence = task.fence
    packing = task.packing
    marks = ", ".join("?" * 26)
    db.execute(
        f"""INSERT INTO task({_COLUMNS}, age_no)
        SELECT {marks}, COALESCE(MAX(no), 0) FROM age WHERE true
        ON CONFLICT(shipment, token_epoch, token_n) DO UPDATE SET
        waybill=excluded.waybill, carrier=excluded.carrier, state=excluded.state,
        ship_by_ms=excluded.ship_by_ms, print_on=excluded.print_on, priority=excluded.priority,
        reissue=excluded.reissue, station=excluded.station, operator=excluded.operator,
        notice=excluded.notice, fence_epoch=excluded.fence_epoch, fence_n=excluded.fence_n,
        changed_ms=excluded.changed_ms, notice_code=excluded.notice_code, gift=excluded.gift,
        stop_reason=excluded.stop_reason, stop_text=excluded.stop_text,
        pack_boot=excluded.pack_boot, pack_wall_ms=excluded.pack_wall_ms,
        pack_mono_ms=excluded.pack_mono_ms, age_no=excluded.age_no""",  # noqa: S608
        (
            task.shipment, task.token.core_epoch, task.token.n, task.order, task.channel,
            task.native_id, task.waybill, task.carrier, task.state.value, task.ship_by_ms,
            task.print_on, task.priority, int(task.reissue), task.station, task.operator,
            task.notice, fence.core_epoch if fence else None, fence.n if fence else None,
            changed_ms, task.notice_code, task.gift, task.stop_reason, task.stop_text,
            *((packing.boot, packing.wall_ms, packing.mono_ms) if packing else (0, 0, 0)),
        ),
    )  # fmt: skip


def put_lines(db: Connection, task: Task) -> None:
    """Write all lines of a task, replacing those there were."""
    key = (task.shipment, task.token.core_epoch, task.token.n)
    db.execute(f"DELETE FROM task_line WHERE {_KEY}", key)  # noqa: S608
    db.executemany(
        "INSERT INTO task_line VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [
            (
                *key, number, line.sku, line.quantity, line.name,
                json.dumps(line.barcodes, ensure_ascii=False), line.location, line.picked,
                line.verified, int(line.serial), int(line.gift),
            )
            for number, line in enumerate(task.lines)
        ],
    )  # fmt: skip


def put_progress(db: Connection, task: Task, line: Line) -> None:
    """Write the counters of one line: this very one, for two lines of a task may be equal."""
    number = next(number for number, found in enumerate(task.lines) if found is line)
    db.execute(
        f"UPDATE task_line SET picked=?, verified=? WHERE {_KEY} AND line_no=?",  # noqa: S608
        (
            line.picked, line.verified, task.shipment, task.token.core_epoch, task.token.n, number,
        ),
    )  # fmt: skip


def put_label(db: Connection, task: Task, label: bytes) -> None:
    """Keep the label fields (JSON of `LabelText`) until they are purged."""
    db.execute(
        f"UPDATE task SET label=? WHERE {_KEY}",  # noqa: S608
        (label, task.shipment, task.token.core_epoch, task.token.n),
    )


def drop_label(db: Connection, task: Task) -> bool:
    """Forget the label fields of one task; whether it had any."""
    gone = db.execute(
        f"UPDATE task SET label=NULL WHERE {_KEY} AND label IS NOT NULL RETURNING 1",  # noqa: S608
        (task.shipment, task.token.core_epoch, task.token.n),
    ).fetchall()
    return bool(gone)


def label_of(db: Connection, task: Task) -> bytes | None:
    """The label fields as JSON, None once purged."""
    found = db.execute(
        f"SELECT label FROM task WHERE {_KEY}",  # noqa: S608
        (task.shipment, task.token.core_epoch, task.token.n),
    ).fetchone()
    return None if found is None or found[0] is None else bytes(found[0])


def purge_due(db: Connection, before_ms: int, after_ms: int, limit: int) -> list[str]:
    """Shipments whose tasks all ended before `before_ms` and that still have label fields.

    A task that ended later than `after_ms` ended under a clock that was wrong: due as well.
    """
    ended = (TaskState.HANDED_OVER, TaskState.STOPPED, TaskState.REJECTED)
    marks = ", ".join("?" * len(ended))
    return [
        str(found[0])
        for found in db.execute(
            f"""SELECT shipment FROM task GROUP BY shipment
            HAVING COUNT(label)>0 AND MIN(state IN ({marks}))
            AND MIN(changed_ms<? OR changed_ms>?) LIMIT ?""",  # noqa: S608
            (*(state.value for state in ended), before_ms, after_ms, limit),
        ).fetchall()
    ]


def purge_labels(db: Connection, shipments: Sequence[str]) -> list[str]:
    """Forget the label fields of these shipments; returns those that had any.

    The bytes are overwritten in the file, not only unlinked (`PRAGMA secure_delete`); those in
    the write-ahead log go with `Tx.scrub`.
    """
    had = []
    for shipment in shipments:
        found = db.execute(
            "UPDATE task SET label=NULL WHERE shipment=? AND label IS NOT NULL RETURNING shipment",
            (shipment,),
        ).fetchall()
        if found:
            had.append(shipment)
    return had


def prune(db: Connection, age_no: int) -> list[str]:
    """Forget tasks that ended before the mark `age_no` was made, with their lines.

    Returns the shipments of which no task is left.
    """
    ended = (TaskState.HANDED_OVER, TaskState.STOPPED, TaskState.REJECTED)
    gone = db.execute(
        "DELETE FROM task WHERE state IN (?, ?, ?) AND age_no<?"
        " RETURNING shipment, token_epoch, token_n",
        (*(state.value for state in ended), age_no),
    ).fetchall()
    db.executemany(f"DELETE FROM task_line WHERE {_KEY}", gone)  # noqa: S608
    db.executemany(f"DELETE FROM item_serial WHERE {_KEY}", gone)  # noqa: S608
    return [one for one in sorted({str(row[0]) for row in gone}) if not all_of(db, one)]


def add_serial(db: Connection, task: Task, sku: str, serial: str) -> bool:
    """Keep the serial number of one unit in the parcel; False when it is in it already."""
    new = db.execute(
        "INSERT INTO item_serial VALUES(?, ?, ?, ?, ?) ON CONFLICT DO NOTHING RETURNING 1",
        (task.shipment, task.token.core_epoch, task.token.n, sku, serial),
    ).fetchall()
    return bool(new)


def serials_of(db: Connection, task: Task) -> list[tuple[str, str]]:
    """(SKU, serial number) of the units scanned into the parcel."""
    found = db.execute(
        f"SELECT sku, serial FROM item_serial WHERE {_KEY} ORDER BY sku, serial",  # noqa: S608
        (task.shipment, task.token.core_epoch, task.token.n),
    ).fetchall()
    return [(str(sku), str(serial)) for sku, serial in found]


def _one(db: Connection, where: str, values: Sequence[Any]) -> Task | None:
    found = _many(db, where, values)
    return found[0] if found else None


def _many(db: Connection, where: str, values: Sequence[Any]) -> list[Task]:
    found = db.execute(f"SELECT {_COLUMNS} FROM task WHERE {where}", values).fetchall()  # noqa: S608
    return [_task(db, row) for row in found]


def _task(db: Connection, row: tuple[Any, ...]) -> Task:
    lines = db.execute(
        f"""SELECT sku, quantity, name, barcodes, location, picked, verified, serial, gift
        FROM task_line
        WHERE {_KEY} ORDER BY line_no""",  # noqa: S608
        row[:3],
    ).fetchall()
    return Task(
        shipment=row[0],
        token=Token(row[1], row[2]),
        order=row[3],
        channel=row[4],
        native_id=row[5],
        waybill=row[6],
        carrier=row[7],
        state=TaskState(row[8]),
        ship_by_ms=row[9],
        print_on=row[10],
        priority=row[11],
        reissue=bool(row[12]),
        station=row[13],
        operator=row[14],
        notice=row[15],
        fence=None if row[16] is None else Token(row[16], row[17]),
        changed_ms=row[18],
        notice_code=row[19],
        gift=row[20],
        stop_reason=row[21],
        stop_text=row[22],
        packing=PackStart(row[23], row[24], row[25]) if row[24] else None,
        lines=tuple(
            Line(
                sku,
                quantity,
                name,
                _barcodes(barcodes),
                location,
                picked,
                verified,
                bool(serial),
                bool(gift),
            )
            for sku, quantity, name, barcodes, location, picked, verified, serial, gift in lines
        ),
    )
