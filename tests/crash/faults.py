"""Every single operation fails once, and from then on: SQLite's own loop, n = 1, 2, 3 …

A fixed piece of work runs over a card whose n-th operation of a kind fails, until a run is through
without reaching n. Nothing answered may be lost, nothing refused may be claimed, and when the card
is well again the same journal goes on, without a new start where its connection still lives.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import apsw

from edge_agent.domain.moment import Now
from edge_agent.journal.core import JournalCore
from protocols import chain
from protocols.errors import Corrupt, PacklineError, Unavailable
from tests.crash.history import forget, number_of, pick, refusing
from tests.crash.medium import Medium, Trigger, rows_of

NOW = Now(1_800_000_000_000, 5)
KINDS = ("read", "write", "truncate", "sync", "open", "delete")
N_MAX = 2_000
FULL = frozenset({"write", "truncate"})


@dataclass
class Failed:
    """What the loops counted."""

    io_errors: int = 0
    full_disks: int = 0
    violations: list[str] = field(default_factory=list)


def every_io_error(found: Failed, kinds: Sequence[str] = KINDS) -> None:
    """Each kind of operation, each n, once and lasting, at the start and during work."""
    for kind in kinds:
        for lasting in (False, True):
            for starting in (False, True):
                n = 0
                while n < N_MAX:
                    n += 1
                    trigger = Trigger(n, frozenset({kind}), apsw.IOError, lasting)
                    if not _one(found, trigger, f"{kind} {n}", starting=starting):
                        break
                    found.io_errors += 1


def every_full_disk(found: Failed) -> None:
    """From the n-th write on nothing fits any more, until somebody makes room."""
    for starting in (False, True):
        n = 0
        while n < N_MAX:
            n += 1
            trigger = Trigger(n, FULL, apsw.FullError)
            if not _one(found, trigger, f"full {n}", starting=starting):
                break
            found.full_disks += 1


def _one(found: Failed, trigger: Trigger, name: str, *, starting: bool) -> bool:
    """One run; whether its operation was reached."""
    medium = Medium(checkpoint=20)
    core = medium.core()
    held: dict[int, int] = {}
    try:
        if not starting:
            core.open(NOW)
        medium.arm(trigger)
        if starting and not _opens(core):
            medium.arm(None)
            medium.leave()
            core = medium.core()
            core.open(NOW)
        alive = _work(core, 0, held)
        hit = trigger.hit
        medium.arm(None)
        if alive:
            alive = _work(core, 100, held)
            if not alive or core.failing:
                found.violations.append(f"{name}: does not go on: {core.failing}")
        medium.disk.kill()
        medium.leave()
        core = medium.core()
        core.open(NOW)
        found.violations += [f"{name}: {what}" for what in _wrong(core, held)]
        if _work(core, 200, held) is False:
            found.violations.append(f"{name}: does not work after a start")
    except (sqlite3.Error, PacklineError) as error:
        found.violations.append(f"{name}: {error!r}")
        hit = trigger.hit
    finally:
        medium.close()
    return hit


def _opens(core: JournalCore) -> bool:
    try:
        core.open(NOW)
    except (sqlite3.Error, Unavailable):
        return False
    return True


def _work(core: JournalCore, first: int, held: dict[int, int]) -> bool:
    """Ten groups; False when the journal says that only a new start can help."""
    for number in range(first + 1, first + 11):
        works: list[Any] = [pick(number * 2, 3000), refusing(9_999), pick(number * 2 + 1, 10)]
        if number % 4 == 0:
            works.append(forget)
        try:
            results = core.commit([(work, NOW) for work in works])
        except (sqlite3.DatabaseError, Corrupt):
            return False
        for value, (seq, error) in zip((number * 2, -1, number * 2 + 1), results, strict=False):
            if error is None and value > 0:
                held[seq] = value
    return True


def _wrong(core: JournalCore, held: dict[int, int]) -> list[str]:
    found = rows_of(core)
    numbers = {seq: number_of(row) for _, seq, row, _ in found}
    wrong = [f"row {seq} is not {value}" for seq, value in held.items() if numbers[seq] != value]
    if [seq for _, seq, _, _ in found] != list(range(1, len(found) + 1)):
        wrong.append("holes")
    digests = chain.extend(core.genesis(core.position.epoch), [row for _, _, row, _ in found])
    if digests != [digest for *_, digest in found]:
        wrong.append("the hash chain is broken")
    return wrong
