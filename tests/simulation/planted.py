"""A bank of bugs for the simulation to find: each one a small wrong change of the real programs.

A planted bug is a context manager that patches the product for the time of one history. Each must
break a public invariant with an ordinary seed; no check knows of any of them. `BANK` records the
seed that shows it soonest and the invariant that breaks; `python -m tests.simulation.planted`
looks for the seeds anew (1..20, in order).
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any
from unittest.mock import patch

import msgspec

from cloud_core.domain import intake
from cloud_core.domain.commands import ApplyShopEvents, RecordBatch
from cloud_core.flows import apply_orders, facts, grant, greet, own, record, registry, stop, sweep
from cloud_core.flows.report import Report
from cloud_core.store.working_set import WorkingSet
from edge_agent.agent import Agent
from edge_agent.agent.uploading import Uploader
from edge_agent.domain import print_job
from edge_agent.domain.answer import Answer, done
from edge_agent.domain.print_job import PrintJob, PrintState
from edge_agent.domain.printer_status import SendOutcome
from edge_agent.domain.scan import RepeatFilter
from edge_agent.domain.task import TaskState
from edge_agent.flows import greet as edge_greet
from edge_agent.flows import print_label, receive, upload, work
from edge_agent.flows import stop as edge_stop
from edge_agent.journal import jobs, rows, tables, tasks
from edge_agent.journal.core import JournalCore
from protocols import chain, codec, commands
from protocols.events import ScanRefused
from protocols.messages import StreamHave, Token
from tests.simulation import planted_ledger as ledger
from tests.simulation.campaign import run_seed
from tests.simulation.hurried import HISTORIES
from tests.simulation.plan import DAYS
from tests.simulation.run import quiet
from tests.simulation.world import Outcome

_record_batch = record.record_batch
SEED_OF_HISTORIES = 1
SEEDS_TRIED = 6
"""Seeds a bug may take to show when its recorded one has drifted."""
Plant = Callable[[], Any]


@dataclass(frozen=True, slots=True)
class Planted:
    """One bug: how to plant it, the seed that shows it, the invariants that may break.

    `days`: what is only seen at the end of a history is looked for in shorter ones. `history`:
    what seldom shows is looked for where its occasions are many, in one of `HISTORIES`.
    """

    plant: Plant
    seed: int
    breaks: tuple[str, ...]
    days: int = DAYS
    history: str = ""


# --- the agent's journal -------------------------------------------------------------------------


@contextmanager
def ack_before_commit() -> Iterator[None]:
    """The tone comes at once; the commit comes with the next work."""
    real = JournalCore.commit

    def lazy(self: JournalCore, works: Any) -> Any:
        db: Any = self.db
        if db.in_transaction:
            db.execute("COMMIT")
        execute = db.execute
        with patch.object(
            db, "execute", lambda sql, *a: None if sql == "COMMIT" else execute(sql, *a)
        ):
            return real(self, works)

    with patch.object(JournalCore, "commit", lazy):
        yield


@contextmanager
def synchronous_normal() -> Iterator[None]:
    """The journal trusts the page cache."""
    relaxed = tuple(p.replace("synchronous=FULL", "synchronous=NORMAL") for p in tables.PRAGMAS)
    with patch.object(tables, "PRAGMAS", relaxed):
        yield


@contextmanager
def delete_on_puback() -> Iterator[None]:
    """A row is forgotten as soon as the broker's client library took it."""
    real = Uploader._send_one

    def send_and_forget(self: Uploader) -> bool:
        leg = self._live.senders[self._stream].leg
        if not real(self):
            return False
        last = self._live.senders[self._stream].cursor - 1
        if leg is not None:
            db = self._journal.read(lambda connection: connection)
            epoch = next(e for e in rows.epochs(db) if e.no == leg.epoch_no)
            if epoch.base_seq < last:
                rows._cut(db, epoch, last)
        return True

    with patch.object(Uploader, "_send_one", send_and_forget):
        yield


@contextmanager
def seq_reuse_after_restore() -> Iterator[None]:
    """Nobody looks at the chain: a card put back goes on numbering where it stood."""
    with (
        patch.object(edge_greet, "_follows", lambda db, epoch, answer: True),
        patch.object(upload, "continues", lambda db, epoch_no, ack: True),
        patch.object(greet, "_have", _same_have),
        patch.object(greet, "_left_behind", lambda ws, agent, have: have),
        patch.dict(registry.FOLDS, {RecordBatch: (_by_number, record.prefetch)}),
    ):
        yield


