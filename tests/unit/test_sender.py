"""The sender's window: nothing beyond it, nothing skipped, everything again when acks stop."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from edge_agent.domain import sender
from edge_agent.domain.sender import Leg, Sender

NOW = Leg(2, "b" * 16, have=0)


def send_all(state: Sender, last: int, size: int, now: int = 0) -> tuple[Sender, list[int]]:
    sent = []
    while (span := sender.next_range(state, last)) is not None:
        upto = min(span[1], span[0] + size - 1)
        state = sender.sent(state, upto, now)
        sent.append(upto)
    return state, sent


def test_nothing_goes_up_before_a_welcome() -> None:
    assert sender.next_range(Sender(), 100) is None


def test_only_the_window_is_outstanding() -> None:
    state, sent = send_all(sender.start((NOW,), 3), 100, 10)
    assert sent == [10, 20, 30]
    state = sender.acked(state, NOW.epoch, 10, 3, 0)
    state, sent = send_all(state, 100, 10)
    assert sent == [40]


def test_a_window_of_nothing_pauses_and_a_later_ack_opens_it() -> None:
    state, _ = send_all(sender.start((NOW,), 1), 100, 10)
    state = sender.acked(state, NOW.epoch, 10, 0, 0)
    assert sender.next_range(state, 100) is None
    state = sender.acked(state, NOW.epoch, 10, 8, 0)
    assert sender.next_range(state, 100) == (11, 100)


def test_without_progress_all_of_it_goes_again_and_the_patience_doubles() -> None:
    state, _ = send_all(sender.start((NOW,), 2), 100, 10)
    state, back = sender.tick(state, 2_999)
    assert not back
    state, back = sender.tick(state, 3_000)
    assert back
    state, sent = send_all(state, 100, 10, now=3_000)
    assert sent == [10, 20]
    state, back = sender.tick(state, 8_999)
    assert not back
    state, back = sender.tick(state, 9_000)
    assert back
    for _ in range(10):
        state, _ = send_all(state, 100, 10, now=9_000)
        state, _ = sender.tick(state, 100_000)
    assert state.timeout_ms == 30_000
    state = sender.acked(state, NOW.epoch, 10, 2, 0)
    assert state.timeout_ms == 3_000


def test_a_late_ack_of_another_epoch_changes_nothing() -> None:
    state, _ = send_all(sender.start((NOW,), 2), 100, 10)
    assert sender.acked(state, "c" * 16, 90, 8, 0) == state


def test_a_rewind_goes_back_below_what_was_acknowledged() -> None:
    state, _ = send_all(sender.start((NOW,), 2), 100, 10)
    state = sender.acked(state, NOW.epoch, 20, 2, 0)
    state = sender.acked(state, NOW.epoch, 5, 2, 0, rewind=True)
    assert sender.next_range(state, 100) == (6, 100)


def test_one_lost_batch_is_answered_once_however_many_behind_it_ask() -> None:
    state, sent = send_all(sender.start((NOW,), 8), 80, 10)
    for _ in sent[1:]:
        state = sender.acked(state, NOW.epoch, 0, 8, 0, rewind=True)
        state, again = send_all(state, 80, 10)
        sent += again
    assert len(sent) == 16
    state = sender.acked(state, NOW.epoch, 30, 8, 0)
    state = sender.acked(state, NOW.epoch, 30, 8, 0, rewind=True)
    assert sender.next_range(state, 80) == (31, 80)


def test_older_epochs_go_first_and_the_current_one_follows() -> None:
    old = Leg(1, "a" * 16, have=3, last=5)
    state = sender.start((old, NOW), 8)
    assert sender.next_range(state, 100) == (4, 5)
    state = sender.sent(state, 5, 0)
    assert sender.next_range(state, 100) is None
    state = sender.acked(state, old.epoch, 5, 8, 0)
    assert state.leg == NOW
    assert sender.next_range(state, 100) == (1, 100)


def test_an_old_epoch_the_core_holds_whole_is_passed_over() -> None:
    state = sender.start((Leg(1, "a" * 16, have=5, last=5), NOW), 8)
    assert state.leg == NOW


class Wire(RuleBasedStateMachine):
    """Rows written, sent, lost, acknowledged, late and early: the core misses none in the end."""

    def __init__(self) -> None:
        super().__init__()
        self.state = sender.start((NOW,), 4)
        self.written = 0
        self.have = 0
        self.now = 0
        self.flying: list[tuple[int, int]] = []

    @rule(count=st.integers(1, 50))
    def write(self, count: int) -> None:
        self.written += count

    @rule(size=st.integers(1, 20))
    def send(self, size: int) -> None:
        span = sender.next_range(self.state, self.written)
        if span is not None:
            last = min(span[1], span[0] + size - 1)
            self.flying.append((span[0], last))
            self.state = sender.sent(self.state, last, self.now)

    @rule(data=st.data())
    def arrive(self, data: st.DataObject) -> None:
        if self.flying:
            first, last = self.flying.pop(data.draw(st.integers(0, len(self.flying) - 1)))
            if first <= self.have + 1:
                self.have = max(self.have, last)

    @rule()
    def lose(self) -> None:
        self.flying.clear()

    @rule(behind=st.integers(0, 30))
    def ack(self, behind: int) -> None:
        """Acks may be old: they name what was held some time ago."""
        have = max(0, self.have - behind)
        self.state = sender.acked(self.state, NOW.epoch, have, 4, self.now)

    @rule(ms=st.integers(0, 40_000))
    def wait(self, ms: int) -> None:
        self.now += ms
        self.state, _ = sender.tick(self.state, self.now)

    @invariant()
    def never_ahead_of_what_is_written_and_never_skips(self) -> None:
        assert self.state.acked <= self.have <= self.written
        assert self.state.cursor <= self.written + 1
        assert len(self.state.flights) <= 4
        assert all(last < self.state.cursor for last in self.state.flights)

    def teardown(self) -> None:
        """A line that works again brings everything up."""
        self.flying.clear()
        for _ in range(1000):
            if self.have == self.written:
                break
            self.now += 31_000
            self.state = sender.acked(self.state, NOW.epoch, self.have, 4, self.now)
            self.state, _ = sender.tick(self.state, self.now)
            self.send(20)
            while self.flying:
                first, last = self.flying.pop(0)
                if first <= self.have + 1:
                    self.have = max(self.have, last)
        assert self.have == self.written


TestWire = Wire.TestCase
TestWire.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
