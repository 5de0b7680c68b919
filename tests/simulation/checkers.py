"""The promises of DESIGN §3, held against the core's database and the ledger of the world.

`step` looks at what one commit changed, `audit` at everything, `final` at what must be true once
all faults are healed. Reads through a connection of its own; trusts no number that the product
derives, only rows and what physically happened.
"""

from __future__ import annotations

import json
import sqlite3
from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from protocols import chain
from protocols.vocabulary import ShipmentState
from tests.simulation.breaker_law import BreakerLaw
from tests.simulation.plan import OFFER_TTL_S
from tests.simulation.stock_law import StockLaw
from tests.simulation.truth import Fact, Truth, Violation

RANK = {state.value: rank for rank, state in enumerate(ShipmentState)}
BENCH = ("granted", "picking", "packed")


@dataclass(frozen=True, slots=True)
class Seen:
    """A shipment as it stood after an earlier commit."""

    token: tuple[int, int]
    rank: int


class CoreChecker:
    """P2, P4, P5, P6, P7, P8 inside the core. Made anew for each core database file."""

    def __init__(self, database: Path, truth: Truth, *, offer_ttl_s: int = OFFER_TTL_S) -> None:
        self._truth = truth
        self._claim_ttl_ms = offer_ttl_s * 1000
        self._database = sqlite3.connect(database, isolation_level=None)
        self._database.row_factory = sqlite3.Row
        self._trail = 0
        self._seen: dict[str, Seen] = {}
        self.stock_law = StockLaw(self, truth)
        self.breaker_law = BreakerLaw(self)

    def close(self) -> None:
        self._database.close()

    def rows(self, sql: str, *params: Any) -> list[sqlite3.Row]:
        return self._database.execute(sql, params).fetchall()

    def one(self, sql: str, *params: Any) -> Any:
        row = self._database.execute(sql, params).fetchone()
        return row[0] if row else None

    def recovering(self) -> bool:
        return bool(self.one("SELECT value = '1' FROM core_meta WHERE key = 'recovering'"))

    # --- after each commit --------------------------------------------------------------------

    def step(self, now_ms: int) -> None:
        """What the last commits changed, by their trail and movements."""
        self.stock_law.step(now_ms)
        news = self.rows("SELECT id, subject, change FROM trail WHERE id > ?", self._trail)
        if not news:
            return
        self._trail = news[-1]["id"]
        subjects = sorted({row["subject"] for row in news})
        marks = ",".join("?" * len(subjects))
        claimed = {row["subject"] for row in news if row["change"] == "claimed"}
        for row in self.rows(f"SELECT * FROM shipment WHERE id IN ({marks})", *subjects):
            self._moves_forward(row)
            self._consistent(row)
            if row["id"] in claimed:
                self._claimed_in_time(row["id"])
        self.breaker_law.step(news, now_ms)

    def _claimed_in_time(self, name: str) -> None:
        """A yes counts while the claim runs, by the clock of the commit, and only once (P4)."""
        asked, won = (
            self.rows(
                "SELECT id, at_ms FROM trail WHERE subject = ? AND change LIKE ? ORDER BY id DESC",
                name, change,
            )
            for change in ("%>claim", "claimed")
        )  # fmt: skip
        began = next((row for row in asked if row["id"] < won[0]["id"]), None)
        if began is None or any(row["id"] > began["id"] for row in won[1:]):
            raise Violation("P4", f"{name} was won without a claim of its own")
        late_ms = won[0]["at_ms"] - began["at_ms"] - self._claim_ttl_ms
        if late_ms >= 0:
            raise Violation("P4", f"{name} was won {late_ms} ms after the claim's end")

    def _moves_forward(self, row: sqlite3.Row) -> None:
        token = (row["token_epoch"], row["token_n"])
        rank = RANK[row["state"]]
        before = self._seen.get(row["id"])
        if before is not None and token < before.token:
            raise Violation("P4", f"{row['id']}: token went back {before.token} -> {token}")
        if before is not None and token == before.token and rank < before.rank:
            raise Violation("P7", f"{row['id']}: rank went back under {token}: {row['state']}")
        self._seen[row["id"]] = Seen(token, rank)

    def _consistent(self, row: sqlite3.Row) -> None:
        """Owner, hold, token, outbox and number of one shipment say the same thing (P5, P6)."""
        name, state = row["id"], row["state"]
        owned = row["agent"] != "" and row["stop"] != "cancelled" and not row["parked"]
        if state == "offered" and owned:
            self._offered(row)
        if state in BENCH and owned:
            self._granted(row)
        if state == "routed" and not owned and not row["parked"] and not row["stop"]:
            raise Violation("P5", f"{name}: paid, neither owned nor parked")
        held = self._live_holds(name)
        if len(held) > 1:
            raise Violation("P5", f"{name}: {len(held)} live holds at once")
        if owned and state in ("offered", *BENCH):
            if [hold["warehouse"] for hold in held] != [row["warehouse"]]:
                where = [hold["warehouse"] for hold in held]
                raise Violation("P5", f"{name}: owned by {row['warehouse']}, held at {where}")
            self._hold_covers(name, held[0]["id"])
        if row["stop"] == "cancelled" and RANK[state] < RANK["handed_over"] and held:
            raise Violation("P5", f"{name}: cancelled and still holding stock")

    def _live_holds(self, shipment: str) -> list[sqlite3.Row]:
        return self.rows(
            "SELECT id, warehouse FROM hold WHERE shipment_id = ? AND state = 'held'", shipment
        )

    def _hold_covers(self, shipment: str, hold: str) -> None:
        wanted = self.rows(
            "SELECT sku, quantity FROM shipment_line WHERE shipment_id = ? ORDER BY sku", shipment
        )
        kept = self.rows("SELECT sku, quantity FROM hold_line WHERE hold_id = ? ORDER BY sku", hold)
        if [tuple(r) for r in wanted] != [tuple(r) for r in kept]:
            seen = f"{shipment}: hold {hold} has {[*map(tuple, kept)]} for {[*map(tuple, wanted)]}"
            raise Violation("P5", seen)

    def _offered(self, row: sqlite3.Row) -> None:
        if not self._told(row, "offer") and not self._told(row, "try"):
            raise Violation("P5", f"{row['id']}: owned by {row['agent']} without an offer queued")

    def _granted(self, row: sqlite3.Row) -> None:
        if not self._told(row, "grant"):
            raise Violation("P5", f"{row['id']}: granted to {row['agent']} without a grant queued")
        found = self.rows("SELECT * FROM waybill WHERE number = ?", row["waybill"])
        token = (row["token_epoch"], row["token_n"])
        drawn = (found[0]["token_epoch"], found[0]["token_n"]) if found else (0, 0)
        # A stop takes the next token; the number stays with the token it was drawn under.
        fits = drawn < token if row["stop"] == "stopping" else drawn == token
        mine = found and found[0]["shipment_id"] == row["id"] and fits
        if not mine:
            seen = f"{row['id']}: number {row['waybill']} is not its own: {[*map(tuple, found)]}"
            raise Violation("P6", f"{seen}, shipment {tuple(row)}")

    def _told(self, row: sqlite3.Row, kind: str) -> bool:
        """Whether the owner was sent `kind`, in this life of the core or in one it forgot."""
        return bool(
            self.one(
                "SELECT count(*) FROM outbox WHERE shipment_id = ? AND agent = ? AND kind = ?",
                row["id"],
                row["agent"],
                kind,
            )
            or self.one(
                "SELECT count(*) FROM trail WHERE subject = ? AND change LIKE 'reattached:%'",
                row["id"],
            )
            or (kind == "grant" and self._has_forgotten_grant(row))
        )

    def _has_forgotten_grant(self, row: sqlite3.Row) -> bool:
        """Whether the bench told of a grant that this life of the core has forgotten giving."""
        life = int(self.one("SELECT value FROM core_meta WHERE key = 'core_epoch'"))
        token = [row["token_epoch"], row["token_n"]]
        return any(
            body["shipment"] == row["id"]
            and body["token"][0] < life
            and (body["token"] == token or row["stop"] == "stopping")  # a stop takes the next one
            for body in self._bodies(row["agent"], ("grant.stored",))
        )

    # --- the whole database -------------------------------------------------------------------

    def audit(self) -> None:
        """Everything at once: stock, numbers, streams, natives, ranks."""
        for row in self.rows("SELECT * FROM shipment"):
            self._moves_forward(row)
            self._consistent(row)
        self._stock()
        self.stock_law.no_drift()
        self._parts()
        self._numbers()
        self._natives()
        self._streams_gap_free()

    def _stock(self) -> None:
        """Counters can be rebuilt from movements, held from holds; nothing is below zero (P8)."""
        held: Counter[tuple[str, str]] = Counter()
        for row in self.rows(
            "SELECT l.warehouse, l.sku, l.quantity FROM hold h JOIN hold_line l ON l.hold_id = h.id"
            " WHERE h.state IN ('held', 'confirmed', 'incident')"
        ):
            held[row["warehouse"], row["sku"]] += row["quantity"]
        moved = {
            (row["warehouse"], row["sku"]): (row["s"], row["p"], row["h"])
            for row in self.rows(
                "SELECT warehouse, sku, sum(d_shelf) s, sum(d_picked) p, sum(d_held) h"
                " FROM movement GROUP BY warehouse, sku"
            )
        }
        for row in self.rows("SELECT * FROM stock"):
            key = (row["warehouse"], row["sku"])
            now = (row["shelf"], row["picked"], row["held"])
            if moved.get(key, (0, 0, 0)) != now:
                raise Violation("P8", f"stock {key} is {now}, movements say {moved.get(key)}")
            if held[key] != row["held"]:
                raise Violation("P5", f"stock {key} holds {row['held']}, holds say {held[key]}")

    def _parts(self) -> None:
        """The shipments of an order together are the order: nothing twice, nothing left out.

        A restored core gives an order again to the bench that has it; what it made up is stopped.
        """
        restored = self._truth.faults["core_restored"] > 0
        mine, wrong = ("WHERE s.stop <> 'cancelled'", ">") if restored else ("", "<>")
        differs = self.rows(
            "WITH wanted AS (SELECT order_id, sku, sum(quantity) n FROM order_line GROUP BY 1, 2),"
            " sent AS (SELECT s.order_id, l.sku, sum(l.quantity) n FROM shipment s"
            f" JOIN shipment_line l ON l.shipment_id = s.id {mine} GROUP BY 1, 2)"
            " SELECT sent.order_id, sent.sku, sent.n, wanted.n FROM sent"
            f" JOIN wanted USING (order_id, sku) WHERE sent.n {wrong} wanted.n LIMIT 3"
        )
        if differs:
            raise Violation("P5", f"parts are not the order: {[tuple(row) for row in differs]}")

    def _numbers(self) -> None:
        drawn = self.rows(
            "SELECT waybill, count(*) n FROM shipment WHERE waybill <> '' GROUP BY waybill"
            " HAVING n > 1"
        )
        if drawn:
            raise Violation("P6", f"number {drawn[0]['waybill']} belongs to two shipments")

    def _natives(self) -> None:
        twice = self.rows(
            "SELECT channel, native_id, count(*) n FROM orders GROUP BY 1, 2 HAVING n > 1"
        )
        if twice:
            raise Violation("P8", f"two orders for {twice[0]['channel']} {twice[0]['native_id']}")

    def _streams_gap_free(self) -> None:
        for row in self.rows(
            "SELECT s.id, s.agent, s.name, s.epoch, s.have, count(e.seq) n, min(e.seq) low,"
            " max(e.seq) high FROM stream s LEFT JOIN event e ON e.stream_id = s.id GROUP BY s.id"
        ):
            if (
                row["name"] == "floor"
                and row["n"]
                and (row["low"], row["high"], row["n"]) != (1, row["have"], row["have"])
            ):
                raise Violation("P2", f"{row['agent']} {row['epoch']}: rows with a hole")

    # --- at the end ---------------------------------------------------------------------------

    def chains(self) -> None:
        """Every stored floor row continues its chain from the genesis (P2)."""
        for stream in self.rows("SELECT * FROM stream WHERE name = 'floor'"):
            head = chain.genesis(stream["agent"], stream["name"], stream["epoch"])
            for row in self.rows(
                "SELECT seq, hash, row FROM event WHERE stream_id = ? ORDER BY seq", stream["id"]
            ):
                head = chain.link(head, bytes(row["row"]))
                if head != bytes(row["hash"]):
                    raise Violation("P2", f"{stream['agent']}: row {row['seq']} breaks the chain")
            if head != bytes(stream["hash"]):
                raise Violation("P2", f"{stream['agent']}: head is not the last row's hash")

    def own_events_applied(self) -> None:
        """Nothing a sound agent reported was refused, and no command broke an assertion (P2)."""
        refused = self.rows(
            "SELECT s.agent, s.epoch, e.seq, e.type, e.result FROM event e"
            " JOIN stream s ON s.id = e.stream_id WHERE e.result <> '' LIMIT 3"
        )
        if refused:
            raise Violation("P2", f"events refused: {[tuple(row) for row in refused]}")
        broken = self.rows(
            "SELECT source, message FROM quarantine WHERE code = 'assertion' LIMIT 3"
        )
        if broken:
            raise Violation("P5", f"assertions: {[tuple(row) for row in broken]}")

    def facts(self, agent: str) -> Counter[Fact]:
        """Units picked and verified by (agent, shipment, SKU), each first place counted once."""
        found: Counter[Fact] = Counter()
        for body in self._bodies(agent, ("item.picked", "item.verified")):
            found[agent, body["shipment"], body["sku"]] += body["quantity"]
        return found

    def handed_over(self, agent: str) -> set[str]:
        """Shipments whose hand-over by this agent the core holds."""
        return {body["shipment"] for body in self._bodies(agent, ("parcel.handed_over",))}

    def _bodies(self, agent: str, types: tuple[str, ...]) -> list[Any]:
        marks = ",".join("?" * len(types))
        places: set[tuple[str, int, str]] = set()
        bodies = []
        for row in self.rows(
            "SELECT s.epoch, e.seq, e.hash, e.row FROM event e JOIN stream s ON s.id = e.stream_id"
            f" WHERE s.agent = ? AND s.name = 'floor' AND e.type IN ({marks})",
            agent,
            *types,
        ):
            event = json.loads(row["row"])
            first = event.get("o")
            place = (row["epoch"], row["seq"], row["hash"].hex())
            place = (first[0], first[1], first[2]) if first else place
            if place not in places:
                places.add(place)
                bodies.append(event["d"])
        return bodies

    def shipped_twice(self) -> None:
        """A shipment that two warehouses physically sent has an incident (P4)."""
        where: dict[str, set[str]] = defaultdict(set)
        for left in self._truth.left:
            where[left.shipment].add(left.warehouse)
        for shipment, warehouses in sorted(where.items()):
            if len(warehouses) > 1 and not self.one(
                "SELECT count(*) FROM incident WHERE shipment_id = ?", shipment
            ):
                raise Violation("P4", f"{shipment} left {sorted(warehouses)} without an incident")

    def nobody_missing(self) -> None:
        """Each paid order that a shop was told we have is there, exactly once (P8, P11)."""
        have = {
            (row["channel"], row["native_id"])
            for row in self.rows("SELECT channel, native_id FROM orders")
        }
        for key, order in sorted(self._truth.orders.items()):
            if order.accepted and key not in have:
                raise Violation("P11", f"order {key} was accepted and is not there")
        strangers = have - set(self._truth.orders)
        if strangers:
            raise Violation("P8", f"orders that no shop sent: {sorted(strangers)[:3]}")
