"""P10 as a law: out after three late in a row, back by itself, never half a fleet too many."""

from __future__ import annotations

import pytest
from hypothesis import settings

from cloud_core.domain import breaker as law
from cloud_core.domain.breaker import BreakerPolicy, BreakerState, Dispatch
from tests.support.breaker_model import Fleet

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


Fleet.TestCase.settings = settings(
    max_examples=60, stateful_step_count=60, deadline=None, derandomize=True
)
TestFleet = Fleet.TestCase
