"""How old things are, by the time the journal itself has run.

The wall clock of a machine without a battery starts in 1970 and jumps; what it stamped must not be
forgotten early for that (a command forgotten early is executed twice). Age is the sum of what
CLOCK_BOOTTIME is known to have passed between two marks, so it is never more than the true one:
time spent switched off counts only from the start on. A mark also notes the newest row, and rows,
commands and tasks are compared with marks, never with a clock.
"""

from __future__ import annotations

from dataclasses import dataclass

from edge_agent.ports import Connection

MARK_EVERY_MS = 600_000


@dataclass(frozen=True, slots=True)
class Mark:
    """Rows up to (`epoch_no`, `seq`), and what carries a number up to `no`, were there then."""

    no: int
    lived_ms: int
    mono_ms: int
    epoch_no: int
    seq: int


def newest(db: Connection) -> Mark:
    """The last mark; a journal without one has lived 0 ms."""
    found = db.execute("SELECT * FROM age ORDER BY no DESC LIMIT 1").fetchone()
    return Mark(0, 0, 0, 0, 0) if found is None else Mark(*found)


def mark(db: Connection, mono_ms: int, epoch_no: int, seq: int) -> int:
    """Note the newest row, at most every `MARK_EVERY_MS`; returns ms lived so far.

    `mono_ms` is CLOCK_BOOTTIME: below the last mark's, the machine was started again since.
    """
    last = newest(db)
    passed = mono_ms - last.mono_ms if mono_ms >= last.mono_ms else mono_ms
    lived = last.lived_ms + (passed if last.no else 0)
    if last.no == 0 or passed >= MARK_EVERY_MS:
        db.execute(
            "INSERT INTO age VALUES(?, ?, ?, ?, ?)", (last.no + 1, lived, mono_ms, epoch_no, seq)
        )
    return lived


def reached(db: Connection, lived_ms: int) -> Mark | None:
    """The newest mark made when the journal had lived `lived_ms` or less, None if there is none."""
    found = db.execute(
        "SELECT * FROM age WHERE lived_ms<=? ORDER BY no DESC LIMIT 1", (lived_ms,)
    ).fetchone()
    return None if found is None else Mark(*found)


def forget(db: Connection, lived_ms: int) -> None:
    """Drop the marks that nothing will be compared with any more, keeping the newest such one."""
    kept = reached(db, lived_ms)
    if kept is not None:
        db.execute("DELETE FROM age WHERE no<?", (kept.no,))