def _same_have(ws: WorkingSet, agent: str, name: str, epoch: str, last: int, head: str) -> Any:
    stream = ws.streams.get((agent, name, epoch))
    if stream is None:
        return StreamHave(name, epoch, 0, chain.genesis(agent, name, epoch).hex())
    return StreamHave(name, epoch, min(stream.have, last), stream.hash.hex())


def _by_number(ws: WorkingSet, command: RecordBatch) -> Any:
    """Rows up to the highest number known are repeats, the others are news."""
    stream = ws.streams.get((command.agent, command.stream, command.epoch))
    if stream is None or command.first_seq > stream.have + 1:
        return _record_batch(ws, command)
    news = command.rows[stream.have + 1 - command.first_seq :]
    if not news:
        return record._ack(ws, stream)
    first = stream.have + 1
    command = replace(command, first_seq=first, rows=news, hash_before=stream.hash)
    return _record_batch(ws, command)


# --- printing ------------------------------------------------------------------------------------


@contextmanager
def print_on_accept() -> Iterator[None]:
    """The label is made when the offer is accepted, with a number of the agent's own."""
    real = receive._offer

    def offer(tx: Any, command: Any, body: Any, at: Any) -> None:
        real(tx, command, body, at)
        task = tasks.get(tx.db, body.shipment, body.token)
        if task is not None and task.state == "accepted":
            early = replace(task, waybill=f"X{body.order}", state=TaskState.GRANTED)
            tasks.save(tx.db, early, changed_ms=tx.now.wall_ms)
            text = commands.LabelText("演示速递", "测*", "100******00", "演示路*号")
            tasks.put_label(tx.db, early, msgspec.json.encode(text))
            print_label.order_label(tx, early, "", at)

    with patch.dict(receive._HANDLERS, {commands.Offer: offer}):
        yield


@contextmanager
def stale_token_accepted() -> Iterator[None]:
    """A grant below the fence is as good as any other, also for a task that was stopped."""
    real = receive._grant

    def grant(tx: Any, command: Any, body: Any, at: Any) -> None:
        task = tasks.get(tx.db, body.shipment, body.token)
        if task is not None and task.state is TaskState.STOPPED and not task.waybill:
            tasks.save(tx.db, replace(task, state=TaskState.ACCEPTED), changed_ms=0)
        real(tx, command, body, at)

    with (
        patch.object(edge_stop, "check_token", lambda tx, shipment, token: None),
        patch.object(print_label, "token_live", lambda db, key: jobs.get(db, key) is not None),
        patch.dict(receive._HANDLERS, {commands.Grant: grant}),
    ):
        yield


@contextmanager
def reprint_of_unknown() -> Iterator[None]:
    """A label that may have come out is sent again: after a restart, by a well printer."""
    recover, settle = print_job.recover, print_job.settle

    def after_restart(job: PrintJob) -> PrintJob:
        if job.state in (PrintState.SENDING, PrintState.SENT):
            return replace(job, state=PrintState.HELD, reason="boot_without_core")
        return recover(job)

    def after_sending(job: PrintJob, outcome: SendOutcome) -> PrintJob:
        settled = settle(job, outcome)
        if settled.state is PrintState.UNKNOWN:
            return replace(settled, state=PrintState.HELD, reason="no_answer")
        return settled

    with (
        patch.object(print_job, "recover", after_restart),
        patch.object(print_job, "settle", after_sending),
    ):
        yield


@contextmanager
def reissue_is_a_new_label() -> Iterator[None]:
    """A label whose grant was sent again to a new card counts as never printed."""
    real = print_label.order_label
    with patch.object(
        print_label,
        "order_label",
        lambda tx, task, station, at: real(tx, replace(task, reissue=False), station, at),
    ):
        yield


@contextmanager
def fence_not_stored_for_unknown() -> Iterator[None]:
    """The fence of a cancel is not stored for a shipment that is unknown here."""
    real = edge_stop.raise_fence

    def only_known(tx: Any, shipment: str, fence: Token) -> None:
        if tasks.all_of(tx.db, shipment):
            real(tx, shipment, fence)

    with patch.object(edge_stop, "raise_fence", only_known):
        yield


