"""From bytes to codes, and which codes count."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.domain.scan import REFUSED_ZH, RepeatFilter, ScanEvent, ScanRefused
from edge_agent.domain.scan_framing import FramingRules, ScanFramer
from edge_agent.domain.scan_meaning import CodeKind, Known, classify


def outcome(framer: ScanFramer, *pieces: bytes) -> list[str]:
    """Codes as they are, refusals as `!reason`."""
    found = [item for piece in pieces for item in framer.feed(piece, 1)]
    return [item.code if isinstance(item, ScanEvent) else "!" + item.reason for item in found]


@pytest.mark.parametrize("suffix", [b"\r", b"\n", b"\r\n", b"\x03"])
def test_every_usual_suffix_ends_a_code(suffix: bytes) -> None:
    assert outcome(ScanFramer("s"), b"SF1" + suffix + b"SF2" + suffix) == ["SF1", "SF2"]


@given(st.lists(st.integers(0, 40), max_size=8))
def test_pieces_never_matter(cuts: list[int]) -> None:
    data = b"\x02SF1040000123456\x03YT88\r\n6901234567892\r"
    edges = [0, *sorted(cuts), len(data)]
    pieces = [data[a:b] for a, b in pairwise(edges)]
    assert outcome(ScanFramer("s"), *pieces) == ["SF1040000123456", "YT88", "6901234567892"]


def test_a_fast_burst_is_as_many_codes_as_suffixes() -> None:
    assert outcome(ScanFramer("s"), b"A1\rA1\rA1\r") == ["A1"] * 3


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"x" * 10_000 + b"\rNEXT\r", ["!too_long", "NEXT"]),
        (b"x" * 257 + b"\rNEXT\r", ["!too_long", "NEXT"]),
        (b"x" * 256 + b"\r", ["x" * 256]),
        (b"A\x1b[2JB\rNEXT\r", ["!control_character", "NEXT"]),
        (b"A\x00B\rNEXT\r", ["!control_character", "NEXT"]),
        (b"\xff\xfe\rNEXT\r", ["!encoding", "NEXT"]),
        (b"0104901234567894\x1d21A\r", ["0104901234567894\x1d21A"]),
        (b"\r\n\r\n   \r", []),
        ("货号-茶\r".encode(), ["货号-茶"]),
    ],
)
def test_what_is_no_code_is_refused_and_the_next_one_is_whole(
    data: bytes, expected: list[str]
) -> None:
    assert outcome(ScanFramer("s"), data) == expected


def test_half_a_code_is_dropped_when_the_line_goes_quiet() -> None:
    framer = ScanFramer("s")
    assert outcome(framer, b"SF10400") == []
    assert framer.idle(500) == [ScanRefused("s", "incomplete", 500)]
    assert framer.idle(900) == []
    assert outcome(framer, b"SF2\r") == ["SF2"]


def test_the_tail_of_an_overlong_code_never_passes_for_a_code() -> None:
    framer = ScanFramer("s")
    assert outcome(framer, b"x" * 5_000) == []
    assert framer.idle(500) == []
    assert outcome(framer, b"6901234567892\r", b"OK\r") == ["!too_long", "OK"]


def test_a_configured_prefix_is_cut_and_its_absence_is_fine() -> None:
    framer = ScanFramer("s", FramingRules(suffix="CR", prefix="]C1"))
    assert outcome(framer, b"]C1SF1\rSF2\r") == ["SF1", "SF2"]


def test_every_refusal_has_words() -> None:
    reasons = {"too_long", "control_character", "encoding", "incomplete", "dropped", "alt_code"}
    assert set(REFUSED_ZH) == reasons


def test_the_trigger_bounce_is_dropped_and_a_real_second_scan_is_not() -> None:
    bounce = RepeatFilter()
    assert not bounce.is_repeat("S1", "gun", "SKU", 1_000)
    assert bounce.is_repeat("S1", "gun", "SKU", 2_499)
    assert not bounce.is_repeat("S1", "gun", "SKU", 2_500), "the window runs from what counted"
    assert not bounce.is_repeat("S2", "gun 2", "SKU", 2_501), "another station is another bench"
    assert bounce.is_repeat("S1", "pda", "SKU", 2_502), "two readers of one bench saw one item"


def test_two_equal_items_with_another_between_them_are_two_scans() -> None:
    bounce = RepeatFilter()
    assert not bounce.is_repeat("S1", "gun", "A", 1_000)
    assert not bounce.is_repeat("S1", "gun", "B", 1_200)
    assert not bounce.is_repeat("S1", "gun", "A", 1_400)
    assert bounce.is_repeat("S1", "gun", "A", 1_500)


def test_what_another_hand_scans_does_not_make_a_bounce_count() -> None:
    bounce = RepeatFilter()
    assert not bounce.is_repeat("S1", "gun", "A", 1_000)
    assert not bounce.is_repeat("S1", "pda", "B", 1_100)
    assert bounce.is_repeat("S1", "gun", "A", 1_200)


def test_an_error_is_no_scan_that_counted() -> None:
    """A red screen must not turn into a yellow "repeat" because the packer scans again."""
    bounce = RepeatFilter()
    assert not bounce.is_repeat("S1", "gun", "A", 1_000)
    bounce.forget("S1", "A")
    assert not bounce.is_repeat("S1", "gun", "A", 1_200)


def test_the_filter_remembers_a_bounded_number() -> None:
    bounce = RepeatFilter()
    for number in range(1_000):
        assert not bounce.is_repeat("S1", "gun", f"C{number}", 1_000)
    assert len(bounce._seen) == 256


def lookup(code: str) -> list[Known]:
    known = {
        "YT1": [Known(CodeKind.WAYBILL, "DB1-1")],
        "69012": [Known(CodeKind.SKU, "TEA")],
        "BOTH": [Known(CodeKind.SKU, "TEA"), Known(CodeKind.WAYBILL, "DB1-1")],
        "$$OK": [Known(CodeKind.SKU, "never asked")],
    }
    return known.get(code, [])


@pytest.mark.parametrize(
    ("code", "kind", "ref", "argument"),
    [
        ("$$OUT", CodeKind.COMMAND, "OUT", ""),
        ("$$SHORT:3", CodeKind.COMMAND, "SHORT", "3"),
        ("$$FORMAT", CodeKind.UNKNOWN, "", ""),
        ("$$", CodeKind.UNKNOWN, "", ""),
        ("STN-3", CodeKind.STATION, "3", ""),
        ("LOAD-A1", CodeKind.DOCK, "A1", ""),
        ("YT1", CodeKind.WAYBILL, "DB1-1", ""),
        ("69012", CodeKind.SKU, "TEA", ""),
        ("BOTH", CodeKind.AMBIGUOUS, "", ""),
        ("73144233224145", CodeKind.UNKNOWN, "", ""),
    ],
)
def test_known_things_first_and_never_a_guess(
    code: str, kind: CodeKind, ref: str, argument: str
) -> None:
    meaning = classify(code, lookup)
    assert (meaning.kind, meaning.ref, meaning.argument) == (kind, ref, argument)
    assert bool(meaning.error_zh) == (kind in (CodeKind.UNKNOWN, CodeKind.AMBIGUOUS))
