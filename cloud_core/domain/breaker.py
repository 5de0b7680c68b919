"""The breaker: which warehouse gets no new work because it was late, and how it comes back (P10).

A pure fold over one warehouse's shipments ordered by dispatch deadline, by event time. Three late
in a row open it; when its time is over a few trials decide. Judged again whenever facts arrive: an
opening whose evidence proves wrong is taken back, and a deadline that passed while the warehouse's
stream was behind is undecided, which is never late. Growing openings, the cap on how many are open
and the trial quota follow outlier ejection as service meshes do it. This module must not know SQL,
routing or how anybody is told. Times are milliseconds UTC and come in as arguments.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from cloud_core.domain.breaker_words import Happening, who_zh, words_of

HOUR_MS = 3_600_000
CLOSED, OPEN, HALF_OPEN = "closed", "open", "half_open"
FORCE_MODES = ("open", "closed", "auto")
_OPENINGS_MAX = 60
"""Openings that still count for the growth; the cap is reached long before."""


@dataclass(frozen=True, slots=True)
class BreakerPolicy:
    """The numbers of every breaker."""

    late_in_a_row: int = 3
    open_ms: int = 2 * HOUR_MS
    growth_percent: int = 150
    open_max_ms: int = 24 * HOUR_MS
    calm_ms: int = 24 * HOUR_MS
    """Closed for this long, the next opening counts as the first again."""
    trials: int = 3
    trial_ms: int = 2 * HOUR_MS
    """Time from the offer of a trial to its own deadline."""
    trial_wait_ms: int = 2 * HOUR_MS
    """An undecided trial keeps its place this long after its deadline, then another may be given:
    a silent bench must not keep a warehouse half-open for ever."""
    grace_ms: int = HOUR_MS // 2
    """Least time a bench gets from the grant, whatever was promised: work that comes to it late is
    not its own lateness."""
    behind_max_ms: int = HOUR_MS // 6
    """A warehouse whose oldest unsent event is older is unreachable for new work."""
    window: int = 100
    """Newest passed deadlines of a warehouse that are judged."""

    def __post_init__(self) -> None:
        assert min(self.late_in_a_row, self.open_ms, self.trials, self.trial_ms) > 0
        assert self.growth_percent >= 100, self.growth_percent
        assert self.open_max_ms >= self.open_ms, (self.open_max_ms, self.open_ms)
        assert self.window >= self.late_in_a_row, (self.window, self.late_in_a_row)

    def duration_ms(self, opening: int) -> int:
        """How long the `opening`-th opening (1 = first) lasts."""
        power = min(opening, _OPENINGS_MAX) - 1
        grown = self.open_ms * pow(self.growth_percent, power) // pow(100, power)
        return min(int(grown), self.open_max_ms)


@dataclass(frozen=True, slots=True)
class Dispatch:
    """What is known of one shipment of the warehouse.

    `heard_ms`: everything its bench did before this moment has reached us. `granted`: the bench has
    the right to send it, so its deadline counts; trials are judged from their offer on.
    """

    shipment: str
    due_ms: int
    handed_over_ms: int | None
    heard_ms: int
    granted: bool = True


@dataclass(frozen=True, slots=True)
class Judged:
    """A shipment under the deadline it is, or was, judged by."""

    shipment: str
    due_ms: int
    on_time: bool = False


@dataclass(frozen=True, slots=True)
class BreakerState:
    """One warehouse's breaker. `until_ms` is set while open, `trials` while half-open; a reopened
    one keeps the trials that reopened it. `counted_from_ms`: deadlines up to it are history."""

    warehouse: str
    state: str = CLOSED
    since_ms: int = 0
    until_ms: int | None = None
    openings: int = 0
    counted_from_ms: int = 0
    because: tuple[Judged, ...] = ()
    trials: tuple[Judged, ...] = ()
    capped: bool = False
    forced: str = ""
    forced_until_ms: int | None = None
    forced_by: str = ""
    forced_reason: str = ""


@dataclass(frozen=True, slots=True)
class Event:
    """One change of a breaker, with the sentence people read."""

    kind: str
    warehouse: str
    at_ms: int
    text: str


@dataclass(frozen=True, slots=True)
class Step:
    """The state after a judgement and what happened on the way, in order."""

    state: BreakerState
    events: tuple[Event, ...] = ()


@dataclass(frozen=True, slots=True)
class Take:
    """Whether the warehouse may have a new shipment: `yes`, `no` or `trial`, and why.

    `flagged`: it gets the shipment only because nobody else holds the goods.
    """

    answer: str
    why: str
    why_zh: str
    flagged: bool = False


@dataclass(slots=True)
class _Fold:
    state: BreakerState
    facts: Mapping[str, Dispatch]
    now_ms: int
    policy: BreakerPolicy
    events: list[Event] = field(default_factory=list)

    def say(self, kind: str, at_ms: int) -> None:
        state = self.state
        happening = Happening(
            kind, state.openings, state.until_ms, tuple(j.shipment for j in state.because),
            state.forced_by, state.forced_reason, state.forced_until_ms, self.policy.trials,
        )  # fmt: skip
        self.events.append(Event(kind, state.warehouse, at_ms, words_of(happening)))


def fair_due_ms(ship_by_ms: int, granted_ms: int, policy: BreakerPolicy) -> int:
    """The deadline a bench is judged by: the promise, but never sooner than it could be kept."""
    return max(ship_by_ms, granted_ms + policy.grace_ms)


def heard_until_ms(seen_ms: int, queued: int, oldest_ms: int) -> int:
    """Up to when an agent's events are all here: its last heartbeat, or its oldest unsent event."""
    return min(seen_ms, oldest_ms) if queued > 0 and oldest_ms > 0 else seen_ms