# --- scanning ------------------------------------------------------------------------------------


@contextmanager
def no_debounce() -> Iterator[None]:
    """A bouncing trigger counts twice."""
    with patch.object(RepeatFilter, "is_repeat", lambda *_: False):
        yield


@contextmanager
def unknown_code_beeps() -> Iterator[None]:
    """A code that nobody knows gets the tone of success."""
    with patch.object(work, "_unknown", lambda tx, station: done("fine", "好", "")):
        yield


@contextmanager
def personal_data_in_an_event() -> Iterator[None]:
    """What a scanner read and nobody knows is reported word for word."""
    real = Agent.scan

    async def scan(self: Agent, station: str, code: str, source: str) -> Answer:
        answer = await real(self, station, code, source)
        if answer.refused:
            body = ScanRefused(reason=answer.refused, source=code[:64])
            self.live.later(self.live.report("scan.refused", body, station))
        return answer

    with patch.object(Agent, "scan", scan):
        yield


# --- the core ------------------------------------------------------------------------------------


@contextmanager
def redelivery_applied_again() -> Iterator[None]:
    """Rows that came before have their effect once more."""
    real = record.record_batch

    def twice(ws: WorkingSet, command: Any) -> Any:
        stream = ws.streams.get((command.agent, command.stream, command.epoch))
        have = stream.have if stream is not None else 0
        for row in command.rows[: max(0, have - command.first_seq + 1)]:
            event = codec.decode_event(row)
            body = codec.decode_event_body(command.stream, event)
            record.apply_fact(ws, command.agent, event, body, ws.now_ms)
        return real(ws, command)

    with patch.dict(registry.FOLDS, {RecordBatch: (twice, record.prefetch)}):
        yield


@contextmanager
def gap_swallowed() -> Iterator[None]:
    """A batch that is ahead of the stream is taken as it comes."""
    real = record.record_batch

    def ahead(ws: WorkingSet, command: Any) -> Any:
        stream = ws.streams.get((command.agent, command.stream, command.epoch))
        if stream is not None and command.first_seq > stream.have + 1:
            command = replace(command, skip_from=stream.have + 1)
        return real(ws, command)

    with patch.dict(registry.FOLDS, {RecordBatch: (ahead, record.prefetch)}):
        yield


@contextmanager
def status_overwritten() -> Iterator[None]:
    """The last message wins: a label event puts the shipment back to granted."""
    real = facts._FACTS["label.printed"]

    def overwrite(report: Report) -> None:
        real(report)
        if report.shipment is not None and report.shipment.state in ("picking", "packed"):
            report.put("overwritten", state="granted")

    with patch.dict(facts._FACTS, {"label.printed": overwrite}):
        yield


@contextmanager
def outbox_outside_the_commit() -> Iterator[None]:
    """Commands are kept in memory and written with the next commit."""
    real = WorkingSet.send
    waiting: list[Callable[[WorkingSet], None]] = []

    def later(self: WorkingSet, *args: Any, **kwargs: Any) -> None:
        due, waiting[:] = list(waiting), [lambda ws: real(ws, *args, **kwargs)]
        for send in due:
            send(self)

    with patch.object(WorkingSet, "send", later):
        yield


@contextmanager
def hold_kept_after_cancel() -> Iterator[None]:
    """A cancelled shipment's stock stays set aside."""
    nothing = lambda ws, shipment, state: None  # noqa: E731
    with (
        patch.object(own, "release", nothing),
        patch.object(stop, "release", nothing),
        patch.object(facts, "release", nothing),
    ):
        yield


@contextmanager
def number_drawn_twice() -> Iterator[None]:
    """A waybill number stays in the pool after it was given away."""
    real = grant._draw

    def keep(ws: WorkingSet, shipment: Any) -> Any:
        number = real(ws, shipment)
        if number is not None and number[-1] in "13579":
            row = ws.waybills.get(number)
            assert row is not None
            ws.waybills.put(msgspec.structs.replace(row, state="free"))
        return number

    with patch.object(grant, "_draw", keep):
        yield


