"""What the doctor asks the database; facts only, the judgement is the doctor's."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Engine, func, select

from cloud_core.store import schema as t
from cloud_core.store.engine import reading
from cloud_core.store.migrate import drift, revision


@dataclass(frozen=True, slots=True)
class Facts:
    """Counts and states of one look at the database."""

    revision: str
    newest_revision: str
    drift: tuple[str, ...]
    live_keys: int
    channels: tuple[tuple[str, str], ...]
    """(name, dialect) of each enabled channel."""
    warehouses: int
    without_agent: tuple[str, ...]
    without_carrier: tuple[str, ...]
    free_numbers: tuple[tuple[str, int], ...]
    """(carrier, free numbers) of each carrier an enabled warehouse uses."""
    contact_key_ids: tuple[str, ...]
    newest_ms: int
    oldest_open_message_ms: int | None
    recovering: bool
    skus: int


def look(engine: Engine) -> Facts:
    """Read everything at once. Raises `Unavailable("database")`."""
    known, newest = revision(engine)
    if not known:
        return Facts(known, newest, (), 0, (), 0, (), (), (), (), 0, None, False, 0)
    w, a, c = t.warehouse.c, t.agent.c, t.channel.c
    with reading(engine) as connection:
        enabled = connection.execute(select(w.id, w.carrier).where(w.enabled == 1)).all()
        staffed = set(connection.execute(select(a.warehouse).where(a.enabled == 1)).scalars())
        free: dict[str, int] = dict(
            connection.execute(
                select(t.waybill.c.carrier, func.count())
                .where(t.waybill.c.state == "free")
                .group_by(t.waybill.c.carrier)
            ).all()
        )
        used = sorted({row.carrier for row in enabled if row.carrier})
        meta = dict(connection.execute(select(t.core_meta.c.key, t.core_meta.c.value)).all())
        keys = select(func.count()).where(t.api_key.c.revoked_ms.is_(None))
        sealed = select(t.contact.c.key_id).where(t.contact.c.sealed.is_not(None)).distinct()
        raw = t.raw_message.c
        return Facts(
            revision=known,
            newest_revision=newest,
            drift=tuple(drift(engine)),
            live_keys=connection.execute(keys).scalar_one(),
            channels=tuple(
                (row.id, row.dialect)
                for row in connection.execute(select(c.id, c.dialect).where(c.enabled == 1))
            ),
            warehouses=len(enabled),
            without_agent=tuple(row.id for row in enabled if row.id not in staffed),
            without_carrier=tuple(row.id for row in enabled if not row.carrier),
            free_numbers=tuple((carrier, free.get(carrier, 0)) for carrier in used),
            contact_key_ids=tuple(connection.execute(sealed).scalars()),
            newest_ms=connection.execute(select(func.max(t.trail.c.at_ms))).scalar() or 0,
            oldest_open_message_ms=connection.execute(
                select(func.min(raw.received_ms)).where(raw.processed_ms.is_(None))
            ).scalar(),
            recovering=meta.get("recovering") == "1",
            skus=connection.execute(select(func.count()).select_from(t.sku)).scalar_one(),
        )


def integrity(engine: Engine) -> str:
    """ "ok", or what SQLite finds wrong with the file; always "ok" on PostgreSQL."""
    if engine.dialect.name != "sqlite":
        return "ok"
    with reading(engine) as connection:
        return str(connection.exec_driver_sql("PRAGMA quick_check(1)").scalar())


def durability(engine: Engine) -> str:
    """ "wal/2" when a COMMIT survives a power cut on SQLite; elsewhere "" or what may lose it."""
    with reading(engine) as connection:
        run = connection.exec_driver_sql
        if engine.dialect.name == "sqlite":
            mode = run("PRAGMA journal_mode").scalar()
            return f"{mode}/{run('PRAGMA synchronous').scalar()}"
        names = ("fsync", "synchronous_commit", "full_page_writes")
        found = {name: str(run(f"SHOW {name}").scalar()) for name in names}
    return " ".join(f"{name}={value}" for name, value in found.items() if value == "off")


def server(engine: Engine) -> tuple[int, str]:
    """PostgreSQL's version number (150018 is 15.18) and the encoding of the database."""
    with reading(engine) as connection:
        run = connection.exec_driver_sql
        version = int(run("SHOW server_version_num").scalar_one())
        return version, str(run("SHOW server_encoding").scalar_one())
