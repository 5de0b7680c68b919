"""Which station people bound each scanner's port to: survives a restart, beside the rows."""

from __future__ import annotations

from edge_agent.domain.scanner_roster import Kind
from edge_agent.journal import meta
from edge_agent.ports import Connection

_PREFIX = "scanner:"


def everyone(db: Connection) -> dict[str, tuple[Kind, str]]:
    """Port -> (kind, station), as bound at the bench or on the page."""
    found = db.execute(
        "SELECT k, v FROM meta WHERE k >= ? AND k < ? ORDER BY k", (_PREFIX, "scanner;")
    ).fetchall()
    bound: dict[str, tuple[Kind, str]] = {}
    for key, value in found:
        kind, _, station = str(value).partition(" ")
        bound[str(key).removeprefix(_PREFIX)] = ("serial" if kind == "serial" else "hid", station)
    return bound


def bind(db: Connection, port: str, kind: Kind, station: str) -> None:
    """Remember one port; `station` "" forgets it."""
    if station:
        meta.put(db, _PREFIX + port, f"{kind} {station}")
    else:
        db.execute("DELETE FROM meta WHERE k=?", (_PREFIX + port,))