def is_behind(
    now_ms: int, seen_ms: int, queued: int, oldest_ms: int, policy: BreakerPolicy
) -> bool:
    """Whether an agent's queue is too old for new work."""
    return now_ms - heard_until_ms(seen_ms, queued, oldest_ms) > policy.behind_max_ms


def outcome(fact: Dispatch, due_ms: int, now_ms: int) -> str:
    """`on_time`, `late`, `undecided` (its bench has not told us everything), or `pending`."""
    if fact.handed_over_ms is not None:
        return "on_time" if fact.handed_over_ms <= due_ms else "late"
    if now_ms <= due_ms:
        return "pending"
    return "late" if fact.heard_ms > due_ms else "undecided"


def step(
    state: BreakerState,
    facts: Sequence[Dispatch],
    now_ms: int,
    policy: BreakerPolicy,
    *,
    room: bool = True,
) -> Step:
    """Judge one warehouse by what is known now; `room` = one more may be open."""
    fold = _Fold(state, {fact.shipment: fact for fact in facts}, now_ms, policy)
    _settle(fold)
    _open_or_not(fold, room=room)
    return Step(fold.state, tuple(fold.events))


def judge(
    states: Sequence[BreakerState],
    facts: Mapping[str, Sequence[Dispatch]],
    now_ms: int,
    policy: BreakerPolicy,
) -> list[Step]:
    """Judge every enabled warehouse together: at most floor(n/2) are open at once.

    Those whose time is over make room first; then the earliest lateness is served first.
    """
    folds = [
        _Fold(s, {f.shipment: f for f in facts.get(s.warehouse, ())}, now_ms, policy)
        for s in states
    ]
    for fold in folds:
        _settle(fold)
    room = len(folds) // 2 - sum(is_open(fold.state) for fold in folds)
    wishes = [(_wish(fold), fold) for fold in folds]
    for _, fold in sorted(wishes, key=lambda w: (w[0][0] if w[0] else 0, w[1].state.warehouse)):
        before = is_open(fold.state)
        _open_or_not(fold, room=room > 0)
        room -= is_open(fold.state) and not before
    return [Step(fold.state, tuple(fold.events)) for fold in folds]


def is_open(state: BreakerState) -> bool:
    """Whether the warehouse is shut out now, by lateness or by a person."""
    return state.forced == OPEN or (not state.forced and state.state == OPEN)


def may_take(state: BreakerState, now_ms: int, policy: BreakerPolicy, *, sole_holder: bool) -> Take:
    """Whether a new shipment may go to the warehouse; true to the clock even if nobody judged.

    `sole_holder`: no other warehouse has the goods. A person's `open` shuts out those too.
    """
    state = settled(state, now_ms, policy)
    if state.forced == OPEN:
        return Take("no", "forced_open", f"该仓已由 {who_zh(state.forced_by)} 暂停派单")
    if state.forced == CLOSED:
        return Take("yes", "forced_closed", f"该仓已由 {who_zh(state.forced_by)} 强制放行")
    if state.state == CLOSED:
        return Take("yes", "", "正常接单")
    if state.state == HALF_OPEN and len(state.trials) < policy.trials:
        return Take("trial", "trial", "熔断半开，试单")
    if sole_holder:
        return Take("yes", "sole_holder", "熔断中，但只有该仓有货，仍派给它", flagged=True)
    if state.state == OPEN:
        return Take("no", "breaker_open", "连续超时，熔断暂停派单")
    return Take("no", "trials_full", "熔断半开，试单名额已满")


