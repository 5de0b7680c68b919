"""What people see of change requests, returns, gifts and serial numbers: bounded reads."""

from __future__ import annotations

from typing import Any

import msgspec
from sqlalchemy import Engine, Select, and_, func, or_, select, text

from cloud_core.store import schema as t
from cloud_core.store import schema_after as a
from cloud_core.store.engine import reading

Json = dict[str, Any]
Place = tuple[int, str]
"""(created or asked time, id) of the last row seen; lists go on behind it, newest first."""
ROWS_MAX = 500
OVERDUE = "overdue"


class AfterViews:
    """Reads over one engine; safe to call from any thread."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def changes(
        self, *, state: str = "", order_id: str = "", after: Place | None = None, limit: int = 50
    ) -> list[Json]:
        """Change requests, newest first; `overdue` are those on the supervisors' list."""
        c = a.change_request.c
        wanted = select(*[column for column in c if column.name != "version"])
        if state == OVERDUE:
            wanted = wanted.where(text(a.CHANGE_WAITS), c.level > 0)
        elif state == "waiting":
            wanted = wanted.where(text(a.CHANGE_WAITS))
        elif state:
            wanted = wanted.where(c.state == state)
        if order_id:
            wanted = wanted.where(c.order_id == order_id)
        return self._list(wanted, c.asked_ms, c.id, after, limit)

    def returns(
        self, *, state: str = "", order_id: str = "", warehouse: str = "",
        after: Place | None = None, limit: int = 50,
    ) -> list[Json]:  # fmt: skip
        """Returns, newest first; `overdue` are those on the supervisors' list."""
        c = a.return_ticket.c
        wanted = select(*[column for column in c if column.name != "version"])
        if state == OVERDUE:
            wanted = wanted.where(text(a.RETURN_OPEN), c.state == "accepted", c.level > 0)
        elif state == "open":
            wanted = wanted.where(text(a.RETURN_OPEN))
        elif state in ("announced", "accepted"):
            wanted = wanted.where(text(a.RETURN_OPEN), c.state == state)
        elif state:
            wanted = wanted.where(c.state == state)
        for column, value in ((c.order_id, order_id), (c.warehouse, warehouse)):
            if value:
                wanted = wanted.where(column == value)
        return [_read(row) for row in self._list(wanted, c.created_ms, c.id, after, limit)]

    def return_(self, return_id: str) -> Json | None:
        """One return with its lines."""
        c = a.return_ticket.c
        wanted = select(*[column for column in c if column.name != "version"])
        with reading(self._engine) as connection:
            row = connection.execute(wanted.where(c.id == return_id)).mappings().first()
        return _read(dict(row)) if row is not None else None

    def serial(self, serial: str) -> list[Json]:
        """The parcels a serial number was scanned into, newest first."""
        c, s = a.shipment_serial.c, t.shipment.c
        wanted = (
            select(c.serial, c.sku, c.shipment_id, s.order_id, c.at_ms, c.agent)
            .join(t.shipment, s.id == c.shipment_id)
            .where(c.serial == serial)
        )
        with reading(self._engine) as connection:
            found = connection.execute(wanted.order_by(c.at_ms.desc()).limit(50)).mappings()
            return [dict(row) for row in found]

    def gifts(self, order_id: str) -> list[Json]:
        """The gift child of an order, its state and goods."""
        c = a.gift_child.c
        wanted = select(c.id, c.rule, c.lines, c.bound, c.state, c.shipment_id, c.changed_ms)
        with reading(self._engine) as connection:
            rows = connection.execute(wanted.where(c.order_id == order_id)).mappings()
            return [{**row, "lines": msgspec.json.decode(row["lines"])} for row in rows]

    def handling(self, since_ms: int) -> list[Json]:
        """True handling times by warehouse since then: parcels, mean and longest, ms (004.12)."""
        s = t.shipment.c
        wanted = (
            select(
                s.warehouse, func.count().label("parcels"), func.avg(s.handling_ms).label("mean"),
                func.max(s.handling_ms).label("longest"),
            )
            .where(s.handed_over_ms.is_not(None), s.handed_over_ms >= since_ms,
                   s.handling_ms.is_not(None))
            .group_by(s.warehouse)
            .order_by(s.warehouse)
        )  # fmt: skip
        with reading(self._engine) as connection:
            rows = connection.execute(wanted).mappings()
            return [
                {"warehouse": row["warehouse"], "parcels": row["parcels"],
                 "mean_ms": int(row["mean"]), "longest_ms": row["longest"]}
                for row in rows
            ]  # fmt: skip

    def counts(self) -> Json:
        """How many stand on the supervisors' list and how many wait."""
        c, r = a.change_request.c, a.return_ticket.c
        with reading(self._engine) as connection:
            found = connection.execute(
                select(func.count(), func.count().filter(c.level > 0)).where(text(a.CHANGE_WAITS))
            ).one()
            back = connection.execute(
                select(
                    func.count(),
                    func.count().filter(and_(r.state == "accepted", r.level > 0)),
                ).where(text(a.RETURN_OPEN))
            ).one()
        return {
            "changes": found[0], "changes_overdue": found[1], "returns": back[0],
            "returns_overdue": back[1],
        }  # fmt: skip

    def _list(
        self, wanted: Select[Any], at: Any, key: Any, after: Place | None, limit: int
    ) -> list[Json]:
        if after is not None:
            wanted = wanted.where(or_(at < after[0], and_(at == after[0], key < after[1])))
        wanted = wanted.order_by(at.desc(), key.desc()).limit(min(limit, ROWS_MAX))
        with reading(self._engine) as connection:
            return [dict(row) for row in connection.execute(wanted).mappings()]


def _read(row: Json) -> Json:
    row["lines"] = msgspec.json.decode(row["lines"])
    return row
