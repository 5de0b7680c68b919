"""What one seed does to the system: which faults, how often, how bad the network is.

Swarm testing: every seed leaves some fault classes out and exaggerates others, because a history
with everything in it hides what only shows with little in it (Groce et al., "Swarm Testing",
ISSTA 2012). Pure: a seed gives a plan.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random

from tests.simulation.broker import Rates

DAYS = 7
HOUR_S = 3600.0
DAY_S = 24 * HOUR_S
OFFER_TTL_S = 600
START_WALL_MS = 1_772_409_600_000
"""2026-03-02T00:00:00Z, a Monday, 08:00 in the warehouses."""

# fault class -> how many a history on average when the seed chose it
USUAL: dict[str, float] = {
    "agent_killed": 40,
    "power_cut": 40,
    "crash_at_commit": 40,
    "core_killed": 14,
    "core_crash_at_commit": 14,
    "broker_crashed": 14,
    "partition": 24,
    "long_partition": 2,
    "one_way": 10,
    "clock_stepped": 10,
    "boot_without_core": 6,
    "printer_paper_out": 20,
    "printer_mute": 14,
    "printer_reset": 14,
    "printer_line_died": 20,
    "bad_webhook": 24,
    "bad_payload": 16,
    "wrong_agent": 8,
    "card_wiped": 1.2,
    "card_restored": 1.2,
    "card_cloned": 1.0,
    "core_restored": 1.0,
}


LEDGER_FAULTS: dict[str, float] = {"late_warehouse": 2.5, "breaker_forced": 2.5}
"""Those of the one stock truth: a warehouse that works on nothing for a day, a head who forces a
breaker. Drawn apart from the others."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One injection: `kind` at `at_s` of virtual time; `pick` chooses the victim (0..1)."""

    at_s: float
    kind: str
    pick: float


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything the seed decided before the history began."""

    seed: int
    days: int
    orders: int
    rates: Rates
    faults: tuple[Fault, ...]
    chosen: frozenset[str]
    refund_share: float
    twice_share: float
    double_scan: float
    wrong_item: float
    unknown_code: float
    ignores_screen: float
    short_stock: float
    print_on: dict[str, str] = field(default_factory=dict)
    baskets: int = 0
    ship_within_h: int = 24
    rules: bool = False
    """Routing rules with split and broadcast."""
    offer_ttl_s: int = OFFER_TTL_S
    """How long offers and claims wait for a yes; a planted bug may ask for a hurried history."""
    counts: float = 0.04
    """How often, between two tasks, a person in `counted` counts a shelf."""
    counted: str = ""
    """The one warehouse where people count shelves, sometimes wrongly, and report short picks."""


def draw(seed: int, days: int = DAYS) -> Plan:
    """The plan of a seed; at least 200 faults and 300 orders for a full week."""
    rng = Random(f"plan-{seed}")
    chosen = {kind for kind in sorted(USUAL) if rng.random() < 0.8}
    faults = _faults(rng, chosen, days)
    ledger = Random(f"ledger-{seed}")
    faults = _with_ledger_faults(ledger, faults, days)
    if rng.random() < 0.15:
        rates = Rates(delay_s=0.02)
    else:
        rates = Rates(
            loss=rng.choice((0.0, 0.01, 0.05, 0.2)),
            twice=rng.choice((0.0, 0.05, 0.15)),
            much_later=rng.choice((0.0, 0.005, 0.03)),
            delay_s=rng.choice((0.02, 0.1, 0.5)),
            slow=rng.choice((0.0, 0.02, 0.1)),
        )
    return Plan(
        seed=seed,
        days=days,
        orders=rng.randint(300, 340) * days // DAYS,
        rates=rates,
        faults=faults,
        chosen=frozenset(chosen),
        refund_share=rng.choice((0.05, 0.15, 0.3)),
        twice_share=rng.choice((0.05, 0.3)),
        double_scan=rng.choice((0.02, 0.1)),
        wrong_item=rng.choice((0.01, 0.05)),
        unknown_code=rng.choice((0.01, 0.05)),
        ignores_screen=rng.choice((0.0, 0.1, 0.3)),
        short_stock=rng.choice((0.0, 0.2)),
        print_on={site: rng.choice(("grant", "grant", "pack")) for site in ("hz", "sh", "gz")},
        baskets=ledger.randint(30, 60) * days // DAYS,
        ship_within_h=ledger.choice((3, 6, 24)),
        rules=ledger.random() < 0.4,
        counted=ledger.choice(("", "HZ", "GZ")),
        counts=0.4 if Random(f"shelf-{seed}").random() < 0.2 else 0.04,
    )


def _with_ledger_faults(rng: Random, faults: tuple[Fault, ...], days: int) -> tuple[Fault, ...]:
    found = list(faults)
    for kind, mean in LEDGER_FAULTS.items():
        count = int(mean * rng.choice((0.0, 1.0, 2.0)) * days / DAYS + rng.random())
        found += [Fault(_moment(rng, days), kind, rng.random()) for _ in range(count)]
    return tuple(sorted(found, key=lambda f: (f.at_s, f.kind, f.pick)))


def _faults(rng: Random, chosen: set[str], days: int) -> tuple[Fault, ...]:
    end = days * DAY_S
    share = days / DAYS
    found: list[Fault] = []
    for kind in sorted(chosen):
        mean = USUAL[kind] * share * rng.choice((0.5, 1.0, 1.5))
        count = int(mean) + (rng.random() < mean % 1)
        found += [Fault(_moment(rng, days), kind, rng.random()) for _ in range(count)]
    everyday = ("agent_killed", "power_cut", "partition", "printer_line_died", "bad_webhook")
    while len(found) < 200 * share:
        found.append(Fault(_moment(rng, days), rng.choice(everyday), rng.random()))
    return tuple(sorted((f for f in found if f.at_s < end), key=lambda f: (f.at_s, f.kind, f.pick)))


def _moment(rng: Random, days: int) -> float:
    """Mostly in the shift (the first eleven hours of each virtual day), sometimes at night."""
    day = rng.randrange(days)
    within = rng.uniform(0, 11 * HOUR_S) if rng.random() < 0.85 else rng.uniform(0, DAY_S)
    return day * DAY_S + within