def give_trial(
    state: BreakerState, shipment: str, now_ms: int, policy: BreakerPolicy
) -> BreakerState:
    """Note that a shipment goes to a half-open warehouse as a trial, under its own deadline."""
    state = settled(state, now_ms, policy)
    assert state.state == HALF_OPEN, state.state
    others = tuple(t for t in state.trials if t.shipment != shipment)
    assert len(others) < policy.trials, len(others)
    return replace(state, trials=(*others, Judged(shipment, now_ms + policy.trial_ms)))


def settled(state: BreakerState, now_ms: int, policy: BreakerPolicy) -> BreakerState:
    """The state once what ends by the clock alone has ended."""
    fold = _Fold(state, {}, now_ms, policy)
    _end_by_clock(fold)
    return fold.state


def force(
    state: BreakerState, mode: str, now_ms: int, policy: BreakerPolicy, *,
    actor: str, reason: str, until_ms: int | None,
) -> Step:  # fmt: skip
    """A person opens or closes the breaker until a time (None = until `auto`), or lets it be.

    `auto` and the end of the time begin a clean count. Raises nothing; the caller checks values.
    """
    assert mode in FORCE_MODES, mode
    fold = _Fold(settled(state, now_ms, policy), {}, now_ms, policy)
    if mode == "auto":
        if fold.state.forced:
            _end_force(fold, now_ms)
        return Step(fold.state, tuple(fold.events))
    fold.state = replace(
        fold.state, forced=mode, forced_until_ms=until_ms, forced_by=actor, forced_reason=reason,
        capped=False,
    )  # fmt: skip
    fold.say(f"forced_{mode}", now_ms)
    return Step(fold.state, tuple(fold.events))


# --- the fold ----------------------------------------------------------------------------------


def _settle(fold: _Fold) -> None:
    """Everything but an opening: forces and openings that end, wrong evidence, trials."""
    if fold.state.state == OPEN and not fold.state.forced and _disproved(fold):
        state = fold.state
        back = HALF_OPEN if state.trials else CLOSED
        fold.state = replace(
            state, state=back, since_ms=fold.now_ms, until_ms=None, because=(),
            openings=state.openings - 1,
        )  # fmt: skip
        fold.say("reversed", fold.now_ms)
    _end_by_clock(fold)
    if fold.state.state == HALF_OPEN and not fold.state.forced:
        _look_at_trials(fold)


def _end_by_clock(fold: _Fold) -> None:
    state, now_ms = fold.state, fold.now_ms
    if state.forced:
        if state.forced_until_ms is not None and now_ms >= state.forced_until_ms:
            _end_force(fold, state.forced_until_ms)
    elif state.state == OPEN and state.until_ms is not None and now_ms >= state.until_ms:
        fold.state = replace(
            state, state=HALF_OPEN, since_ms=state.until_ms, until_ms=None, because=(), trials=()
        )
        fold.say("half_opened", state.until_ms)


def _end_force(fold: _Fold, at_ms: int) -> None:
    fold.say("force_ended", at_ms)
    fold.state = replace(
        fold.state, state=CLOSED, since_ms=at_ms, until_ms=None, counted_from_ms=at_ms,
        because=(), trials=(), capped=False, forced="", forced_until_ms=None, forced_by="",
        forced_reason="",
    )  # fmt: skip


def _disproved(fold: _Fold) -> bool:
    """Whether a shipment that opened the breaker turns out to have left in time."""
    return any(
        (fact := fold.facts.get(judged.shipment)) is not None
        and outcome(fact, judged.due_ms, fold.now_ms) == "on_time"
        for judged in fold.state.because
    )


def _look_at_trials(fold: _Fold) -> None:
    """Book trials that left in time, free the places of those that never will be decided."""
    kept = []
    for trial in fold.state.trials:
        fact = fold.facts.get(trial.shipment)
        if trial.on_time:
            kept.append(trial)
        elif fact is not None:
            found = outcome(fact, trial.due_ms, fold.now_ms)
            silent = fold.now_ms - trial.due_ms > fold.policy.trial_wait_ms
            if not (found == "undecided" and silent):
                kept.append(replace(trial, on_time=found == "on_time"))
    fold.state = replace(fold.state, trials=tuple(kept))
    if len(kept) >= fold.policy.trials and all(trial.on_time for trial in kept):
        fold.state = replace(
            fold.state, state=CLOSED, since_ms=fold.now_ms, counted_from_ms=fold.now_ms,
            trials=(), capped=False,
        )  # fmt: skip
        fold.say("closed", fold.now_ms)


