"""The end of a history: everything is healed, all work must end, all promises are held to account.

Liveness first (nothing waits for ever once the faults stop), then the ledgers.
"""

from __future__ import annotations

import asyncio
import sqlite3
from typing import TYPE_CHECKING

from edge_agent.flows import upload
from tests.simulation.plan import HOUR_S
from tests.simulation.truth import Violation
from tests.simulation.watch import database_is_clean, must_be_clean

if TYPE_CHECKING:
    from tests.simulation.world import World

HEALED_H = 60
"""Virtual hours of peace within which all work must have ended."""
PURGED_H = 27
SEALED = frozenset({"contact", "raw_message"})


class Ending:
    """Runs once, after the last fault."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.truth = world.truth

    async def run(self) -> None:
        """Heal, wait for quiet, then audit everything."""
        self.world.look_for_points()
        self.world.heal()
        await self.world.shops.settle()
        for _ in range(HEALED_H * 2):
            await asyncio.sleep(HOUR_S / 2)
            if not self._open_work():
                break
        else:
            raise Violation("liveness", self._open_work())
        self.world.books.close()
        self.world.look_for_points()
        await asyncio.sleep(PURGED_H * HOUR_S)
        self._forgotten()

    # --- liveness -----------------------------------------------------------------------------

    def _open_work(self) -> str:
        """What still waits, "" when nothing does."""
        checker = self.world.checker
        assert checker is not None
        waiting = checker.rows(
            "SELECT id, state, stop, parked, agent, waiting FROM shipment WHERE stop = ''"
            " AND state <> 'handed_over' OR stop = 'stopping' LIMIT 3"
        )
        if waiting:
            return f"shipments wait: {[tuple(row) for row in waiting]}"
        unpaid = checker.rows(
            "SELECT id, state, stop FROM orders WHERE paid_ms IS NOT NULL AND stop = ''"
            " AND state <> 'handed_over' OR stop = 'requested' LIMIT 3"
        )
        if unpaid:
            return f"orders wait: {[tuple(row) for row in unpaid]}"
        outbox = checker.rows("SELECT id, agent FROM outbox WHERE received_ms IS NULL LIMIT 3")
        if outbox:
            return f"commands wait: {[tuple(row) for row in outbox]}"
        for table, column in (
            ("raw_message", "processed_ms"),
            ("shop_outbox", "done_ms"),
            ("notice_outbox", "done_ms"),
        ):
            if checker.one(f"SELECT count(*) FROM {table} WHERE {column} IS NULL"):
                return f"rows of {table} wait"
        for node in self.world.nodes:
            queued = node.read(upload.queued)
            if queued:
                return f"{node.name} still has {queued} events to send"
        return ""

    # --- what must be forgotten ---------------------------------------------------------------

    def _forgotten(self) -> None:
        """A day later no clear contact is left, and label fields are gone at the agents (P12)."""
        checker = self.world.checker
        assert checker is not None
        kept = checker.rows("SELECT order_id FROM contact WHERE sealed IS NOT NULL LIMIT 3")
        if kept:
            raise Violation("P12", f"contacts kept: {[row[0] for row in kept]}")
        if checker.one("SELECT count(*) FROM raw_message WHERE length(body) > 0"):
            raise Violation("P12", "raw messages kept")
        grants = checker.rows(
            "SELECT id FROM outbox WHERE kind = 'grant' AND length(body) > 0 LIMIT 3"
        )
        if grants:
            raise Violation("P12", f"label fields kept in the outbox: {[row[0] for row in grants]}")
        for node in self.world.nodes:
            left = node.read(
                lambda db: db.execute("SELECT shipment FROM task WHERE label IS NOT NULL LIMIT 3")
            ).fetchall()
            if left:
                raise Violation("P12", f"{node.name} keeps label fields of {left}")
            must_be_clean(
                f"the card of {node.name}", [bytes(f.now) for f in node.disk.files.values()]
            )
        with sqlite3.connect(self.world.core.path) as database:
            database_is_clean(database, except_tables=SEALED)
