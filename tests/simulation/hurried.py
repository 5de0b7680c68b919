"""Histories made for certain bugs: one day with much of what the bug needs and little else.

An ordinary seed meets some faults once in days. Here they come by the hour, so that the planted
bug shows within minutes of a test run. Each is a set of changes to the plan of a seed; without the
bug it breaks no promise (`test_planted` says so for every one).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tests.simulation.broker import Rates
from tests.simulation.plan import HOUR_S, Fault

EACH_AGENT = (0.1, 0.35, 0.6, 0.85)
"""Picks that hit the four agents one after the other (HZ, twice SH, GZ)."""
MINUTES_APART = 4


def hourly(kind: str, hours: Iterable[float], picks: tuple[float, ...] = EACH_AGENT) -> list[Fault]:
    """`kind` at each of these hours, for one agent after the other."""
    return [
        Fault((hour + turn * MINUTES_APART / 60) * HOUR_S, kind, pick)
        for hour in hours
        for turn, pick in enumerate(picks)
    ]


def day(*series: list[Fault]) -> tuple[Fault, ...]:
    """All of them in the order of time."""
    together = [fault for faults in series for fault in faults]
    return tuple(sorted(together, key=lambda f: (f.at_s, f.kind, f.pick)))


SHIFT_HOURS = (0.5, 1.5, 2.5, 3.5, 4.5, 5.5, 6.5, 7.5, 8.5)
EARLY_PAPER = {"hz": "grant", "sh": "grant", "gz": "grant"}
"""Every label is out long before its parcel leaves, so that a crash leaves many in doubt."""
HISTORIES: dict[str, dict[str, Any]] = {
    "rough_day": {
        "faults": day(
            hourly("power_cut", SHIFT_HOURS),
            hourly("partition", SHIFT_HOURS),
            hourly("printer_line_died", SHIFT_HOURS),
            hourly("agent_killed", (1, 2, 3, 4, 5)),
        ),
        "orders": 60,
        "baskets": 10,
        "print_on": EARLY_PAPER,
    },
    "lost_cards": {
        "faults": day(
            hourly("card_wiped", (1, 2, 3, 4.5, 6, 7.5)), hourly("card_restored", (9.1,))
        ),
        "orders": 70,
        "baskets": 10,
        "rates": Rates(loss=0.2, twice=0.3, much_later=0.3, delay_s=0.5, slow=0.1),
        "refund_share": 0.6,
        "print_on": EARLY_PAPER,
    },
    "late_buildings": {
        "faults": day(hourly("late_warehouse", (0.1,), (0.1, 0.35, 0.85))),
        "orders": 90,
        "baskets": 10,
        "ship_within_h": 1,
        "short_stock": 0.7,
    },
    "busy_checkout": {
        "faults": day(hourly("core_killed", [n / 2 for n in range(1, 18)], (0.1,))),
        "orders": 60,
        "baskets": 150,
        "counted": "HZ",
        "counts": 0.6,
    },
    "hasty_claims": {"faults": (), "orders": 90, "rules": True, "offer_ttl_s": 2},
}
"""Cards die while messages overtake each other and every second order is taken back; all buildings
stop work at once; people count all the time and find too little while the core is killed; claims
are open for two seconds."""
