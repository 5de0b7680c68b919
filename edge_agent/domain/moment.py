"""Time as the agent knows it: its own two clocks, and what it learned of the server's.

Stands below every step of the journey. Reads no clock: the moments are given. Order within an
agent is the sequence number only; these values date events and judge deadlines (DESIGN §5 Time).
"""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Now:
    """One moment: `wall_ms` Unix UTC of this machine, `mono_ms` CLOCK_BOOTTIME."""

    wall_ms: int
    mono_ms: int


@dataclass(frozen=True, slots=True)
class ServerOffset:
    """`offset_ms` turns CLOCK_BOOTTIME into server time; `rtt_ms` is how well it is known."""

    offset_ms: int
    rtt_ms: int

    def server_ms(self, mono_ms: int) -> int:
        """Server time (ms UTC) at a moment of this boot's CLOCK_BOOTTIME."""
        return mono_ms + self.offset_ms


def learn_from_echo(
    known: ServerOffset | None, *, srv_ms: int, echo_mono_ms: int, mono_ms: int
) -> ServerOffset | None:
    """A welcome answered the hello sent at `echo_mono_ms`: keep the estimate of least round trip.

    An echo from the future (another boot's hello) teaches nothing. Half the round trip is taken
    as the way back (RFC 5905 §8, the on-wire offset with symmetric delay). The server read its
    clock between hello and welcome; an estimate outside these bounds is of a clock set since.
    """
    rtt_ms = mono_ms - echo_mono_ms
    if rtt_ms < 0:
        return known
    holds = known is not None and 0 <= known.offset_ms - (srv_ms - mono_ms) <= rtt_ms
    if known is not None and holds and rtt_ms > known.rtt_ms:
        return known
    return ServerOffset(srv_ms + rtt_ms // 2 - mono_ms, rtt_ms)


def learn_from_stamp(
    known: ServerOffset | None, *, srv_ms: int, mono_ms: int
) -> ServerOffset | None:
    """An ack carries server time without echo: it can only show that the offset is too low.

    A message takes time to arrive, so `srv_ms - mono_ms` is a lower bound of the offset.
    """
    if known is None or srv_ms - mono_ms <= known.offset_ms:
        return known
    return replace(known, offset_ms=srv_ms - mono_ms)


def expired(sent_ms: int, ttl_s: int | None, offset: ServerOffset | None, mono_ms: int) -> bool:
    """Whether a command is void. Without a learned offset nothing expires: a person decides."""
    if ttl_s is None or offset is None:
        return False
    return offset.server_ms(mono_ms) > sent_ms + ttl_s * 1000


DAY_MS = 86_400_000
EVENT_AHEAD_MAX_MS = 30 * DAY_MS
"""How far a stored event may be ahead of the core's last word and still be believed: longer than
an agent works cut off. A clock that once stood in 2099 must not hold the floor there for good."""
UNTOLD_AHEAD_MAX_MS = 3_650 * DAY_MS
"""The same for an agent that no core ever told the time: ten years after the build."""
CORE_SLACK_MS = 60_000
"""A floor this little above the core's time stays: the clock need not step back for it."""


@dataclass(frozen=True, slots=True)
class ClockFloor:
    """A moment that is certainly over: `wall_ms` had come when CLOCK_BOOTTIME was `mono_ms`."""

    wall_ms: int = 0
    mono_ms: int = 0

    def at(self, mono_ms: int) -> int:
        """The floor runs on: its wall time (ms UTC) at a moment of this boot's CLOCK_BOOTTIME."""
        return self.wall_ms + max(0, mono_ms - self.mono_ms)

    def lift(self, now: Now) -> Now:
        """The machine's clocks, the wall clock not below the floor."""
        return Now(max(now.wall_ms, self.at(now.mono_ms)), now.mono_ms)


def first_floor(*, built_ms: int, core_ms: int, event_ms: int, mono_ms: int) -> ClockFloor:
    """The floor of a start: build time, the core's last word, the newest event (0 = none known).

    The newest event counts only if it can be true (reliability §8: a saved clock can be poisoned).
    """
    known = max(built_ms, core_ms)
    ahead = EVENT_AHEAD_MAX_MS if core_ms else UNTOLD_AHEAD_MAX_MS
    believed = event_ms if event_ms <= known + ahead else 0
    return ClockFloor(max(known, believed), mono_ms)


def floor_told(floor: ClockFloor, *, built_ms: int, core_ms: int, mono_ms: int) -> ClockFloor:
    """The core said what time it is: the floor rises to it, and falls to it when far above."""
    told = ClockFloor(max(built_ms, core_ms), mono_ms)
    above_ms = floor.at(mono_ms) - told.wall_ms
    return floor if 0 <= above_ms <= CORE_SLACK_MS else told
