"""The lowest token that is still good, per shipment; kept even for shipments never seen here."""

from __future__ import annotations

from collections.abc import Sequence

from edge_agent.ports import Connection
from protocols.messages import Token

NO_FENCE = Token(0, 0)


def of(db: Connection, shipment: str) -> Token:
    """Tokens below this are void at this agent."""
    found = db.execute("SELECT epoch, n FROM fence WHERE shipment=?", (shipment,)).fetchone()
    return NO_FENCE if found is None else Token(*found)


def raise_to(db: Connection, shipment: str, fence: Token) -> None:
    """Store the greater of the known and the new fence."""
    db.execute(
        """INSERT INTO fence(shipment, epoch, n) VALUES(?, ?, ?)
        ON CONFLICT(shipment) DO UPDATE SET epoch=excluded.epoch, n=excluded.n
        WHERE (excluded.epoch, excluded.n) > (fence.epoch, fence.n)""",
        (shipment, fence.core_epoch, fence.n),
    )


def forget(db: Connection, shipments: Sequence[str]) -> None:
    """Drop the fences of shipments whose last task aged out and whose rows the core holds.

    A fence refuses what is older than it. Nothing is delivered so late: the ids of commands, which
    alone keep a repeated one from being executed twice, are forgotten at the same age. Fences of
    shipments that never had a task here (a cancel overtook its offer) stay; they are few.
    """
    db.executemany("DELETE FROM fence WHERE shipment=?", [(one,) for one in shipments])
