"""What the journal knows of the time of day: the core's last word and its newest row.

Both are moments that are over, so a clock that stands before them is wrong (`domain.moment`).
"""

from __future__ import annotations

from edge_agent.journal import meta
from edge_agent.ports import Connection

_CORE_MS = "core_ms"


def core_ms(db: Connection) -> int:
    """Server time (ms UTC) when the core last spoke and it was written down, 0 if never."""
    return meta.number(db, _CORE_MS)


def remember_core(db: Connection, wall_ms: int) -> None:
    """Write the core's time down."""
    meta.put(db, _CORE_MS, wall_ms)


def newest_event_ms(db: Connection) -> int:
    """Wall time of the newest row of the newest epoch, 0 if there is none."""
    found = db.execute(
        "SELECT wall_ms FROM row ORDER BY epoch_no DESC, seq DESC LIMIT 1"
    ).fetchone()
    return 0 if found is None else int(found[0])
