"""A fleet of warehouses for breakers to judge, and a slow model that knows it all by other means.

The machine asks the pure law; who asks it through commands and a database overrides four methods.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from fractions import Fraction

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from cloud_core.domain import breaker as law
from cloud_core.domain.breaker import BreakerPolicy, BreakerState, Dispatch, Take

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

    # --- how the law is asked; another way of asking overrides these ---------------------------

    def ask(self, w: str, sole: bool) -> Take:
        """Whether a new shipment may go there."""
        return law.may_take(self.states[w], self.now, SMALL, sole_holder=sole)

    def put_on_trial(self, w: str, name: str) -> None:
        """A shipment was given as a trial."""
        self.states[w] = law.give_trial(self.states[w], name, self.now, SMALL)

    def force(self, w: str, mode: str) -> None:
        """A person sets the breaker."""
        self.states[w] = law.force(
            self.states[w], mode, self.now, SMALL, actor="演示甲", reason="演示", until_ms=None
        ).state

    def look_at_all(self) -> list[tuple[str, str]]:
        """Judge every warehouse; (warehouse, what happened) in order."""
        steps = law.judge(list(self.states.values()), self.facts(), self.now, SMALL)
        self.states = {s.state.warehouse: s.state for s in steps}
        return [(event.warehouse, event.kind) for s in steps for event in s.events]

    # --- what happens --------------------------------------------------------------------------

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
        take = self.ask(w, sole)
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
            self.put_on_trial(w, name)
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
        self.force(w, mode)
        take = law.may_take(self.states[w], self.now + 9_999, SMALL, sole_holder=False)
        assert take.answer == {"open": "no", "closed": "yes"}[mode]
        self.force(w, "auto")
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
        before = {w: law.is_open(s) for w, s in self.states.items()}
        told = self.look_at_all()
        for w in FLEET:
            if before[w] and self.states[w].state == "open":
                assert (w, "opened") not in told
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