def _open_or_not(fold: _Fold, *, room: bool) -> None:
    """Open when the facts ask for it and the cap allows; say so when it does not."""
    state, wish = fold.state, _wish(fold)
    if wish is None:
        if state.capped and state.state == CLOSED:
            fold.state = replace(state, capped=False, counted_from_ms=_well_again_ms(fold))
            fold.say("uncapped", fold.now_ms)
        return
    at_ms, because = wish
    if not room:
        _keep_in(fold, because)
        return
    opening = _opening(state, at_ms, fold.policy)
    fold.state = replace(
        state, state=OPEN, since_ms=at_ms, until_ms=at_ms + fold.policy.duration_ms(opening),
        openings=opening, because=because, capped=False,
    )  # fmt: skip
    fold.say("opened", at_ms)
    _end_by_clock(fold)


def _keep_in(fold: _Fold, because: tuple[Judged, ...]) -> None:
    """The cap allows no opening: told once, unless the warehouse sends in time again by now."""
    state, well_ms = fold.state, _well_again_ms(fold)
    if state.state == CLOSED and well_ms > because[-1].due_ms:
        fold.state = replace(state, counted_from_ms=well_ms)
        return
    late = {judged.shipment for judged in because}
    trials = tuple(t for t in state.trials if t.shipment not in late)
    fold.state = replace(state, capped=True, trials=trials)
    if not state.capped:
        fold.say("capped", fold.now_ms)


def _well_again_ms(fold: _Fold) -> int:
    """The newest passed deadline that was kept. What was late before it is history to a warehouse
    the cap kept in: its old run, still fresh enough to open, would be told again for ever."""
    kept = (f.due_ms for f, found in _passed(fold) if found == "on_time")
    return max(kept, default=fold.state.counted_from_ms)


def _passed(fold: _Fold) -> list[tuple[Dispatch, str]]:
    """What counts and is due, by deadline, each with its outcome."""
    passed = [
        f
        for f in fold.facts.values()
        if f.granted and fold.state.counted_from_ms < f.due_ms < fold.now_ms
    ]
    passed.sort(key=lambda f: (f.due_ms, f.shipment))
    return [(fact, outcome(fact, fact.due_ms, fold.now_ms)) for fact in passed]


def _wish(fold: _Fold) -> tuple[int, tuple[Judged, ...]] | None:
    """When and why the breaker should open by what is known; None when it should not."""
    if fold.state.forced or fold.state.state == OPEN:
        return None
    if fold.state.state == HALF_OPEN:
        for trial in sorted(fold.state.trials, key=lambda t: (t.due_ms, t.shipment)):
            fact = fold.facts.get(trial.shipment)
            if fact is not None and outcome(fact, trial.due_ms, fold.now_ms) == "late":
                return trial.due_ms, (trial,)
        return None
    return _late_in_a_row(fold)


def _late_in_a_row(fold: _Fold) -> tuple[int, tuple[Judged, ...]] | None:
    """The first run whose opening would still last, else a run that nothing has ended since.

    A warehouse the cap keeps in has a run that only a shipment in time ends: one that is undecided
    is no sign that it is well again.
    """
    state, policy, needed = fold.state, fold.policy, fold.policy.late_in_a_row
    run: list[Judged] = []
    kept_in: tuple[Judged, ...] = ()
    for fact, found in _passed(fold):
        if found != "late":
            run.clear()
            kept_in = () if found == "on_time" else kept_in
            continue
        run.append(Judged(fact.shipment, fact.due_ms))
        if len(run) < needed:
            continue
        kept_in = tuple(run[-needed:])
        lasts_ms = policy.duration_ms(_opening(state, fact.due_ms, policy))
        if not state.capped and fact.due_ms + lasts_ms > fold.now_ms:
            return fact.due_ms, kept_in
    if state.capped:
        return (fold.now_ms, kept_in) if kept_in else None
    return (run[-1].due_ms, tuple(run[-needed:])) if len(run) >= needed else None


def _opening(state: BreakerState, at_ms: int, policy: BreakerPolicy) -> int:
    """The number of an opening at `at_ms`: a calm time makes it the first again."""
    calm = state.state == CLOSED and at_ms - state.since_ms >= policy.calm_ms
    return 1 if calm else min(state.openings + 1, _OPENINGS_MAX)