@contextmanager
def token_not_raised() -> Iterator[None]:
    """A shipment that changes hands keeps its token."""
    real = own.take_back

    def same(ws: WorkingSet, shipment: Any, why: str, **kwargs: Any) -> Any:
        free = real(ws, shipment, why, **kwargs)
        same_token = msgspec.structs.replace(free, token_n=free.token_n - 1)
        ws.shipments.put(same_token)
        return same_token

    with (
        patch.object(own, "take_back", same),
        patch.object(sweep, "take_back", same),
        patch.object(facts, "take_back", same),
    ):
        yield


@contextmanager
def held_counted_by_lines() -> Iterator[None]:
    """The hold's counter is raised by the number of lines, not of units."""
    real = own.set_goods_aside

    def by_lines(
        ws: WorkingSet, shipment_id: str, token: Token, warehouse: str, lines: Any
    ) -> None:
        real(ws, shipment_id, token, warehouse, [(sku, 1) for sku, _ in lines])

    with patch.object(own, "set_goods_aside", by_lines):
        yield


@contextmanager
def bad_row_spoils_its_message() -> Iterator[None]:
    """One refused row, and nothing of the message is applied."""
    real = apply_orders.apply_shop_events

    def all_or_nothing(ws: WorkingSet, command: Any) -> Any:
        if command.problems:
            command = replace(command, orders=())
        return real(ws, command)

    folds = {ApplyShopEvents: (all_or_nothing, apply_orders.prefetch)}
    with patch.dict(registry.FOLDS, folds):
        yield


@contextmanager
def personal_data_in_the_grant() -> Iterator[None]:
    """Names are not masked before they travel."""
    with patch.object(intake, "mask_name", lambda name: name):
        yield


@contextmanager
def contacts_never_purged() -> Iterator[None]:
    """Clear contacts stay for good."""
    with patch.object(sweep, "_purge", lambda ws, limit: 0):
        yield


def made_for(history: str, plant: Plant, breaks: tuple[str, ...]) -> Planted:
    """A bug that one of the histories made for bugs shows."""
    return Planted(plant, SEED_OF_HISTORIES, breaks, 1, history)


BANK: dict[str, Planted] = {
    "ack_before_commit": Planted(ack_before_commit, 5, ("P1", "P2", "P6", "crash")),
    "synchronous_normal": made_for("rough_day", synchronous_normal, ("P1", "P2", "P6")),
    "delete_on_puback": Planted(delete_on_puback, 1, ("P1", "P2")),
    "seq_reuse_after_restore": Planted(seq_reuse_after_restore, 20, ("P1", "P2", "P6")),
    "print_on_accept": Planted(print_on_accept, 1, ("P4",)),
    "stale_token_accepted": Planted(stale_token_accepted, 4, ("P4",)),
    "reprint_of_unknown": made_for("rough_day", reprint_of_unknown, ("P6",)),
    "reissue_is_a_new_label": made_for("lost_cards", reissue_is_a_new_label, ("P6",)),
    "fence_not_stored_for_unknown": made_for("lost_cards", fence_not_stored_for_unknown, ("P4",)),
    "no_debounce": Planted(no_debounce, 1, ("P2",)),
    "unknown_code_beeps": Planted(unknown_code_beeps, 1, ("P11",)),
    "redelivery_applied_again": Planted(redelivery_applied_again, 1, ("P2", "P8")),
    "gap_swallowed": Planted(gap_swallowed, 1, ("P1", "P2")),
    "status_overwritten": Planted(status_overwritten, 1, ("P7",)),
    "outbox_outside_the_commit": Planted(outbox_outside_the_commit, 1, ("P5",)),
    "hold_kept_after_cancel": Planted(hold_kept_after_cancel, 1, ("P5",)),
    "number_drawn_twice": Planted(number_drawn_twice, 1, ("P6",)),
    "token_not_raised": made_for("rough_day", token_not_raised, ("P4", "P5", "P7")),
    "held_counted_by_lines": Planted(held_counted_by_lines, 1, ("P5",)),
    "bad_row_spoils_its_message": Planted(bad_row_spoils_its_message, 3, ("P11",), days=2),
    "personal_data_in_an_event": Planted(personal_data_in_an_event, 3, ("P12",), days=1),
    "personal_data_in_the_grant": Planted(personal_data_in_the_grant, 1, ("P12",)),
    "contacts_never_purged": Planted(contacts_never_purged, 1, ("P12",), days=1),
    "expire_confirm_race": made_for("busy_checkout", ledger.expire_confirm_race, ("P9",)),
    "confirmed_hold_expired": made_for("busy_checkout", ledger.confirmed_hold_expired, ("P9",)),
    "holds_never_over": made_for("busy_checkout", ledger.holds_never_over, ("P9",)),
    "basket_partly_held": Planted(ledger.basket_partly_held, 1, ("P9",)),
    "key_outside_the_commit": Planted(ledger.key_outside_the_commit, 1, ("P8",)),
    "hold_left_behind": Planted(ledger.hold_left_behind, 1, ("P3", "P5", "P8")),
    "victim_not_chosen": made_for("busy_checkout", ledger.victim_not_chosen, ("P3",)),
    "victim_not_rerouted": made_for("busy_checkout", ledger.victim_not_rerouted, ("P5", "P7")),
    "split_held_twice": Planted(ledger.split_held_twice, 3, ("P5",)),
    "stock_back_before_the_bench_stopped": Planted(
        ledger.stock_back_before_the_bench_stopped, 1, ("P5",)
    ),
    "half_open_stuck": Planted(ledger.half_open_stuck, 4, ("P10",)),
    "every_warehouse_ejected": made_for("late_buildings", ledger.every_warehouse_ejected, ("P10",)),
    "warning_counted_twice": made_for("late_buildings", ledger.warning_counted_twice, ("P10",)),
    "late_fact_extends": made_for("late_buildings", ledger.late_fact_extends, ("P10",)),
    "sole_holder_ejected": made_for("late_buildings", ledger.sole_holder_ejected, ("P10",)),
    "breaker_not_asked": made_for("late_buildings", ledger.breaker_not_asked, ("P10",)),
    "late_yes_wins": made_for("hasty_claims", ledger.late_yes_wins, ("P4",)),
    "outbox_polled_by_last_id": Planted(ledger.outbox_polled_by_last_id, 1, ("P1", "P2"), days=1),
}


