"""What the committer can be asked to do: one frozen dataclass a command, plain values only.

A command is folded over a working set by the flow that `bootstrap` registers for its type; it is
acknowledged after the commit that holds its effects. `weight` orders the committer's lanes: light
commands never wait behind a heavy batch.
"""

from __future__ import annotations

from dataclasses import dataclass

from cloud_core.domain.rule_values import RuleProblem
from cloud_core.domain.shop_order import RowProblem, ShopEvent
from protocols.messages import AgentState, Hello


@dataclass(frozen=True, slots=True)
class SealedContact:
    """One order's contact row: sealed clear fields plus what may be shown."""

    sealed: bytes
    key_id: str
    name_masked: str
    phone_masked: str
    address_masked: str
    phone_hash: str
    last4_hash: str = ""


@dataclass(frozen=True, slots=True)
class IncomingOrder:
    """A shop's event with its contact sealed and its ids drawn (used only if the order is new)."""

    event: ShopEvent
    contact: SealedContact | None
    new_order_id: str
    new_track_token: str


@dataclass(frozen=True, slots=True)
class StoreRaw:
    """Keep the raw bytes of a verified message. Result: `StoredRaw`."""

    channel: str
    kind: str
    digest: str
    body: bytes
    note: str = ""
    source: str = ""


@dataclass(frozen=True, slots=True)
class StoredRaw:
    """The row of a raw message; `duplicate` when the same bytes were stored before."""

    raw_id: int
    duplicate: bool


@dataclass(frozen=True, slots=True)
class ApplyShopEvents:
    """Apply parsed shop events (1..500). Result: `Applied`."""

    channel: str
    orders: tuple[IncomingOrder, ...]
    problems: tuple[RowProblem, ...] = ()
    raw_id: int | None = None
    actor: str = ""
    source: str = ""
    """The address the message came from, for the trail."""
    dry_run: bool = False
    """Only say what would become of each event."""


@dataclass(frozen=True, slots=True)
class Applied:
    """What became of each event, in order: `created`, `updated`, `duplicate`, `stored`, or a
    refusal code; `order_ids` beside it, and why it was refused in Chinese ("" if it was not)."""

    results: tuple[str, ...]
    order_ids: tuple[str, ...]
    said: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class GreetAgent:
    """An agent's hello. Result: `protocols.messages.Welcome`."""

    site: str
    agent: str
    hello: Hello


@dataclass(frozen=True, slots=True)
class SeeAgent:
    """A birth, heartbeat or will. Result: whether the agent is on now."""

    site: str
    agent: str
    state: AgentState


@dataclass(frozen=True, slots=True)
class RecordBatch:
    """One event batch, envelope decoded, rows raw. Result: `protocols.messages.Ack`."""

    site: str
    agent: str
    stream: str
    epoch: str
    first_seq: int
    hash_before: bytes
    rows: tuple[bytes, ...]
    skip_from: int = 0


@dataclass(frozen=True, slots=True)
class QuarantineInput:
    """Bad input that belongs to no other command (an MQTT payload, a raw message)."""

    source: str
    code: str
    field: str
    message: str
    body: bytes
    raw_id: int | None = None
    """Set when a stored raw message could not be parsed: it is marked processed."""


@dataclass(frozen=True, slots=True)
class Sweep:
    """Look at deadlines and, when asked, at parked shipments and at what must be forgotten;
    at most `limit` rows of each. Result: `flows.sweep.Swept`."""

    parked: bool = True
    purge: bool = True
    limit: int = 200
    parked_after: tuple[int, int, str] | None = None
    """The place (priority, paid_ms, id) in the line of parked shipments to go on behind."""


@dataclass(frozen=True, slots=True)
class DrawCommands:
    """Number and return up to `limit` commands an agent has not confirmed. Result: list of
    `OutgoingCommand`, oldest first; sent again when older than `resend_ms`."""

    agent: str
    limit: int = 100
    resend_ms: int = 10_000
    everything: bool = False


@dataclass(frozen=True, slots=True)
class OutgoingCommand:
    """One outbox row ready to be published as `protocols.messages.Command`."""

    id: str
    cs: int
    kind: str
    body: bytes
    sent_ms: int
    ttl_s: int | None
    core_epoch: int


@dataclass(frozen=True, slots=True)
class SettleShopCall:
    """The answer of a shop write-back; not done means a later try at `retry_ms`."""

    id: str
    done: bool
    answer: str
    retry_ms: int = 0


@dataclass(frozen=True, slots=True)
class ImportRows:
    """Master data values of one kind, already parsed. Result: `Imported`."""

    kind: str
    values: tuple[object, ...]
    dry_run: bool
    actor: str
    source: str = ""


@dataclass(frozen=True, slots=True)
class CheckTables:
    """Several tables (kind, values), each against what would be there after those before it.

    Nothing is written. Result: one `Imported` a table.
    """

    tables: tuple[tuple[str, tuple[object, ...]], ...]


@dataclass(frozen=True, slots=True)
class Imported:
    """How many rows were new, changed or the same, and what was refused."""

    created: int
    changed: int
    same: int
    problems: tuple[RowProblem, ...] = ()


@dataclass(frozen=True, slots=True)
class ApplyRules:
    """Run a set of routing rules (TOML), or an old version again. Result: `RulesApplied`."""

    text: str
    actor: str
    source: str = ""
    note: str = ""
    dry_run: bool = False
    from_version: int = 0
    empty: bool = False
    """Whether a text without one setting may replace what runs."""


@dataclass(frozen=True, slots=True)
class RulesApplied:
    """The version that runs now; with `problems` it is the one that ran before.

    `same`: this very text runs already.
    """

    version: int
    digest: str
    rules: int
    dry_run: bool
    problems: tuple[RuleProblem, ...] = ()
    same: bool = False


@dataclass(frozen=True, slots=True)
class ResolveIncident:
    """A person closes an incident. Result: None.

    `stock_effect` (`put_back`, `shipped`, `lost`) says what became of goods that are still counted
    as held because the shipment was taken back at risk.
    """

    incident_id: int
    actor: str
    source: str = ""
    stock_effect: str = ""


@dataclass(frozen=True, slots=True)
class TakeBack:
    """A person takes a shipment from its warehouse and accepts the risk. Result: `TakenBack`."""

    shipment_id: str
    reason: str
    actor: str
    source: str = ""


@dataclass(frozen=True, slots=True)
class TakenBack:
    """Where the shipment is now; `at_risk` when the old bench had the right to send it."""

    state: str
    parked: str
    warehouse: str
    at_risk: bool


@dataclass(frozen=True, slots=True)
class RetryParked:
    """A person has a parked shipment routed again at once. Result: `Retried`."""

    shipment_id: str
    actor: str
    source: str = ""


@dataclass(frozen=True, slots=True)
class Retried:
    """The warehouse that got the shipment, or why it is parked still."""

    parked: str
    warehouse: str


@dataclass(frozen=True, slots=True)
class WaiveAgent:
    """After a restore: go on without this agent's replay. Result: None."""

    agent: str
    actor: str
