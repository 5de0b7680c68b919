"""One card's life: commit, lose power at any operation, start again, and compare with the answers.

What was answered must be there, once, in order, under an unbroken hash chain; a group that was
under way is there whole or not at all; what a work wrote beside its row goes with the row.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any

import msgspec

from edge_agent.domain.moment import Now
from edge_agent.journal import meta, rows
from edge_agent.journal.core import JournalCore
from edge_agent.journal.tx import Tx
from protocols import chain
from protocols.errors import PacklineError, Unavailable
from protocols.events import ItemPicked
from protocols.messages import Event, Token
from tests.crash.medium import Medium, Trigger, rows_of

GROUPS_MAX = 12
OPERATIONS_MAX = 160
START_MS = 1_800_000_000_000
_decode = msgspec.json.Decoder(Event).decode


@dataclass
class Tally:
    """What a campaign counts."""

    crashes: int = 0
    commits: int = 0
    violations: list[str] = field(default_factory=list)


class Refusal(Exception):
    """A work that says no: it must leave no trace."""


class History:
    """A card, what was answered for it, and the group that was under way when the power went."""

    def __init__(self, seed: int, tally: Tally, medium: Medium) -> None:
        self.rng = Random(seed)
        self.medium = medium
        self.tally = tally
        self.held: dict[tuple[int, int], int] = {}
        """(epoch number, seq) -> number of the pick it tells of, as answered."""
        self.pending: list[int] = []
        self.numbers = 0
        self.pruned = 0
        self.boot = 0
        self.now_ms = START_MS
        self.spoilt = False
        """The card contradicted an answer; its life is over."""

    def cycle(self) -> None:
        """Start, look, work, lose power."""
        core = self.medium.core()
        if self._start(core):
            self._work(core)
        self.medium.cut_power(self.rng)
        self.tally.crashes += 1

    def _start(self, core: JournalCore) -> bool:
        """Open and compare; False when the power went meanwhile."""
        trigger = Trigger(self.rng.randrange(1, 30)) if self.rng.random() < 0.15 else None
        self.medium.arm(trigger)
        try:
            core.open(self._now())
        except (sqlite3.Error, PacklineError) as error:
            if trigger is None or not trigger.hit:
                self._broken(f"does not open: {error}")
            return False
        if trigger is not None and trigger.hit:
            return False
        self.medium.arm(None)
        try:
            self._compare(core)
        except (sqlite3.Error, msgspec.MsgspecError, TypeError, ValueError) as error:
            self._broken(f"cannot be read: {error!r}")
        return not self.spoilt

    def _compare(self, core: JournalCore) -> None:
        found = rows_of(core)
        numbers = {(no, seq): number_of(row) for no, seq, row, _ in found}
        base = {epoch.no: (epoch.base_seq, epoch.base_hash) for epoch in rows.epochs(core.db)}
        for (no, seq), number in self.held.items():
            gone = seq <= base.get(no, (0, b""))[0] <= self.pruned
            if numbers.get((no, seq)) != number and not gone:
                self._broken(f"answered row {no}/{seq} holds {numbers.get((no, seq))}")
                return
        for no, (seq, digest) in base.items():
            rest = [(q, row, link) for found_no, q, row, link in found if found_no == no]
            if [q for q, _, _ in rest] != list(range(seq + 1, seq + 1 + len(rest))):
                self._broken(f"epoch {no} has holes")
            elif chain.extend(digest, [row for _, row, _ in rest]) != [link for *_, link in rest]:
                self._broken(f"epoch {no}: the hash chain is broken")
        extra = [number for key, number in numbers.items() if number and key not in self.held]
        if extra and extra != self.pending:
            self._broken(f"half a group: {extra} of {self.pending}")
        noted = meta.number(core.db, "noted")
        if noted != max([0, *numbers.values()]):
            self._broken(f"noted {noted} beside rows up to {max([0, *numbers.values()])}")
        if core.boot <= self.boot:
            self._broken(f"boot {core.boot} again")
        self.boot = core.boot
        self.held = {key: number for key, number in numbers.items() if number}

    def _work(self, core: JournalCore) -> None:
        trigger = Trigger(self.rng.randrange(1, OPERATIONS_MAX))
        self.medium.arm(trigger)
        for _ in range(self.rng.randrange(1, GROUPS_MAX)):
            works = [self._one() for _ in range(self.rng.choice((1, 1, 1, 2, 5)))]
            self.pending = [number for number, _ in works if number > 0]
            try:
                results = core.commit([(work, self._now()) for _, work in works])
            except sqlite3.DatabaseError as error:
                if not trigger.hit:
                    self._broken(f"commit: {error}")
                return
            if any(isinstance(error, Unavailable) for _, error in results):
                if not trigger.hit:
                    self._broken(f"commit refused: {results}")
                return
            self.tally.commits += 1
            self._note(core, works, results)
            if trigger.hit:
                return
        self.pending = []

    def _note(self, core: JournalCore, works: list[Any], results: list[Any]) -> None:
        epoch_no = core.position.epoch_no
        for (number, _), (seq, error) in zip(works, results, strict=True):
            if number > 0:
                assert error is None, error
                self.held[epoch_no, seq] = number
            elif number < 0:
                assert isinstance(error, Refusal), error
        self.pending = []

    def _one(self) -> tuple[int, Callable[[Tx], Any]]:
        """A work and the number it writes: 0 = upkeep, below 0 = it will refuse."""
        drawn = self.rng.random()
        if drawn < 0.04:
            return 0, self._prune
        if drawn < 0.07:
            return 0, forget
        self.numbers += 1
        if drawn < 0.15:
            return -self.numbers, refusing(self.numbers)
        return self.numbers, pick(self.numbers, self.rng.choice((10, 10, 400, 3000)))

    def _prune(self, tx: Tx) -> None:
        """The core holds everything but the newest ten; half of it goes."""
        tx.flush()
        epoch = rows.current(tx.db)
        assert epoch is not None
        rows.set_acked(tx.db, epoch.no, max(0, epoch.last - 10))
        self.pruned = max(self.pruned, max(0, epoch.last - 10))
        rows.prune(tx.db, upto=(epoch.no, epoch.last // 2))

    def _now(self) -> Now:
        self.now_ms += 7
        return Now(self.now_ms, self.now_ms - START_MS)

    def _broken(self, what: str) -> None:
        self.spoilt = True
        self.tally.violations.append(what)


def pick(number: int, size: int) -> Callable[[Tx], int]:
    body = ItemPicked(
        shipment=f"DB{number}-1", token=Token(1, 1), sku="A" * (1 + size % 60), quantity=number
    )

    def run(tx: Tx) -> int:
        if size > 100:  # a work that wrote beside its row: pages of the file move too
            meta.put(tx.db, f"page{number % 7}", "x" * size)
        meta.put(tx.db, "noted", number)
        return tx.append("item.picked", body)

    return run


def refusing(number: int) -> Callable[[Tx], int]:
    write = pick(number, 400)

    def run(tx: Tx) -> int:
        write(tx)
        raise Refusal

    return run


def forget(tx: Tx) -> None:
    """What a purge of label fields asks for: no copy may stay in the log either."""
    meta.put(tx.db, "page0", "")
    tx.scrub = True


def number_of(row: bytes) -> int:
    event = _decode(row)
    return int(msgspec.json.decode(event.d)["quantity"]) if event.t == "item.picked" else 0
