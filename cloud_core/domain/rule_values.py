"""Routing rules as values: what a rule asks, what it does, and a whole set of them.

`routing_rules` reads them from TOML, `rule_checks` judges them, `rule_index` finds those that
match. Weights are grams, money is fen, times milliseconds UTC, hours minutes of the day in China.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

FIRST_IN_QUEUE = 1000
"""The priority of `priority = "first"`; higher is served first."""
RANKS = ("prefer", "transit", "freight", "load", "priority")
"""The order of a rule set that does not say its own: the first difference wins."""


@dataclass(frozen=True, slots=True)
class When:
    """Conditions of a rule; all that are set must hold, in a list any one is enough."""

    divisions: tuple[str, ...] = ()
    except_divisions: tuple[str, ...] = ()
    weight_over_g: int = -1
    weight_up_to_g: int | None = None
    amount_from_fen: int = 0
    amount_below_fen: int | None = None
    skus: frozenset[str] = frozenset()
    categories: frozenset[str] = frozenset()
    sku_tags: frozenset[str] = frozenset()
    tags: frozenset[str] = frozenset()
    channels: frozenset[str] = frozenset()
    warehouses: frozenset[str] = frozenset()
    starts_ms: int = 0
    ends_ms: int | None = None
    hours: tuple[int, int] | None = None
    weekdays: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Then:
    """What a rule does. Lists of several rules add up; of the rest the first rule's value holds."""

    tags: tuple[str, ...] = ()
    priority: int | None = None
    allow_carriers: frozenset[str] = frozenset()
    exclude_carriers: frozenset[str] = frozenset()
    force_carrier: str = ""
    allow_warehouses: frozenset[str] = frozenset()
    exclude_warehouses: frozenset[str] = frozenset()
    prefer_warehouses: tuple[str, ...] = ()
    broadcast: int = 0
    ask_first: str = ""
    ask_wait_ms: int = 0
    ask_fallback: str = ""
    """What silence means: `accept` goes on, `park` waits for a person."""
    split: bool | None = None
    stop: bool = False
    gifts: tuple[tuple[str, int], ...] = ()
    """(SKU, units) that go with the order for nothing, as its gift child."""
    gift_bind: bool | None = None
    """Whether the bench must scan the gift before the box closes; None is yes."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule; `given` are the fields a person wrote, as `when.x` and `then.y`."""

    name: str
    when: When
    then: Then
    note: str = ""
    given: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class RuleProblem:
    """Why a rule file is refused: which rule (by name), which field, and how to say it."""

    rule: str
    field: str
    code: str
    message_zh: str
    message_en: str


@dataclass(frozen=True, slots=True)
class Ranking:
    """By what candidates are told apart, and where one transit time counts as another.

    A bucket holds the days up to and with its number: [1, 2, 3, 5] makes 4 and 5 days equal.
    """

    order: tuple[str, ...] = RANKS
    transit_buckets: tuple[int, ...] = (1, 2, 3, 5)

    def bucket(self, days: int) -> int:
        """The bucket of a transit time, 0 is the fastest."""
        return sum(days > edge for edge in self.transit_buckets)


@dataclass(frozen=True, slots=True)
class SplitPolicy:
    """Whether an order may travel in several parcels, by channel."""

    default: bool = False
    max_parcels: int = 3
    channels: Mapping[str, bool] = field(default_factory=dict)

    def allowed(self, channel: str) -> bool:
        """Whether orders of this channel may be split when no rule says otherwise."""
        return self.channels.get(channel, self.default)


@dataclass(frozen=True, slots=True)
class RuleSet:
    """All rules in order; `digest` is over the text they were read from."""

    version: int
    digest: str
    rules: tuple[Rule, ...] = ()
    ranking: Ranking = field(default_factory=Ranking)
    split: SplitPolicy = field(default_factory=SplitPolicy)


NO_RULES = RuleSet(0, "", (), Ranking(("priority", "transit", "freight", "load")))
"""What runs before a person applied rules: the operator's priorities first, as without rules."""
