"""Stock-taking: the ledger of the world against the core's, at night and at the end.

A warehouse's books are looked at when nothing is on its way there: its people are at home, its
agents are up and have sent everything. Then every tone, parcel and unit must be accounted for.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from edge_agent.domain.task import TaskState
from edge_agent.flows import upload
from edge_agent.journal import tasks
from tests.simulation.checkers import CoreChecker
from tests.simulation.truth import Violation

if TYPE_CHECKING:
    from tests.simulation.edge_node import EdgeNode
    from tests.simulation.world import World


class Books:
    """The books of one history."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.truth = world.truth

    @property
    def checker(self) -> CoreChecker:
        assert self.world.checker is not None
        return self.world.checker

    def take_stock(self) -> None:
        """Look at every warehouse where all is quiet."""
        self._papers()
        if not self.world.core.up or self.checker.recovering():
            return
        quiet = {node.name for node in self.world.nodes if self._is_quiet(node)}
        for node in self.world.nodes:
            if node.name in quiet:
                self._beeps(node)
                self._parcels(node)
        waiting = self.checker.one("SELECT count(*) FROM raw_message WHERE processed_ms IS NULL")
        if not waiting and not self.world.restores:
            self.checker.nobody_missing()
        for warehouse in sorted({node.warehouse for node in self.world.nodes}):
            agents = {node.name for node in self.world.nodes if node.warehouse == warehouse}
            if agents <= quiet:
                self._shelf(warehouse)

    def close(self) -> None:
        """The end: everything is quiet, everything is looked at."""
        self.checker.audit()
        self.checker.chains()
        self.checker.own_events_applied()
        self.checker.shipped_twice()
        self.checker.nobody_missing()
        self.checker.stock_law.audit(restored=self.world.restores > 0)
        self.checker.stock_law.nothing_waits()
        self._bad_inputs()
        for node in self.world.nodes:
            if not self._is_quiet(node):
                raise Violation("liveness", f"{node.name} is not quiet at the end")
        self.take_stock()

    @staticmethod
    def _is_quiet(node: EdgeNode) -> bool:
        if not node.up or node.busy or node.agent is None or not node.agent.live.welcomed:
            return False
        return not node.read(upload.queued)

    def _beeps(self, node: EdgeNode) -> None:
        """Each ok tone of an item is an event in the core; no event came of nothing (P1, P2)."""
        have = self.checker.facts(node.name)
        facts = {fact for fact in self.truth.tries if fact[0] == node.name} | set(have)
        for fact in sorted(facts):
            beeps, tries = self.truth.beeps[fact], self.truth.tries[fact]
            if have[fact] + self.truth.forgiven[fact] < beeps:
                raise Violation("P1", f"{fact}: {beeps} ok tones, {have[fact]} events")
            if have[fact] > tries:
                raise Violation("P2", f"{fact}: {tries} times scanned, {have[fact]} events")

    def _parcels(self, node: EdgeNode) -> None:
        """Each parcel whose hand-over was answered ok is in the core (P1)."""
        have = self.checker.handed_over(node.name)
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
            if kind in ("broken", "forged", "stale", "bomb") and status not in (
                "401",
                "422",
                "503",
            ):
                raise Violation("P11", f"a {kind} message was answered {status}")

    @staticmethod
    def _not_heard_yet(node: EdgeNode, shipment: str) -> bool:
        """Its last tone was lost in a crash: the box moves when somebody looks at the screen."""
        task = node.read(lambda db: tasks.newest(db, shipment))
        return task is not None and task.state in (TaskState.HANDED_OVER, TaskState.STOPPED)

    def _shelf(self, warehouse: str) -> None:
        """What the core counts in a building is there, where no card was ever lost (P2, P8)."""
        if self.world.restores or warehouse in self.world.touched_warehouses:
            return
        totes: Counter[str] = Counter()
        for node in self.world.nodes:
            if node.warehouse == warehouse:
                for shipment, tote in node.totes.items():
                    if self._not_heard_yet(node, shipment):
                        return
                    totes.update(tote)
        for row in self.checker.rows("SELECT * FROM stock WHERE warehouse = ?", warehouse):
            there = self.world.shelves[warehouse][row["sku"]] + totes[row["sku"]]
            if row["shelf"] + row["picked"] != there:
                seen = f"core counts {row['shelf']} + {row['picked']} picked, there are {there}"
                raise Violation("P2", f"{warehouse} {row['sku']}: {seen}")
            if row["picked"] > totes[row["sku"]]:
                seen = f"core counts {row['picked']} picked, {totes[row['sku']]} lie in totes"
                raise Violation("P2", f"{warehouse} {row['sku']}: {seen}")
