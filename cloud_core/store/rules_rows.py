"""Sets of routing rules in the database: every one that ever ran, and which runs now.

`core_meta.rules_version` names the running one; rows are never changed, going back applies an old
text again as a new version. What a person wrote is kept word by word.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Engine, insert, select

from cloud_core.domain.routing_rules import read_rules
from cloud_core.domain.rule_values import NO_RULES, RuleSet
from cloud_core.store import schema as t
from cloud_core.store.divisions import load_names
from cloud_core.store.engine import reading

META_KEY = "rules_version"
HISTORY_MAX = 200
_ROW = (
    t.rule_set.c.version, t.rule_set.c.digest, t.rule_set.c.applied_ms, t.rule_set.c.actor,
    t.rule_set.c.note,
)  # fmt: skip


def running_version(connection: Connection) -> int:
    """The version that runs, 0 when no rules were ever applied."""
    wanted = select(t.core_meta.c.value).where(t.core_meta.c.key == META_KEY)
    return int(connection.execute(wanted).scalar() or 0)


def load_rules(connection: Connection, version: int) -> RuleSet:
    """The rules of a version, ready to be bound to master data; `NO_RULES` for 0.

    They were checked when they were applied. A rule that cannot be read any more (a place that
    the division list no longer has) is left out rather than stopping every commit.
    """
    text = text_of(connection, version) if version else None
    return read_rules(text, load_names(), version=version).rules if text is not None else NO_RULES


def text_of(connection: Connection, version: int) -> str | None:
    """The TOML of a version as it was applied, None if there is no such version."""
    wanted = select(t.rule_set.c.toml).where(t.rule_set.c.version == version)
    found: str | None = connection.execute(wanted).scalar()
    return found


def keep(
    connection: Connection, rules: RuleSet, text: str, applied_ms: int, actor: str, note: str
) -> None:
    """Write down a set that starts to run; inside the caller's transaction."""
    row = {"version": rules.version, "digest": rules.digest, "toml": text,
           "applied_ms": applied_ms, "actor": actor, "note": note}  # fmt: skip
    connection.execute(insert(t.rule_set), [row])


def channels(connection: Connection) -> set[str]:
    """The names of all shop channels."""
    return set(connection.execute(select(t.channel.c.id)).scalars())


class RulesRegister:
    """Reads of rule sets for people; safe to call from any thread."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def show(self, version: int | None = None) -> dict[str, Any] | None:
        """One version with its text, by default the one that runs; None if there is none."""
        with reading(self._engine) as connection:
            running = running_version(connection)
            number = running if version is None else version
            wanted = select(*_ROW, t.rule_set.c.toml).where(t.rule_set.c.version == number)
            row = connection.execute(wanted).mappings().first()
        return {**row, "running": number == running} if row else None

    def history(self, limit: int = 50) -> list[dict[str, Any]]:
        """Newest first, at most `HISTORY_MAX`, without the texts."""
        wanted = select(*_ROW).order_by(t.rule_set.c.version.desc())
        with reading(self._engine) as connection:
            running = running_version(connection)
            rows = connection.execute(wanted.limit(min(limit, HISTORY_MAX))).mappings().all()
        return [{**row, "running": row["version"] == running} for row in rows]
