"""Greet: say hello with every epoch kept, and go on from what the welcome says the core holds.

A restored or cloned card is recognised here: its rows do not continue the core's chain, so it
opens a new epoch and carries over what the core may not hold, each row with its first origin.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edge_agent.domain.sender import Leg
from edge_agent.flows import bench, print_label
from edge_agent.journal import meta, rows
from edge_agent.journal.tx import Tx
from edge_agent.ports import Connection
from protocols import limits
from protocols.messages import EpochKept, StreamHave, StreamPosition, Welcome


@dataclass(frozen=True, slots=True)
class Route:
    """Where one stream goes on: the legs to send, or `reopened` = say hello again first."""

    legs: tuple[Leg, ...] = ()
    reopened: bool = False


@dataclass(frozen=True, slots=True)
class Greeted:
    """What the floor's part of a welcome came to; `printing`: nothing is left to resynchronise."""

    route: Route
    printing: bool = False


def position(db: Connection, stream: str) -> StreamPosition:
    """How the stream stands, for the hello: the current epoch and the kept ones that have rows."""
    *older, current = rows.epochs(db)
    kept = [
        EpochKept(epoch.id, epoch.base_seq + 1, epoch.last)
        for epoch in older
        if epoch.last > epoch.base_seq
    ]
    return StreamPosition(
        stream=stream,
        epoch=current.id,
        first=current.base_seq + 1,
        next=current.last + 1,
        head=current.head.hex(),
        # With the current one per stream, so that the welcome has room for an answer to each.
        kept=kept[1 - limits.EPOCHS_KEPT_MAX :],
    )


def fresh(db: Connection) -> bool:
    """Whether the current floor epoch has not been resynchronised by the core yet."""
    current = rows.current(db)
    return current is None or bench.resynced_epoch(db) != current.id


def core_epoch(db: Connection) -> int:
    """The core epoch this agent last saw, 0 if none."""
    return meta.number(db, "core_epoch")


def welcome_floor(tx: Tx, welcome: Welcome) -> Greeted:
    """Settle the floor stream with the core's answer and open the way for printing.

    With a fork nothing prints before the next welcome; with `resync` not before `resync_done`,
    which may have overtaken this welcome and is not sent again.
    """
    route = welcome_stream(tx, welcome, "floor")
    meta.put(tx.db, "core_epoch", welcome.core_epoch)
    if route.reopened:
        return Greeted(route)
    if not welcome.resync:
        bench.set_resynced(tx.db, tx.head.epoch)
    return Greeted(route, print_label.may_print(tx.db, tx.head.epoch))


def welcome_stream(tx: Tx, welcome: Welcome, stream: str) -> Route:
    """Settle one stream: adopt what the core holds, carry over what it cannot follow."""
    tx.flush()
    told = {have.epoch: have for have in welcome.streams if have.stream == stream}
    known = rows.epochs(tx.db)
    current = known[-1]
    answer = told.get(current.id)
    if answer is None:
        return Route(reopened=True)
    if not _follows(tx.db, current, answer):
        tx.open_epoch("fork")
        return Route(reopened=True)
    _carry_forked(tx, known[:-1], told)
    rows.set_acked(tx.db, current.no, answer.have)
    legs = [_kept_leg(tx.db, epoch, told.get(epoch.id)) for epoch in known[:-1]]
    last = Leg(current.no, current.id, answer.have)
    return Route(legs=(*(leg for leg in legs if leg is not None), last))


def _follows(db: Connection, epoch: rows.Epoch, answer: StreamHave) -> bool:
    """Whether the core's rows of this epoch are ours."""
    if answer.fork or answer.have > epoch.last:
        return False
    ours = rows.hash_at(db, epoch.no, answer.have)
    return ours is None or ours.hex() == answer.hash


def _carry_forked(tx: Tx, older: Sequence[rows.Epoch], told: dict[str, StreamHave]) -> None:
    for epoch in older:
        answer = told.get(epoch.id)
        if answer is not None and not _follows(tx.db, epoch, answer):
            tx.carry(tx.take_unsettled(epoch))


def _kept_leg(db: Connection, epoch: rows.Epoch, answer: StreamHave | None) -> Leg | None:
    """The replay of an older epoch, when the core holds less of it than we do."""
    if answer is None or not _follows(db, epoch, answer) or answer.have >= epoch.last:
        return None
    # Unsettled again, also what a later epoch carries: nothing of it may age out under the replay.
    rows.set_acked(db, epoch.no, answer.have)
    rows.set_carried(db, epoch.no, 0)
    return Leg(epoch.no, epoch.id, answer.have, epoch.last)
