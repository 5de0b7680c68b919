"""What each station is at, and the last scans: survives a restart in the middle of a parcel."""

from __future__ import annotations

from dataclasses import dataclass

from edge_agent.ports import Connection

SCANS_KEPT = 200


@dataclass(frozen=True, slots=True)
class Station:
    """`mode` is "", `pick`, `pack` or `load`; `dock` is set while loading.

    `wants` is the SKU whose serial number is to be scanned next, "" if none.
    """

    id: str
    shipment: str = ""
    mode: str = ""
    dock: str = ""
    operator: str = ""
    last_code: str = ""
    last_source: str = ""
    last_ms: int = 0
    wants: str = ""


@dataclass(frozen=True, slots=True)
class Scan:
    """One answered scan, for people to look at; unknown codes are not kept."""

    wall_ms: int
    station: str
    code: str
    tone: str
    text: str


def get(db: Connection, station: str) -> Station:
    """The station as it was left, or a new one."""
    found = db.execute("SELECT * FROM station WHERE id=?", (station,)).fetchone()
    return Station(station) if found is None else Station(*found)


def everyone(db: Connection) -> list[Station]:
    """Every station that ever scanned."""
    return [Station(*found) for found in db.execute("SELECT * FROM station ORDER BY id").fetchall()]


def save(db: Connection, station: Station) -> None:
    """Insert or replace one station."""
    db.execute(
        "INSERT OR REPLACE INTO station VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            station.id, station.shipment, station.mode, station.dock, station.operator,
            station.last_code, station.last_source, station.last_ms, station.wants,
        ),
    )  # fmt: skip


def add_scan(db: Connection, scan: Scan) -> None:
    """Write into the ring of the last 200."""
    number = int(db.execute("SELECT COALESCE(MAX(n), 0) FROM scan").fetchone()[0]) + 1
    db.execute(
        "INSERT OR REPLACE INTO scan VALUES(?, ?, ?, ?, ?, ?, ?)",
        (number % SCANS_KEPT, number, scan.wall_ms, scan.station, scan.code, scan.tone, scan.text),
    )


def last_scans(db: Connection, limit: int) -> list[Scan]:
    """The last scans, newest first."""
    found = db.execute(
        "SELECT wall_ms, station, code, tone, text FROM scan ORDER BY n DESC LIMIT ?", (limit,)
    ).fetchall()
    return [Scan(*row) for row in found]


def last_scan(db: Connection, station: str) -> Scan | None:
    """The last answered scan of one station, while it is among the last 200."""
    found = db.execute(
        "SELECT wall_ms, station, code, tone, text FROM scan WHERE station=?"
        " ORDER BY n DESC LIMIT 1",
        (station,),
    ).fetchone()
    return None if found is None else Scan(*found)
