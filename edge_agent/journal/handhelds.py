"""Paired handhelds, and who guessed PINs: what must survive a restart in the middle of a shift."""

from __future__ import annotations

from dataclasses import astuple

from edge_agent.domain.handheld import Handheld, PinLock
from edge_agent.ports import Connection


def everyone(db: Connection) -> list[Handheld]:
    """Every paired device, by station."""
    found = db.execute("SELECT * FROM handheld ORDER BY length(station), station").fetchall()
    return [Handheld(*row) for row in found]


def get(db: Connection, device: str) -> Handheld | None:
    """One device by its id."""
    found = db.execute("SELECT * FROM handheld WHERE id=?", (device,)).fetchone()
    return None if found is None else Handheld(*found)


def save(db: Connection, held: Handheld) -> None:
    """Insert or replace one device."""
    marks = ", ".join("?" * 13)
    db.execute(f"INSERT OR REPLACE INTO handheld VALUES({marks})", astuple(held))


def drop(db: Connection, device: str) -> None:
    """Forget a device: its cookie is worth nothing from now on."""
    db.execute("DELETE FROM handheld WHERE id=?", (device,))


def lock_of(db: Connection, who: str) -> PinLock:
    """Wrong PINs of `device:ID` or `operator:NUMBER`."""
    found = db.execute("SELECT wrong, until_ms FROM pin_lock WHERE who=?", (who,)).fetchone()
    return PinLock() if found is None else PinLock(*found)


def locks(db: Connection) -> dict[str, PinLock]:
    """Everybody who guessed wrong since the last right PIN."""
    found = db.execute("SELECT who, wrong, until_ms FROM pin_lock ORDER BY who").fetchall()
    return {str(who): PinLock(wrong, until_ms) for who, wrong, until_ms in found}


def set_lock(db: Connection, who: str, lock: PinLock) -> None:
    """Insert or replace; a lock without wrong PINs is forgotten."""
    db.execute("DELETE FROM pin_lock WHERE who=?", (who,))
    if lock.wrong:
        db.execute("INSERT INTO pin_lock VALUES(?, ?, ?)", (who, lock.wrong, lock.until_ms))
