"""What a commit gives to warehouses that have a daily capacity, and what they may have in the end.

Routing counts what a warehouse was given today and what this commit gives it. Beside other
processes that count may be old when the commit writes, so the writer compares (adr/0008).
"""

from __future__ import annotations

from dataclasses import dataclass

from cloud_core.domain.hours import midnight_ms
from cloud_core.domain.rows import Hold, Shipment
from cloud_core.store.working_set import WorkingSet

_GIVEN = ("held", "shipped")


@dataclass(frozen=True, slots=True)
class Place:
    """A warehouse with a capacity that this commit gives work to; how much it may have been given
    since `since_ms` when the commit has written.

    `at_most` is its capacity, or what the fold knew where that is more: a person made it smaller.
    """

    warehouse: str
    since_ms: int
    at_most: int


def counts(hold: Hold | None, shipment: Shipment | None) -> bool:
    """Whether a hold is work given to its warehouse on the day of the hold.

    Goods that are kept for a shipment that waits are none.
    """
    kept = hold is not None and hold.kind == "shipment" and hold.state in _GIVEN
    return kept and shipment is not None and not shipment.parked


def given_here(ws: WorkingSet, since_ms: int) -> dict[str, int]:
    """By how much this commit changes what each warehouse was given since then."""
    given: dict[str, int] = {}
    new, changed = ws.holds.pairs()
    for old, now in [*((None, hold) for hold in new), *changed]:
        name = now.shipment_id
        if now.kind != "shipment":
            continue
        sides = ((old, ws.shipments.stored(name), -1), (now, ws.shipments.get(name), 1))
        for hold, shipment, sign in sides:
            if hold is not None and counts(hold, shipment) and hold.created_ms >= since_ms:
                given[hold.warehouse] = given.get(hold.warehouse, 0) + sign
    return given


def places_given(ws: WorkingSet) -> list[Place]:
    """The warehouses whose capacity this commit relied on, in the order of their ids."""
    known = ws.used_stored
    if known is None:  # routing was not asked, or nobody has set a capacity
        return []
    since_ms = midnight_ms(ws.now_ms)
    found = []
    for warehouse, more in sorted(given_here(ws, since_ms).items()):
        info = ws.master.warehouses.get(warehouse)
        if more > 0 and info is not None and info.capacity_per_day:
            at_most = max(info.capacity_per_day, known.get(warehouse, 0) + more)
            found.append(Place(warehouse, since_ms, at_most))
    return found
