"""The messages of wire v1: one struct each, the single source of the JSON Schemas.

Times: `*_ms` named `wall` are Unix milliseconds UTC of the sender, `mono` are milliseconds of
CLOCK_BOOTTIME. Unknown fields are ignored (additive versions), missing optional ones default.
Identity comes from the topic, which the broker enforces; `a` must agree with it.
"""

from __future__ import annotations

from typing import Annotated, NamedTuple

from msgspec import Meta, Raw, Struct

from protocols import limits

# `$` also matches before a final newline in Python, hence `(?!\n)`; ECMA-262 reads it the same.
AgentId = Annotated[str, Meta(pattern=r"^[a-z0-9-]{1,48}$(?!\n)")]
EpochId = Annotated[str, Meta(pattern=r"^[0-9a-f]{16}$(?!\n)")]
HashHex = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}$(?!\n)")]
Seq = Annotated[int, Meta(ge=0, le=2**53)]
Millis = Annotated[int, Meta(ge=0, le=2**53)]
Id = Annotated[str, Meta(pattern=rf"^[!-~]{{1,{limits.ID_CHARS_MAX}}}$(?!\n)")]
Name = Annotated[str, Meta(min_length=1, max_length=48)]
Text = Annotated[str, Meta(max_length=limits.TEXT_CHARS_MAX)]
StreamName = Annotated[str, Meta(pattern=r"^(floor|telemetry)$(?!\n)")]


class Token(NamedTuple):
    """The fencing token of a shipment's owner: ordered, `core_epoch` first."""

    core_epoch: Seq
    n: Seq


class AgentState(Struct, frozen=True, omit_defaults=True):
    """`up/st`, retained and also the will: is the agent on, and how does it do.

    `inc` counts connections of this agent; a will with an older `inc` than the current birth is
    ignored. Published on connect and as heartbeat every `HEARTBEAT_S`.
    """

    v: int
    a: AgentId
    on: bool
    inc: Seq
    sw: Text = ""
    boot: Seq = 0
    wall_ms: Millis = 0
    mono_ms: Millis = 0
    floor_queued: Seq = 0
    telemetry_queued: Seq = 0
    oldest_ms: Millis = 0
    cfg_rev: Seq = 0
    tasks: Seq = 0
    printers: Annotated[dict[Name, Text], Meta(max_length=limits.PRINTERS_MAX)] = {}


class EpochKept(Struct, frozen=True):
    """One epoch whose rows the agent still holds, `first`..`last` inclusive."""

    epoch: EpochId
    first: Seq
    last: Seq


class StreamPosition(Struct, frozen=True, omit_defaults=True):
    """Where one stream of the agent stands: the next row to be written is `next`."""

    stream: StreamName
    epoch: EpochId
    first: Seq
    next: Seq
    head: HashHex
    kept: Annotated[list[EpochKept], Meta(max_length=limits.EPOCHS_KEPT_MAX)] = []


class Hello(Struct, frozen=True, omit_defaults=True):
    """`up/hello`: the agent introduces itself after each connect and asks where to go on."""

    v: int
    a: AgentId
    inc: Seq
    sw: Text
    proto: Annotated[list[int], Meta(max_length=8)]
    boot: Seq
    boot_id: Text
    wall_ms: Millis
    mono_ms: Millis
    streams: Annotated[list[StreamPosition], Meta(max_length=2)]
    fresh: bool = False
    """The agent opened a new floor epoch and has not been resynchronised in it yet."""
    core_epoch: Seq = 0
    """The core epoch the agent last saw."""


class StreamHave(Struct, frozen=True, omit_defaults=True):
    """What the core holds of one stream epoch: rows 1..`have`, chain hash `hash` at `have`.

    `fork`: what the agent announced does not continue the core's chain (restored or cloned card);
    the agent opens a new epoch.
    """

    stream: StreamName
    epoch: EpochId
    have: Seq
    hash: HashHex
    fork: bool = False


class Welcome(Struct, frozen=True, omit_defaults=True):
    """`dn/welcome`: the answer to one hello (`inc` echoes it)."""

    v: int
    core_epoch: Seq
    inc: Seq
    srv_ms: Millis
    echo_mono_ms: Millis
    streams: Annotated[list[StreamHave], Meta(max_length=2 * limits.EPOCHS_KEPT_MAX)]
    """One entry for every epoch that the hello listed, current and kept."""
    window: Annotated[int, Meta(ge=0, le=64)] = limits.WINDOW_BATCHES
    batch_max: Annotated[int, Meta(ge=1, le=limits.BATCH_EVENTS_MAX)] = limits.BATCH_EVENTS_MAX
    resync: bool = False
    """Fences and open grants follow; nothing may be printed until `resync_done`."""
    recovering: bool = False
    """The core was restored from a backup and waits for replays; nothing is offered meanwhile."""


