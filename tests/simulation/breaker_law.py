"""P10 as a slow model: what may open a breaker, how long, who still gets work, how it comes back.

Looks at every commit's trail and at the breakers' rows, and judges them by the shipments' own rows
and the agents' heartbeats, never by the fold of the product.
"""

from __future__ import annotations

import json
import sqlite3
from typing import TYPE_CHECKING

from tests.simulation.truth import Violation

if TYPE_CHECKING:
    from tests.simulation.checkers import CoreChecker

HOUR_MS = 3_600_000
JUDGED_EVERY_MS = 1_800_000
PATIENCE_MS = 3 * JUDGED_EVERY_MS
"""So long after it could be seen, something must have happened."""
LATE, OPEN_MS, OPEN_MAX_MS, TRIALS = 3, 2 * HOUR_MS, 24 * HOUR_MS, 3
GRACE_MS = HOUR_MS // 2
WAREHOUSES = 3
_BENCH = "state NOT IN ('routed', 'offered') AND granted_ms IS NOT NULL"


def lasts_ms(opening: int) -> int:
    """Two hours, each repeat half as long again, at most a day."""
    length = int(OPEN_MS * pow(3, opening - 1) // pow(2, opening - 1))
    return min(length, OPEN_MAX_MS)


class BreakerLaw:
    """One core database; made anew when another takes its place.

    What a restored database brings along was judged when it was committed. Its changes cannot be
    judged again: the rows of that time, which they are held against, are gone.
    """

    def __init__(self, checker: CoreChecker) -> None:
        self._checker = checker
        self._past = checker.one("SELECT max(id) FROM trail") or 0
        self._rows = self._read()
        self._counted = {name: row["counted_from_ms"] for name, row in self._rows.items()}
        self._wrong_since: dict[tuple[str, str], int] = {}

    def _read(self) -> dict[str, sqlite3.Row]:
        return {row["warehouse"]: row for row in self._checker.rows("SELECT * FROM breaker")}

    def step(self, news: list[sqlite3.Row], now_ms: int) -> None:
        """What the trail of the last commits says."""
        news = [row for row in news if row["id"] > self._past]
        changes = [row for row in news if row["change"].startswith("breaker:")]
        given = [row["subject"] for row in news if row["change"].endswith(">offered")]
        parked = [row["subject"] for row in news if row["change"] == "parked:breaker"]
        if not self._rows and not changes:
            return
        before, self._rows = self._rows, self._read()
        for name, row in self._rows.items():
            old = before.get(name)
            if old is not None and old["version"] != row["version"]:
                self._kept_its_time(old, row)
        taken_back = {row["subject"] for row in changes if row["change"] == "breaker:reversed"}
        for change in changes:
            self._changed(change, before, taken_back, now_ms)
        if self._checker.recovering():
            return
        for shipment in given:
            self._given(shipment, now_ms)
        for shipment in parked:
            self._sole_holder_gets_it(shipment)

    # --- openings -----------------------------------------------------------------------------

    def _changed(
        self,
        change: sqlite3.Row,
        before: dict[str, sqlite3.Row],
        taken_back: set[str],
        now_ms: int,
    ) -> None:
        name, kind = change["subject"], change["change"].partition(":")[2]
        if kind in ("closed", "force_ended"):
            self._counted[name] = self._rows[name]["counted_from_ms"]
        row = self._rows[name]
        if kind == "opened" and row["state"] == "open":
            self._opened(row, before.get(name), now_ms, taken_back=name in taken_back)

    def _opened(
        self, row: sqlite3.Row, old: sqlite3.Row | None, now_ms: int, *, taken_back: bool
    ) -> None:
        name, because = row["warehouse"], json.loads(row["because"])
        trials = self._on_trial(old, taken_back=taken_back)
        trial = trials is not None
        needed = 1 if trial else LATE
        known = trials is None or all((judged[0], judged[1]) in trials for judged in because)
        if len({judged[0] for judged in because}) < needed or not known:
            raise Violation("P10", f"{name} opened for {because}")
        for shipment, due_ms, _ in because:
            self._was_late(name, shipment, due_ms, now_ms)
        if not trial:
            self._in_a_row(name, because)
        length = row["until_ms"] - row["since_ms"]
        begins = row["since_ms"] in (because[-1][1], now_ms)  # a capped one opens with the room
        if length != lasts_ms(row["openings"]) or not begins:
            raise Violation("P10", f"{name} opened wrongly long: {tuple(row)}")
        steps = row["openings"] - (old["openings"] if old is not None else 0)
        if row["openings"] != 1 and steps not in (0, 1):  # 0: one was taken back at the same time
            raise Violation("P10", f"{name}: openings went up by {steps}")
        opened = [r for r in self._rows.values() if _shut(r)]
        if len(opened) > WAREHOUSES // 2:
            raise Violation("P10", f"{[r['warehouse'] for r in opened]} are open at once")

    @staticmethod
    def _on_trial(old: sqlite3.Row | None, *, taken_back: bool) -> set[tuple[str, int]] | None:
        """The trials of a half-open breaker with their deadlines; None for one that is not.

        An opening for a trial that is taken back leaves it half-open, and the next trial may be
        late in the same judgement.
        """
        if old is None:
            return None
        trials = {(judged[0], judged[1]) for judged in json.loads(old["trials"])}
        again = old["state"] == "open" and taken_back and trials
        return trials if old["state"] == "half_open" or again else None

    def _was_late(self, name: str, shipment: str, due_ms: int, now_ms: int) -> None:
        found = self._checker.rows("SELECT * FROM shipment WHERE id = ?", shipment)
        gone_ms = found[0]["handed_over_ms"] if found else None
        if not found or due_ms >= now_ms or (gone_ms is not None and gone_ms <= due_ms):
            raise Violation("P10", f"{name} opened for {shipment}, due {due_ms}, left {gone_ms}")

    def _in_a_row(self, name: str, because: list[list[int]]) -> None:
        first, last = because[0][1], because[-1][1]
        if first <= self._counted.get(name, 0):
            raise Violation("P10", f"{name} opened for what was before it closed: {because}")
        between = [
            row["id"]
            for row in self._due(name)
            if first < _due(row) < last
            and row["handed_over_ms"] is not None
            and row["handed_over_ms"] <= _due(row)
        ]
        if between:
            raise Violation("P10", f"{name} opened though {between} left in time")

    def _kept_its_time(self, old: sqlite3.Row, row: sqlite3.Row) -> None:
        """Nothing makes a running opening longer (late facts from before it least of all)."""
        both = old["state"] == row["state"] == "open" and not old["forced"] and not row["forced"]
        if both and old["since_ms"] == row["since_ms"] and old["until_ms"] != row["until_ms"]:
            raise Violation("P10", f"{row['warehouse']}: an opening was stretched")

    # --- who gets work ------------------------------------------------------------------------

    def _given(self, shipment: str, now_ms: int) -> None:
        found = self._checker.rows("SELECT * FROM shipment WHERE id = ?", shipment)
        row = self._rows.get(found[0]["warehouse"]) if found else None
        if row is None or found[0]["state"] != "offered":
            return
        name = row["warehouse"]
        if row["forced"] == "open" and not _past(row["forced_until_ms"], now_ms):
            raise Violation("P10", f"{name} is forced open and was given {shipment}")
        flagged = "sole_holder" in found[0]["decision"]
        shut = row["state"] == "open" and not row["forced"] and not _past(row["until_ms"], now_ms)
        if shut and not flagged:
            raise Violation("P10", f"{name} is open and was given {shipment}")
        if len(json.loads(row["trials"])) > TRIALS:
            raise Violation("P10", f"{name} has too many trials: {row['trials']}")

    def _sole_holder_gets_it(self, shipment: str) -> None:
        """Nothing waits for a breaker when nobody else could ever send it."""
        lines = self._checker.rows("SELECT * FROM shipment_line WHERE shipment_id = ?", shipment)
        found = self._checker.rows("SELECT * FROM shipment WHERE id = ?", shipment)
        if not found or found[0]["parked"] != "breaker":
            return
        holders = [name for name in ("GZ", "HZ", "SH") if self._covers(name, shipment, lines)]
        row = self._rows.get(holders[0]) if len(holders) == 1 else None
        if row is None or row["forced"] or holders[0] in found[0]["excluded"]:
            return
        if row["state"] == "open" and self._reachable(holders[0]):
            raise Violation("P10", f"{shipment} waits, {holders[0]} alone has the goods")

    def _covers(self, name: str, shipment: str, lines: list[sqlite3.Row]) -> bool:
        kept = self._checker.one(
            "SELECT count(*) FROM hold WHERE shipment_id = ? AND warehouse = ? AND state = 'held'",
            shipment, name,
        )  # fmt: skip
        return bool(kept) or all(
            (
                self._checker.one(
                    "SELECT shelf + picked - held - safety FROM stock"
                    " WHERE warehouse = ? AND sku = ?",
                    name, line["sku"],
                )
                or 0
            )
            >= line["quantity"]
            for line in lines
        )  # fmt: skip

    def _reachable(self, name: str) -> bool:
        """A bench of the warehouse has been heard of within the last hour and a half."""
        return bool(
            self._checker.one(
                "SELECT count(*) FROM agent_state s JOIN agent a ON a.id = s.agent"
                " WHERE a.warehouse = ? AND s.online = 1 AND s.queued = 0"
                " AND s.seen_ms > (SELECT max(at_ms) FROM trail) - 5400000",
                name,
            )
        )

    # --- how it comes back --------------------------------------------------------------------

    def look(self, now_ms: int, up_since_ms: int) -> None:
        """Now and then: what should have happened long ago (only a core that runs can judge)."""
        if self._checker.recovering() or now_ms - up_since_ms < PATIENCE_MS:
            self._wrong_since.clear()
            return
        wrong = set()
        self._rows = self._read()
        for name, row in self._rows.items():
            if row["forced"]:
                continue
            if row["state"] == "open" and _past(row["until_ms"], now_ms):
                wrong.add((name, "its time is over and it is still open"))
            if row["state"] == "half_open" and not row["capped"] and self._stuck(row, now_ms):
                wrong.add((name, f"half-open for ever: {row['trials']}"))
        for name in ("GZ", "HZ", "SH"):
            if self._should_be_open(name, now_ms):
                wrong.add((name, "three late in a row and it is closed"))
        for key in wrong:
            since_ms = self._wrong_since.setdefault(key, now_ms)
            if now_ms - since_ms >= PATIENCE_MS:
                raise Violation("P10", f"{key[0]}: {key[1]}")
        self._wrong_since = {k: v for k, v in self._wrong_since.items() if k in wrong}

    def _stuck(self, row: sqlite3.Row, now_ms: int) -> bool:
        trials = json.loads(row["trials"])
        left = {
            r["id"]: r["handed_over_ms"]
            for r in self._due(row["warehouse"], "")
            if r["handed_over_ms"] is not None
        }
        in_time = all(name in left and left[name] <= due for name, due, _ in trials)
        silent = all(due + OPEN_MS + PATIENCE_MS < now_ms for _, due, _ in trials)
        return len(trials) >= TRIALS and (in_time or silent)

    def _should_be_open(self, name: str, now_ms: int) -> bool:
        row = self._rows.get(name)
        if row is None or row["state"] != "closed" or row["forced"] or row["capped"]:
            return False
        passed = [r for r in self._due(name) if row["counted_from_ms"] < _due(r) < now_ms]
        last = sorted(passed, key=lambda r: (_due(r), r["id"]))[-LATE:]
        return len(last) == LATE and all(self._late(r) for r in last)

    def _late(self, row: sqlite3.Row) -> bool:
        due_ms, gone_ms = _due(row), row["handed_over_ms"]
        if gone_ms is not None:
            return bool(gone_ms > due_ms)
        heard = self._checker.rows("SELECT * FROM agent_state WHERE agent = ?", row["agent"])
        if not heard or heard[0]["queued"]:
            return False
        return bool(heard[0]["seen_ms"] > due_ms)

    def _due(self, name: str, bench: str = f" AND {_BENCH}") -> list[sqlite3.Row]:
        """Shipments of a warehouse whose deadline counts."""
        return self._checker.rows(
            "SELECT id, agent, ship_by_ms, granted_ms, handed_over_ms FROM shipment"
            f" WHERE warehouse = ?{bench} AND (stop = '' OR handed_over_ms IS NOT NULL)",
            name,
        )


def _due(row: sqlite3.Row) -> int:
    return max(int(row["ship_by_ms"]), (row["granted_ms"] or 0) + GRACE_MS)


def _past(at_ms: int | None, now_ms: int) -> bool:
    return at_ms is not None and now_ms >= at_ms


def _shut(row: sqlite3.Row) -> bool:
    return row["forced"] == "open" or (not row["forced"] and row["state"] == "open")
