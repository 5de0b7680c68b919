"""What may be promised and how a basket ends: P3, P8 and P9 after every commit.

Reads movements and holds; keeps a memory of each live basket. Trusts no counter that it can check
against the goods.
"""

from __future__ import annotations

import sqlite3
from collections import Counter, defaultdict
from typing import TYPE_CHECKING

from tests.simulation.truth import Truth, Violation

if TYPE_CHECKING:
    from tests.simulation.checkers import CoreChecker

LIVE = ("held", "confirmed")
NOT_BEGUN = ("routed", "offered")
_LEGAL = {
    ("held", "confirmed"), ("held", "released"), ("held", "expired"), ("held", "moved"),
    ("confirmed", "moved"), ("confirmed", "released"),
}  # fmt: skip
_FACTS = ("hand_over_incident",)
"""Movements that lower what is there without anybody having counted."""


class StockLaw:
    """P3 and P9, commit by commit."""

    def __init__(self, checker: CoreChecker, truth: Truth) -> None:
        self._checker, self._truth = checker, truth
        self._last = checker.one("SELECT max(id) FROM movement") or 0
        marks = checker.rows("SELECT id, state FROM hold WHERE kind = 'checkout'")
        self._live = {row["id"]: row["state"] for row in marks if row["state"] in LIVE}
        self._ended = {row["id"]: row["state"] for row in marks if row["state"] not in LIVE}

    def step(self, now_ms: int) -> None:
        """What the last commits moved."""
        news = self._checker.rows("SELECT * FROM movement WHERE id > ? ORDER BY id", self._last)
        if news:
            self._last = news[-1]["id"]
            for row in news:
                if row["reason"] == "checkout_hold" and row["ref"] not in self._ended:
                    self._live.setdefault(row["ref"], "held")
            self._promises(news)
        if self._live:
            self._baskets(now_ms)

    # --- P3 -----------------------------------------------------------------------------------

    def _promises(self, news: list[sqlite3.Row]) -> None:
        lost: Counter[tuple[str, str]] = Counter()
        promised: Counter[tuple[str, str]] = Counter()
        excused = self._checker.recovering()
        for row in news:
            key = (row["warehouse"], row["sku"])
            lost[key] += min(0, row["d_shelf"] + row["d_picked"])
            promised[key] += row["d_held"]
            excused = excused or row["reason"] == "reattach"
        if excused:  # a core that forgot a life learns what it had promised there
            return
        for warehouse, sku in sorted(set(lost) | set(promised)):
            self._promise(warehouse, sku, lost[warehouse, sku], promised[warehouse, sku])

    def _promise(self, warehouse: str, sku: str, lost: int, promised: int) -> None:
        row = self._checker.rows(
            "SELECT held - shelf - picked AS short FROM stock WHERE warehouse = ? AND sku = ?",
            warehouse, sku,
        )  # fmt: skip
        short = row[0]["short"] if row else 0
        if short <= 0:
            return
        if promised > 0:
            seen = f"{warehouse}/{sku}: {promised} more promised while {short} are missing"
            raise Violation("P3", seen)
        if lost and self._counted(warehouse, sku):
            self._victims_are_chosen(warehouse, sku, short)

    def _counted(self, warehouse: str, sku: str) -> bool:
        reason = self._checker.one(
            "SELECT reason FROM movement WHERE warehouse = ? AND sku = ?"
            " AND d_shelf + d_picked < 0 ORDER BY id DESC LIMIT 1",
            warehouse, sku,
        )  # fmt: skip
        return reason not in _FACTS

    def _victims_are_chosen(self, warehouse: str, sku: str, short: int) -> None:
        """Who could still give way has given way in the commit of the count."""
        for hold in self._checker.rows(
            "SELECT h.id, h.kind, h.shipment_id, s.state, s.stop FROM hold_line l"
            " JOIN hold h ON h.id = l.hold_id LEFT JOIN shipment s ON s.id = h.shipment_id"
            " WHERE h.state = 'held' AND l.warehouse = ? AND l.sku = ?",
            warehouse, sku,
        ):  # fmt: skip
            unpicked = hold["shipment_id"] and not self._checker.one(
                "SELECT sum(picked) FROM shipment_line WHERE shipment_id = ?", hold["shipment_id"]
            )
            ungranted = hold["state"] in NOT_BEGUN and not hold["stop"] and unpicked
            if hold["kind"] == "checkout" or ungranted:
                seen = f"{warehouse}/{sku} lacks {short} and {tuple(hold)} keeps its goods"
                raise Violation("P3", seen)

    # --- P9 -----------------------------------------------------------------------------------

    def _baskets(self, now_ms: int) -> None:
        marks = ",".join("?" * len(self._live))
        for row in self._checker.rows(
            f"SELECT id, state, expires_ms, shipment_id, result FROM hold WHERE id IN ({marks})",
            *sorted(self._live),
        ):
            before = self._live[row["id"]]
            if row["state"] != before:
                self._resolved(before, row, now_ms)

    def _resolved(self, before: str, row: sqlite3.Row, now_ms: int) -> None:
        name, state = row["id"], row["state"]
        if (before, state) not in _LEGAL:
            raise Violation("P9", f"{name}: {before} became {state} ({row['result']})")
        over = row["expires_ms"] is not None and now_ms >= row["expires_ms"]
        if before == "held" and state in ("confirmed", "moved") and over:
            late_ms = now_ms - row["expires_ms"]
            raise Violation("P9", f"{name}: {state} {late_ms} ms after its time")
        if state == "expired" and not over:
            raise Violation("P9", f"{name}: expired before its time")
        if (before, state) == ("confirmed", "released") and not row["result"].startswith(
            "order_stopped:"
        ):
            raise Violation("P9", f"{name}: paid and given back ({row['result']})")
        if state in LIVE:
            self._live[name] = state
        else:
            del self._live[name]
            self._ended[name] = state

    def audit(self, *, restored: bool) -> None:
        """No basket came back to life, and each is what its shop was told (P8, P9)."""
        by_ref: dict[str, list[sqlite3.Row]] = defaultdict(list)
        for row in self._checker.rows("SELECT * FROM hold WHERE kind = 'checkout'"):
            by_ref[row["order_ref"]].append(row)
            ended = self._ended.get(row["id"])
            if ended not in (None, row["state"]):
                raise Violation("P9", f"{row['id']}: {ended} and then {row['state']}")
        if restored:
            return
        for ref, holds in sorted(by_ref.items()):
            if len(holds) > 1:
                raise Violation("P8", f"basket {ref} was held {len(holds)} times")
            self._as_told(ref, holds[0])

    def _as_told(self, ref: str, hold: sqlite3.Row) -> None:
        basket = self._truth.baskets[ref]
        kept: Counter[str] = Counter()
        for line in self._checker.rows("SELECT * FROM hold_line WHERE hold_id = ?", hold["id"]):
            kept[line["sku"]] += line["quantity"]
        if kept != Counter(dict(basket.lines)):
            raise Violation("P9", f"basket {ref}: {basket.lines} asked, {dict(kept)} held")
        said = basket.said.get(hold["id"])
        if said == "confirmed" and hold["state"] not in ("confirmed", "moved"):
            if not hold["result"].startswith("order_stopped:"):
                raise Violation("P9", f"basket {ref}: told confirmed, is {hold['state']}")
        elif said in ("released", "expired") and hold["state"] != said:
            raise Violation("P9", f"basket {ref}: told {said}, is {hold['state']}")

    def nothing_waits(self) -> None:
        """At the end: no unpaid basket lives for ever, and no stock row ever drifted."""
        late = self._checker.rows(
            "SELECT id FROM hold WHERE kind = 'checkout' AND state = 'held' LIMIT 3"
        )
        if late:
            raise Violation("P9", f"baskets never ended: {[row['id'] for row in late]}")

    def no_drift(self) -> None:
        """The product's own checker has never found a row that differs (conservation)."""
        drift = self._checker.rows("SELECT key, text FROM alarm WHERE kind = 'stock_drift' LIMIT 3")
        if drift:
            raise Violation("P8", f"stock drifts: {[tuple(row) for row in drift]}")
