"""One history: a core, three warehouses, their people, shops, a broker, and a nemesis.

Builds the scene of a seed, lets a week pass, heals everything, demands that all work ends, and
holds the promises against what really happened. The same seed gives the same history.
"""

from __future__ import annotations

import asyncio
import hashlib
import sqlite3
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from cloud_core.domain import master_data as md
from cloud_core.domain.commands import ImportRows
from tests.simulation.baskets import Checkout
from tests.simulation.books import Books
from tests.simulation.broker import FakeBroker, Rates
from tests.simulation.checkers import CoreChecker
from tests.simulation.core_node import CoreNode
from tests.simulation.disk import Card, CrashVfs
from tests.simulation.edge_node import EdgeNode
from tests.simulation.ending import Ending
from tests.simulation.faults import Nemesis
from tests.simulation.hostile import payload
from tests.simulation.loop import SimLoop
from tests.simulation.people import SHIFT_HOURS, Person
from tests.simulation.plan import DAY_S, HOUR_S, Plan
from tests.simulation.points import reached_in
from tests.simulation.process import only_gone
from tests.simulation.scenery import ENOUGH, SITES, shelf_at_start
from tests.simulation.shops import SKUS, Shops
from tests.simulation.truth import Fact, Truth, Violation
from tests.simulation.watch import Wiretap

