"""P10 as a law: out after three late in a row, back by itself, never half a fleet too many."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from fractions import Fraction

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from cloud_core.domain import breaker as law
from cloud_core.domain.breaker import BreakerPolicy, BreakerState, Dispatch

MINUTE, HOUR = 60_000, 3_600_000
POLICY = BreakerPolicy()
T0 = 1_000 * HOUR


def sent(name: str, due_ms: int, handed_over_ms: int | None = None, *, heard_ms: int = 10**18,
         granted: bool = True) -> Dispatch:  # fmt: skip
    return Dispatch(name, due_ms, handed_over_ms, heard_ms, granted)


def late(count: int, first_ms: int = T0) -> list[Dispatch]:
    return [sent(f"L{i}", first_ms + i * MINUTE) for i in range(count)]


def opened(facts: list[Dispatch] | None = None) -> BreakerState:
    step = law.step(BreakerState("HZ"), facts or late(3), T0 + 3 * MINUTE, POLICY)
    assert step.state.state == "open"
    return step.state


def half_open(openings: int = 1) -> BreakerState:
    return BreakerState("HZ", "half_open", T0, openings=openings)


def test_three_late_in_a_row_shut_the_warehouse_out_for_two_hours() -> None:
    state = opened()
    assert (state.since_ms, state.until_ms) == (T0 + 2 * MINUTE, T0 + 2 * MINUTE + 2 * HOUR)
    take = law.may_take(state, T0 + HOUR, POLICY, sole_holder=False)
    assert (take.answer, take.why) == ("no", "breaker_open")
    back = law.may_take(state, T0 + 3 * HOUR, POLICY, sole_holder=False)
    assert back.answer == "trial"  # by itself, even if nobody has judged it since


def test_two_late_and_one_in_time_do_not() -> None:
    facts = [*late(2), sent("ok", T0 + 2 * MINUTE, T0), sent("L9", T0 + 3 * MINUTE)]
    assert law.step(BreakerState("HZ"), facts, T0 + HOUR, POLICY).state.state == "closed"


def test_work_sent_before_its_time_does_not_hide_what_is_late() -> None:
    ahead = [sent(f"A{i}", T0 + 20 * HOUR + i, T0) for i in range(5)]
    assert opened([*late(3), *ahead]).openings == 1


def test_a_warning_counts_once() -> None:
    facts = [sent("same", T0)] * 3
    assert law.step(BreakerState("HZ"), facts, T0 + HOUR, POLICY).state.state == "closed"


def test_a_deadline_that_passed_while_the_stream_was_behind_is_undecided() -> None:
    behind = [sent(f"L{i}", T0 + i * MINUTE, heard_ms=T0 - 1) for i in range(3)]
    now = T0 + 10 * MINUTE
    assert law.step(BreakerState("HZ"), behind, now, POLICY).state.state == "closed"
    caught_up = [sent(f"L{i}", T0 + i * MINUTE, heard_ms=now) for i in range(3)]
    assert law.step(BreakerState("HZ"), caught_up, now, POLICY).state.state == "open"
    in_time = [sent(f"L{i}", T0 + i * MINUTE, T0 - 1, heard_ms=now) for i in range(3)]
    assert law.step(BreakerState("HZ"), in_time, now, POLICY).state.state == "closed"


def test_what_was_late_long_ago_and_is_known_now_leads_to_trials_not_to_two_more_hours() -> None:
    step = law.step(BreakerState("HZ"), late(3), T0 + 9 * HOUR, POLICY)
    assert step.state.state == "half_open"
    assert [e.kind for e in step.events] == ["opened", "half_opened"]


def test_late_facts_from_before_an_opening_do_not_extend_it() -> None:
    state = opened()
    more = [*late(3), *(sent(f"M{i}", T0 - HOUR + i) for i in range(9))]
    step = law.step(state, more, T0 + HOUR, POLICY)
    assert step.state == state
    after = law.step(state, more, T0 + 3 * HOUR, POLICY).state
    assert (after.state, after.openings) == ("half_open", 1)


def test_an_opening_on_wrong_evidence_is_taken_back() -> None:
    state = opened()
    facts = [sent("L0", T0, T0 - 1), *late(3)[1:]]
    step = law.step(state, facts, T0 + HOUR, POLICY)
    assert (step.state.state, step.state.openings) == ("closed", 0)
    assert [e.kind for e in step.events] == ["reversed"]


def test_all_trials_in_time_close_it_and_one_late_opens_it_for_longer() -> None:
    state = half_open()
    for name in "abc":
        assert law.may_take(state, T0, POLICY, sole_holder=False).answer == "trial"
        state = law.give_trial(state, name, T0, POLICY)
    assert law.may_take(state, T0, POLICY, sole_holder=False).why == "trials_full"
    due = T0 + 20 * HOUR  # the promise is far away; a trial has a deadline of its own
    good = [sent(n, due, T0 + HOUR, granted=False) for n in "abc"]
    assert law.step(state, [*good[:2], sent("c", due)], T0 + HOUR, POLICY).state.state == (
        "half_open"
    )
    assert law.step(state, good, T0 + HOUR, POLICY).state.state == "closed"
    bad = law.step(state, [*good[:2], sent("c", due)], T0 + 2 * HOUR + 1, POLICY).state
    assert (bad.state, bad.openings) == ("open", 2)
    assert bad.until_ms == T0 + 2 * HOUR + 3 * HOUR


def test_repeat_openings_grow_to_a_cap_and_a_calm_day_forgets_them() -> None:
    hours = [POLICY.duration_ms(n) / HOUR for n in (1, 2, 3, 4, 5, 6, 7, 8, 99)]
    assert hours == [2, 3, 4.5, 6.75, 10.125, 15.1875, 22.78125, 24, 24]
    calm = BreakerState("HZ", "closed", T0 - 25 * HOUR, openings=4)
    assert opened().openings == 1
    assert law.step(calm, late(3), T0 + HOUR, POLICY).state.openings == 1
    busy = BreakerState("HZ", "closed", T0 - HOUR, openings=4)
    assert law.step(busy, late(3), T0 + HOUR, POLICY).state.openings == 5


def test_a_trial_nobody_will_decide_gives_its_place_to_another() -> None:
    state = law.give_trial(half_open(), "a", T0, POLICY)
    for gone in ([], [sent("a", T0, heard_ms=0)]):
        step = law.step(state, gone, T0 + 5 * HOUR, POLICY)
        assert (step.state.state, step.state.trials) == ("half_open", ())


def test_at_most_half_are_out_and_the_others_say_so() -> None:
    names = ("A", "B", "C")
    facts = {n: late(3, T0 + i) for i, n in enumerate(names)}
    steps = law.judge([BreakerState(n) for n in names], facts, T0 + HOUR, POLICY)
    assert [s.state.state for s in steps] == ["open", "closed", "closed"]
    assert [e.kind for s in steps for e in s.events] == ["opened", "capped", "capped"]
    again = law.judge([s.state for s in steps], facts, T0 + HOUR, POLICY)
    assert [e for s in again for e in s.events] == []  # said once
    alone = law.judge([BreakerState("A")], facts, T0 + HOUR, POLICY)[0]
    assert alone.state.state == "closed"


def test_one_that_the_cap_kept_in_goes_when_there_is_room_unless_it_has_recovered() -> None:
    facts = {"A": late(3), "B": late(3, T0 + 1)}
    kept_in = law.judge([BreakerState("A"), BreakerState("B")], facts, T0 + HOUR, POLICY)
    states = [s.state for s in kept_in]
    later = T0 + 3 * HOUR  # A is half-open now
    assert [s.state.state for s in law.judge(states, facts, later, POLICY)] == ["half_open", "open"]
    well = {**facts, "B": [*facts["B"], sent("ok", T0 + HOUR + 1, T0 + HOUR)]}
    fine = law.judge(states, well, later, POLICY)[1]
    assert (fine.state.state, fine.events[0].kind) == ("closed", "uncapped")


@pytest.mark.parametrize("when_told", ["at once", "when it was kept in already"])
def test_one_that_the_cap_kept_in_and_that_is_well_again_is_not_told_of_for_ever(
    when_told: str,
) -> None:
    ok = sent("ok", T0 + 4 * MINUTE, T0)
    now = T0 + 5 * MINUTE
    facts = {"A": late(3), "B": late(3, T0 + 1)}
    states, kinds = [BreakerState("A"), BreakerState("B")], []
    for minute in range(60):  # the opening of the late three would still last
        if when_told == "at once" or minute > 0:
            facts["B"] = [*late(3, T0 + 1), ok]
        steps = law.judge(states, facts, now + minute * MINUTE, POLICY)
        states = [s.state for s in steps]
        kinds += [e.kind for e in steps[1].events]
    assert kinds == ([] if when_told == "at once" else ["capped", "uncapped"])
    assert (states[1].state, states[1].capped, states[1].counted_from_ms) == (
        "closed", False, ok.due_ms,
    )  # fmt: skip
    again = {**facts, "B": [*facts["B"], *(sent(f"M{i}", ok.due_ms + i + 1) for i in range(3))]}
    told = law.judge(states, again, now + HOUR, POLICY)[1]
    assert [e.kind for e in told.events] == ["capped"]  # three new ones are news


def test_a_dead_line_does_not_make_a_kept_in_warehouse_well_and_ill_by_turns() -> None:
    facts = {"A": late(3), "B": [*late(3, T0 + 1), sent("dark", T0 + 4 * MINUTE, heard_ms=T0)]}
    states, kinds = [BreakerState("A"), BreakerState("B")], []
    for minute in range(5, 65):
        steps = law.judge(states, facts, T0 + minute * MINUTE, POLICY)
        states = [s.state for s in steps]
        kinds += [e.kind for e in steps[1].events]
    assert kinds == ["capped"]
    facts["B"][-1] = sent("dark", T0 + 4 * MINUTE, T0)  # it had left in time
    told = law.judge(states, facts, T0 + 66 * MINUTE, POLICY)[1]
    assert [e.kind for e in told.events] == ["uncapped"]


def test_the_only_holder_of_the_goods_still_gets_the_shipment_flagged() -> None:
    take = law.may_take(opened(), T0 + HOUR, POLICY, sole_holder=True)
    assert (take.answer, take.flagged, take.why) == ("yes", True, "sole_holder")


def test_a_person_decides_until_their_time_is_over() -> None:
    def forced(mode: str, until_ms: int | None) -> BreakerState:
        return law.force(opened(), mode, T0 + HOUR, POLICY, actor="演示甲", reason="停电",
                         until_ms=until_ms).state  # fmt: skip

    shut = forced("open", T0 + 5 * HOUR)
    for sole in (True, False):
        assert law.may_take(shut, T0 + 4 * HOUR, POLICY, sole_holder=sole).answer == "no"
    assert law.may_take(shut, T0 + 5 * HOUR, POLICY, sole_holder=False).answer == "yes"
    let_in = forced("closed", None)
    assert law.may_take(let_in, T0 + 90 * HOUR, POLICY, sole_holder=False).answer == "yes"
    assert law.step(let_in, late(9), T0 + 2 * HOUR, POLICY).state.state == "open"  # underneath
    lifted = law.force(
        let_in, "auto", T0 + 2 * HOUR, POLICY, actor="演示甲", reason="", until_ms=None
    )
    assert (lifted.state.state, lifted.state.counted_from_ms) == ("closed", T0 + 2 * HOUR)
    assert "停电" in law.force(opened(), "open", T0, POLICY, actor="演示甲", reason="停电",
                             until_ms=None).events[0].text  # fmt: skip


@pytest.mark.parametrize(
    ("queued", "oldest", "heard"), [(0, 0, 500), (3, 200, 200), (3, 900, 500), (3, 0, 500)]
)
def test_what_an_agent_has_told_us(queued: int, oldest: int, heard: int) -> None:
    assert law.heard_until_ms(500, queued, oldest) == heard


def test_work_that_comes_late_is_not_the_bench_s_lateness() -> None:
    assert law.fair_due_ms(T0, T0 + HOUR, POLICY) == T0 + HOUR + POLICY.grace_ms
    assert law.fair_due_ms(T0 + 9 * HOUR, T0, POLICY) == T0 + 9 * HOUR


def test_a_queue_older_than_the_limit_is_unreachable_for_new_work() -> None:
    assert not law.is_behind(T0, T0 - 5_000, 2, T0 - 9 * MINUTE, POLICY)
    assert law.is_behind(T0, T0 - 5_000, 2, T0 - 11 * MINUTE, POLICY)
    assert law.is_behind(T0, T0 - 11 * MINUTE, 0, 0, POLICY)


# --- a fleet, and a slow model that knows it all by other means -----------------------------------

FLEET = ("A", "B", "C", "D")
SMALL = BreakerPolicy(
    open_ms=120, open_max_ms=400, calm_ms=2_000, trials=2, trial_ms=60, trial_wait_ms=90,
    grace_ms=0,
)  # fmt: skip


@dataclass
class Parcel:
    """The truth of one shipment: what the bench did, and when the core heard of it."""

    name: str
    warehouse: str
    due: int
    given: int
    trial: bool
    left: int | None = None
    told: int | None = None
    gone: bool = False


@dataclass
class SlowBreaker:
    """The same promise, kept by strings, fractions and looking at everything again."""

    mode: str = "closed"
    since: int = 0
    until: int = 0
    times: int = 0
    mark: int = 0
    proof: list[tuple[str, int]] = field(default_factory=list)
    trials: dict[str, int] = field(default_factory=dict)
    kept_in: bool = False

    def letters(
        self, parcels: dict[str, Parcel], heard: int, now: int
    ) -> list[tuple[str, str, int]]:
        mine = sorted((p.due, p.name) for p in parcels.values() if self.mark < p.due < now)
        return [(self.letter(parcels[n], due, heard, now), n, due) for due, n in mine]

    @staticmethod
    def letter(p: Parcel, due: int, heard: int, now: int) -> str:
        if p.told is not None:
            assert p.left is not None
            return "O" if p.left <= due else "L"
        if now <= due:
            return "P"
        return "L" if heard > due else "U"

    def length(self, at: int) -> tuple[int, int]:
        quiet = self.mode == "closed" and at - self.since >= SMALL.calm_ms
        times = 1 if quiet else self.times + 1
        return times, min(int(120 * Fraction(3, 2) ** (times - 1)), 400)

    def rest(self, parcels: dict[str, Parcel], heard: int, now: int) -> None:
        if self.mode == "open":
            known = [(parcels[n], d) for n, d in self.proof if n in parcels]
            if any(self.letter(p, d, heard, now) == "O" for p, d in known):
                self.mode = "half_open" if self.trials else "closed"
                self.since, self.times, self.proof = now, self.times - 1, []
        self.clock(now)
        if self.mode == "half_open":
            for name, due in list(self.trials.items()):
                p = parcels.get(name)
                letter = self.letter(p, due, heard, now) if p else "gone"
                if letter == "gone" or (letter == "U" and now - due > 90):
                    del self.trials[name]
            letters = [self.letter(parcels[n], d, heard, now) for n, d in self.trials.items()]
            if letters == ["O"] * 2:
                self.mode, self.since, self.mark, self.kept_in = "closed", now, now, False
                self.trials = {}

    def clock(self, now: int) -> None:
        if self.mode == "open" and now >= self.until:
            self.mode, self.since, self.trials, self.proof = "half_open", self.until, {}, []

    def wants(
        self, parcels: dict[str, Parcel], heard: int, now: int
    ) -> tuple[int, list[tuple[str, int]]] | None:
        if self.mode == "half_open":
            bad = [(d, n) for n, d in self.trials.items()
                   if n in parcels and self.letter(parcels[n], d, heard, now) == "L"]  # fmt: skip
            return (min(bad)[0], [min(bad)[::-1]]) if bad else None
        if self.mode != "closed":
            return None
        row = self.letters(parcels, heard, now)
        text = "".join(letter for letter, _, _ in row)
        if not self.kept_in:
            for found in re.finditer("(?=LLL)", text):
                end = found.start() + 3
                due = row[end - 1][2]
                if due + self.length(due)[1] > now:
                    return due, [(n, d) for _, n, d in row[end - 3 : end]]
        last = text.rpartition("O")[2].rfind("LLL") if self.kept_in else -1
        if last >= 0:
            last += text.rfind("O") + 1
            return now, [(n, d) for _, n, d in row[last : last + 3]]
        if text.endswith("LLL") and not self.kept_in:
            return row[-1][2], [(n, d) for _, n, d in row[-3:]]
        return None

    def settle(
        self,
        wish: tuple[int, list[tuple[str, int]]] | None,
        row: list[tuple[str, str, int]],
        now: int,
        room: bool,
    ) -> None:
        well = max((due for letter, _, due in row if letter == "O"), default=self.mark)
        if wish is None:
            if self.kept_in and self.mode == "closed":
                self.kept_in, self.mark = False, well
        elif not room and self.mode == "closed" and well > wish[1][-1][1]:
            self.mark = well
        elif not room:
            self.kept_in = True
            for name, _ in wish[1]:
                self.trials.pop(name, None)
        else:
            self.times, span = self.length(wish[0])
            self.mode, self.since, self.until = "open", wish[0], wish[0] + span
            self.proof, self.kept_in = wish[1], False
            self.clock(now)


class Fleet(RuleBasedStateMachine):
    """Four warehouses with benches that are fast, slow or cut off; a router that obeys."""

    @initialize()
    def begin(self) -> None:
        self.now = 10_000
        self.states = {w: BreakerState(w, counted_from_ms=self.now) for w in FLEET}
        self.slow = {w: SlowBreaker(mark=self.now) for w in FLEET}
        self.parcels: dict[str, dict[str, Parcel]] = {w: {} for w in FLEET}
        self.cut: dict[str, int | None] = dict.fromkeys(FLEET)
        self.count = 0

    def heard(self, warehouse: str) -> int:
        since = self.cut[warehouse]
        return self.now if since is None else since

    @rule(minutes=st.integers(1, 40))
    def wait(self, minutes: int) -> None:
        self.now += minutes
        for warehouse in FLEET:
            if self.cut[warehouse] is None:
                self.tell(warehouse)
        self.judge()

    @rule(w=st.sampled_from(FLEET), due=st.integers(1, 60), sole=st.booleans())
    def give(self, w: str, due: int, sole: bool) -> None:
        take = law.may_take(self.states[w], self.now, SMALL, sole_holder=sole)
        slow = self.slow[w]
        slow.clock(self.now)
        free = slow.mode == "half_open" and len(slow.trials) < 2
        expected = "yes" if slow.mode == "closed" else "trial" if free else "yes" if sole else "no"
        assert take.answer == expected
        assert take.flagged == (slow.mode != "closed" and expected == "yes")
        if take.answer == "no":
            return
        self.count += 1
        name = f"S{self.count:04}"
        self.parcels[w][name] = Parcel(name, w, self.now + due, self.now, take.answer == "trial")
        if take.answer == "trial":
            self.states[w] = law.give_trial(self.states[w], name, self.now, SMALL)
            slow.trials[name] = self.now + 60

    @rule(places=st.sets(st.sampled_from(FLEET), min_size=1), due=st.integers(1, 30))
    def a_bad_day(self, places: set[str], due: int) -> None:
        """Three more for each of these warehouses at once, and then time goes by."""
        for w in sorted(places):
            for _ in range(3):
                self.give(w, due, False)
        self.wait(due + 2)

    @rule(w=st.sampled_from(FLEET), oldest=st.booleans(), many=st.integers(1, 4))
    def hand_over(self, w: str, oldest: bool, many: int) -> None:
        waiting = sorted((p for p in self.parcels[w].values() if p.left is None),
                         key=lambda p: p.due, reverse=not oldest)  # fmt: skip
        for parcel in waiting[:many]:
            parcel.left = self.now
        if self.cut[w] is None:
            self.tell(w)
        self.judge()

    @rule(w=st.sampled_from(FLEET))
    def take_away(self, w: str) -> None:
        waiting = [p for p in self.parcels[w].values() if p.left is None]
        if waiting:
            del self.parcels[w][waiting[0].name]
            self.judge()

    @rule(w=st.sampled_from(FLEET))
    def line_fails_or_comes_back(self, w: str) -> None:
        if self.cut[w] is None:
            self.cut[w] = self.now
        else:
            self.cut[w] = None
            self.tell(w)
            self.judge()

    @precondition(lambda self: self.now > 10_500)
    @rule(w=st.sampled_from(FLEET), mode=st.sampled_from(["open", "closed"]))
    def a_person_steps_in_and_out(self, w: str, mode: str) -> None:
        def forced(how: str) -> BreakerState:
            return law.force(self.states[w], how, self.now, SMALL, actor="演示甲", reason="演示",
                             until_ms=None).state  # fmt: skip

        self.states[w] = forced(mode)
        take = law.may_take(self.states[w], self.now + 9_999, SMALL, sole_holder=False)
        assert take.answer == {"open": "no", "closed": "yes"}[mode]
        self.states[w] = forced("auto")
        slow = self.slow[w]
        slow.mode, slow.since, slow.mark = "closed", self.now, self.now
        slow.trials, slow.proof, slow.kept_in = {}, [], False

    def tell(self, warehouse: str) -> None:
        for parcel in self.parcels[warehouse].values():
            if parcel.left is not None and parcel.told is None:
                parcel.told = self.now

    def facts(self) -> dict[str, list[Dispatch]]:
        return {
            w: [Dispatch(p.name, p.due, p.left if p.told is not None else None, self.heard(w))
                for p in self.parcels[w].values()]
            for w in FLEET
        }  # fmt: skip

    def judge(self) -> None:
        facts = self.facts()
        before = {w: law.is_open(s) for w, s in self.states.items()}
        steps = law.judge(list(self.states.values()), facts, self.now, SMALL)
        self.states = {s.state.warehouse: s.state for s in steps}
        for w in FLEET:
            if before[w] and self.states[w].state == "open":
                assert "opened" not in [e.kind for s in steps for e in s.events
                                        if e.warehouse == w]  # fmt: skip
            self.slow[w].rest(self.parcels[w], self.heard(w), self.now)
        wishes = []
        for w in FLEET:
            wish = self.slow[w].wants(self.parcels[w], self.heard(w), self.now)
            wishes.append((wish[0] if wish else 0, w, wish))
        for _, w, wish in sorted(wishes, key=lambda x: x[:2]):
            room = sum(s.mode == "open" for s in self.slow.values()) < 2
            row = self.slow[w].letters(self.parcels[w], self.heard(w), self.now)
            self.slow[w].settle(wish, row, self.now, room)

    @invariant()
    def the_slow_model_agrees(self) -> None:
        for w, state in self.states.items():
            slow = self.slow[w]
            assert state.state == slow.mode, w
            if slow.mode == "open":
                assert (state.since_ms, state.until_ms, state.openings) == (
                    slow.since, slow.until, slow.times,
                )  # fmt: skip
            assert {t.shipment for t in state.trials} == set(slow.trials)
            assert (state.capped, state.counted_from_ms) == (slow.kept_in, slow.mark), w

    @invariant()
    def never_open_longer_than_due_nor_more_than_half(self) -> None:
        for state in self.states.values():
            if state.state == "open":
                assert state.until_ms is not None
                assert self.now < state.until_ms <= state.since_ms + 400
        assert sum(law.is_open(s) for s in self.states.values()) <= 2

    @invariant()
    def judged_again_at_once_there_is_nothing_to_tell(self) -> None:
        facts = self.facts()
        once = [s.state for s in law.judge(list(self.states.values()), facts, self.now, SMALL)]
        for _ in range(3):
            steps = law.judge(once, facts, self.now, SMALL)
            once = [s.state for s in steps]
            told = [e.kind for s in steps for e in s.events if e.kind in ("capped", "uncapped")]
        assert told == []

    @invariant()
    def never_stuck_half_open(self) -> None:
        """Every trial is younger than its deadline and the wait, so its place comes free."""
        for state in self.states.values():
            for trial in state.trials:
                young = self.now - trial.due_ms <= 90 + 40
                assert trial.on_time or young or state.state != "half_open"

    @invariant()
    def it_always_comes_back_by_itself(self) -> None:
        for state in self.states.values():
            take = law.may_take(state, self.now + 400, SMALL, sole_holder=False)
            assert take.answer in ("yes", "trial") or state.state == "half_open"


Fleet.TestCase.settings = settings(max_examples=60, stateful_step_count=60, deadline=None)
TestFleet = Fleet.TestCase
