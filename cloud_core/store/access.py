"""API keys and the audit: who may ask, and who changed what from where.

Statements on `api_key` and `audit` only. Reads take any connection, writes one of `engine.writer`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Engine, Row, insert, select, update

from cloud_core.domain.access import ApiKey
from cloud_core.domain.rows import Audit
from cloud_core.store.engine import changing, reading
from cloud_core.store.schema import api_key, audit

USED_EVERY_MS = 3_600_000
"""`used_ms` is refreshed at most once an hour: it answers "is it still in use", not "when"."""


class KeyRegister:
    """API keys in the database."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def create(self, key: ApiKey, by: Audit) -> None:
        """Keep a new key and the audit row of its creator, in one commit."""
        with changing(self._engine) as connection:
            connection.execute(
                insert(api_key),
                {
                    "id": key.id, "name": key.name, "hash": key.hash,
                    "scopes": ",".join(key.scopes), "created_ms": key.created_ms,
                },
            )  # fmt: skip
            write_audit(connection, [by])

    def find(self, key_hash: str) -> ApiKey | None:
        """The key with this hash, revoked or not."""
        with reading(self._engine) as connection:
            row = connection.execute(select(api_key).where(api_key.c.hash == key_hash)).first()
        return _key(row) if row else None

    def all(self) -> list[ApiKey]:
        """Every key, newest first."""
        with reading(self._engine) as connection:
            rows = connection.execute(select(api_key).order_by(api_key.c.created_ms.desc())).all()
        return [_key(row) for row in rows]

    def names(self) -> dict[str, str]:
        """The names of all keys by id, revoked ones too: what they did stays theirs."""
        with reading(self._engine) as connection:
            rows = connection.execute(select(api_key.c.id, api_key.c.name)).all()
        return {row[0]: row[1] for row in rows}

    def revoke(self, key_id: str, now_ms: int, by: Audit) -> bool:
        """Revoke a live key; False when there is none with this id."""
        live = (api_key.c.id == key_id) & api_key.c.revoked_ms.is_(None)
        with changing(self._engine) as connection:
            changed = connection.execute(update(api_key).where(live).values(revoked_ms=now_ms))
            if changed.rowcount:
                write_audit(connection, [by])
            return bool(changed.rowcount)

    def touch(self, key: ApiKey, now_ms: int) -> None:
        """Remember that a key is in use, at most once an hour."""
        if key.used_ms is not None and now_ms - key.used_ms < USED_EVERY_MS:
            return
        with changing(self._engine) as connection:
            connection.execute(update(api_key).where(api_key.c.id == key.id).values(used_ms=now_ms))

    def audit(self, by: Audit) -> None:
        """Write one audit row in a commit of its own."""
        with changing(self._engine) as connection:
            write_audit(connection, [by])


def write_audit(connection: Connection, rows: Sequence[Audit]) -> None:
    """Append audit rows to the caller's transaction."""
    connection.execute(
        insert(audit),
        [
            {
                "at_ms": row.at_ms, "actor": row.actor, "source": row.source,
                "action": row.action, "target": row.target, "detail": row.detail,
            }
            for row in rows
        ],
    )  # fmt: skip


def _key(row: Row[Any]) -> ApiKey:
    return ApiKey(
        row.id, row.name, row.hash, tuple(row.scopes.split(",")), row.created_ms, row.used_ms,
        row.revoked_ms,
    )  # fmt: skip