AUDIT_EVERY_S = 6 * HOUR_S
CARD_COPY_EVERY_S = 9 * HOUR_S
BACKUP_EVERY_S = 7 * HOUR_S


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one history came to."""

    seed: int
    days: float
    orders: int
    faults: int
    steps: int
    hash: str
    sometimes: frozenset[str]
    violation: Violation | None
    detail: dict[str, int]


class World:
    """Everything of one history that is not the product."""

    def __init__(self, plan: Plan, folder: Path, vfs_name: str) -> None:
        self.plan = plan
        self.truth = Truth()
        self.rng = Random(f"world-{plan.seed}")
        self.folder = folder
        self.broker = FakeBroker(Random(f"broker-{plan.seed}"), plan.rates)
        self.broker.watch = Wiretap(self.truth)
        self.vfs = CrashVfs(vfs_name)
        self.core = CoreNode(folder, plan, self.broker)
        self.core.after_commit = self._after_commit
        self.core.on_crash = self._core_crashed
        self.shelves = self._shelves()
        self.nodes = [
            self._node(agent, site.site, site.warehouse) for site in SITES for agent in site.agents
        ]
        self.shops = Shops(plan, self.truth, self.core.door)
        self.checkout = Checkout(plan, self.truth, self.shops, self.core.hold_door)
        self.nemesis = Nemesis(self)
        self.people = [Person(node, f"{node.name}-1", plan, self.truth) for node in self.nodes]
        self.books = Books(self)
        self.ghosts: list[EdgeNode] = []
        self.cards: dict[str, list[Card]] = {node.name: [] for node in self.nodes}
        self.backups: list[tuple[float, Path]] = []
        self.beeps_at_loss: dict[str, Counter[Fact]] = {}
        self.left_at_loss: dict[str, set[str]] = {}
        self.touched_warehouses: set[str] = {plan.counted} - {""}
        self.restores = 0
        self.checker: CoreChecker | None = None
        self._stepping = False

    def _shelves(self) -> dict[str, Counter[str]]:
        shelves: dict[str, Counter[str]] = {site.warehouse: Counter() for site in SITES}
        for (warehouse, sku), units in shelf_at_start(self.plan).items():
            shelves[warehouse][sku] = units
        return shelves

    def _node(self, agent: str, site: str, warehouse: str) -> EdgeNode:
        node = EdgeNode(
            agent,
            site,
            warehouse,
            self.broker,
            self.vfs,
            self.truth,
            self.plan.seed,
            self.shelves[warehouse],
        )
        node.on_crash = lambda point: self._agent_crashed(node, point)
        return node

    # --- the history --------------------------------------------------------------------------

    async def history(self) -> None:
        """A week with faults, then healing and the end."""
        loop = asyncio.get_running_loop()
        self.start_core()
        for node in self.nodes:
            node.boot(machine=True)
        jobs = [
            self.shops.trade(),
            self.checkout.trade(),
            self.nemesis.run(),
            self._auditing(),
            self._watching(),
            self._copying(),
        ]
        jobs += [person.work() for person in self.people]
        tasks = [loop.create_task(job) for job in jobs]
        for task in tasks:
            task.add_done_callback(self._side_job_ended)
        whole = loop.create_task(self._whole())
        self.truth.on_violation = whole.cancel
        await asyncio.wait([whole])
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if not whole.cancelled() and (error := whole.exception()) is not None:
            raise error

    @staticmethod
    def _side_job_ended(task: asyncio.Task[Any]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            context = {"message": "the world failed", "exception": error}
            task.get_loop().call_exception_handler(context)

    async def _whole(self) -> None:
        await asyncio.sleep(self.plan.days * DAY_S)
        await Ending(self).run()

    async def _auditing(self) -> None:
        while True:
            await asyncio.sleep(AUDIT_EVERY_S)
            self.check(lambda checker: checker.audit())
            self.check(lambda checker: checker.stock_law.audit(restored=self.restores > 0))
            if asyncio.get_running_loop().time() % DAY_S > (SHIFT_HOURS + 1) * HOUR_S:
                self.check(lambda checker: self.books.take_stock())

    async def _watching(self) -> None:
        """Whether breakers that should have moved have."""
        while True:
            await asyncio.sleep(HOUR_S / 4)
            if self.core.up:
                self.check(self._look_at_breakers)

    def _look_at_breakers(self, checker: CoreChecker) -> None:
        checker.breaker_law.look(self.core.clock.now_ms(), self.core.started_ms)

    async def _copying(self) -> None:
        """Somebody takes images of cards, and the core makes its backups."""
        hours = 0.0
        while True:
            await asyncio.sleep(HOUR_S)
            hours += 1
            for node in self.nodes:
                if hours % 9 == 0 and node.disk.files:
                    self.cards[node.name].append(node.disk.copy())
            if hours % 7 == 0 and self.core.up:
                path = self.folder / f"backup-{int(hours)}.db"
                self.core.backup(path)
                self.backups.append((asyncio.get_running_loop().time(), path))

    # --- processes ----------------------------------------------------------------------------

    def start_core(self) -> None:
        if self.core.up:
            return
        self.core.start()
        if self.checker is None:
            self.checker = self._new_checker()

    def _new_checker(self) -> CoreChecker:
        return CoreChecker(self.core.path, self.truth, offer_ttl_s=self.plan.offer_ttl_s)

    def start_core_later(self, seconds: float) -> None:
        asyncio.get_running_loop().call_later(seconds, self.start_core)

    def boot_later(self, node: EdgeNode, seconds: float, *, machine: bool) -> None:
        def boot() -> None:
            if not node.up:
                node.boot(machine=machine)

        asyncio.get_running_loop().call_later(seconds, boot)

    def _agent_crashed(self, node: EdgeNode, point: str) -> None:
        if point == "after_commit" and node.scanning:
            self.truth.reached("crash_between_commit_and_beep")
        self.boot_later(node, self.rng.uniform(1, 300), machine=True)

    def _core_crashed(self, point: str) -> None:
        if point == "after_commit":
            self.truth.reached("core_crash_between_commit_and_ack")
        self.start_core_later(self.rng.uniform(1, 600))

    # --- checks along the way -----------------------------------------------------------------

    def _after_commit(self) -> None:
        self.check(lambda checker: checker.step(self.core.clock.now_ms()))

    def check(self, look: Callable[[CoreChecker], None]) -> None:
        """Let a checker look; the first broken promise ends the history."""
        if self.checker is None:
            return
        try:
            look(self.checker)
        except Violation as violation:
            self.truth.broken(violation)

    def open_offers(self, agent: str) -> int:
        assert self.checker is not None
        return int(
            self.checker.one(
                "SELECT count(*) FROM shipment WHERE agent = ? AND state = 'offered'", agent
            )
        )

    # --- cards --------------------------------------------------------------------------------

    def card_lost(self, node: EdgeNode) -> None:
        """Rows that lay only on the card are gone: nobody promises those (P1 is about power)."""
        assert self.checker is not None
        self.touched_warehouses.add(node.warehouse)
        self.truth.card_gone(node.name)
        mine = Counter({f: n for f, n in self.truth.beeps.items() if f[0] == node.name})
        self.beeps_at_loss[node.name] = mine
        self.left_at_loss[node.name] = {
            left.shipment for left in self.truth.left if left.agent == node.name
        }
        self.forgive(node.name)

    def forgive(self, agent: str) -> None:
        """What a lost card may have held and the core does not."""
        assert self.checker is not None
        have = self.checker.facts(agent)
        for fact, beeps in self.beeps_at_loss.get(agent, Counter()).items():
            short = beeps - have[fact]
            self.truth.forgiven[fact] = max(self.truth.forgiven[fact], short)
        gone = self.left_at_loss.get(agent, set()) - self.checker.handed_over(agent)
        self.truth.forgiven_left.update((agent, shipment) for shipment in gone)

    def wipe_card(self, node: EdgeNode) -> None:
        node.kill()
        self.card_lost(node)
        node.disk.wipe()
        self.truth.reached("card_wiped")
        self.boot_later(node, self.rng.uniform(60, HOUR_S), machine=True)

    def restore_card(self, node: EdgeNode) -> None:
        if not self.cards[node.name]:
            return
        node.kill()
        self.card_lost(node)
        node.disk.put_back(self.rng.choice(self.cards[node.name][-4:]))
        self.boot_later(node, self.rng.uniform(60, HOUR_S), machine=True)

    def clone_card(self, node: EdgeNode) -> None:
        """A spare Pi with a copy of the card is plugged in by mistake, without a printer."""
        self.touched_warehouses.add(node.warehouse)
        ghost = EdgeNode(
            node.name,
            node.site,
            node.warehouse,
            self.broker,
            self.vfs,
            self.truth,
            self.plan.seed,
            Counter(),
            card=f"{node.name}-ghost{len(self.ghosts)}",
        )
        ghost.printer.offline = True
        ghost.disk.put_back(node.disk.copy())
        self.ghosts.append(ghost)
        self.truth.doubled.add(node.name)
        ghost.boot(machine=True)
        seconds = self.rng.uniform(60, 1500)
        asyncio.get_running_loop().call_later(seconds, self._unplug, ghost)

    def _unplug(self, ghost: EdgeNode) -> None:
        ghost.cut_power()
        if not any(other.up and other.name == ghost.name for other in self.ghosts):
            self.truth.doubled.discard(ghost.name)

    # --- the core's backups -------------------------------------------------------------------

    def restore_core(self) -> None:
        """The core's disk dies; operations put a backup of some hours ago back."""
        if not self.backups:
            return
        at_s, path = self.backups[-1 if self.rng.random() < 0.7 else -min(2, len(self.backups))]
        self.core.crash()
        self.look_for_points()
        assert self.checker is not None
        self.checker.close()
        self.checker = None
        self.core.restore(path)
        self.backups = [backup for backup in self.backups if backup[0] <= at_s]
        self.restores += 1
        self.checker = self._new_checker()
        for node in self.nodes:
            self.forgive(node.name)
        self.start_core_later(self.rng.uniform(10, 600))
        self.shops.send_all_again(at_s - 60)

    # --- hostile input ------------------------------------------------------------------------

    def bad_payload(self, node: EdgeNode) -> None:
        """Garbage from a rightful sender: it must be quarantined and named."""
        if node.link is None or not node.link.connected:
            return
        channel, data, expects = payload(self.rng, node.name)
        if node.link.publish(f"v1/{node.site}/{node.name}/up/{channel}", data):
            self.truth.bad_inputs.append(("payload", expects))

    def wrong_agent(self, node: EdgeNode) -> None:
        """An agent speaks on another's topic: the broker's rights must stop it."""
        other = self.nodes[(self.nodes.index(node) + 1) % len(self.nodes)]
        if node.link is None or not node.link.connected:
            return
        before = self.broker.count.refused
        node.link.publish(f"v1/{other.site}/{other.name}/up/hello", b"{}")
        if self.broker.count.refused == before:
            self.truth.broken(Violation("P11", f"{node.name} spoke as {other.name}"))

    # --- healing ------------------------------------------------------------------------------

    def heal(self) -> None:
        """Everything works from now on."""
        self.nemesis.healing = True
        self.broker.rates = Rates(delay_s=0.05)
        if not self.broker.up:
            self.broker.restart()
        self.start_core()
        for ghost in self.ghosts:
            self._unplug(ghost)
        for node in self.nodes:
            self.broker.heal(node.name)
            node.printer.repair()
            node.clock.skew_ms = 0
            node.crash_point.disarm()
            if not node.up:
                node.boot(machine=True)
        self.core.crash_point.disarm()
        self.nemesis.let_breakers_be()
        for person in self.people:
            person.overtime = True
        self.restock()

    def restock(self) -> None:
        """Goods arrive; somebody enters them as what the core thinks is there plus the delivery."""
        assert self.checker is not None
        values = []
        for site in SITES:
            for sku in SKUS:
                now = self.checker.one(
                    "SELECT shelf FROM stock WHERE warehouse = ? AND sku = ?", site.warehouse, sku
                )
                shelf = int(now or 0)
                values.append(md.OpeningStock(site.warehouse, sku, max(0, shelf) + ENOUGH))
                self.shelves[site.warehouse][sku] += max(0, shelf) + ENOUGH - shelf
        self.core.submit(ImportRows("opening_stock", tuple(values), False, "simulation"))

    def look_for_points(self) -> None:
        """Note the points whose traces lie in the core's database now."""
        with sqlite3.connect(self.core.path) as database:
            self.truth.sometimes |= reached_in(database)

    def fingerprint(self, loop: SimLoop) -> str:
        """The history in one hash: the core's ledgers, papers, parcels and the number of steps."""
        digest = hashlib.sha256()
        with sqlite3.connect(self.core.path) as database:
            for table in ("event", "trail", "movement", "orders", "outbox"):
                for row in database.execute(f"SELECT * FROM {table} ORDER BY 1, 2"):
                    digest.update(repr(row).encode())
        digest.update(repr((self.truth.papers, self.truth.left, loop.steps)).encode())
        digest.update(repr(self.broker.count).encode())
        return digest.hexdigest()


def unwrap(error: BaseException) -> BaseException:
    """The one error inside nested groups."""
    while isinstance(error, BaseExceptionGroup):
        error = next((e for e in error.exceptions if not only_gone(e)), error.exceptions[0])
    return error


Job = Callable[[], Any]
