"""Conserve: the checker that always runs. A drift is an alarm that names the row, and a metric.

`Conservator` looks at one slice a call, in the background and never inside a commit; what it finds
comes back as a command, like everything that changes state.
"""

from __future__ import annotations

from dataclasses import dataclass

from cloud_core.domain.conservation import Drift, Key
from cloud_core.domain.hold_commands import NoteDrifts
from cloud_core.store.stock_check import SETTLE_ROWS, StockCheck, open_alarm_keys
from cloud_core.store.working_set import WorkingSet

ALARM = "stock_drift"
SETTLES_AT_ONCE = 4
"""Stretches of movements summed before each slice, so that the base keeps up with a peak."""
_WORD_ZH = {
    "shelf": "货架数",
    "picked": "已拣数",
    "held": "预占数",
    "holds": "预占数（按预占明细）",
}


@dataclass(slots=True)
class Checked:
    """What the checker knows; `drift_rows` is of the last whole pass, raised at once."""

    drift_rows: int = 0
    passes: int = 0
    rows: int = 0


class Conservator:
    """Walks over all stock rows again and again; blocking calls, for a thread."""

    def __init__(self, check: StockCheck) -> None:
        self._check = check
        self._place: Key | None = None
        self._found: dict[str, Drift] = {}
        self.checked = Checked()

    def look(self, now_ms: int) -> NoteDrifts | None:
        """One step: a stretch of movements and a slice of rows. A command when there is news.

        Raises `Unavailable` while the database cannot answer.
        """
        for _ in range(SETTLES_AT_ONCE):
            if self._check.settle(now_ms) < SETTLE_ROWS:
                break
        part = self._check.slice(self._place)
        if part is None:
            return None
        self._found |= {drift.key: drift for drift in part.drifts}
        self._place = part.place
        self.checked.rows += part.rows
        self.checked.drift_rows = max(self.checked.drift_rows, self._rows())
        if part.place is not None:
            return NoteDrifts(tuple(part.drifts), whole=False) if part.drifts else None
        found, self._found = tuple(self._found.values()), {}
        self.checked.drift_rows = len({(d.warehouse, d.sku) for d in found})
        self.checked.passes += 1
        return NoteDrifts(found, whole=True)

    def _rows(self) -> int:
        return len({(drift.warehouse, drift.sku) for drift in self._found.values()})


def note_drifts(ws: WorkingSet, command: NoteDrifts) -> None:
    """Alarm for each drift once; a whole pass without it closes the alarm."""
    known = set(open_alarm_keys(ws.fetch.connection, ALARM))
    for drift in command.drifts:
        if drift.key not in known:
            word = _WORD_ZH[drift.counter]
            ws.alarm(
                ALARM, drift.key,
                f"库存不平：仓库 {drift.warehouse} 商品 {drift.sku} 的{word}应为 "
                f"{drift.expected}，实为 {drift.found}",
            )  # fmt: skip
    if command.whole:
        for key in sorted(known - {drift.key for drift in command.drifts}):
            ws.close_alarm(ALARM, key)
