"""States only move forward: the rank table of shipments and the fold of an order over them (P7)."""

from __future__ import annotations

from collections.abc import Iterable

from cloud_core.domain.rows import Shipment
from protocols.vocabulary import ORDER_RANK, ShipmentState

RANK = {state.value: rank for rank, state in enumerate(ShipmentState)}
_ORDER_RANK = {state.value: rank for state, rank in ORDER_RANK.items()}

UNGRANTED = frozenset({"routed", "offered"})
ON_THE_BENCH = frozenset({"granted", "picking", "packed"})
GONE = frozenset({"handed_over", "in_transit", "out_for_delivery", "delivered", "closed"})


def moves_forward(current: str, new: str) -> bool:
    """Whether `new` is a later state than `current` under the same token."""
    return RANK[new] > RANK[current]


def order_state(order_state_now: str, shipments: Iterable[Shipment]) -> str:
    """The state of an order: the least advanced of its live shipments.

    Before payment there are none; cancelled shipments do not hold the order back.
    """
    states = [s.state for s in shipments if s.stop != "cancelled"]
    if not states:
        return order_state_now
    return min(states, key=_ORDER_RANK.__getitem__)


def order_stop(requested: str, shipments: Iterable[Shipment]) -> str:
    """`cancelled` once every shipment is, `intercept` if one left the house, else `requested`."""
    stops = {s.stop for s in shipments}
    if "intercept" in stops:
        return "intercept"
    if stops <= {"cancelled"}:
        return "cancelled" if requested else ""
    return requested
