"""The bank's bugs of the one stock truth: holds, victims, breakers, parts and the way commands out.

Each is a context manager as in `planted`, where they are listed with seed and invariant.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any
from unittest.mock import patch

from msgspec.structs import replace as replace_row
from sqlalchemy import select

from cloud_core.domain import breaker as law
from cloud_core.domain import checkout, decision
from cloud_core.domain.hold_commands import Answered, ExpireHolds
from cloud_core.flows import facts, own, parts, registry, reserve, route, stop, units, victims
from cloud_core.flows.report import Report
from cloud_core.store import schema as t
from cloud_core.store.loading import SqlFetch
from cloud_core.store.working_set import WorkingSet

# --- holds ---------------------------------------------------------------------------------------


@contextmanager
def expire_confirm_race() -> Iterator[None]:
    """A payment confirms what nobody has swept yet, however late it comes."""
    real = checkout.confirmed

    def confirmed(hold: Any, now_ms: int) -> tuple[str, str]:
        return ("confirmed", "") if hold.state == "held" else real(hold, now_ms)

    with patch.object(checkout, "confirmed", confirmed):
        yield


@contextmanager
def confirmed_hold_expired() -> Iterator[None]:
    """The sweep ends every hold whose time is over, the paid ones too."""
    real = reserve.expire_holds

    def sweep_all(ws: WorkingSet, command: Any) -> Any:
        done = real(ws, command)
        c = t.hold.c
        wanted = select(c.id).where(c.state == "confirmed", c.expires_ms <= ws.now_ms)
        for hold_id in ws.fetch.connection.execute(wanted).scalars().all():
            hold = ws.holds.get(hold_id)
            if hold is not None and hold.state == "confirmed":
                reserve._settle(ws, hold, "expired", "clock")
        return done

    with patch.dict(registry.FOLDS, {ExpireHolds: (sweep_all, None)}):
        yield


@contextmanager
def holds_never_over() -> Iterator[None]:
    """Nobody looks at the clock when an order takes its hold."""
    with patch.object(checkout, "is_over", lambda hold, now_ms: False):
        yield


@contextmanager
def basket_partly_held() -> Iterator[None]:
    """Of a basket with several lines the last is forgotten."""
    real = checkout.place

    def place(lines: Any, warehouses: Any, available: Any) -> Any:
        return real(lines[:-1] if len(lines) > 1 else lines, warehouses, available)

    with patch.object(checkout, "place", place):
        yield


@contextmanager
def key_outside_the_commit() -> Iterator[None]:
    """An idempotency key is written with the next answer, not with its own."""
    real = reserve._remember
    waiting: list[tuple[Any, Any]] = []

    def later(ws: WorkingSet, keyed: Any, holds: Any) -> Any:
        due, waiting[:] = list(waiting), [(keyed, holds)]
        for old, answer in due:
            if ws.seen.get((old.scope, old.key)) is None:
                real(ws, old, answer)
        return Answered(holds)

    with patch.object(reserve, "_remember", later):
        yield


@contextmanager
def hold_left_behind() -> Iterator[None]:
    """The order that takes a hold sets its goods aside once more."""
    real = reserve._give_back

    def give_back(ws: WorkingSet, hold_id: str, held: Any, reason: str) -> None:
        if reason != "checkout_move":
            real(ws, hold_id, held, reason)

    with patch.object(reserve, "_give_back", give_back):
        yield


# --- counts and parts ----------------------------------------------------------------------------


@contextmanager
def victim_not_chosen() -> Iterator[None]:
    """A count that finds too little changes nothing but the shelf."""
    with patch.object(units, "choose_victims", lambda ws, warehouse, sku: []):
        yield


@contextmanager
def victim_not_rerouted() -> Iterator[None]:
    """A shipment that lost its goods is left lying."""
    with patch.object(victims, "own", lambda ws, shipment: shipment):
        yield


@contextmanager
def split_held_twice() -> Iterator[None]:
    """The first part of a split order keeps all lines and holds them all."""
    real = parts.cut

    def cut(ws: WorkingSet, shipment: Any, parcels: Sequence[Any]) -> Any:
        whole = ws.lines_of(shipment.id)
        made = real(ws, shipment, parcels)
        ws.shipment_lines.put(whole)
        return made

    with patch.object(parts, "cut", cut):
        yield


@contextmanager
def stock_back_before_the_bench_stopped() -> Iterator[None]:
    """A cancel gives the goods back at once, also those of a bench that is off line and ships."""
    real = own.send_cancel

    def send(ws: WorkingSet, shipment: Any, fence: Any, why: str, *, answer: bool) -> None:
        real(ws, shipment, fence, why, answer=answer)
        if answer:
            own.release(ws, shipment, "released")

    with patch.object(stop, "send_cancel", send):
        yield


# --- breakers ------------------------------------------------------------------------------------


@contextmanager
def half_open_stuck() -> Iterator[None]:
    """Trials are given and never looked at again."""
    with patch.object(law, "_look_at_trials", lambda fold: None):
        yield


@contextmanager
def every_warehouse_ejected() -> Iterator[None]:
    """Each breaker is judged alone: nobody counts how many are open."""

    def alone(states: Any, facts: Any, now_ms: int, policy: Any) -> Any:
        return [law.step(s, facts.get(s.warehouse, ()), now_ms, policy) for s in states]

    with patch.object(law, "judge", alone):
        yield


@contextmanager
def warning_counted_twice() -> Iterator[None]:
    """Every lateness counts twice: two in a row are enough."""
    real = law._late_in_a_row

    def twice(fold: Any) -> Any:
        policy = fold.policy
        fold.policy = replace(policy, late_in_a_row=2)
        try:
            return real(fold)
        finally:
            fold.policy = policy

    with patch.object(law, "_late_in_a_row", twice):
        yield


@contextmanager
def late_fact_extends() -> Iterator[None]:
    """What was late before an opening makes it longer when it becomes known."""
    real = law._settle

    def settle(fold: Any) -> None:
        real(fold)
        state = fold.state
        if state.state != law.OPEN or state.forced:
            return
        if any(
            law.outcome(fact, fact.due_ms, fold.now_ms) == "late" and fact.due_ms <= state.since_ms
            for fact in fold.facts.values()
        ):
            until_ms = fold.now_ms + fold.policy.open_ms
            fold.state = replace(state, until_ms=max(state.until_ms or 0, until_ms))

    with patch.object(law, "_settle", settle):
        yield


@contextmanager
def sole_holder_ejected() -> Iterator[None]:
    """Behind an open breaker nothing moves, whoever else has the goods."""
    with patch.object(decision, "_sole_holder", lambda case, whys: []):
        yield


@contextmanager
def breaker_not_asked() -> Iterator[None]:
    """Routing does not look at breakers."""
    yes = law.Take("yes", "", "")
    with patch.object(route, "may_take_now", lambda ws, warehouse, *, sole_holder: yes):
        yield


# --- claims --------------------------------------------------------------------------------------


@contextmanager
def late_yes_wins() -> Iterator[None]:
    """A yes to a claim counts whenever it comes, until somebody has looked at the clock."""
    real = facts._FACTS["try.accepted"]

    def accepted(report: Report) -> None:
        shipment = report.shipment
        if shipment is not None and shipment.waiting == own.CLAIM and shipment.deadline_ms:
            open_ms = max(shipment.deadline_ms, report.ws.now_ms + 1)
            report.shipment = replace_row(shipment, deadline_ms=open_ms)
        real(report)

    with patch.dict(facts._FACTS, {"try.accepted": accepted}):
        yield


# --- commands out --------------------------------------------------------------------------------


@contextmanager
def outbox_polled_by_last_id() -> Iterator[None]:
    """Only commands above the last one that was sent are looked for: what got lost stays lost."""
    real = SqlFetch.open_commands
    last: dict[str, int] = {}

    def newer(self: SqlFetch, agent: str, limit: int) -> Any:
        found = [row for row in real(self, agent, limit) if row.n > last.get(agent, 0)]
        last[agent] = max([last.get(agent, 0), *(row.n for row in found)])
        return found

    with patch.object(SqlFetch, "open_commands", newer):
        yield
