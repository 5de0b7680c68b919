"""Checkout holds decided: what a basket may ask, where its stock is set aside, how a hold ends.

A hold resolves once, by the clock of the commit (P9): it leaves `held` exactly once, as
`confirmed`, `released` or `expired`. A confirmed one is ended by the order that takes it
(`moved`), by the stop of that order or by a person; never by time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import combinations

from cloud_core.domain.hold_commands import Missing, Units
from cloud_core.domain.intake import MAX_LINES, MAX_QUANTITY, MAX_SKU_CHARS
from cloud_core.domain.rows import Hold
from protocols.errors import Rejected

HOLDS_MAX = 500
"""Baskets in one request."""
TTL_S = 900
TTL_S_MIN = 10
TTL_S_MAX = 3_600
REF_CHARS_MAX = 64
KEY_CHARS_MAX = 128
SPLIT_MAX = 3
"""Warehouses that an exact search combines; beyond it lines are filled by priority."""
SPLIT_AMONG_MAX = 12
"""Warehouses the exact search looks at, by priority."""

Lines = Sequence[tuple[str, int]]
Available = Callable[[str, str], int]
"""(warehouse, sku) -> units that may still be promised."""


def check_lines(lines: Lines, *, prefix: str = "") -> None:
    """Refuse what no basket may ask. Raises `Rejected`: `lines_missing`, `lines_too_many`,
    `sku_missing`, `sku_too_long`, `quantity_range`, `sku_duplicate`, naming the line."""
    if not lines:
        raise Rejected("lines_missing", "至少要有一行商品", "no lines", field=f"{prefix}lines")
    if len(lines) > MAX_LINES:
        raise Rejected(
            "lines_too_many", f"最多 {MAX_LINES} 行", f"at most {MAX_LINES} lines",
            field=f"{prefix}lines",
        )  # fmt: skip
    seen: dict[str, int] = {}
    for position, (sku, quantity) in enumerate(lines):
        at = f"{prefix}lines[{position}]"
        if not sku:
            raise Rejected("sku_missing", "缺少商品编码", "the SKU is missing", field=f"{at}.sku")
        if len(sku) > MAX_SKU_CHARS:
            raise Rejected("sku_too_long", "商品编码过长", "the SKU is too long", field=f"{at}.sku")
        if not 1 <= quantity <= MAX_QUANTITY:
            raise Rejected(
                "quantity_range", f"数量须为 1 到 {MAX_QUANTITY} 的整数",
                f"the quantity must be from 1 to {MAX_QUANTITY}", field=f"{at}.quantity",
            )  # fmt: skip
        if sku in seen:
            raise Rejected(
                "sku_duplicate", f"商品 {sku} 与第 {seen[sku] + 1} 行重复，请合并数量",
                f"SKU {sku} stands in lines[{seen[sku]}] already; add the quantities up",
                field=f"{at}.sku",
            )  # fmt: skip
        seen[sku] = position


def check_ttl(ttl_s: int, *, max_s: int = TTL_S_MAX, prefix: str = "") -> None:
    """0 asks for the default. Raises `Rejected("ttl_range")`."""
    if ttl_s and not TTL_S_MIN <= ttl_s <= max_s:
        raise Rejected(
            "ttl_range", f"有效期须为 {TTL_S_MIN} 到 {max_s} 秒",
            f"the time to live must be from {TTL_S_MIN} to {max_s} s", field=f"{prefix}ttl_s",
        )  # fmt: skip


def place(lines: Lines, warehouses: Sequence[str], available: Available) -> Units | None:
    """Where to set a basket aside; None when it cannot be covered as a whole.

    `warehouses` by priority. The first that covers every line takes all; else as few as possible
    (searched exactly up to `SPLIT_MAX` of `SPLIT_AMONG_MAX`), else lines are filled by priority.
    """
    single = covering(lines, warehouses, available)
    if single:
        return tuple(sorted((single, sku, quantity) for sku, quantity in lines))
    some = [w for w in warehouses if any(available(w, sku) > 0 for sku, _ in lines)]
    for count in range(2, SPLIT_MAX + 1):
        for group in combinations(some[:SPLIT_AMONG_MAX], count):
            found = _fill(lines, group, available)
            if found is not None:
                return found
    return _fill(lines, some, available)


def covering(lines: Lines, warehouses: Sequence[str], available: Available) -> str:
    """The first warehouse that covers every line alone, "" if none does."""
    for warehouse in warehouses:
        if all(available(warehouse, sku) >= quantity for sku, quantity in lines):
            return warehouse
    return ""


def missing(lines: Lines, warehouses: Sequence[str], available: Available) -> tuple[Missing, ...]:
    """The lines that all warehouses together cannot cover."""
    found = []
    for sku, quantity in lines:
        there = sum(max(0, available(warehouse, sku)) for warehouse in warehouses)
        if there < quantity:
            found.append(Missing(sku, quantity, there))
    return tuple(found)


def home_of(units: Units) -> str:
    """The warehouse of a hold's row: its only one, "" when its lines stand in several."""
    homes = {warehouse for warehouse, _, _ in units}
    return homes.pop() if len(homes) == 1 else ""


def confirmed(hold: Hold, now_ms: int) -> tuple[str, str]:
    """(state after a confirm at `now_ms`, refusal code or "")."""
    if hold.state == "held":
        return ("expired", "hold_expired") if is_over(hold, now_ms) else ("confirmed", "")
    if hold.state in ("confirmed", "moved"):
        return hold.state, ""
    if hold.state == "expired":
        return hold.state, "hold_expired"
    return hold.state, "hold_lost" if hold.result.startswith(VICTIM) else "hold_released"


def released(hold: Hold, now_ms: int, *, force: bool = False) -> tuple[str, str]:
    """(state after a release at `now_ms`, refusal code or ""); repeats are the same answer."""
    if hold.state == "held":
        return ("expired" if is_over(hold, now_ms) else "released"), ""
    if hold.state == "confirmed":
        if force and not hold.shipment_id:
            return "released", ""
        return hold.state, "hold_confirmed"
    if hold.state in ("released", "expired"):
        return hold.state, ""
    return hold.state, "hold_moved"


def is_over(hold: Hold, now_ms: int) -> bool:
    """Whether a checkout hold's time is over: from `expires_ms` on it is."""
    return hold.expires_ms is not None and now_ms >= hold.expires_ms


VICTIM = "victim:"
"""How `Hold.result` of an unpaid hold begins whose goods a count did not find."""
REFUSALS: Mapping[str, tuple[str, str]] = {
    "hold_expired": ("预占已过期", "the hold has expired"),
    "hold_released": ("预占已释放", "the hold was released"),
    "hold_lost": ("盘点后库存不足，预占已取消", "a count did not find the goods; the hold is gone"),
    "hold_confirmed": ("预占已确认（已付款），不能释放", "the hold is confirmed and stays"),
    "hold_moved": ("预占已转入订单", "an order has taken the hold"),
    "stock_short": ("库存不足", "there is not enough stock"),
}


def _fill(lines: Lines, warehouses: Sequence[str], available: Available) -> Units | None:
    """Fill each line from these warehouses in order; None when they cannot."""
    found: list[tuple[str, str, int]] = []
    for sku, quantity in lines:
        left = quantity
        for warehouse in warehouses:
            units = min(left, max(0, available(warehouse, sku)))
            if units:
                found.append((warehouse, sku, units))
                left -= units
            if not left:
                break
        if left:
            return None
    return tuple(sorted(found))
