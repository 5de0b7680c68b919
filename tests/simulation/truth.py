"""What really happened in the history, written down by the world and never by the product.

Paper that came out of a printer, scans that beeped, parcels that left on a van, orders that shops
sent, payloads that crossed the broker. The checkers hold the product's databases against it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field


class Violation(Exception):
    """A promise was broken; carries the invariant (`P1`…`P12`, `liveness`) and what was seen."""

    def __init__(self, invariant: str, seen: str) -> None:
        super().__init__(f"{invariant}: {seen}")
        self.invariant = invariant
        self.seen = seen

    def __reduce__(self) -> tuple[type[Violation], tuple[str, str]]:
        return Violation, (self.invariant, self.seen)


@dataclass(slots=True)
class SentOrder:
    """One order as a shop knows it: what it sent, and what the buyer did since."""

    channel: str
    native_id: str
    lines: tuple[tuple[str, int], ...]
    paid: bool = False
    stopped: bool = False
    accepted: bool = False
    """The core answered 2xx to a message that carries the paid order."""


@dataclass(slots=True)
class Basket:
    """One basket as its shop knows it; `said` is what the core answered last, by hold."""

    ref: str
    channel: str
    lines: tuple[tuple[str, int], ...]
    said: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Paper:
    """One label that physically came out."""

    agent: str
    waybill: str
    order: str
    mark: str
    at_s: float


@dataclass(frozen=True, slots=True)
class Left:
    """One parcel that physically left a warehouse, its scan having been answered ok."""

    warehouse: str
    agent: str
    shipment: str
    waybill: str
    at_s: float
    beeped: bool


@dataclass(frozen=True, slots=True)
class GrantSeen:
    """A grant that the core published to an agent."""

    agent: str
    shipment: str
    token: tuple[int, int]
    waybill: str
    order: str


Fact = tuple[str, str, str]
"""(agent, shipment, SKU): what an item scan is counted by."""


@dataclass(slots=True)
class Truth:
    """The ledger of the world."""

    orders: dict[tuple[str, str], SentOrder] = field(default_factory=dict)
    baskets: dict[str, Basket] = field(default_factory=dict)
    beeps: Counter[Fact] = field(default_factory=Counter)
    tries: Counter[Fact] = field(default_factory=Counter)
    forgiven: Counter[Fact] = field(default_factory=Counter)
    """Beeps whose rows lay only on a card that was taken away: the one loss nobody promises."""
    papers: list[Paper] = field(default_factory=list)
    left: list[Left] = field(default_factory=list)
    forgiven_left: set[tuple[str, str]] = field(default_factory=set)
    grants: dict[str, list[GrantSeen]] = field(default_factory=dict)
    fences_sent: dict[str, list[tuple[str, tuple[int, int]]]] = field(default_factory=dict)
    """Command id -> (shipment, fence) of what the core published as a cancel or as fences."""
    fences: dict[tuple[str, str], tuple[int, int]] = field(default_factory=dict)
    """(agent, shipment) -> the highest fence whose receipt that agent's card sent up."""
    doubled: set[str] = field(default_factory=set)
    """Agents of which two cards are at work: nobody knows whose receipts these are."""
    reprints_asked: Counter[str] = field(default_factory=Counter)
    bad_inputs: list[tuple[str, str]] = field(default_factory=list)
    faults: Counter[str] = field(default_factory=Counter)
    sometimes: set[str] = field(default_factory=set)
    violation: Violation | None = None
    on_violation: Callable[[], None] = lambda: None

    def broken(self, violation: Violation) -> None:
        """Keep the first violation; the history ends with it."""
        if self.violation is None:
            self.violation = violation
            self.on_violation()

    def ok_tone(self, fact: Fact) -> None:
        """An item was answered ok: one unit counts, and no unit counts twice (P1, P2)."""
        self.beeps[fact] += 1
        if self.beeps[fact] > self.tries[fact]:
            held = f"{self.tries[fact]} times under the scanner, {self.beeps[fact]} ok tones"
            self.broken(Violation("P2", f"{fact}: {held}"))

    def fence_stored(self, agent: str, command: str) -> None:
        """The agent said that this command is durable on its card."""
        for shipment, fence in self.fences_sent.get(command, ()):
            if agent not in self.doubled:
                key = agent, shipment
                self.fences[key] = max(fence, self.fences.get(key, fence))

    def card_gone(self, agent: str) -> None:
        """What its card had promised to know is gone with it."""
        for key in [key for key in self.fences if key[0] == agent]:
            del self.fences[key]

    def reached(self, point: str) -> None:
        """A point that every campaign must reach (reliability §3a)."""
        self.sometimes.add(point)
