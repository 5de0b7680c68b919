"""The few seams of the core that have two or more real implementations.

Flows, listeners and loops speak to these; `bootstrap` decides which class stands behind each, the
simulation puts virtual ones there. No I/O here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from cloud_core.domain.sheet import Sheet
from cloud_core.domain.shop_order import Division, Parsed

# --- time and names ----------------------------------------------------------------------------


class Clock(Protocol):
    """The core's one clock. Real: the system's; simulated: virtual time."""

    def now_ms(self) -> int:
        """Milliseconds since 1970 UTC."""
        ...


class Ids(Protocol):
    """Names that nobody can guess or that sort by time. Real: `secrets`; simulated: seeded."""

    def order_id(self, now_ms: int) -> str:
        """A global order id: prefix, year in China, eight random base-32 characters."""
        ...

    def track_token(self) -> str:
        """The secret of a tracking link: 22 URL-safe characters, 128 bits."""
        ...

    def command_id(self, now_ms: int) -> str:
        """A ULID: 26 characters, sorts by time."""
        ...


# --- several processes --------------------------------------------------------------------------


class ShareLook(Protocol):
    """What one look at the leases found."""

    @property
    def gained(self) -> bool:
        """Whether sites are ours that were not."""
        ...

    @property
    def others_changed(self) -> bool:
        """Whether a process came or went."""
        ...


class Share(Protocol):
    """What part of the work is this process's. Real: leases in PostgreSQL; alone: none is needed.

    Names are sites, or chores: `!sweep`, `!ingest`, `!calls`, `!ledger`, `!notices`.
    """

    def serves(self, name: str) -> bool:
        """Whether it is this process's now."""
        ...

    def look(self) -> ShareLook:
        """Renew and take leases; blocks. Raises `Unavailable`."""
        ...

    def give_back(self) -> None:
        """Let the others have it all at once; blocks. Raises `Unavailable`."""
        ...


# --- the line to the warehouses ----------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Connected:
    """The broker accepted us; subscriptions have to be made again (clean session)."""


@dataclass(frozen=True, slots=True)
class Disconnected:
    """The line is down; `reason` is for a log, not for a decision."""

    reason: str


@dataclass(frozen=True, slots=True)
class Received:
    """One message as it came, unparsed."""

    topic: str
    payload: bytes


LinkEvent = Connected | Disconnected | Received


class Will(Protocol):
    """Called before each connect: the topic and payload the broker publishes when we vanish."""

    def __call__(self) -> tuple[str, bytes]: ...


class Link(Protocol):
    """One MQTT connection, QoS 1. Real: paho; simulated: the faulty broker of the simulation."""

    inbox: asyncio.Queue[LinkEvent]
    """Bounded; what does not fit closes the connection, so that senders go back and repeat."""

    async def start(self, will: Will) -> None:
        """Connect and keep connected until `stop`."""
        ...

    async def subscribe(self, filters: Sequence[str]) -> None:
        """Subscribe and wait for the broker's answer. Raises `Unavailable` when it refuses."""
        ...

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> bool:
        """Hand a message to the line; False when it is down. Nothing is queued while offline."""
        ...

    async def stop(self) -> None: ...


# --- shops -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class WriteBackAnswer:
    """What a shop said to a call: settled (also when refused for good), or worth another try."""

    done: bool
    text: str


class WriteBack(Protocol):
    """Tells a shop what became of its order. Real: a signed HTTP call; tests: in memory."""

    async def send(
        self, channel: str, kind: str, body: bytes, idempotency_key: str
    ) -> WriteBackAnswer:
        """Deliver once or more; the receiver drops repeats by `idempotency_key`. Never raises."""
        ...


@dataclass(frozen=True, slots=True)
class ExternalAnswer:
    """What another system says of an order: `accept`, `refuse`, or "" for no answer yet."""

    verdict: str
    text: str = ""


class ExternalCheck(Protocol):
    """Asks another system (an ERP) about a paid order. Real: a signed HTTP call; tests: memory."""

    async def ask(self, rule: str, body: bytes, idempotency_key: str) -> ExternalAnswer:
        """One question, asked once or more under one key. Never raises."""
        ...


Headers = Mapping[str, str]
"""HTTP headers as a dialect sees them."""


