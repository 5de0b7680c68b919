"""How far a stream has been sent and acknowledged: a window with go-back-N, as pure functions.

Between journal and broker on the way up. PUBACK proves nothing, so only the core's cumulative ack
moves `acked`; no progress within the timeout sends everything outstanding again (DESIGN §5 Wire).
Knows no clock, no broker and no rows; `now_ms` is CLOCK_BOOTTIME.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from protocols import limits

TIMEOUT_MS = limits.ACK_TIMEOUT_S * 1000
TIMEOUT_MS_MAX = limits.ACK_TIMEOUT_S_MAX * 1000


@dataclass(frozen=True, slots=True)
class Leg:
    """One epoch to be sent. `last` is None for the current epoch, which keeps growing."""

    epoch_no: int
    epoch: str
    have: int
    last: int | None = None


@dataclass(frozen=True, slots=True)
class Sender:
    """One stream on its way up.

    Rows up to `acked` of `legs[0]` are committed at the core; `cursor` is the next row to send;
    `flights` holds the last row of each batch outstanding, at most `window` of them. `rewound` is
    where the core has sent us back to: every batch behind a lost one asks for that again.
    """

    legs: tuple[Leg, ...] = ()
    acked: int = 0
    cursor: int = 1
    window: int = 0
    flights: tuple[int, ...] = ()
    timeout_ms: int = TIMEOUT_MS
    deadline_ms: int | None = None
    rewound: int | None = None

    @property
    def leg(self) -> Leg | None:
        """The epoch that is being sent now; None while there is no session."""
        return self.legs[0] if self.legs else None


def start(legs: tuple[Leg, ...], window: int) -> Sender:
    """A new session after a welcome: older epochs first, the current one last."""
    assert legs
    assert all(leg.last is not None for leg in legs[:-1])
    assert legs[-1].last is None
    return _enter(Sender(legs=legs, window=window))


def next_range(state: Sender, last_durable: int) -> tuple[int, int] | None:
    """The rows (first, last inclusive) that may be sent now, or None.

    `last_durable` is the newest committed row of the current leg's epoch.
    """
    leg = state.leg
    if leg is None or len(state.flights) >= state.window:
        return None
    last = last_durable if leg.last is None else leg.last
    return (state.cursor, last) if state.cursor <= last else None


def sent(state: Sender, last: int, now_ms: int) -> Sender:
    """A batch that ends at row `last` was handed to the broker."""
    assert last >= state.cursor
    deadline = state.deadline_ms
    return replace(
        state,
        cursor=last + 1,
        flights=(*state.flights, last),
        deadline_ms=now_ms + state.timeout_ms if deadline is None else deadline,
    )


def acked(
    state: Sender, epoch: str, have: int, window: int, now_ms: int, *, rewind: bool = False
) -> Sender:
    """The core holds rows up to `have` of `epoch`. A late ack for another epoch is ignored."""
    leg = state.leg
    if leg is None or epoch != leg.epoch:
        return state
    if have > state.acked:
        flights = tuple(last for last in state.flights if last > have)
        state = replace(
            state,
            acked=have,
            cursor=max(state.cursor, have + 1),
            flights=flights,
            timeout_ms=TIMEOUT_MS,
            deadline_ms=now_ms + TIMEOUT_MS if flights else None,
            rewound=None,
        )
    state = replace(state, window=window)
    if rewind and have <= state.acked and have != state.rewound:
        state = replace(_go_back(replace(state, acked=have)), rewound=have)
    if leg.last is not None and state.acked >= leg.last:
        return _enter(replace(state, legs=state.legs[1:]))
    return state


def tick(state: Sender, now_ms: int) -> tuple[Sender, bool]:
    """Go back to the last ack when nothing moved for the timeout, which then doubles to 30 s.

    Returns the state and whether it went back.
    """
    if state.deadline_ms is None or now_ms < state.deadline_ms:
        return state, False
    slower = min(state.timeout_ms * 2, TIMEOUT_MS_MAX)
    return replace(_go_back(state), timeout_ms=slower), True


def outstanding(state: Sender) -> bool:
    """Whether batches wait for an ack."""
    return bool(state.flights)


def _go_back(state: Sender) -> Sender:
    return replace(state, cursor=state.acked + 1, flights=(), deadline_ms=None, rewound=None)


def _enter(state: Sender) -> Sender:
    """Begin the first leg that has anything left to send."""
    legs = state.legs
    while legs[0].last is not None and legs[0].have >= legs[0].last:
        legs = legs[1:]
    return replace(
        state,
        legs=legs,
        acked=legs[0].have,
        cursor=legs[0].have + 1,
        flights=(),
        timeout_ms=TIMEOUT_MS,
        deadline_ms=None,
        rewound=None,
    )
