"""The shapes of the generic dialect's JSON, exactly as README.md beside this file documents them.

Only shapes: bounds are checked in `dialect`, so that one bad event never spoils its neighbours.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

import msgspec

AwareTime = Annotated[datetime, msgspec.Meta(tz=True)]
"""ISO 8601 with a zone, e.g. 2026-11-21T10:00:00+08:00."""


class Body(msgspec.Struct):
    """The request: 1..500 events, each decoded on its own."""

    events: list[msgspec.Raw]


class Line(msgspec.Struct, forbid_unknown_fields=True):
    """One order line; `price_fen` is the price of one piece."""

    sku: str
    quantity: int
    price_fen: int = 0
    title: str = ""
    is_gift: bool = False


class Receiver(msgspec.Struct, forbid_unknown_fields=True):
    """Who gets the parcel; the four division fields may be empty when `detail` names them."""

    name: str = ""
    phone: str = ""
    province: str = ""
    city: str = ""
    district: str = ""
    town: str = ""
    detail: str = ""
    platform_token: str = ""


class Order(msgspec.Struct, forbid_unknown_fields=True):
    """An order; which fields must be there depends on the event's kind."""

    native_id: str
    version: int = 0
    paid_at: AwareTime | None = None
    amount_fen: int | None = None
    remark: str = ""
    ship_deadline: AwareTime | None = None
    native_status: str = ""
    lines: list[Line] = []
    receiver: Receiver | None = None
    hold: str = ""


class Event(msgspec.Struct, forbid_unknown_fields=True):
    """One thing that happened; `id` is unique per channel and makes repeats harmless."""

    id: str
    kind: str
    order: Order
    occurred_at: AwareTime | None = None
    refund_id: str = ""


def without_unknown(found: Any, kind: type[msgspec.Struct], at: str = "") -> list[str]:
    """Take the fields that `kind` does not know out of a decoded object; their paths."""
    if not isinstance(found, dict):
        return []
    gone = [name for name in found if name not in kind.__struct_fields__]
    for name in gone:
        del found[name]
    paths = [at + name for name in gone]
    inside: tuple[tuple[str, type[msgspec.Struct]], ...] = (
        ("order", Order),
        ("receiver", Receiver),
    )
    for name, part in inside:
        paths += without_unknown(found.get(name), part, f"{at}{name}.")
    lines = found.get("lines")
    for position, line in enumerate(lines if isinstance(lines, list) else ()):
        paths += without_unknown(line, Line, f"{at}lines[{position}].")
    return paths


class EventHead(msgspec.Struct):
    """The little that a report needs of an event that is otherwise broken."""

    id: str = ""


class OrderHead(msgspec.Struct):
    """The order number of a broken event, for the report."""

    native_id: str = ""


class BrokenEvent(msgspec.Struct):
    """What is still readable of an event that did not fit `Event`."""

    order: OrderHead
