"""The end of a history: everything is healed, all work must end, all promises are held to account.

Liveness first (nothing waits for ever once the faults stop), then the ledgers.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections import Counter
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
        self._account()
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
        outbox = checker.rows(
            "SELECT id, agent FROM outbox WHERE received_ms IS NULL LIMIT 3"
        )
        if outbox:
            return f"commands wait: {[tuple(row) for row in outbox]}"
        for table, column in (("raw_message", "processed_ms"), ("shop_outbox", "done_ms")):
            if checker.one(f"SELECT count(*) FROM {table} WHERE {column} IS NULL"):
                return f"rows of {table} wait"
        for node in self.world.nodes:
            queued = node.read(upload.queued)
            if queued:
                return f"{node.name} still has {queued} events to send"
        return ""

    # --- the account --------------------------------------------------------------------------

    def _account(self) -> None:
        checker = self.world.checker
        assert checker is not None
        checker.audit()
        checker.chains()
        checker.own_events_applied()
        checker.shipped_twice()
        checker.nobody_missing()
        self._beeps()
        self._parcels()
        self._papers()
        self._bad_inputs()
        if not self.world.restores:
            self._shelves()

    def _beeps(self) -> None:
        """Each ok tone of an item is one event in the core, and no event came of nothing (P1, P2)."""
        checker = self.world.checker
        assert checker is not None
        for node in self.world.nodes:
            have = checker.facts(node.name)
            facts = {fact for fact in self.truth.tries if fact[0] == node.name} | set(have)
            for fact in sorted(facts):
                beeps, tries = self.truth.beeps[fact], self.truth.tries[fact]
                if have[fact] + self.truth.forgiven[fact] < beeps:
                    raise Violation("P1", f"{fact}: {beeps} ok tones, {have[fact]} events")
                if have[fact] > tries:
                    raise Violation("P2", f"{fact}: {tries} scans, {have[fact]} events")

    def _parcels(self) -> None:
        """Each parcel whose hand-over was answered ok is in the core (P1)."""
        checker = self.world.checker
        assert checker is not None
        for node in self.world.nodes:
            have = checker.handed_over(node.name)
            for left in self.truth.left:
                if left.agent != node.name or left.shipment in have:
                    continue
                if (left.agent, left.shipment) not in self.truth.forgiven_left:
                    raise Violation("P1", f"{left.shipment} left {left.agent}, nobody told the core")

    def _papers(self) -> None:
        """One unmarked paper a number at most; marked ones only when asked for (P6)."""
        plain: Counter[tuple[str, str]] = Counter()
        marked: Counter[str] = Counter()
        owners: dict[str, set[str]] = {}
        for paper in self.truth.papers:
            owners.setdefault(paper.waybill, set()).add(paper.order)
            if paper.mark:
                marked[paper.waybill] += 1
            else:
                plain[paper.waybill, paper.order] += 1
        for (waybill, _), count in sorted(plain.items()):
            if count > 1:
                raise Violation("P6", f"{waybill} came out {count} times unmarked")
        for waybill, count in sorted(marked.items()):
            self.truth.reached("label_reprinted")
            if count > self.truth.reprints_asked[waybill]:
                raise Violation("P6", f"{waybill}: {count} copies, fewer asked for")
        for waybill, orders in sorted(owners.items()):
            if len(orders) > 1 and not self._known_to_nobody(waybill):
                raise Violation("P6", f"{waybill} was printed for {sorted(orders)}")

    def _known_to_nobody(self, waybill: str) -> bool:
        """Its first use was known to a card that was lost and to a core that was restored: when
        both memories of a fact are gone no program can have it. The one limit of P6."""
        agents = {paper.agent for paper in self.truth.papers if paper.waybill == waybill}
        return self.world.restores > 0 and bool(agents & set(self.world.beeps_at_loss))

    def _bad_inputs(self) -> None:
        """Refused at the door, or named in quarantine (P11)."""
        for kind, status in self.truth.bad_inputs:
            if kind in ("broken", "forged", "stale", "bomb") and status not in ("401", "422", "503"):
                raise Violation("P11", f"a {kind} message was answered {status}")

    def _shelves(self) -> None:
        """What the core thinks is on a shelf is there, where no card was ever lost (P2, P8)."""
        checker = self.world.checker
        assert checker is not None
        for row in checker.rows("SELECT warehouse, sku, shelf, picked FROM stock ORDER BY 1, 2"):
            warehouse = row["warehouse"]
            if warehouse in self.world.touched_warehouses:
                continue
            there = self.world.shelves[warehouse][row["sku"]]
            if (row["shelf"], row["picked"]) != (there, 0):
                seen = f"core says {row['shelf']} + {row['picked']} picked, the shelf holds {there}"
                raise Violation("P2", f"{warehouse} {row['sku']}: {seen}")

    # --- what must be forgotten ---------------------------------------------------------------

    def _forgotten(self) -> None:
        """A day later no clear contact is left, and label fields are gone at the agents (P12)."""
        checker = self.world.checker
        assert checker is not None
        kept = checker.rows(
            "SELECT order_id FROM contact WHERE sealed IS NOT NULL LIMIT 3"
        )
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
            must_be_clean(f"the card of {node.name}", [bytes(f.now) for f in node.disk.files.values()])
        with sqlite3.connect(self.world.core.path) as database:
            database_is_clean(database, except_tables=SEALED)
