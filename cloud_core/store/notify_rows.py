"""Who is told: robots and hooks with what is secret in them sealed, and the notices that wait.

Addresses of robots hold their key and phones are personal, so both stand sealed beside the
signing secret (P12); clear values leave only inside a `NotifyTarget`, which never prints them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
from sqlalchemy import Connection, Engine, Row, delete, insert, select

from cloud_core.domain.rows import Audit, Notice
from cloud_core.ports import NotifyTarget
from cloud_core.store.access import write_audit
from cloud_core.store.engine import changing, reading
from cloud_core.store.reading import many, selecting
from cloud_core.store.schema import warehouse
from cloud_core.store.schema_breaker import notice_outbox, notify_target
from cloud_core.store.secret_box import SecretBox
from protocols.errors import Rejected


@dataclass(frozen=True, slots=True)
class Ear:
    """A target by name and what it hears of (empty = everything)."""

    name: str
    kinds: tuple[str, ...]
    warehouses: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Shown:
    """A target as people may see it."""

    name: str
    kind: str
    url: str
    kinds: tuple[str, ...]
    warehouses: tuple[str, ...]
    enabled: bool
    created_ms: int


class _Sealed(msgspec.Struct):
    url: str
    secret: str
    mobiles: list[str]
    style: str


class TargetRegister:
    """Targets in the database; reads are one look-up, so nothing is cached."""

    def __init__(self, engine: Engine, box: SecretBox) -> None:
        self._engine, self._box = engine, box

    def unknown_warehouse(self, names: Sequence[str]) -> str:
        """The first of these that is no warehouse, "" when all are."""
        c = warehouse.c
        with reading(self._engine) as connection:
            known = set(connection.execute(select(c.id).where(c.id.in_(names))).scalars())
        return next((name for name in names if name not in known), "")

    def add(self, target: NotifyTarget, ear: Ear, shown_url: str, by: Audit) -> None:
        """Keep a new target. Raises `Rejected("notify_exists")`."""
        name = target.name
        plain = _Sealed(target.url, target.secret, list(target.mobiles), target.style)
        row = {
            "name": name, "kind": target.kind, "shown_url": shown_url,
            "sealed": self._box.seal(f"notify:{name}", msgspec.json.encode(plain)),
            "warehouses": ",".join(ear.warehouses), "kinds": ",".join(ear.kinds),
            "enabled": 1, "created_ms": by.at_ms,
        }  # fmt: skip
        c = notify_target.c
        with changing(self._engine) as connection:
            if connection.execute(select(c.name).where(c.name == name)).first():
                raise Rejected(
                    "notify_exists", f"通知对象 {name} 已存在", f"target {name} exists",
                    field="name",
                )  # fmt: skip
            connection.execute(insert(notify_target), row)
            write_audit(connection, [by])

    def get(self, name: str) -> NotifyTarget:
        """A target ready to be told. Raises `Rejected("notify_unknown")`."""
        with reading(self._engine) as connection:
            wanted = select(notify_target).where(notify_target.c.name == name)
            row = connection.execute(wanted).first()
        if row is None or not row.enabled:
            raise _unknown(name)
        raw = self._box.open(f"notify:{name}", row.sealed)
        plain = msgspec.json.decode(raw, type=_Sealed)
        return NotifyTarget(
            name, row.kind, plain.url, plain.secret, tuple(plain.mobiles), plain.style
        )

    def all(self) -> list[Shown]:
        """Every target by name, without what is secret."""
        with reading(self._engine) as connection:
            rows = connection.execute(select(notify_target).order_by(notify_target.c.name)).all()
        return [_shown(row) for row in rows]

    def remove(self, name: str, by: Audit) -> None:
        """Forget a target; what waits for it is settled. Raises `Rejected("notify_unknown")`."""
        with changing(self._engine) as connection:
            gone = connection.execute(delete(notify_target).where(notify_target.c.name == name))
            if not gone.rowcount:
                raise _unknown(name)
            write_audit(connection, [by])


class NoticeReads:
    """What the delivery reads outside of any commit; safe from any thread."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def due(self, limit: int, now_ms: int, busy: Sequence[str]) -> list[Notice]:
        """Notices due at `now_ms`, the longest due first; none of the targets in `busy`."""
        c = notice_outbox.c
        wanted = selecting(notice_outbox, Notice).where(
            c.done_ms.is_(None), c.due_ms <= now_ms, c.target.not_in(busy)
        )
        with reading(self._engine) as connection:
            return many(
                connection, wanted.order_by(c.due_ms, c.created_ms, c.id).limit(limit), Notice
            )

    def waiting(self) -> dict[str, int]:
        """How many notices wait, by target."""
        c = notice_outbox.c
        with reading(self._engine) as connection:
            rows = connection.execute(select(c.target).where(c.done_ms.is_(None))).scalars()
            found: dict[str, int] = {}
            for target in rows:
                found[target] = found.get(target, 0) + 1
        return found


def ears(connection: Connection) -> list[Ear]:
    """Every enabled target and what it hears of, by name."""
    c = notify_target.c
    rows = connection.execute(
        select(c.name, c.kinds, c.warehouses).where(c.enabled == 1).order_by(c.name)
    )
    return [Ear(row.name, _parts(row.kinds), _parts(row.warehouses)) for row in rows]


def _shown(row: Row[tuple[object, ...]]) -> Shown:
    return Shown(
        row.name, row.kind, row.shown_url, _parts(row.kinds), _parts(row.warehouses),
        bool(row.enabled), row.created_ms,
    )  # fmt: skip


def _parts(column: str) -> tuple[str, ...]:
    return tuple(part for part in column.split(",") if part)


def _unknown(name: str) -> Rejected:
    return Rejected(
        "notify_unknown", f"没有通知对象 {name}", f"there is no target {name}", field="name"
    )
