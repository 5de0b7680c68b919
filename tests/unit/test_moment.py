"""What the agent believes of the server's clock, and when a command is void."""

from __future__ import annotations

from edge_agent.domain.moment import (
    ServerOffset,
    expired,
    learn_from_echo,
    learn_from_stamp,
)


def test_the_offset_takes_half_the_round_trip_as_the_way_back() -> None:
    found = learn_from_echo(None, srv_ms=1_000_100, echo_mono_ms=500, mono_ms=700)
    assert found == ServerOffset(1_000_100 + 100 - 700, 200)
    assert found.server_ms(800) == 1_000_300


def test_a_quicker_answer_replaces_a_slower_one_and_not_the_other_way_round() -> None:
    slow = learn_from_echo(None, srv_ms=1_000_000, echo_mono_ms=0, mono_ms=4_000)
    quick = learn_from_echo(slow, srv_ms=1_010_000, echo_mono_ms=10_000, mono_ms=10_020)
    assert quick == ServerOffset(1_000_000 - 10, 20)
    assert learn_from_echo(quick, srv_ms=1_020_500, echo_mono_ms=20_000, mono_ms=25_000) == quick


def test_an_answer_to_a_hello_of_another_boot_teaches_nothing() -> None:
    assert learn_from_echo(None, srv_ms=1, echo_mono_ms=90_000, mono_ms=50) is None


def test_an_ack_can_only_show_that_the_server_is_further() -> None:
    known = ServerOffset(1_000, 50)
    assert learn_from_stamp(known, srv_ms=1_500, mono_ms=600) == known
    assert learn_from_stamp(known, srv_ms=1_700, mono_ms=600) == ServerOffset(1_100, 50)
    assert learn_from_stamp(None, srv_ms=1_700, mono_ms=600) is None


def test_without_a_learned_clock_nothing_expires_by_itself() -> None:
    assert not expired(0, 1, None, 10**12)
    known = ServerOffset(1_000, 5)
    assert not expired(1_000, 10, known, 10_000)
    assert expired(1_000, 10, known, 10_001)
    assert not expired(1_000, None, known, 10**12)


def test_a_server_whose_clock_was_set_back_is_believed_however_slow_its_answer() -> None:
    known = learn_from_echo(None, srv_ms=1_000_000, echo_mono_ms=0, mono_ms=10)
    later = learn_from_echo(known, srv_ms=1_000_000, echo_mono_ms=300_000, mono_ms=300_200)
    assert later is not None
    assert abs(later.server_ms(300_200) - 1_000_100) <= 100
    assert not expired(1_000_000, 120, later, 300_200)
