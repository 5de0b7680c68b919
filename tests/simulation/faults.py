"""The nemesis: does to the world what the plan of the seed says, and repairs it at the end.

Every injection is counted. It knows how to break things, not what must hold.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from random import Random
from typing import TYPE_CHECKING

from cloud_core.domain.breaker_commands import ForceBreaker
from tests.simulation.plan import DAY_S, HOUR_S, Fault

if TYPE_CHECKING:
    from tests.simulation.edge_node import EdgeNode
    from tests.simulation.world import World

YEAR_1970_MS = -1_772_409_600_000


class Nemesis:
    """Carries out the faults of one history."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.rng = Random(f"nemesis-{world.plan.seed}")
        self.healing = False

    async def run(self) -> None:
        """All planned faults at their times."""
        loop = asyncio.get_running_loop()
        for fault in self.world.plan.faults:
            await asyncio.sleep(max(0.0, fault.at_s - loop.time()))
            if self.healing:
                return
            self.world.truth.faults[fault.kind] += 1
            self._inject(fault)

    def _inject(self, fault: Fault) -> None:
        nodes = self.world.nodes
        node = nodes[int(fault.pick * len(nodes))]
        on_node: dict[str, Callable[[EdgeNode], None]] = {
            "agent_killed": self._agent_killed,
            "power_cut": self._power_cut,
            "crash_at_commit": lambda n: n.crash_point.arm(),
            "partition": lambda n: self._cut(n, self.rng.uniform(30, 4 * HOUR_S)),
            "long_partition": lambda n: self._cut(n, self.rng.uniform(0.5 * DAY_S, 2 * DAY_S)),
            "one_way": self._one_way,
            "clock_stepped": self._clock_stepped,
            "boot_without_core": self._boot_without_core,
            "printer_paper_out": lambda n: self._printer(n, "paper", False),
            "printer_mute": lambda n: self._printer(n, "mute", True),
            "printer_reset": lambda n: setattr(n.printer, "next_reset", True),
            "printer_line_died": lambda n: setattr(n.printer, "next_line_dies", True),
            "card_wiped": lambda n: self._at_work(n, self.world.wipe_card),
            "card_restored": lambda n: self._at_work(n, self.world.restore_card),
            "card_cloned": self.world.clone_card,
            "bad_payload": self.world.bad_payload,
            "wrong_agent": self.world.wrong_agent,
            "late_warehouse": self._late_warehouse,
            "breaker_forced": self._breaker_forced,
        }
        if fault.kind in on_node:
            on_node[fault.kind](node)
            return
        elsewhere: dict[str, Callable[[], None]] = {
            "core_killed": self._core_killed,
            "core_crash_at_commit": lambda: self.world.core.crash_point.arm(),
            "core_restored": self.world.restore_core,
            "broker_crashed": self._broker_crashed,
            "bad_webhook": lambda: self.world.shops.bad(),
        }
        elsewhere[fault.kind]()

    # --- agents -------------------------------------------------------------------------------

    def _agent_killed(self, node: EdgeNode) -> None:
        self._note_flight(node)
        node.kill()
        self.world.boot_later(node, self.rng.uniform(0.5, 60), machine=False)

    def _power_cut(self, node: EdgeNode) -> None:
        self._note_flight(node)
        node.cut_power()
        self.world.boot_later(node, self.rng.uniform(20, 900), machine=True)

    def _note_flight(self, node: EdgeNode) -> None:
        if node.up and node.agent is not None and node.agent.live.senders["floor"].flights:
            self.world.truth.reached("agent_died_between_send_and_ack")

    def _at_work(self, node: EdgeNode, act: Callable[[EdgeNode], None], looks: int = 240) -> None:
        """A card dies of being written: when somebody is at work there, within some hours."""
        if self.healing:
            return
        if node.busy or not looks:
            act(node)
        else:
            self._later(60.0, lambda: self._at_work(node, act, looks - 1))

    def _boot_without_core(self, node: EdgeNode) -> None:
        self.world.broker.cut(node.name)
        node.cut_power()
        self.world.boot_later(node, 30.0, machine=True)
        self._later(self.rng.uniform(600, 4 * HOUR_S), lambda: self.world.broker.heal(node.name))

    def _clock_stepped(self, node: EdgeNode) -> None:
        node.clock.skew_ms = self.rng.choice(
            (YEAR_1970_MS, -86_400_000, 86_400_000, -3_600_000, 5_000, 0, 0)
        )
        if self.world.open_offers(node.name):
            self.world.truth.reached("clock_stepped_during_an_offer")

    def _printer(self, node: EdgeNode, name: str, value: bool) -> None:
        setattr(node.printer, name, value)
        self._later(self.rng.uniform(60, 3600), node.printer.repair)

    # --- people -------------------------------------------------------------------------------

    def _late_warehouse(self, node: EdgeNode) -> None:
        """Nobody works in a building for most of a day."""
        until_s = asyncio.get_running_loop().time() + self.rng.uniform(8 * HOUR_S, 30 * HOUR_S)
        for person in self.world.people:
            if person.node.warehouse == node.warehouse:
                person.away_until_s = until_s

    def _breaker_forced(self, node: EdgeNode) -> None:
        """A head thinks to know better, for some hours or until further notice."""
        core = self.world.core
        mode = self.rng.choice(("open", "open", "closed"))
        hours = self.rng.choice((1, 3, 20))
        until_ms = core.clock.now_ms() + int(hours * HOUR_S * 1000)
        core.ask(ForceBreaker(node.warehouse, mode, "demo", "drill", until_ms))

    def let_breakers_be(self) -> None:
        """Peace: nobody forces anything any more."""
        for name in sorted({node.warehouse for node in self.world.nodes}):
            self.world.core.submit(ForceBreaker(name, "auto", "demo"))

    # --- lines --------------------------------------------------------------------------------

    def _cut(self, node: EdgeNode, seconds: float) -> None:
        self.world.broker.cut(node.name)
        self._later(seconds, lambda: self.world.broker.heal(node.name))

    def _one_way(self, node: EdgeNode) -> None:
        up = self.rng.random() < 0.5
        self.world.broker.cut(node.name, up=up, down=not up)
        self._later(self.rng.uniform(60, HOUR_S), lambda: self.world.broker.heal(node.name))

    def _broker_crashed(self) -> None:
        broker = self.world.broker
        if (
            any(
                node.up and node.agent and node.agent.live.senders["floor"].flights
                for node in self.world.nodes
            )
            or broker.in_flight
        ):
            self.world.truth.reached("broker_lost_state_in_flight")
        broker.persists = self.rng.random() < 0.5
        broker.crash()
        self._later(self.rng.uniform(1, 600), broker.restart)

    # --- the core -----------------------------------------------------------------------------

    def _core_killed(self) -> None:
        self.world.core.crash()
        self.world.start_core_later(self.rng.uniform(1, 900))

    def _later(self, seconds: float, call: Callable[[], None]) -> None:
        asyncio.get_running_loop().call_later(seconds, call)
