"""Brings a database to the newest schema; called by `serve`, `migrate` and the simulation.

Runs under one write transaction, so that two processes starting at once do not both migrate.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Connection, Engine, insert, inspect, select, text

from cloud_core.store import schema, schema_after, schema_breaker, schema_console
from cloud_core.store.engine import writer

if TYPE_CHECKING:
    from alembic.config import Config

FIRST_CORE_EPOCH = 1
_ONE_AT_A_TIME = 0x7061636B  # any number that nothing else in this database locks
HEAD = "0005"
"""The newest revision; a database that has it is not looked at by Alembic, whose import is slow."""


def migrate(engine: Engine) -> str:
    """Run the missing steps and return the revision reached. Raises the database's error."""
    if _stored(engine) == HEAD:
        return HEAD
    from alembic import command

    with _migrating(engine) as connection:
        config = _config()
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
        _first_meta(connection)
        return _current(connection) or ""


def move_to(engine: Engine, wanted: str) -> str:
    """Go up or down to a revision; what only later ones know is lost. Returns the one reached."""
    from alembic import command

    with _migrating(engine) as connection:
        config = _config()
        config.attributes["connection"] = connection
        known = _current(connection) or ""
        (command.downgrade if known > wanted else command.upgrade)(config, wanted)
        return _current(connection) or ""


@contextmanager
def _migrating(engine: Engine) -> Iterator[Connection]:
    """A transaction that no other process migrates beside.

    SQLite changes a table by copying it; while the old one is dropped its rows are referred to, so
    references are checked at the end instead (sqlite.org/lang_altertable.html#otheralter).
    """
    with writer(engine).connect() as connection:
        driver = connection.connection.driver_connection
        assert driver is not None
        is_file = engine.dialect.name == "sqlite"
        if is_file:
            driver.execute("PRAGMA foreign_keys=OFF")  # has no effect inside a transaction
        try:
            with connection.begin():
                if not is_file:
                    connection.exec_driver_sql(
                        "SELECT pg_advisory_xact_lock(%s)", (_ONE_AT_A_TIME,)
                    )
                yield connection
                if is_file:
                    broken = connection.exec_driver_sql("PRAGMA foreign_key_check").all()
                    assert not broken, broken
        finally:
            if is_file:
                driver.execute("PRAGMA foreign_keys=ON")


def revision(engine: Engine) -> tuple[str, str]:
    """(revision the database has, newest revision we know); "" for an empty database."""
    from alembic.script import ScriptDirectory

    head = ScriptDirectory.from_config(_config()).get_current_head() or ""
    with engine.connect() as connection:
        return _current(connection) or "", head


def drift(engine: Engine) -> list[str]:
    """Differences between the database and `store.schema`; empty when they agree."""
    from alembic.autogenerate import compare_metadata
    from alembic.runtime.migration import MigrationContext

    with engine.connect() as connection:
        context = MigrationContext.configure(connection)
        every = schema.metadata  # the same one in each of the modules that declare tables
        assert every is schema_breaker.metadata is schema_console.metadata is schema_after.metadata
        return [str(change) for change in compare_metadata(context, every)]


def _first_meta(connection: Connection) -> None:
    known = set(connection.execute(select(schema.core_meta.c.key)).scalars())
    if "core_epoch" not in known:
        row = {"key": "core_epoch", "value": str(FIRST_CORE_EPOCH)}
        connection.execute(insert(schema.core_meta), row)


def _current(connection: Connection) -> str | None:
    from alembic.runtime.migration import MigrationContext

    return MigrationContext.configure(connection).get_current_revision()


def _stored(engine: Engine) -> str:
    """The revision in the database, "" when it is empty."""
    with engine.connect() as connection:
        if not inspect(connection).has_table("alembic_version"):
            return ""
        return connection.execute(text("SELECT version_num FROM alembic_version")).scalar() or ""


def _config() -> Config:
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    return config
