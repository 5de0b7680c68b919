"""Slower hearts: what real programs do every few seconds is done every few virtual minutes.

A week of heartbeats every ten seconds would cost more than everything that matters together. Only
intervals of waiting are stretched; no rule of the product changes with them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from edge_agent.agent import printing, session, upkeep, uploading
from protocols import limits

STRETCHED = (
    (limits, "HEARTBEAT_S", 3600),
    (printing, "POLL_S", 1800.0),
    (uploading, "IDLE_S", 1800.0),
    (upkeep, "PURGE_EVERY_BEATS", 2),
    (session, "GREET_MOST_S", 240.0),
)


@contextmanager
def stretched() -> Iterator[None]:
    """The intervals of the simulation, for the time of one history."""
    before = [(module, name, getattr(module, name)) for module, name, _ in STRETCHED]
    for module, name, value in STRETCHED:
        setattr(module, name, value)
    try:
        yield
    finally:
        for module, name, value in before:
            setattr(module, name, value)
