"""Single values that outlive a restart: boot counter, incarnation, core epoch, configuration."""

from __future__ import annotations

from edge_agent.ports import Connection


def text(db: Connection, key: str, default: str = "") -> str:
    """The value of `key`, or `default`."""
    found = db.execute("SELECT v FROM meta WHERE k=?", (key,)).fetchone()
    return default if found is None else str(found[0])


def number(db: Connection, key: str, default: int = 0) -> int:
    """The value of `key` as an integer, or `default`."""
    found = db.execute("SELECT v FROM meta WHERE k=?", (key,)).fetchone()
    return default if found is None else int(found[0])


def put(db: Connection, key: str, value: str | int) -> None:
    """Store one value."""
    db.execute(
        "INSERT INTO meta(k, v) VALUES(?, ?) ON CONFLICT(k) DO UPDATE SET v=excluded.v",
        (key, str(value)),
    )
