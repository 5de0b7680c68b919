"""The rows of what happens after a sale was decided: change requests, gift children, returns.

As `domain.rows`: frozen values with exactly the columns of their table. No personal data (P12):
what a return ticket shows of the buyer is read from the masked contact when the ticket is sent.
"""

from __future__ import annotations

from msgspec import Struct


class Change(Struct, frozen=True, gc=False):
    """A cancel or a changed address that a bench must confirm; `id` names kind, shipment, fence.

    `next_ms` is when the next step of escalation is due, None when none is; `level` 0 asked,
    1 on the supervisors' list, 2 told by the notifier.
    """

    id: str
    kind: str
    order_id: str
    shipment_id: str
    warehouse: str
    agent: str
    state: str
    asked_ms: int
    due_ms: int
    next_ms: int | None
    level: int
    done_ms: int | None
    actor: str
    source: str
    reason: str
    approved_by: str
    version: int = 0


class Gift(Struct, frozen=True, gc=False):
    """A gift child: order number + `GIFT`; rides in a shipment of its order.

    `lines` is JSON [[sku, quantity], …]; `bound`: the box may not close without it.
    """

    id: str
    order_id: str
    rule: str
    lines: str
    bound: int
    state: str
    shipment_id: str
    created_ms: int
    changed_ms: int
    version: int = 0


class Return(Struct, frozen=True, gc=False):
    """A return: announced, accepted at the warehouse, closed by inspection, or void.

    `lines` is JSON of `domain.returning.Line`; `printed` is the fate of the ticket's paper.
    """

    id: str
    order_id: str
    channel: str
    native_id: str
    warehouse: str
    agent: str
    state: str
    outcome: str
    printed: str
    reason: str
    waybill: str
    lines: str
    window_from_ms: int
    window_to_ms: int
    inspect_s: int
    created_ms: int
    accepted_ms: int | None
    due_ms: int | None
    closed_ms: int | None
    next_ms: int | None
    level: int
    refund: str
    refund_fen: int
    actor: str
    approved_by: str
    purged_ms: int | None = None
    version: int = 0


class Serial(Struct, frozen=True, gc=False):
    """A serial number that was scanned into a parcel."""

    shipment_id: str
    sku: str
    serial: str
    at_ms: int
    agent: str
