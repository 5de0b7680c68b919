"""What time has made due: offers, parked shipments, waiting numbers, data to forget, commands."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from sqlalchemy import Connection, and_, func, or_, select, text

from cloud_core.domain import rows as r
from cloud_core.domain.progress import ON_THE_BENCH
from cloud_core.store import schema as t
from cloud_core.store.reading import many, parts, selecting

ParkedPlace = tuple[int, int, str]
"""Where a parked shipment stands in line: (priority, paid_ms, id)."""
_NOT_FOR_A_NUMBER = ("", "claim")
_ROWS_PAGE = 5_000
"""Rows of a stream that are read back at a time."""
_OUTBOX = selecting(t.outbox, r.OutboxRow)
_CONTACT = selecting(t.contact, r.Contact)


class DueFetch:
    """The part of a working set's reads that looks for work, oldest first, always bounded."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.alone = connection.dialect.name == "sqlite"
        """Whether nobody else can write while this transaction lasts."""

    def draw(self, sequence: str, count: int) -> list[int]:
        """The next `count` numbers of a sequence, for databases with several writers."""
        every = f"SELECT nextval('{sequence}') FROM generate_series(1, {count:d})"  # noqa: S608
        return list(self.connection.exec_driver_sql(every).scalars())

    def due_offers(self, now_ms: int, limit: int) -> list[str]:
        """Shipments whose offer deadline has passed, earliest first."""
        c = t.shipment.c
        return list(
            self.connection.execute(
                select(c.id)
                .where(c.deadline_ms.is_not(None), c.deadline_ms <= now_ms)
                .order_by(c.deadline_ms)
                .limit(limit)
            ).scalars()
        )

    def parked(self, after: ParkedPlace | None, limit: int) -> list[ParkedPlace]:
        """Parked shipments behind a place, the most urgent first, then by payment time."""
        c = t.shipment.c
        wanted = select(c.priority, c.paid_ms, c.id).where(c.parked != "")
        if after is not None:
            urgent, paid_ms, name = after
            later = or_(c.paid_ms > paid_ms, and_(c.paid_ms == paid_ms, c.id > name))
            wanted = wanted.where(or_(c.priority < urgent, and_(c.priority == urgent, later)))
        wanted = wanted.order_by(c.priority.desc(), c.paid_ms, c.id).limit(limit)
        return [(row[0], row[1], row[2]) for row in self.connection.execute(wanted)]

    def waiting_line(
        self, but: Iterable[str], limit: int
    ) -> list[tuple[str, tuple[tuple[str, int], ...]]]:
        """(shipment, its (sku, quantity)) parked for other reasons than `but`, first in line first.

        Parts of the same page read their lines in one more statement; nothing parked costs one.
        """
        c, line = t.shipment.c, t.shipment_line.c
        wanted = select(c.id).where(c.parked != "", c.stop == "", c.parked.not_in(list(but)))
        wanted = wanted.order_by(c.priority.desc(), c.paid_ms, c.id).limit(limit)
        found: dict[str, list[tuple[str, int]]] = {
            name: [] for name in self.connection.execute(wanted).scalars()
        }
        for part in parts(found):
            rows = select(line.shipment_id, line.sku, line.quantity)
            for name, sku, units in self.connection.execute(rows.where(line.shipment_id.in_(part))):
                found[name].append((sku, units))
        return [(name, tuple(sorted(lines))) for name, lines in found.items() if lines]

    def parked_since(self, before_ms: int) -> dict[str, tuple[int, int]]:
        """How many shipments are parked since before then and since when the oldest, by reason."""
        c = t.shipment.c
        old = c.parked != "", c.parked_ms <= before_ms
        wanted = select(c.parked, func.count(), func.min(c.parked_ms)).where(*old)
        rows = self.connection.execute(wanted.group_by(c.parked).order_by(c.parked))
        return {row[0]: (row[1], row[2]) for row in rows}

    def asked_again_since(self, before_ms: int) -> bool:
        """Whether a shipment that was parked before then is offered again, and not granted yet."""
        c = t.shipment.c
        asked = c.deadline_ms.is_not(None), c.parked == "", c.parked_ms <= before_ms
        return self.connection.execute(select(c.id).where(*asked).limit(1)).first() is not None

    def carriers_waited_for(self) -> list[str]:
        """Carriers for whose numbers accepted shipments wait."""
        c = t.shipment.c
        waits = c.state == "offered", c.waiting != "", c.waiting.not_in(_NOT_FOR_A_NUMBER)
        wanted = select(c.carrier).where(*waits).distinct()
        return sorted(self.connection.execute(wanted).scalars())

    def waiting_for_waybill(self, carrier: str, limit: int) -> list[str]:
        """Accepted shipments without a number of this carrier, oldest payment first."""
        c = t.shipment.c
        return list(
            self.connection.execute(
                select(c.id)
                .where(
                    c.state == "offered",
                    c.waiting != "",
                    c.waiting.not_in(_NOT_FOR_A_NUMBER),
                    c.carrier == carrier,
                )
                .order_by(c.paid_ms, c.id)
                .limit(limit)
            ).scalars()
        )

    def to_purge(self, before_ms: int, limit: int) -> list[str]:
        """Shipments that left or were cancelled before `before_ms` with label fields kept."""
        c = t.shipment.c
        return list(
            self.connection.execute(
                select(c.id)
                .where(
                    c.purged_ms.is_(None),
                    or_(
                        and_(c.handed_over_ms.is_not(None), c.handed_over_ms <= before_ms),
                        and_(
                            c.stop == "cancelled",
                            c.parked_ms.is_not(None),
                            c.parked_ms <= before_ms,
                        ),
                    ),
                )
                .limit(limit)
            ).scalars()
        )

    def findable_contacts(self, before_ms: int, limit: int) -> list[r.Contact]:
        """Contacts purged by `before_ms` that a search by phone still finds, oldest first."""
        c = t.contact.c
        wanted = _CONTACT.where(text(t.CONTACT_FINDABLE), c.purged_ms <= before_ms)
        return many(self.connection, wanted.order_by(c.purged_ms).limit(limit), r.Contact)

    def shipments_for_resync(self, agent: str, after_ms: int) -> list[str]:
        """Every shipment this agent was ever offered since `after_ms`."""
        c = t.outbox.c
        statement = (
            select(c.shipment_id)
            .where(c.agent == agent, c.shipment_id != "", c.created_ms >= after_ms)
            .distinct()
        )
        found = set(self.connection.execute(statement).scalars())
        owned = select(t.shipment.c.id).where(
            t.shipment.c.agent == agent, t.shipment.c.paid_ms >= after_ms
        )
        return sorted(found | set(self.connection.execute(owned).scalars()))

    def open_commands(self, agent: str, limit: int) -> list[r.OutboxRow]:
        """Commands the agent has not confirmed, in order of creation."""
        c = t.outbox.c
        return many(
            self.connection,
            _OUTBOX.where(c.agent == agent, c.received_ms.is_(None)).order_by(c.n).limit(limit),
            r.OutboxRow,
        )

    def grants_of(self, shipment_ids: Iterable[str]) -> list[r.OutboxRow]:
        """The grant commands of these shipments."""
        c = t.outbox.c
        return [
            row
            for part in parts(shipment_ids)
            for row in many(
                self.connection,
                _OUTBOX.where(c.shipment_id.in_(part), c.kind == "grant"),
                r.OutboxRow,
            )
        ]

    def on_bench(self, agent: str, life: int) -> list[str]:
        """Shipments at this agent's bench under a token of a life of the core before `life`."""
        c = t.shipment.c
        wanted = select(c.id).where(
            c.agent == agent, c.token_epoch < life, c.state.in_(sorted(ON_THE_BENCH))
        )
        return list(self.connection.execute(wanted.order_by(c.id)).scalars())

    def rows_back(self, stream_id: int, last: int, kind: str, oldest_ms: int) -> Iterator[bytes]:
        """Rows of one type of a stream from `last` back to the first that is older, in portions."""
        c = t.event.c
        for top in range(last, 0, -_ROWS_PAGE):
            page = select(c.type, c.at_ms, c.row).where(
                c.stream_id == stream_id, c.seq > top - _ROWS_PAGE, c.seq <= top
            )
            found = self.connection.execute(page.order_by(c.seq.desc())).all()
            yield from (row.row for row in found if row.type == kind)
            if found and max(row.at_ms for row in found) < oldest_ms:
                return

    def tries_of(self, shipment_id: str) -> list[tuple[str, str]]:
        """(command, agent) of every claim the shipment was ever in."""
        c = t.outbox.c
        wanted = select(c.id, c.agent).where(c.shipment_id == shipment_id, c.kind == "try")
        return [(row[0], row[1]) for row in self.connection.execute(wanted)]

    def max_outbox_n(self) -> int:
        """The highest creation number of any command."""
        return self.connection.execute(select(func.max(t.outbox.c.n))).scalar() or 0

    def kept_from(self, which: str) -> int:
        """The first id of a table of kept bytes that may still hold some."""
        value = select(t.core_meta.c.value).where(t.core_meta.c.key == f"{which}_kept_from")
        return int(self.connection.execute(value).scalar() or 0)
