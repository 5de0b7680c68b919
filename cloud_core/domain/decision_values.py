"""What routing is asked and what it answers: values only, no choice is made here.

Structs rather than dataclasses: several are made for every order, and making one costs a tenth.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from msgspec import Struct, field

Lines = tuple[tuple[str, int], ...]
"""((sku, quantity), …), unique by SKU, quantities from 1."""


class Request(Struct, frozen=True, gc=False):
    """What is to be sent. `division` is the longest official code known, "" if none.

    `excluded` are warehouses that refused this shipment: id -> `timeout`, `rejected` or
    `rejected:` with the agent's reason. `stay` gets it if it can, though others may be better.
    `kept` is the warehouse whose stock is already set aside for it: it covers all lines.
    """

    lines: Lines
    division: str
    channel: str
    amount_fen: int
    ship_by_ms: int
    tags: frozenset[str] = frozenset()
    excluded: Mapping[str, str] = field(default_factory=dict)
    kept: str = ""
    may_split: bool = True
    """False for a shipment that is itself a part of a split order."""
    stay: str = ""


class WarehouseNow(Struct, frozen=True, gc=False):
    """A warehouse at this moment. `agent` would get the offer, "" when none is reachable.

    `breaker` is "" when the breaker lets new work in, else its word (`open`, `trials_used`…);
    `sole_ok`: it may still take what no other warehouse has. `used_today` counts shipments against
    `capacity_per_day`; `load` is open work, fewer is better.
    """

    agent: str
    agents: int = 1
    breaker: str = ""
    sole_ok: bool = True
    used_today: int = 0
    load: int = 0


class World(Struct, frozen=True, gc=False):
    """What is now: `available(sku)` gives units by warehouse that may still be promised."""

    now_ms: int
    warehouses: Mapping[str, WarehouseNow]
    available: Callable[[str], Mapping[str, int]]


class Parcel(Struct, frozen=True, gc=False):
    """What one warehouse sends. `fen` is None when no price is known."""

    warehouse: str
    agent: str
    carrier: str
    fen: int | None
    days: int
    expected_ms: int
    lines: Lines
    tags: tuple[str, ...] = ()
    priority: int = 0


class Decision(Struct, frozen=True, gc=False):
    """One parcel, several of a split order, or none and the reason in `parked`.

    `broadcast` are (warehouse, agent) that are asked at once, best first, () for an ordinary
    offer. `flags`: `sole_holder` (an open breaker was passed), `late` (cut-off over and nobody can
    make it), `unpriced`, `split`, `split_not_exact`. `record` is JSON for `decision_record`.
    """

    parcels: tuple[Parcel, ...]
    parked: str
    broadcast: tuple[tuple[str, str], ...]
    flags: tuple[str, ...]
    record: str
