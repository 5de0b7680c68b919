"""What a shop's checkout can ask of the ledger: place, confirm, release; and what time does.

Every command that came with an `Idempotency-Key` carries the key, its scope (who asked) and a
digest of what was asked, so that the key stands in the same commit as the effect (P8).
"""

from __future__ import annotations

from dataclasses import dataclass

from msgspec import Struct

from cloud_core.domain.conservation import Drift

Units = tuple[tuple[str, str, int], ...]
"""(warehouse, sku, quantity), sorted."""


@dataclass(frozen=True, slots=True)
class Keyed:
    """An idempotency key: `scope` is who asked, `digest` what was asked, 32 hex characters."""

    scope: str
    key: str
    digest: str


@dataclass(frozen=True, slots=True)
class WantedHold:
    """One basket: all of it or nothing. `ttl_s` 0 is the policy's default."""

    id: str
    lines: tuple[tuple[str, int], ...]
    """(sku, quantity), unique by SKU."""
    ttl_s: int = 0
    channel: str = ""
    order_ref: str = ""
    field: str = ""
    """Where the request has it, as the prefix of a refused field: `holds[3].`"""


@dataclass(frozen=True, slots=True)
class PlaceHolds:
    """Set stock aside for 1..500 baskets. Result: `Answered`."""

    holds: tuple[WantedHold, ...]
    keyed: Keyed
    actor: str


@dataclass(frozen=True, slots=True)
class ConfirmHold:
    """The basket is paid: its stock stays until an order takes it. Result: `Answered`."""

    hold_id: str
    keyed: Keyed
    actor: str


@dataclass(frozen=True, slots=True)
class ReleaseHold:
    """The basket is given up; `force` is a person who gives a confirmed one back.

    Result: `HoldAnswer`.
    """

    hold_id: str
    actor: str
    source: str = ""
    force: bool = False


EXPIRE_AT_ONCE, EXPIRE_MANY = 100, 500
"""Holds one sweep ends, and when it has to wait for its turn behind large batches."""


@dataclass(frozen=True, slots=True)
class ExpireHolds:
    """End what is over, at most `limit` holds and keys, and look for confirmed holds nobody
    ordered. Result: `Expired`.

    A payment that arrives during a storm of expiries waits for one such command at most, so it is
    kept small.
    """

    limit: int = EXPIRE_AT_ONCE
    orphans: bool = False


@dataclass(frozen=True, slots=True)
class Expired:
    """How much one sweep of holds did; `more` when a limit was reached."""

    holds: int
    keys: int
    orphans: int
    more: bool


@dataclass(frozen=True, slots=True)
class NoteDrifts:
    """What the checker found; `whole`: a pass over every row, what is not in it is well again.

    Result: None.
    """

    drifts: tuple[Drift, ...]
    whole: bool


class Missing(Struct, frozen=True, gc=False):
    """What a basket wants and what could be set aside of it."""

    sku: str
    wanted: int
    available: int


class HoldAnswer(Struct, frozen=True, gc=False, omit_defaults=True):
    """What became of one basket; `code` "" when it is as asked. Stored beside its key."""

    id: str
    state: str
    expires_ms: int | None = None
    resolved_ms: int | None = None
    lines: Units = ()
    order_ref: str = ""
    code: str = ""
    field: str = ""
    zh: str = ""
    en: str = ""
    missing: tuple[Missing, ...] = ()


@dataclass(frozen=True, slots=True)
class Answered:
    """The answer to a keyed command; `replayed` when it is the stored one."""

    holds: tuple[HoldAnswer, ...]
    replayed: bool = False
