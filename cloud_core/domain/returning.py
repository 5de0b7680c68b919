"""Returns, decided: what may come back, what was found, what is to be refunded. Pure.

    announced -> accepted -> closed (passed, failed, partial); announced -> void

The lines of a return are JSON in its row; money is fen, a price is that of one unit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from protocols.errors import Rejected

OPEN = ("announced", "accepted")
STATES = ("announced", "accepted", "closed", "void")
STATE_ZH = {
    "announced": "待退回", "accepted": "质检中", "closed": "质检完成", "void": "已作废",
}  # fmt: skip
OUTCOME_ZH = {"": "", "passed": "合格", "failed": "不合格", "partial": "部分合格"}
PRINTED_ZH = {
    "": "工单未打印", "printed": "工单已打印", "unknown": "工单不确定是否打出",
    "failed": "工单打印失败", "held": "工单等待打印",
}  # fmt: skip
REFUND_ZH = {"": "", "requested": "退款已发起", "done": "退款已受理", "by_hand": "退款须人工处理"}
GIFT_ZH = {
    "riding": "随主单发出", "owed": "待补发", "packed": "已打包", "sent": "已发出",
    "cancelled": "已取消",
}  # fmt: skip
WINDOW_DAYS_MAX = 366
"""A pick-up window beyond it is a slip of units; year 9999 cannot even be printed on a ticket."""
_DAY_MS = 86_400_000
SERIALS_MAX = 200
"""Serial numbers of one ticket: more would not fit its message."""
Wanted = Sequence[tuple[str, int, tuple[str, ...]]]


class Line(Struct, frozen=True, gc=False, omit_defaults=True):
    """One SKU of a return: asked for, and what inspection has found so far."""

    sku: str
    quantity: int
    price_fen: int = 0
    serials: tuple[str, ...] = ()
    passed: int = 0
    failed: int = 0


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(tuple[Line, ...]).decode


def read_lines(text: str) -> tuple[Line, ...]:
    """The lines of a return's row."""
    return _decode(text)


def write_lines(lines: Sequence[Line]) -> str:
    """The lines as they stand in the row."""
    return _encode(lines).decode()


def choose(
    wanted: Wanted, sent: Mapping[str, int], back: Mapping[str, int], prices: Mapping[str, int],
    known: Mapping[str, tuple[str, ...]],
) -> tuple[Line, ...]:  # fmt: skip
    """The lines of a new return: `sent` units less those of other returns (`back`).

    `known` are the serial numbers that were scanned into the parcels. Raises `Rejected`:
    `return_empty`, `return_sku_unknown`, `return_too_many`, `return_serial_unknown`.
    """
    left = {sku: units - back.get(sku, 0) for sku, units in sent.items()}
    if not wanted:
        wanted = [(sku, units, ()) for sku, units in sorted(left.items()) if units > 0]
    if not wanted:
        raise Rejected("return_empty", "没有可退的商品", "nothing is left to return", field="lines")
    lines: list[Line] = []
    for position, (sku, quantity, serials) in enumerate(wanted):
        field = f"lines[{position}]"
        if sku not in sent or any(line.sku == sku for line in lines):
            raise Rejected(
                "return_sku_unknown", f"订单没有发过商品 {sku}，或重复填写",
                f"{sku} was not sent, or is there twice", field=f"{field}.sku",
            )  # fmt: skip
        if not 1 <= quantity <= left[sku]:
            raise Rejected(
                "return_too_many", f"{sku} 最多还可退 {max(0, left[sku])} 件",
                f"at most {max(0, left[sku])} of {sku}", field=f"{field}.quantity",
            )  # fmt: skip
        own = known.get(sku, ())
        foreign = [serial for serial in serials if own and serial not in own]
        if foreign or len(serials) > quantity:
            raise Rejected(
                "return_serial_unknown", f"{sku} 的序列号不是本单发出的，或多于件数",
                "a serial number that this order was not sent", field=f"{field}.serials",
            )  # fmt: skip
        # Which unit comes back is not known: every one that was sent may be it.
        lines.append(Line(sku, quantity, prices.get(sku, 0), tuple(serials) or own))
    return _bounded(lines)


def found(lines: Sequence[Line], sku: str, quantity: int, verdict: str) -> tuple[Line, ...]:
    """The lines after `quantity` units of `sku` got a verdict; one that nobody announced joins."""
    passed, failed = (quantity, 0) if verdict == "pass" else (0, quantity)
    if all(line.sku != sku for line in lines):
        return (*lines, Line(sku, quantity, passed=passed, failed=failed))
    return tuple(
        replace(line, passed=line.passed + passed, failed=line.failed + failed)
        if line.sku == sku
        else line
        for line in lines
    )


def is_complete(lines: Sequence[Line]) -> bool:
    """Whether every announced unit has its verdict."""
    return all(line.passed + line.failed >= line.quantity for line in lines)


def outcome_of(lines: Sequence[Line]) -> str:
    """`passed` when all announced units did, `failed` when none did, else `partial`."""
    if not any(line.passed for line in lines):
        return "failed"
    return "passed" if all(line.passed >= line.quantity for line in lines) else "partial"


def refund_fen(lines: Sequence[Line], paid_fen: int, refunded_fen: int) -> int:
    """What the passed units cost, never more than what is left of what was paid."""
    worth = sum(min(line.passed, line.quantity) * line.price_fen for line in lines)
    return max(0, min(worth, paid_fen - refunded_fen))


def check_window(from_ms: int, to_ms: int, now_ms: int) -> None:
    """The pick-up window the buyer chose; (0, 0) is none. Raises `Rejected("window_invalid")`."""
    ahead = now_ms < to_ms <= now_ms + WINDOW_DAYS_MAX * _DAY_MS
    if (from_ms or to_ms) and not (0 < from_ms < to_ms and ahead):
        raise Rejected(
            "window_invalid", f"取件时段须有先后，不能已过去，且在 {WINDOW_DAYS_MAX} 天之内",
            f"the window must have an order and lie ahead, at most {WINDOW_DAYS_MAX} days",
            field="window_to_ms",
        )  # fmt: skip


def _bounded(lines: Sequence[Line]) -> tuple[Line, ...]:
    room = SERIALS_MAX
    kept = []
    for line in lines:
        kept.append(replace(line, serials=line.serials[:room]))
        room -= min(room, len(line.serials))
    return tuple(kept)
