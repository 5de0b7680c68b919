"""The revision that start-up trusts without asking Alembic is the newest one."""

from __future__ import annotations

from pathlib import Path

from cloud_core.store import migrate
from cloud_core.store.engine import open_engine, sqlite_url


def test_a_fresh_database_reaches_the_newest_revision(tmp_path: Path) -> None:
    engine = open_engine(sqlite_url(tmp_path / "core.db"))
    assert migrate.migrate(engine) == migrate.HEAD
    assert migrate.revision(engine) == (migrate.HEAD, migrate.HEAD)
    assert migrate.migrate(engine) == migrate.HEAD
    assert migrate.drift(engine) == []
