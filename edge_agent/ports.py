"""The few seams of the agent that have two or more real implementations.

Flows speak to these; bootstrap decides which class stands behind each. No I/O here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from edge_agent.domain.label import PaperFields
from edge_agent.domain.moment import Now
from edge_agent.domain.printer_status import PrinterStatus, SendOutcome

T = TypeVar("T")


class Clock(Protocol):
    """The two clocks of the machine. Real: the kernel's; simulated: virtual time."""

    def now(self) -> Now:
        """Wall clock and CLOCK_BOOTTIME, in ms. Waiting is the event loop's own business."""
        ...


class Ids(Protocol):
    """Where randomness comes from. Real: `secrets`; simulated: seeded."""

    def epoch(self) -> str:
        """A random 64-bit stream epoch as 16 hex digits."""
        ...

    def jitter(self) -> float:
        """A random number in [0, 1), to spread retries."""
        ...


@dataclass(frozen=True, slots=True)
class Connected:
    """The broker accepted the connection; nothing is subscribed yet (clean session)."""


@dataclass(frozen=True, slots=True)
class Disconnected:
    """The connection is gone; `reason` is for people."""

    reason: str


@dataclass(frozen=True, slots=True)
class Received:
    """One message from the broker, not looked into."""

    topic: str
    payload: bytes


LinkEvent = Connected | Disconnected | Received
Will = Callable[[], tuple[str, bytes]]
"""Called before each connection attempt, on any thread: the will's topic and payload."""


class Link(Protocol):
    """The line to the broker. Real: paho on a thread of its own; simulated: a faulty network."""

    inbox: asyncio.Queue[LinkEvent]
    """Bounded: what does not fit is dropped, everything on this wire is sent again."""

    async def start(self, will: Will) -> None:
        """Connect and keep connecting until `stop`; returns at once."""
        ...

    async def subscribe(self, filters: Sequence[str]) -> None:
        """Ask for topics, wait for the broker's word. Raises `Unavailable` when it refuses."""
        ...

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> bool:
        """Hand one message to the broker, QoS 1. False when not connected; never queues then."""
        ...

    async def stop(self) -> None: ...


class RunBlocking(Protocol):
    """Runs CPU work off the loop. Real: a worker thread; simulated: at once."""

    def __call__(self, work: Callable[[], bytes], /) -> Awaitable[bytes]: ...


class Rows(Protocol):
    """What one statement returned."""

    def fetchone(self) -> Any: ...

    def fetchall(self) -> list[Any]: ...


class Connection(Protocol):
    """A database connection in autocommit mode, `sqlite3`-like; transactions are said in SQL."""

    @property
    def total_changes(self) -> int: ...

    def execute(self, sql: str, parameters: Sequence[Any] = ..., /) -> Rows: ...

    def executemany(self, sql: str, parameters: Any, /) -> Rows: ...

    def close(self) -> None: ...


class Printer(Protocol):
    """One label printer with one exclusive owner. Real: TCP 9100; simulated: virtual time."""

    async def status(self) -> PrinterStatus:
        """Ask now. Silence or a dead line is an `UNKNOWN` status, never an exception."""
        ...

    async def send(self, data: bytes, before_first_byte: Callable[[], bool]) -> SendOutcome:
        """Send one framed label. Never raises for printer trouble; the outcome tells.

        `before_first_byte` is called synchronously, at most once, right before byte one; False
        aborts with zero bytes. Cancelling the call mid-way leaves the outcome unknown.
        """
        ...

    async def close(self) -> None: ...


class PrinterWire(Protocol):
    """How bytes get to one printer, never blocking. Real: TCP, `/dev/usb/lp*`, serial.

    Writes nothing by itself: every byte is the owner's (`printers.owner`), who counts them.
    """

    async def open(self) -> bool:
        """Connect afresh; False when nobody is there. Raises nothing but cancellation."""
        ...

    def is_open(self) -> bool:
        """Whether the line still stands; looks, does not read."""
        ...

    def fileno(self) -> int:
        """For waiting until something can be read or written."""
        ...

    def write(self, data: memoryview) -> int:
        """Bytes taken. Raises `BlockingIOError` when none fit now, `OSError` at the line's end."""
        ...

    def read(self) -> bytes:
        """At least one byte. Raises `BlockingIOError` when there is none, `OSError` at the end."""
        ...

    def unsent(self) -> int:
        """Bytes taken that are known not to have reached the printer; 0 where nobody can tell."""
        ...

    async def port_status(self) -> PrinterStatus | None:
        """What the port itself says without any language (USB: paper, error); None = nothing."""
        ...

    def close(self, *, clean: bool = True) -> None:
        """Let go. Not `clean`: half a label may be inside, throw it away where the port can."""
        ...


class LabelMaker(Protocol):
    """Fields into the bytes of one printer. Real: drawing and a printer language; simulated: none.

    Both calls are CPU work of about 10 ms and belong to the printer's worker.
    """

    def framed(self, fields: PaperFields, job_tag: str = "") -> bytes:
        """One whole label in the printer's language. Raises `Rejected` naming a bad field."""
        ...

    def preview_png(self, fields: PaperFields) -> bytes:
        """The same picture as a PNG file."""
        ...


class Scanner(Protocol):
    """One scanner with a reader thread of its own; its callbacks run in that thread."""

    def start(self) -> None: ...

    def stop(self) -> None: ...

    @property
    def connected(self) -> bool: ...
