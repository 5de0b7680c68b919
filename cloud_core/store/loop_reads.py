"""What the core's loops read outside of any commit, and the count of the core's lives."""

from __future__ import annotations

from sqlalchemy import Engine, select

from cloud_core.domain.rows import RawMessage, ShopCall
from cloud_core.store import schema as t
from cloud_core.store.engine import changing, reading
from cloud_core.store.loading import columns


class LoopReads:
    """Reads for `worker.Core`; safe from any thread."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def core_state(self) -> tuple[int, int]:
        """(core_epoch, incarnation): what the retained core state says."""
        c = t.core_meta.c
        with reading(self._engine) as connection:
            meta = dict(connection.execute(select(c.key, c.value)).tuples().all())
        return int(meta["core_epoch"]), int(meta.get("incarnation", "0"))

    def open_messages(self, limit: int) -> list[RawMessage]:
        """Stored messages that are not processed, oldest first."""
        c = t.raw_message.c
        wanted = select(*columns(t.raw_message, RawMessage)).where(c.processed_ms.is_(None))
        with reading(self._engine) as connection:
            rows = connection.execute(wanted.order_by(c.id).limit(limit))
            return [RawMessage(*row) for row in rows]

    def due_calls(self, limit: int, now_ms: int) -> list[ShopCall]:
        """Write-backs due at `now_ms`, the longest due first."""
        c = t.shop_outbox.c
        wanted = select(*columns(t.shop_outbox, ShopCall)).where(
            c.done_ms.is_(None), c.due_ms <= now_ms
        )
        with reading(self._engine) as connection:
            rows = connection.execute(wanted.order_by(c.due_ms, c.id).limit(limit))
            return [ShopCall(*row) for row in rows]

    def sites(self) -> dict[str, str]:
        """The site of every enabled agent."""
        wanted = (
            select(t.agent.c.id, t.warehouse.c.site)
            .join(t.warehouse, t.warehouse.c.id == t.agent.c.warehouse)
            .where(t.agent.c.enabled == 1)
        )
        with reading(self._engine) as connection:
            return dict(connection.execute(wanted).tuples().all())


def begin_life(engine: Engine) -> int:
    """Count one more life of this core and return its number; called once a start.

    Agents say hello again when the retained core state shows a new number.
    """
    m = t.core_meta
    with changing(engine) as connection:
        found = connection.execute(select(m.c.value).where(m.c.key == "incarnation")).scalar()
        number = int(found or 0) + 1
        if found is None:
            connection.execute(m.insert(), {"key": "incarnation", "value": str(number)})
        else:
            where = m.c.key == "incarnation"
            connection.execute(m.update().where(where).values(value=str(number)))
    return number
