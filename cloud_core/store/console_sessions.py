"""Sessions of the staff console: opened, found with their key, ended; statements on one table.

Only hashes are kept. What has expired goes when somebody signs in, and each key has a bounded
number, so the table stays small.
"""

from __future__ import annotations

from sqlalchemy import Engine, delete, insert, select

from cloud_core.domain.access import ApiKey
from cloud_core.domain.console_session import SESSION_MS, SESSIONS_PER_KEY_MAX, Session
from cloud_core.domain.rows import Audit
from cloud_core.store.access import write_audit
from cloud_core.store.engine import changing, reading
from cloud_core.store.schema import api_key
from cloud_core.store.schema_console import console_session as table


class SessionRegister:
    """Console sessions in the database, so that any core process knows them."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def open(self, session_hash: str, key_id: str, now_ms: int, by: Audit) -> None:
        """Keep a new session of a key and the audit row of its sign-in, in one commit."""
        row = {
            "hash": session_hash, "key_id": key_id, "created_ms": now_ms,
            "expires_ms": now_ms + SESSION_MS,
        }  # fmt: skip
        of_key = select(table.c.hash).where(table.c.key_id == key_id)
        newest = of_key.order_by(table.c.created_ms.desc()).limit(SESSIONS_PER_KEY_MAX)
        with changing(self._engine) as connection:
            connection.execute(insert(table), row)
            connection.execute(delete(table).where(table.c.expires_ms <= now_ms))
            kept = list(connection.execute(newest).scalars())
            surplus = (table.c.key_id == key_id) & table.c.hash.not_in(kept)
            connection.execute(delete(table).where(surplus))
            write_audit(connection, [by])

    def find(self, session_hash: str) -> Session | None:
        """The session with this hash, expired or of a revoked key or not."""
        wanted = select(table.c.hash, table.c.expires_ms, api_key).join(
            api_key, api_key.c.id == table.c.key_id
        )
        with reading(self._engine) as connection:
            row = connection.execute(wanted.where(table.c.hash == session_hash)).first()
        if row is None:
            return None
        kept_hash, expires_ms, key_id, name, key_hash, scopes, created_ms, used_ms, revoked_ms = row
        key = ApiKey(
            key_id, name, key_hash, tuple(scopes.split(",")), created_ms, used_ms, revoked_ms
        )
        return Session(kept_hash, key, expires_ms)

    def close(self, session_hash: str, by: Audit) -> None:
        """End a session for good; harmless when it has ended."""
        with changing(self._engine) as connection:
            gone = connection.execute(delete(table).where(table.c.hash == session_hash))
            if gone.rowcount:
                write_audit(connection, [by])
