"""What the core's loops read outside of any commit, and the count of the core's lives."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Engine, select

from cloud_core.domain.rows import RawMessage, ShopCall
from cloud_core.store import schema as t
from cloud_core.store.engine import changing, reading
from cloud_core.store.reading import columns
from protocols import limits
from protocols.messages import DesiredConfig


class LoopReads:
    """Reads for `worker.Core`; safe from any thread."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def core_state(self) -> tuple[int, int]:
        """(core_epoch, incarnation): what the retained core state says."""
        c = t.core_meta.c
        with reading(self._engine) as connection:
            meta = dict(connection.execute(select(c.key, c.value)).all())
        return int(meta["core_epoch"]), int(meta.get("incarnation", "0"))

    def open_messages(self, limit: int) -> list[RawMessage]:
        """Stored messages that are not processed, oldest first."""
        c = t.raw_message.c
        wanted = select(*columns(t.raw_message, RawMessage)).where(c.processed_ms.is_(None))
        with reading(self._engine) as connection:
            rows = connection.execute(wanted.order_by(c.id).limit(limit))
            return [RawMessage(*row) for row in rows]

    def due_calls(self, limit: int, now_ms: int, busy: Sequence[str]) -> list[ShopCall]:
        """Write-backs due at `now_ms`, the longest due first; none of the channels in `busy`.

        Those of a paused channel wait until it goes on.
        """
        c = t.shop_outbox.c
        paused = select(t.channel.c.id).where(t.channel.c.enabled == 0)
        wanted = select(*columns(t.shop_outbox, ShopCall)).where(
            c.done_ms.is_(None), c.due_ms <= now_ms, c.channel.not_in(busy),
            c.channel.not_in(paused),
        )  # fmt: skip
        with reading(self._engine) as connection:
            rows = connection.execute(wanted.order_by(c.due_ms, c.id).limit(limit))
            return [ShopCall(*row) for row in rows]

    def unconfirmed(self, agents: Sequence[str]) -> list[str]:
        """Which of these agents have commands they have not confirmed."""
        c = t.outbox.c
        if not agents:
            return []
        wanted = select(c.agent).where(c.agent.in_(agents), c.received_ms.is_(None)).distinct()
        with reading(self._engine) as connection:
            return sorted(connection.execute(wanted).scalars())

    def unsent(self, agents: Sequence[str]) -> list[str]:
        """Which of these agents have commands that were never sent, whoever queued them."""
        c = t.outbox.c
        if not agents:
            return []
        never = (c.agent.in_(agents), c.received_ms.is_(None), c.sent_ms.is_(None))
        with reading(self._engine) as connection:
            return sorted(connection.execute(select(c.agent).where(*never).distinct()).scalars())

    def desired_config(self, agent: str, personal_hours: int) -> DesiredConfig | None:
        """What this core wants an agent to be; None for an agent it does not know."""
        w, a = t.warehouse.c, t.agent.c
        joined = select(w.id, w.name, w.print_on).join(t.agent, a.warehouse == w.id)
        stations = select(t.station.c.id).where(t.station.c.agent == agent)
        version = select(t.core_meta.c.value).where(t.core_meta.c.key == "master_version")
        with reading(self._engine) as connection:
            found = connection.execute(joined.where(a.id == agent)).first()
            if found is None:
                return None
            return DesiredConfig(
                limits.VERSION,
                rev=int(connection.execute(version).scalar() or 0),
                warehouse=found[0],
                warehouse_name=found[1],
                print_on=found[2],
                stations=sorted(connection.execute(stations).scalars()),
                personal_hours=personal_hours,
            )


_COUNT_LIFE = (
    "INSERT INTO core_meta (key, value) VALUES ('incarnation', '1') ON CONFLICT (key) "
    "DO UPDATE SET value = (core_meta.value::bigint + 1)::text RETURNING value"
)


def begin_life(engine: Engine) -> int:
    """Count one more life of this core and return its number; called once a start.

    Agents say hello again when the retained core state shows a new number.
    """
    m = t.core_meta
    with changing(engine) as connection:
        if engine.dialect.name == "postgresql":  # two processes at once count two lives
            return int(connection.exec_driver_sql(_COUNT_LIFE).scalar_one())
        found = connection.execute(select(m.c.value).where(m.c.key == "incarnation")).scalar()
        number = int(found or 0) + 1
        if found is None:
            connection.execute(m.insert(), {"key": "incarnation", "value": str(number)})
        else:
            where = m.c.key == "incarnation"
            connection.execute(m.update().where(where).values(value=str(number)))
    return number
