"""What the committer can be asked about breakers and notices: one frozen dataclass a command."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class JudgeBreakers:
    """Judge every warehouse by what is known now. Result: how many breakers changed."""


@dataclass(frozen=True, slots=True)
class ForceBreaker:
    """A person sets a warehouse's breaker: `open`, `closed`, or `auto` to let it be.

    `until_ms` None = until somebody says `auto`. Result: the `BreakerState`.
    """

    warehouse: str
    mode: str
    actor: str
    reason: str = ""
    until_ms: int | None = None
    source: str = ""
    told: str = ""
    """How people are told who it was (`key:x 客服甲`); "" = the actor."""


@dataclass(frozen=True, slots=True)
class SettleNotice:
    """How a try to deliver a notice ended; not done means a later try at `retry_ms`.

    `no_target`: nobody of that name is there any more. Result: None.
    """

    id: str
    done: bool
    answer: str
    retry_ms: int = 0
    no_target: bool = False
