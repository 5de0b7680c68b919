"""The fleet of the breaker's law once more, through the commands that run it and a database.

What the benches did stands in rows of shipments and heartbeats; every judgement is a
`JudgeBreakers`, every person a `ForceBreaker`, and routing asks the gate in a commit. The slow
model of the law must come to the same states as the rows of `breaker` hold.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis.stateful import initialize
from sqlalchemy import delete, update

from cloud_core.domain.breaker import Take
from cloud_core.domain.breaker_commands import ForceBreaker, JudgeBreakers
from cloud_core.domain.policy import Policy
from cloud_core.flows import breaker_gate as gate
from cloud_core.flows.registry import FOLDS
from cloud_core.store import schema as t
from cloud_core.store.breaker_rows import all_breakers, state_of
from cloud_core.store.engine import writer
from tests.support.breaker_model import FLEET, SMALL, Fleet, Parcel
from tests.support.core import CoreBench
from tests.support.slow_model import agrees_with

EXAMPLES = {"sqlite": 12, "postgresql": 8}
STEPS = 30


@dataclass(frozen=True, slots=True)
class AtTheGate:
    """What routing does with a breaker while it gives a shipment away."""

    warehouse: str
    sole_holder: bool = False
    trial: str = ""


def at_the_gate(ws: Any, command: AtTheGate) -> Take | None:
    if command.trial:
        gate.note_trial(ws, command.warehouse, command.trial)
        return None
    return gate.may_take_now(ws, command.warehouse, sole_holder=command.sole_holder)


class FleetInTheCore(Fleet):
    """The fleet as rows of a core's database."""

    @initialize()
    def begin(self) -> None:
        super().begin()
        self.folder = tempfile.TemporaryDirectory()
        self.core = CoreBench(Path(self.folder.name), policy=Policy(breaker=SMALL))
        self.core.clock.ms = self.now
        self.written: dict[str, Parcel] = {}
        self.trail = 0
        with writer(self.core.engine).begin() as connection:
            connection.execute(update(t.warehouse).values(enabled=0))
            connection.execute(
                t.warehouse.insert(),
                [{"id": w, "site": w.lower(), "name": f"演示仓{w}", "carrier": "ZTO"}
                 for w in FLEET],
            )  # fmt: skip
            connection.execute(t.agent.insert(), [{"id": _bench(w), "warehouse": w} for w in FLEET])
            connection.execute(t.agent_state.insert(), [{"agent": _bench(w)} for w in FLEET])
            connection.execute(
                t.orders.insert(),
                [{"id": "O", "channel": "shop1", "native_id": "O", "state": "paid",
                  "created_ms": 0, "track_token": "t"}],
            )  # fmt: skip
        self.look_at_all()  # the breakers begin to count

    def teardown(self) -> None:
        if hasattr(self, "core"):
            self.core.engine.dispose()
            self.folder.cleanup()

    # --- the same questions, asked of the core -------------------------------------------------

    def ask(self, w: str, sole: bool) -> Take:
        take: Take = self.do(AtTheGate(w, sole))
        return take

    def put_on_trial(self, w: str, name: str) -> None:
        self.do(AtTheGate(w, trial=name))

    def force(self, w: str, mode: str) -> None:
        self.do(ForceBreaker(w, mode, "演示甲", "演示"))

    def look_at_all(self) -> list[tuple[str, str]]:
        self.do(JudgeBreakers())
        rows = self.core.rows(
            "SELECT id, subject, change FROM trail WHERE id > :n AND change LIKE 'breaker:%' "
            "ORDER BY id", n=self.trail,
        )  # fmt: skip
        self.trail = max([self.trail, *(row[0] for row in rows)])
        return [(row[1], row[2].partition(":")[2]) for row in rows]

    def do(self, command: Any) -> Any:
        """One command on what the benches have done by now; the states are those of the rows."""
        self.core.clock.ms = self.now
        self.write()
        done = self.core.do(command)
        with self.core.engine.connect() as connection:
            rows = {row.warehouse: state_of(row) for row in all_breakers(connection)}
        self.states = {w: rows.get(w, self.states[w]) for w in FLEET}
        return done

    def write(self) -> None:
        """What happened on the benches and was told since the last command."""
        known = {p.name: p for parcels in self.parcels.values() for p in parcels.values()}
        s, a = t.shipment, t.agent_state
        with writer(self.core.engine).begin() as connection:
            for w in FLEET:
                heard = update(a).where(a.c.agent == _bench(w)).values(seen_ms=self.heard(w))
                connection.execute(heard)
            for name in self.written.keys() - known.keys():
                connection.execute(delete(s).where(s.c.id == name))
            new = [_row(known[name]) for name in sorted(known.keys() - self.written.keys())]
            if new:
                connection.execute(s.insert(), new)
            told = [
                p for name, p in known.items()
                if p.told is not None and name in self.written and self.written[name].told is None
            ]  # fmt: skip
            for p in told:
                connection.execute(update(s).where(s.c.id == p.name).values(_row(p)))
        self.written = {name: Parcel(**_fields(p)) for name, p in known.items()}


def _bench(warehouse: str) -> str:
    return f"{warehouse.lower()}-a"


def _fields(p: Parcel) -> dict[str, Any]:
    return {name: getattr(p, name) for name in Parcel.__dataclass_fields__}


def _row(p: Parcel) -> dict[str, Any]:
    left = p.told is not None
    return {
        "id": p.name, "order_id": "O", "warehouse": p.warehouse, "agent": _bench(p.warehouse),
        "state": "handed_over" if left else "granted", "ship_by_ms": p.due, "granted_ms": p.given,
        "handed_over_ms": p.left if left else None,
    }  # fmt: skip


def test_the_breakers_of_a_core_against_a_slow_model(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(FOLDS, AtTheGate, (at_the_gate, None))
    agrees_with(FleetInTheCore, examples=EXAMPLES[database], steps=STEPS)


def test_a_history_by_hand_goes_the_whole_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """Opened, half-open, trials, closed: so the machine does not only meet quiet days."""
    monkeypatch.setitem(FOLDS, AtTheGate, (at_the_gate, None))
    fleet = FleetInTheCore()
    fleet.begin()
    try:
        fleet.a_bad_day({"A"}, 5)
        assert fleet.states["A"].state == "open"
        assert [fleet.ask("A", sole).answer for sole in (False, True)] == ["no", "yes"]
        fleet.wait(40)
        fleet.wait(40)
        fleet.wait(40)
        assert fleet.states["A"].state == "half_open"
        fleet.give("A", 60, False)
        fleet.give("A", 60, False)
        assert fleet.ask("A", False).answer == "no"
        fleet.hand_over("A", False, 4)
        assert fleet.states["A"].state == "closed"
        kinds = [row[0] for row in fleet.core.rows("SELECT change FROM trail WHERE subject = 'A'")]
        assert kinds == ["breaker:opened", "breaker:half_opened", "breaker:closed"]
        fleet.the_slow_model_agrees()
    finally:
        fleet.teardown()
