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