@dataclass(frozen=True, slots=True)
class ChannelConfig:
    """What a person set up for one shop connection, without its secrets.

    `columns` maps a file's header to our field (`-` ignores a column, `*` stands for every header
    not known); `zone_minutes` is the offset of times a file gives without a zone.
    """

    name: str
    dialect: str
    app_key: str = ""
    tolerance_s: int = 300
    zone_minutes: int = 480
    columns: Mapping[str, str] = field(default_factory=dict)


class Divide(Protocol):
    """Finds the official division of an address; `domain.address.AddressMatcher.match`."""

    def __call__(
        self, province: str, city: str, district: str, town: str = "", detail: str = ""
    ) -> Division: ...


class ChannelDialect(Protocol):
    """One shop's language: bytes in, `ShopEvent`s out. Real: one folder each in `channels/`."""

    name: str
    max_body_bytes: int
    reports: bool
    """Whether the sender wants our report by event; platforms want `reply_ok` and nothing else."""

    def verify(
        self,
        headers: Headers,
        raw: bytes,
        secrets: Sequence[str],
        config: ChannelConfig,
        now_s: int,
    ) -> None:
        """Check size, timestamp and signature over the raw bytes. Raises `Rejected`."""
        ...

    def parse(
        self, raw: bytes, config: ChannelConfig, received_at_ms: int, divide: Divide
    ) -> Parsed:
        """Events and refused rows of a verified body. Raises `Rejected` when nothing is usable."""
        ...

    def reply_ok(self) -> bytes:
        """The JSON body this shop expects once the message is stored."""
        ...


class OrderFileReader(Protocol):
    """Orders from an uploaded CSV or XLSX file. Real: `channels.spreadsheet`."""

    def __call__(
        self,
        raw: bytes,
        file_name: str,
        config: ChannelConfig,
        received_at_ms: int,
        divide: Divide,
    ) -> Parsed:
        """Events and a report by row. Raises `Rejected` when the file as a whole is refused."""
        ...


class SheetReader(Protocol):
    """Rows of text of an uploaded CSV or XLSX file. Real: `channels.spreadsheet`."""

    def __call__(self, raw: bytes, file_name: str) -> Sheet:
        """The first sheet, bounded. Raises `Rejected` when the file as a whole is refused."""
        ...


# --- people far away ---------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class NotifyTarget:
    """One robot, web hook or log that hears notices; what is secret in it is never printed.

    `style` is `markdown` or `text`; `mobiles` are the phones a robot mentions.
    """

    name: str
    kind: str
    url: str = field(default="", repr=False)
    secret: str = field(default="", repr=False)
    mobiles: tuple[str, ...] = field(default=(), repr=False)
    style: str = "markdown"


@dataclass(frozen=True, slots=True)
class Notification:
    """What a person is told; `id` is the idempotency key. No personal data."""

    id: str
    kind: str
    warehouse: str
    title: str
    text: str
    at_ms: int


@dataclass(frozen=True, slots=True)
class NotifyAnswer:
    """Whether the other side took it; if not, `wait_s` is the least time it wants to be let be."""

    done: bool
    text: str
    wait_s: float = 0.0


class Notifier(Protocol):
    """Tells people. Real: log, signed web hook, DingTalk robot, WeCom robot."""

    kind: str
    per_min: int
    """Messages that one target takes in any minute."""

    async def send(self, target: NotifyTarget, notice: Notification) -> NotifyAnswer:
        """Deliver one message. Never raises for what the other side or the line does."""
        ...


class HttpPost(Protocol):
    """One HTTP POST without redirects. Real: httpx; it keeps addresses out of every text."""

    async def __call__(
        self, url: str, headers: Mapping[str, str], body: bytes
    ) -> tuple[int, bytes]:
        """(status, the beginning of the answer). Raises `Unavailable("notify_unreachable")`."""
        ...


# --- carriers ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Sorting:
    """Marks for a carrier's sorters: the big code (大头笔 / 三段码) and the bag (集包地)."""

    code: str
    bag: str


class Carrier(Protocol):
    """One carrier's numbers and sorting marks. Real: one folder each in `carriers/`."""

    def is_number(self, number: str) -> bool:
        """Whether `number` has the shape of this carrier's waybills."""
        ...

    def sort(self, province_code: str, city_code: str, district_code: str) -> Sorting:
        """The sorting marks for a destination given by official division codes ("" = unknown)."""
        ...


# --- the write queue ---------------------------------------------------------------------------


class Submit(Protocol):
    """Hands a command to the one write queue. Real: the committer's thread; tests: inline."""

    async def __call__(self, command: object) -> Any:
        """The command's result once it is committed; raises what refused it."""
        ...
