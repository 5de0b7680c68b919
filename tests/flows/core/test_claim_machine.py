"""Broadcasts, yeses at any moment, deadlines, grants and taking back: claims against a slow model.

The model remembers every question that ever went out, to whom and until when. Who may win it knows
from that alone; what the core then owns, grants and holds is read from its rows.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from cloud_core.domain.change_commands import CancelOrder
from cloud_core.domain.commands import Sweep
from cloud_core.store import schema as t
from cloud_core.store.stock_check import StockCheck
from protocols import codec
from protocols import events as e
from protocols.commands import Grant, OfferLine, Try
from protocols.messages import Token
from tests.support.core import CoreBench, FloorAgent
from tests.support.ledger import write_openings
from tests.support.routed import add, apply_rules, token_of
from tests.support.slow_model import agrees_with

AGENTS = {"hz-a": "HZ01", "sz-a": "SZ01", "gz-a": "GZ01"}
SKUS = ("A", "B")
SHELF = 4
ASKED = 2
OFFER_TTL_S = 120
RULES = f'[[rules]]\nname = "抢单"\nthen = {{broadcast = {ASKED}}}\n'
EXAMPLES = {"sqlite": 18, "postgresql": 10}
STEPS = 30
LINES = st.lists(
    st.tuples(st.sampled_from(SKUS), st.integers(1, 3)), min_size=1, max_size=2,
    unique_by=lambda line: line[0],
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Question:
    """One `try` that went out: who was asked about what, under which token, until when."""

    shipment: str
    token: Token
    agent: str
    until_ms: int


class ClaimMachine(RuleBasedStateMachine):
    """One core, three warehouses with a bench each; two are asked about every order."""

    @initialize()
    def begin(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.core = CoreBench(Path(self.folder.name))
        add(self.core, t.warehouse, {"id": "GZ01", "site": "gz01", "name": "广州仓",
                                     "priority": 3, "carrier": "ZTO"})  # fmt: skip
        add(self.core, t.agent, {"id": "gz-a", "warehouse": "GZ01"})
        self.core.agents["gz-a"] = FloorAgent("gz-a", "gz01", epoch="00000000000000cc")
        with self.core.engine.connect().execution_options(packline_writes=True) as con, con.begin():
            con.execute(t.stock.delete())
        add(self.core, t.stock, *({"warehouse": w, "sku": sku, "shelf": SHELF}
                                  for w in AGENTS.values() for sku in SKUS))  # fmt: skip
        write_openings(self.core.engine)
        self.core.online()
        self.core.heartbeat()
        apply_rules(self.core, RULES)
        self.check = StockCheck(self.core.engine)
        self.orders = 0
        self.questions: list[Question] = []
        self.grants: dict[tuple[str, Token], str] = {}
        self.commands: set[str] = set()
        self.highest: dict[str, Token] = {}
        self.buy([("A", 1)])

    def teardown(self) -> None:
        if hasattr(self, "core"):
            self.core.engine.dispose()
            self.folder.cleanup()

    # --- what can be seen ----------------------------------------------------------------------

    def row(self, shipment: str) -> dict[str, Any]:
        (row,) = self.core.rows("SELECT * FROM shipment WHERE id = :i", i=shipment)
        return dict(row._mapping)

    def rows(self, where: str) -> list[dict[str, Any]]:
        found = self.core.rows(f"SELECT * FROM shipment WHERE {where} ORDER BY id")
        return [dict(row._mapping) for row in found]

    def lines(self, shipment: str) -> list[OfferLine]:
        found = self.core.rows(
            "SELECT sku, quantity FROM shipment_line WHERE shipment_id = :s ORDER BY sku",
            s=shipment,
        )
        return [OfferLine(sku, units) for sku, units in found]

    def covers(self, warehouse: str, row: dict[str, Any]) -> bool:
        """Whether the goods are there, without those that anybody else was promised."""
        free = Counter[str]()
        for sku, units in self.core.rows(
            "SELECT sku, sum(d_shelf + d_picked) FROM movement WHERE warehouse = :w GROUP BY sku",
            w=warehouse,
        ):
            free[sku] += int(units)
        for sku, units in self.core.rows(
            "SELECT l.sku, sum(l.quantity) FROM hold h JOIN hold_line l ON l.hold_id = h.id "
            "WHERE h.state IN ('held', 'confirmed', 'incident') AND l.warehouse = :w GROUP BY 1",
            w=warehouse,
        ):
            free[sku] -= int(units)
        kept = row["warehouse"] == warehouse  # set aside here for this very shipment
        return all(free[x.sku] >= (0 if kept else x.quantity) for x in self.lines(row["id"]))

    def look(self) -> None:
        """Read what went out since the last look; each grant must be the first of its token."""
        for row in self.core.rows(
            "SELECT id, agent, kind, shipment_id, body FROM outbox "
            "WHERE kind IN ('try', 'grant') ORDER BY n"
        ):
            if row.id in self.commands:
                continue
            self.commands.add(row.id)
            if row.kind == "try":
                asked = codec.decode(bytes(row.body), Try)
                until_ms = self.core.clock.ms + OFFER_TTL_S * 1000
                question = Question(row.shipment_id, asked.token, row.agent, until_ms)
                self.questions.append(question)
                continue
            token = codec.decode(bytes(row.body), Grant).token
            key = (row.shipment_id, token)
            assert key not in self.grants, (key, self.grants[key], row.agent)
            self.grants[key] = row.agent
            owner = self.row(row.shipment_id)
            assert (owner["agent"], token_of(owner)) == (row.agent, token)

    # --- shops and people ----------------------------------------------------------------------

    @rule(lines=LINES)
    def buy(self, lines: list[tuple[str, int]]) -> None:
        self.orders += 1
        (result,) = self.core.shop(str(self.orders), lines=tuple(lines)).results
        assert result == "created"
        self.look()
        row = self.row(f"DB2026{self.orders:0>8}-1")
        if row["waiting"] == "claim":
            mine = [q for q in self.questions if q.shipment == row["id"]]
            assert {q.token for q in mine} == {token_of(row)}
            assert 1 <= len({AGENTS[q.agent] for q in mine}) == len(mine) <= ASKED
            assert row["agent"] == ""  # asking gives no right to anything

    @precondition(lambda self: self.orders)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        number = data.draw(st.integers(1, self.orders))
        self.core.do(CancelOrder(f"DB2026{number:0>8}", "cancelled", "test"))
        self.look()

    @rule(seconds=st.sampled_from((1, 30)))
    def time_passes(self, seconds: int) -> None:
        self.core.clock.advance(seconds)
        self.core.heartbeat()

    @rule(times=st.sampled_from((1, 2)))
    def nobody_answers_in_time(self, times: int) -> None:
        """Twice: from a claim to an offer, and on to the next claim."""
        for _ in range(times):
            self.core.clock.advance(OFFER_TTL_S)
            self.core.heartbeat()
            self.sweep()

    @rule()
    def sweep(self) -> None:
        self.core.do(Sweep())
        self.look()
        for row in self.rows("waiting = 'claim' AND stop = ''"):
            assert row["deadline_ms"] > self.core.clock.ms, row  # what is over became an offer

    # --- benches -------------------------------------------------------------------------------

    @precondition(lambda self: self.questions)
    @rule(data=st.data(), which=st.sampled_from(("running", "running", "older", "any")))
    def yes(self, data: st.DataObject, which: str) -> None:
        self.says_yes(data.draw(st.sampled_from(self.asked(which) or self.questions)))

    def asked(self, which: str) -> list[Question]:
        """Questions of claims that run now: under their token, or an older one of the same."""
        claims = {row["id"]: token_of(row) for row in self.rows("waiting = 'claim' AND stop = ''")}
        running = [q for q in self.questions if claims.get(q.shipment) == q.token]
        older = [q for q in self.questions if q.shipment in claims and q not in running]
        return {"running": running, "older": older, "any": self.questions}[which]

    @precondition(lambda self: self.questions)
    @rule(data=st.data(), late_ms=st.sampled_from((-1, 0, 1)))
    def yes_at_the_deadline(self, data: st.DataObject, late_ms: int) -> None:
        question = data.draw(st.sampled_from(self.asked("running") or self.questions))
        self.core.clock.ms = max(self.core.clock.ms, question.until_ms + late_ms)
        self.core.heartbeat()
        self.says_yes(question)

    @precondition(lambda self: self.questions)
    @rule(data=st.data())
    def everybody_says_yes(self, data: st.DataObject) -> None:
        question = data.draw(st.sampled_from(self.asked("running") or self.questions))
        for other in [q for q in self.questions if q.shipment == question.shipment]:
            self.says_yes(other)

    def says_yes(self, question: Question) -> None:
        """The first in time under the running token wins, if its house has the goods."""
        before = self.row(question.shipment)
        right = (
            before["state"] == "offered"
            and before["waiting"] == "claim"
            and not before["stop"]
            and token_of(before) == question.token
            and self.core.clock.ms < question.until_ms
        )
        sure = right and self.covers(AGENTS[question.agent], before)
        sure = sure and not self.rows("parked <> ''")  # who waits is served first
        said = e.TryAccepted(question.shipment, question.token)
        self.core.report(question.agent, ("try.accepted", said))
        self.look()
        after = self.row(question.shipment)
        if after == before:
            assert not sure, (question, before)
            return
        assert right, (question, before, after)
        owner = (after["state"], after["agent"], after["warehouse"], after["waiting"])
        assert owner == ("granted", question.agent, AGENTS[question.agent], "")
        assert token_of(after) == Token(question.token.core_epoch, question.token.n + 1)

    @rule(data=st.data(), yes=st.booleans())
    def answer_an_offer(self, data: st.DataObject, yes: bool) -> None:
        open_ = self.rows("state = 'offered' AND waiting = '' AND stop = ''")
        if not open_:
            return
        row = data.draw(st.sampled_from(open_))
        if not yes:
            no = e.OfferRejected(row["id"], token_of(row), "closed")
            self.core.report(row["agent"], ("offer.rejected", no))
            self.look()
            assert token_of(self.row(row["id"])) > token_of(row)
            return
        body = e.OfferAccepted(
            row["id"], token_of(row), row["order_id"], "shop1", "1", self.lines(row["id"])
        )
        self.core.report(row["agent"], ("offer.accepted", body))
        self.look()
        after = self.row(row["id"])
        assert (after["state"], after["agent"]) == ("granted", row["agent"])

    @rule(data=st.data(), back=st.booleans())
    def finish(self, data: st.DataObject, back: bool) -> None:
        """A bench hands over what it was granted, or says that it stopped when it was told to."""
        state = "stop = 'stopping'" if back else "stop = ''"
        found = self.rows(f"state = 'granted' AND {state}")
        if not found:
            return
        row = data.draw(st.sampled_from(found))
        name, token = row["id"], token_of(row)
        if back:
            given = Token(token.core_epoch, token.n - 1)
            fact: tuple[str, Any] = (
                "task.stopped", e.TaskStopped(name, given, token, [], "pulled"),
            )  # fmt: skip
        else:
            body = e.ParcelHandedOver(
                name, token, row["waybill"], row["order_id"], "shop1", "1", self.lines(name)
            )
            fact = ("parcel.handed_over", body)
        self.core.report(row["agent"], fact)
        self.look()
        after = self.row(name)
        assert (after["stop"], after["state"]) == (
            ("cancelled", after["state"]) if back else ("", "handed_over")
        )

    @rule(
        agent=st.sampled_from(sorted(AGENTS)), sku=st.sampled_from(SKUS),
        found=st.integers(0, 2 * SHELF),
    )  # fmt: skip
    def count(self, agent: str, sku: str, found: int) -> None:
        """Whoever loses the goods is asked for anew, under a later token."""
        self.core.report(agent, ("stock.counted", e.StockCounted([e.Count(sku, found)])))
        self.look()

    @precondition(lambda self: self.asked("running"))
    @rule(data=st.data(), found=st.integers(0, 1))
    def the_goods_of_a_claim_are_not_there(self, data: st.DataObject, found: int) -> None:
        """It begins anew among the others; a yes to the old question is worth nothing."""
        question = data.draw(st.sampled_from(self.asked("running")))
        house = self.row(question.shipment)["warehouse"]
        (agent,) = [name for name, place in AGENTS.items() if place == house]
        sku = data.draw(st.sampled_from([line.sku for line in self.lines(question.shipment)]))
        self.core.report(agent, ("stock.counted", e.StockCounted([e.Count(sku, found)])))
        self.look()
        for old in [q for q in self.asked("older") if q.shipment == question.shipment]:
            self.says_yes(old)

    # --- what always holds ---------------------------------------------------------------------

    @invariant()
    def goods_are_set_aside_once(self) -> None:
        if not hasattr(self, "core"):
            return
        for row in self.core.rows(
            "SELECT s.id, s.state, s.stop, s.parked, s.warehouse, count(h.id) AS holds, "
            "min(h.warehouse) AS house FROM shipment s LEFT JOIN hold h "
            "ON h.shipment_id = s.id AND h.state IN ('held', 'confirmed', 'incident') "
            "GROUP BY s.id, s.state, s.stop, s.parked, s.warehouse"
        ):
            assert row.holds <= 1, tuple(row)
            if row.state == "handed_over" or row.stop == "cancelled":
                assert row.holds == 0, tuple(row)
            elif row.state in ("offered", "granted"):
                assert (row.holds, row.house) == (1, row.warehouse), tuple(row)
        assert self.check.full()[0] == []
        told = {r[0] for r in self.core.rows("SELECT key FROM alarm WHERE kind = 'stock_short'")}
        short = self.core.rows("SELECT warehouse, sku FROM stock WHERE shelf + picked < held")
        assert {f"{warehouse}/{sku}" for warehouse, sku in short} <= told  # a bench has them

    @invariant()
    def one_owner_at_most_and_tokens_only_grow(self) -> None:
        if not hasattr(self, "core"):
            return
        for row in self.rows("1 = 1"):
            token = token_of(row)
            assert token >= self.highest.get(row["id"], token), row
            self.highest[row["id"]] = token
            newest = max((key[1] for key in self.grants if key[0] == row["id"]), default=None)
            if row["state"] == "granted" and not row["stop"]:
                assert self.grants.get((row["id"], token)) == row["agent"], row
            assert newest is None or newest <= token, row


def test_claims_against_a_slow_model(database: str) -> None:
    agrees_with(ClaimMachine, examples=EXAMPLES[database], steps=STEPS)
