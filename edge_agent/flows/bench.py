"""What the bench is like at the moment a flow runs: its plan, and what is not in the journal."""

from __future__ import annotations

from dataclasses import dataclass

from edge_agent.domain.floor_plan import FloorPlan
from edge_agent.domain.moment import ServerOffset
from edge_agent.journal import meta
from edge_agent.ports import Connection


@dataclass(frozen=True, slots=True)
class Bench:
    """`offset` is the learned server clock (None until the core was heard in this boot)."""

    plan: FloorPlan
    offset: ServerOffset | None = None


def is_open(db: Connection) -> bool:
    """Whether the warehouse takes new offers."""
    return meta.text(db, "closed") == ""


def set_open(db: Connection, open_: bool) -> None:
    """Take new offers, or none until further notice."""
    meta.put(db, "closed", "" if open_ else "1")


def resynced_epoch(db: Connection) -> str:
    """The floor epoch for which the core has sent every fence and open grant."""
    return meta.text(db, "resynced")


def set_resynced(db: Connection, epoch: str) -> None:
    meta.put(db, "resynced", epoch)