class Event(Struct, frozen=True, omit_defaults=True):
    """One row of a stream, exactly as it stands in the journal.

    `q` sequence number (gap-free in its epoch), `t` type, `w`/`m` wall and boot-time milliseconds,
    `b` number of the start, `s` station, `o` origin of a row carried over from an older epoch,
    `d` body.
    """

    q: Seq
    t: Annotated[str, Meta(min_length=3, max_length=48)]
    w: Millis
    m: Millis
    b: Seq
    d: Raw
    s: Annotated[str, Meta(max_length=48)] = ""
    o: Origin | None = None


class Origin(Struct, frozen=True, array_like=True):
    """Where a carried-over row stood first: (epoch, seq, chain hash after the row)."""

    epoch: EpochId
    seq: Seq
    hash: HashHex


class Batch(Struct, frozen=True, omit_defaults=True):
    """`up/ev-*`: rows `s`..`s + len(ev) - 1` of epoch `e`; `h` is the chain hash before row `s`.

    `skip_from` declares a gap of dropped telemetry rows before `s`: rows `skip_from`..`s - 1` are
    gone and `h` is the hash to resume from.
    """

    v: int
    a: AgentId
    e: EpochId
    s: Annotated[int, Meta(ge=1, le=2**53)]
    h: HashHex
    ev: Annotated[list[Raw], Meta(min_length=1, max_length=limits.BATCH_EVENTS_MAX)]
    skip_from: Seq = 0


class Refusal(Struct, frozen=True):
    """A row that was stored but not applied, with the stable code of the reason."""

    q: Seq
    code: Text


class Ack(Struct, frozen=True, omit_defaults=True):
    """`dn/ack`: the core has committed rows 1..`have` of the stream epoch (cumulative).

    Sent only after the commit. `win` is the number of batches the agent may have outstanding
    (0 = pause); `rewind` asks it to send from `have + 1` again; `fork` as in `StreamHave`.
    """

    v: int
    stream: StreamName
    e: EpochId
    have: Seq
    hash: HashHex
    srv_ms: Millis
    win: Annotated[int, Meta(ge=0, le=64)] = limits.WINDOW_BATCHES
    rewind: bool = False
    fork: bool = False
    rej: Annotated[list[Refusal], Meta(max_length=limits.BATCH_EVENTS_MAX)] = []


class CoreState(Struct, frozen=True, omit_defaults=True):
    """`v1/core/st`, retained and the core's will: agents say hello again when it changes."""

    v: int
    on: bool
    core_epoch: Seq
    inc: Seq
    srv_ms: Millis = 0


class DesiredConfig(Struct, frozen=True, omit_defaults=True):
    """`dn/cfg`, retained: what the core wants this agent to be; the agent reports `rev` back."""

    v: int
    rev: Seq
    warehouse: Text = ""
    warehouse_name: Text = ""
    print_on: Annotated[str, Meta(pattern=r"^(grant|pack)$(?!\n)")] = "grant"
    stations: Annotated[list[Name], Meta(max_length=64)] = []
    retain_days: Annotated[int, Meta(ge=1, le=90)] = 7
    personal_hours: Annotated[int, Meta(ge=1, le=720)] = 24


class Chunk(Struct, frozen=True):
    """`dn/blob`: part `index` of `count` of a payload above the message bound.

    `digest` is the SHA-256 of the whole payload in hex and also its name; `data` is base64.
    """

    v: int
    digest: HashHex
    index: Annotated[int, Meta(ge=0, le=63)]
    count: Annotated[int, Meta(ge=1, le=64)]
    data: Annotated[bytes, Meta(min_length=1, max_length=limits.CHUNK_BYTES_MAX)]


class Command(Struct, frozen=True, omit_defaults=True):
    """`dn/cmd`: something to be done, durable at both ends; executed at most once by `id`.

    `cs` counts commands per agent from 1. `sent_ms` is server time; with `ttl_s` the command is
    void at `sent_ms + ttl_s * 1000`, judged on CLOCK_BOOTTIME plus the learned offset; an agent
    that has learned none lets a person decide. `core_epoch` is that of the core which sends it: a
    copy that a broker kept from before the core's restore, or that comes before the welcome, is
    passed over without a receipt; the core sends what it still wants again.
    """

    v: int
    id: Id
    cs: Seq
    k: Annotated[str, Meta(min_length=3, max_length=32)]
    sent_ms: Millis
    core_epoch: Seq
    d: Raw
    ttl_s: Annotated[int, Meta(ge=1, le=86_400)] | None = None


MESSAGES: dict[str, type[Struct]] = {
    "AgentState": AgentState,
    "Hello": Hello,
    "Welcome": Welcome,
    "Batch": Batch,
    "Event": Event,
    "Ack": Ack,
    "CoreState": CoreState,
    "DesiredConfig": DesiredConfig,
    "Chunk": Chunk,
    "Command": Command,
}

__all__ = [
    "MESSAGES",
    *MESSAGES,
    "EpochKept",
    "Origin",
    "Refusal",
    "StreamHave",
    "StreamPosition",
    "Token",
]
