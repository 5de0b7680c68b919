"""What people and shops may ask about an order that is on its way, and about goods coming back.

Commands that came with an `Idempotency-Key` carry it, so that it stands in the commit of its effect
(P8); their answer is plain JSON, stored beside the key.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from cloud_core.domain.commands import SealedContact
from cloud_core.domain.hold_commands import Keyed
from cloud_core.domain.shop_order import Division


@dataclass(frozen=True, slots=True)
class KeyedAnswer:
    """The answer to a keyed command as JSON values; `replayed` when it is the stored one."""

    body: dict[str, Any]
    replayed: bool = False


@dataclass(frozen=True, slots=True)
class CancelOrder:
    """A person or another system cancels an order. Result: `KeyedAnswer`."""

    order_id: str
    reason: str
    actor: str
    source: str = ""
    keyed: Keyed | None = None


@dataclass(frozen=True, slots=True)
class ChangeAddress:
    """The goods go elsewhere. Result: `KeyedAnswer`.

    `approved_by` is the person who lets a packed parcel be opened again (002.22).
    """

    order_id: str
    contact: SealedContact
    division: Division
    reason: str
    actor: str
    keyed: Keyed
    source: str = ""
    approved_by: str = ""


@dataclass(frozen=True, slots=True)
class WantedReturn:
    """Goods that are to come back; no lines means everything that was sent."""

    id: str
    order_id: str
    lines: tuple[tuple[str, int, tuple[str, ...]], ...] = ()
    """(sku, quantity, serial numbers)."""
    reason: str = ""
    warehouse: str = ""
    window_from_ms: int = 0
    window_to_ms: int = 0
    waybill: str = ""
    opened: bool = False
    approved_by: str = ""


@dataclass(frozen=True, slots=True)
class OpenReturn:
    """A return is announced; its ticket goes to the warehouse. Result: `KeyedAnswer`."""

    wanted: WantedReturn
    keyed: Keyed
    actor: str
    source: str = ""


@dataclass(frozen=True, slots=True)
class VoidReturn:
    """The goods do not come. Result: the return's state."""

    return_id: str
    reason: str
    actor: str
    source: str = ""
