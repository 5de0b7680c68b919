"""Commands that arrived, by id: a command is executed at most once, whatever the wire repeats."""

from __future__ import annotations

from dataclasses import dataclass

from edge_agent.ports import Connection


@dataclass(frozen=True, slots=True)
class Receipt:
    """Where the receipt event of a command stands in the stream."""

    epoch_no: int
    seq: int


def receipt_of(db: Connection, cmd_id: str) -> Receipt | None:
    """The receipt of a command that is known already, else None."""
    found = db.execute(
        "SELECT receipt_epoch, receipt_seq FROM inbox WHERE cmd_id=?", (cmd_id,)
    ).fetchone()
    return None if found is None else Receipt(*found)


def add(db: Connection, cmd_id: str, cs: int, kind: str, state: str, wall_ms: int) -> None:
    """Remember a new command; `state` is `done` or the code it was refused with."""
    db.execute(
        "INSERT INTO inbox SELECT ?, ?, ?, ?, ?, 0, 0, COALESCE(MAX(no), 0) FROM age",
        (cmd_id, cs, kind, state, wall_ms),
    )


def set_receipt(db: Connection, cmd_ids: list[str], receipt: Receipt) -> None:
    """Note the row that tells the core of these commands."""
    db.executemany(
        "UPDATE inbox SET receipt_epoch=?, receipt_seq=? WHERE cmd_id=?",
        [(receipt.epoch_no, receipt.seq, cmd_id) for cmd_id in cmd_ids],
    )


def receipt_settled(db: Connection, receipt: Receipt) -> bool:
    """Whether the core holds the receipt row, so that a repeat means it forgot it."""
    found = db.execute(
        "SELECT MAX(acked, carried) FROM epoch WHERE no=?", (receipt.epoch_no,)
    ).fetchone()
    return found is None or int(found[0]) >= receipt.seq


def prune(db: Connection, age_no: int) -> None:
    """Forget commands received before the mark `age_no` was made."""
    db.execute("DELETE FROM inbox WHERE age_no<?", (age_no,))
