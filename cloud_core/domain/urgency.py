"""Green, yellow or red: how a shipment stands against its time limit (002.7).

Pure; `store.console_views` asks for rows of one colour with the same bounds, and a test holds the
two together. Must not know SQL or how a colour is drawn.
"""

from __future__ import annotations

from enum import StrEnum

from protocols.vocabulary import OrderState

HOUR_MS = 3_600_000
WARN_MS = 4 * HOUR_MS
"""From this long before the limit on, a shipment is yellow."""
OPEN = ("paid", "routed", "offered", "granted", "picking", "packed")
"""States between payment and hand-over, in order: those that race against a limit."""
LEFT = ("handed_over", "in_transit", "out_for_delivery", "delivered", "closed")
"""States after hand-over, in order."""

assert {"created", *OPEN, *LEFT} == {state.value for state in OrderState}


class Light(StrEnum):
    """The colour of an order or shipment; `none` for what no longer (or not yet) races."""

    GREEN = "green"
    YELLOW = "yellow"
    RED = "red"
    NONE = "none"


LIGHT_ZH = {"green": "正常", "yellow": "临近", "red": "超时或受阻", "none": "不计时"}


def light(
    state: str, stop: str, *, parked: bool, ship_by_ms: int | None, now_ms: int,
    warn_ms: int = WARN_MS,
) -> Light:  # fmt: skip
    """The colour; the first rule that fits decides.

    1. Unpaid, handed over, stopped or without a limit: none.
    2. The limit has passed, or the shipment is parked (blocked): red.
    3. At most `warn_ms` are left: yellow.
    4. Otherwise green.
    """
    if state not in OPEN or stop or not ship_by_ms:
        return Light.NONE
    if ship_by_ms <= now_ms or parked:
        return Light.RED
    return Light.YELLOW if ship_by_ms <= now_ms + warn_ms else Light.GREEN