def run_planted(name: str, seed: int) -> Outcome:
    """One history with the bug in place."""
    bug = BANK[name]
    with bug.plant():
        return run_seed(seed, bug.days, **HISTORIES.get(bug.history, {}))


def search(name: str, seeds: range = range(1, 21)) -> str:
    """The first seed that shows the bug, in words."""
    quiet()
    for seed in seeds:
        outcome = run_planted(name, seed)
        if outcome.violation is not None:
            return f"seed {seed} day {outcome.days:.2f}: {str(outcome.violation)[:150]}"
    return "NOT FOUND"


def show(name: str) -> None:
    """Print as JSON what one bug breaks: its recorded seed first, then the next ones in order.

    The programs change and with them what a seed meets; a few seeds must do at any time.
    """
    recorded = BANK[name].seed
    for seed in (recorded, *(s for s in range(1, SEEDS_TRIED) if s != recorded)):
        outcome = run_planted(name, seed)
        if outcome.violation is not None:
            break
    found = outcome.violation
    broken = found.invariant if found else ""
    told = {"bug": name, "seed": seed, "day": round(outcome.days, 2), "broken": broken}
    print(json.dumps({**told, "seen": str(found)[:300]}))


def show_without(history: str) -> None:
    """Print as JSON what one of the histories made for bugs breaks when no bug is in place."""
    outcome = run_seed(SEED_OF_HISTORIES, 1, **HISTORIES[history])
    broken = outcome.violation.invariant if outcome.violation else ""
    told = {"history": history, "day": round(outcome.days, 2), "broken": broken}
    print(json.dumps({**told, "orders": outcome.orders, "seen": str(outcome.violation)[:300]}))


def main() -> None:
    """Look for every bug (or the ones named) in seeds 1..20, or show one with its seed."""
    quiet()
    if sys.argv[1:2] == ["--one"]:
        show(sys.argv[2])
        return
    wanted = sys.argv[1:] or list(BANK)
    with ProcessPoolExecutor(2) as pool:
        for name, found in zip(wanted, pool.map(search, wanted), strict=True):
            print(f"{name:32} {found}", flush=True)


if __name__ == "__main__":
    main()
