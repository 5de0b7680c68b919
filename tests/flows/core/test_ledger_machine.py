"""Baskets, orders, benches and counts in any order: the ledger against a slow model.

The model keeps no counters. What may be promised it adds up from the holds and movements each
time; what a hold may become it knows from when it was placed and what was asked of it since.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from cloud_core.domain import hold_commands as h
from cloud_core.domain.change_commands import CancelOrder
from cloud_core.domain.commands import Sweep
from cloud_core.flows.registry import FOLDS
from cloud_core.flows.victims import choose_victims
from cloud_core.store.stock_check import StockCheck
from protocols import events as e
from protocols.commands import OfferLine
from protocols.errors import Rejected
from protocols.messages import Token
from tests.support.core import CoreBench
from tests.support.ledger import write_openings
from tests.support.slow_model import agrees_with

SKUS = ("A", "B")
AGENTS = {"HZ01": "hz-a", "SZ01": "sz-a"}
LINES = st.lists(
    st.tuples(st.sampled_from(SKUS), st.integers(1, 6)), min_size=1, max_size=2,
    unique_by=lambda line: line[0],
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class GiveWay:
    warehouse: str
    sku: str


@dataclass(slots=True)
class Basket:
    """What the model knows of a hold."""

    expires_ms: int
    state: str = "held"


class LedgerMachine(RuleBasedStateMachine):
    """One core with two warehouses; the folder is the machine's own."""

    extra: ClassVar[dict[type, Any]] = {
        GiveWay: (lambda ws, command: choose_victims(ws, command.warehouse, command.sku), None)
    }

    @initialize()
    def begin(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.core = CoreBench(Path(self.folder.name))
        write_openings(self.core.engine)
        self.core.online()
        self.baskets: dict[str, Basket] = {}
        self.wanted: dict[str, list[tuple[str, int]]] = {}
        self.orders = self.keys = 0
        self.check = StockCheck(self.core.engine)

    def teardown(self) -> None:
        if hasattr(self, "core"):
            self.core.engine.dispose()
            self.folder.cleanup()

    def keyed(self) -> h.Keyed:
        self.keys += 1
        return h.Keyed("s", f"k{self.keys}", "d")

    def free(self) -> dict[str, Counter[str]]:
        """What each warehouse may promise, added up from the books."""
        found = {name: Counter[str]() for name in AGENTS}
        moved = "SELECT warehouse, sku, sum(d_shelf + d_picked) FROM movement GROUP BY 1, 2"
        for warehouse, sku, units in self.core.rows(moved):
            found[warehouse][sku] += int(units)
        live = (
            "SELECT l.warehouse, l.sku, sum(l.quantity) FROM hold h JOIN hold_line l "
            "ON l.hold_id = h.id WHERE h.state IN ('held', 'confirmed') GROUP BY 1, 2"
        )
        for warehouse, sku, units in self.core.rows(live):
            found[warehouse][sku] -= int(units)
        return found

    def kept_for_who_waits(self) -> dict[str, Counter[str]]:
        """What each warehouse sets aside for paid shipments that are parked."""
        found = {name: Counter[str]() for name in AGENTS}
        for warehouse, sku, units in self.core.rows(
            "SELECT l.warehouse, l.sku, sum(l.quantity) FROM hold h "
            "JOIN hold_line l ON l.hold_id = h.id JOIN shipment s ON s.id = h.shipment_id "
            "WHERE h.kind = 'shipment' AND h.state = 'held' AND s.parked <> '' GROUP BY 1, 2"
        ):
            found[warehouse][sku] += int(units)
        return found

    # --- the shop ------------------------------------------------------------------------------

    @rule(lines=LINES, ttl_s=st.sampled_from((10, 60, 900)))
    def place(self, lines: list[tuple[str, int]], ttl_s: int) -> None:
        before, kept_before = self.free(), self.kept_for_who_waits()
        name = f"H{len(self.baskets)}"
        wanted = h.WantedHold(name, tuple(lines), ttl_s)
        (answer,) = self.core.do(h.PlaceHolds((wanted,), self.keyed(), "key:k")).holds
        free = self.free()
        for warehouse, sku, quantity in answer.lines if answer.state == "held" else ():
            free[warehouse][sku] += quantity
        # Who has paid and waits is served first, in the same commit; nothing else is taken.
        for warehouse, kept in self.kept_for_who_waits().items():
            for sku in SKUS:
                served = kept[sku] - kept_before[warehouse][sku]
                assert 0 <= served == before[warehouse][sku] - free[warehouse][sku]
        fits = all(sum(max(0, free[w][sku]) for w in AGENTS) >= n for sku, n in lines)
        assert (answer.state == "held") == fits, (answer, free)
        if fits:
            self.baskets[name] = Basket(self.core.clock.ms + ttl_s * 1000)
            self.wanted[name] = lines
            alone = [w for w in AGENTS if all(free[w][sku] >= n for sku, n in lines)]
            homes = {warehouse for warehouse, _, _ in answer.lines}
            assert homes == {alone[0]} if alone else len(homes) > 1

    @precondition(lambda self: self.baskets)
    @rule(data=st.data())
    def confirm(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted(self.baskets)))
        basket = self.baskets[name]
        (answer,) = self.core.do(h.ConfirmHold(name, self.keyed(), "key:k")).holds
        if basket.state == "held":
            over = self.core.clock.ms >= basket.expires_ms
            basket.state = "expired" if over else "confirmed"
        assert answer.state == basket.state
        assert (answer.code == "") == (basket.state in ("confirmed", "moved"))

    @precondition(lambda self: self.baskets)
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted(self.baskets)))
        basket = self.baskets[name]
        if basket.state in ("confirmed", "moved"):
            with pytest.raises(Rejected) as refused:
                self.core.do(h.ReleaseHold(name, "key:k"))
            assert refused.value.code == f"hold_{basket.state}"
            return
        answer = self.core.do(h.ReleaseHold(name, "key:k"))
        if basket.state == "held":
            over = self.core.clock.ms >= basket.expires_ms
            basket.state = "expired" if over else "released"
        assert answer.state == basket.state

    @rule(seconds=st.sampled_from((1, 10, 60, 900)), sweep=st.booleans())
    def time_passes(self, seconds: int, sweep: bool) -> None:
        self.core.clock.advance(seconds)
        self.core.heartbeat()
        if not sweep:
            return
        self.core.do(h.ExpireHolds(limit=100))
        for basket in self.baskets.values():
            if basket.state == "held" and self.core.clock.ms >= basket.expires_ms:
                basket.state = "expired"
        self.core.do(Sweep())
        self.take_note()

    @precondition(lambda self: self.baskets)
    @rule()
    def the_last_basket_is_paid(self) -> None:
        name = max(self.baskets, key=lambda known: int(known[1:]))
        self.orders += 1
        self.core.shop(str(self.orders), lines=tuple(self.wanted[name]), hold=name)
        self.take_note()

    @precondition(lambda self: self.baskets)
    @rule()
    def the_last_basket_is_confirmed_too_late(self) -> None:
        name = max(self.baskets, key=lambda known: int(known[1:]))
        basket = self.baskets[name]
        self.core.clock.ms = max(self.core.clock.ms, basket.expires_ms)
        self.core.heartbeat()
        (answer,) = self.core.do(h.ConfirmHold(name, self.keyed(), "key:k")).holds
        basket.state = "expired" if basket.state == "held" else basket.state
        assert answer.state == basket.state

    @rule(data=st.data(), lines=LINES, named=st.booleans())
    def pay(self, data: st.DataObject, lines: list[tuple[str, int]], named: bool) -> None:
        values: dict[str, Any] = {}
        if named and self.baskets:
            name = values["hold"] = data.draw(st.sampled_from(sorted(self.baskets)))
            lines = self.wanted[name] if data.draw(st.booleans()) else lines
        self.orders += 1
        (result,) = self.core.shop(str(self.orders), lines=tuple(lines), **values).results
        assert result == "created"
        self.take_note()

    @precondition(lambda self: self.orders)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        number = data.draw(st.integers(1, self.orders))
        self.core.do(CancelOrder(f"DB2026{number:0>8}", "cancelled", "test"))
        self.take_note()

    def take_note(self) -> None:
        """Orders, counts and the clock may end a hold: each from `held`, once, never back."""
        allowed = {
            "held": {"held", "moved", "confirmed", "expired", "released"},
            "confirmed": {"confirmed", "moved", "released"},
        }
        for name, state, shipment, result in self.core.rows(
            "SELECT id, state, shipment_id, result FROM hold WHERE kind = 'checkout'"
        ):
            basket = self.baskets[name]
            assert state in allowed.get(basket.state, {basket.state}), (name, basket, state)
            if state == "released" and basket.state == "confirmed":
                assert result.startswith("order_stopped:"), (name, result)
            if state == "moved":
                assert shipment
            basket.state = state

    # --- the floor -----------------------------------------------------------------------------

    @rule(data=st.data(), step=st.sampled_from(("accept", "pick", "hand_over", "stop")))
    def work(self, data: st.DataObject, step: str) -> None:
        states = {
            "accept": "state = 'offered' AND stop = ''",
            "pick": "state IN ('granted', 'picking') AND stop = ''",
            "hand_over": "state = 'picking' AND stop IN ('', 'stopping')",
            "stop": "stop = 'stopping' AND state IN ('granted', 'picking')",
        }
        found = self.core.rows(
            "SELECT id, agent, token_epoch, token_n, waybill, stop FROM shipment "
            f"WHERE {states[step]} ORDER BY id"
        )
        if not found:
            return
        name, agent, epoch, n, waybill, stop = data.draw(st.sampled_from([tuple(r) for r in found]))
        token = Token(epoch, n - 1 if stop == "stopping" else n)
        lines = [
            OfferLine(sku, quantity)
            for sku, quantity in self.core.rows(
                "SELECT sku, quantity FROM shipment_line WHERE shipment_id = :s ORDER BY sku",
                s=name,
            )
        ]
        for fact in self.facts(step, name, token, n, waybill, lines):
            self.core.report(agent, fact)
        self.take_note()

    def facts(
        self, step: str, name: str, token: Token, fence: int, waybill: str, lines: list[OfferLine]
    ) -> list[tuple[str, Any]]:
        if step == "accept":
            return [("offer.accepted", e.OfferAccepted(name, token, "o", "shop1", "1", lines))]
        if step == "pick":
            (left,) = self.core.rows(
                "SELECT sku, quantity - picked FROM shipment_line WHERE shipment_id = :s "
                "ORDER BY picked - quantity LIMIT 1", s=name,
            )  # fmt: skip
            return [("item.picked", e.ItemPicked(name, token, left[0], 1))] if left[1] > 0 else []
        if step == "hand_over":
            body = e.ParcelHandedOver(name, token, waybill, "o", "shop1", "1", lines)
            return [("parcel.handed_over", body)]
        picked = self.core.rows(
            "SELECT sku, picked FROM shipment_line WHERE shipment_id = :s AND picked > 0", s=name
        )
        back = [e.PutBack(sku, units) for sku, units in picked]
        return [("task.stopped", e.TaskStopped(name, token, Token(1, fence), back, "pulled"))]

    @rule(
        warehouse=st.sampled_from(sorted(AGENTS)), sku=st.sampled_from(SKUS),
        found=st.integers(0, 14),
    )  # fmt: skip
    def count(self, warehouse: str, sku: str, found: int) -> None:
        self.core.report(
            AGENTS[warehouse], ("stock.counted", e.StockCounted([e.Count(sku, found)]))
        )
        self.core.do(GiveWay(warehouse, sku))
        self.take_note()

    # --- what always holds ---------------------------------------------------------------------

    @invariant()
    def every_counter_is_what_the_books_say(self) -> None:
        if hasattr(self, "core"):
            assert self.check.full()[0] == []

    @invariant()
    def nothing_is_promised_twice(self) -> None:
        """Below zero only where a count met goods a bench has, and then a person is told."""
        if not hasattr(self, "core"):
            return
        told = {
            row[0] for row in self.core.rows("SELECT key FROM alarm WHERE kind = 'stock_short'")
        }
        for warehouse, units in self.free().items():
            for sku, free in units.items():
                assert free >= 0 or f"{warehouse}/{sku}" in told, (warehouse, sku, free)

    @invariant()
    def the_model_and_the_core_agree_on_every_hold(self) -> None:
        if not hasattr(self, "core"):
            return
        rows = self.core.rows("SELECT id, state FROM hold WHERE kind = 'checkout'")
        assert {row[0]: row[1] for row in rows} == {n: b.state for n, b in self.baskets.items()}


def test_the_ledger_against_a_slow_model(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for command, fold in LedgerMachine.extra.items():
        monkeypatch.setitem(FOLDS, command, fold)
    agrees_with(LedgerMachine, examples=40 if database == "sqlite" else 4, steps=30, same=False)
