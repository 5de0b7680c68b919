"""A keyboard-style scanner, key by key."""

import pytest

from edge_agent.domain.scan import ScanEvent, ScanRefused
from edge_agent.scanners.hid import EV_KEY, EV_SYN, SYN_DROPPED, SYN_REPORT, HidDecoder, HidRules

ENTER, KP_ENTER, TAB, DOWN, SHIFT, CTRL, ALT, CAPS = 28, 96, 15, 108, 42, 29, 56, 58
KEYS = {
    **dict(zip("1234567890-=", range(2, 14), strict=True)),
    **dict(zip("qwertyuiop[]", range(16, 28), strict=True)),
    **dict(zip("asdfghjkl;'`", range(30, 42), strict=True)),
    **dict(zip("\\zxcvbnm,./", range(43, 54), strict=True)),
}
KEYPAD = dict(zip("7894561230", (71, 72, 73, 75, 76, 77, 79, 80, 81, 82), strict=True))


class Hand:
    """Types on one decoder; `seen` holds codes as they are and refusals as `!reason`."""

    def __init__(self, rules: HidRules | None = None) -> None:
        self.decoder = HidDecoder("hid1", rules)
        self.now_ms = 0
        self.seen: list[str] = []

    def event(self, kind: int, code: int, value: int) -> None:
        self.keep(self.decoder.feed(kind, code, value, self.now_ms))

    def keep(self, found: ScanEvent | ScanRefused | None) -> None:
        if found is not None:
            self.seen.append(found.code if isinstance(found, ScanEvent) else "!" + found.reason)

    def tap(self, *codes: int) -> None:
        for code in codes:
            self.now_ms += 8
            self.event(EV_KEY, code, 1)
            self.event(EV_KEY, code, 0)
            self.event(EV_SYN, SYN_REPORT, 0)

    def hold(self, key: int, *codes: int) -> None:
        self.event(EV_KEY, key, 1)
        self.tap(*codes)
        self.event(EV_KEY, key, 0)

    def type(self, text: str) -> None:
        for char in text:
            if char.isupper():
                self.hold(SHIFT, KEYS[char.lower()])
            else:
                self.tap(KEYS[char])


def test_letters_digits_and_shift() -> None:
    hand = Hand()
    hand.type("SF1040-abC")
    hand.hold(SHIFT, KEYS["4"], KEYS["4"], KEYS["1"])
    hand.tap(ENTER)
    assert hand.seen == ["SF1040-abC$$!"]


@pytest.mark.parametrize("suffix", [ENTER, KP_ENTER, TAB, DOWN])
def test_suffix_keys(suffix: int) -> None:
    hand = Hand()
    hand.type("a1")
    hand.tap(suffix)
    assert hand.seen == ["a1"]


def test_caps_lock_turns_letters_only() -> None:
    hand = Hand()
    hand.tap(CAPS)
    hand.type("ab1C")
    hand.tap(ENTER, CAPS)
    hand.type("ab")
    hand.tap(ENTER)
    assert hand.seen == ["AB1c", "ab"]


def test_keypad_digits() -> None:
    hand = Hand()
    hand.tap(*(KEYPAD[digit] for digit in "6901234567892"), KP_ENTER)
    assert hand.seen == ["6901234567892"]


def test_auto_repeat_is_no_second_key() -> None:
    hand = Hand()
    hand.event(EV_KEY, KEYS["a"], 1)
    hand.event(EV_KEY, KEYS["a"], 2)
    hand.event(EV_KEY, KEYS["a"], 0)
    hand.tap(ENTER)
    assert hand.seen == ["a"]


def test_pitfall_19_gs_by_ctrl_bracket_and_by_alt_code() -> None:
    hand = Hand()
    hand.type("01")
    hand.hold(CTRL, KEYS["]"])
    hand.type("21")
    hand.hold(ALT, KEYPAD["0"], KEYPAD["2"], KEYPAD["9"])
    hand.type("10")
    hand.tap(ENTER)
    assert hand.seen == ["01\x1d21\x1d10"]


def test_a_whole_code_in_alt_digits() -> None:
    hand = Hand()
    for number in ("083", "070", "049"):
        hand.hold(ALT, *(KEYPAD[digit] for digit in number))
    hand.tap(ENTER)
    assert hand.seen == ["SF1"]


@pytest.mark.parametrize(
    ("digits", "reason"), [("9999999", "alt_code"), ("007", "control_character")]
)
def test_alt_codes_that_are_no_character(digits: str, reason: str) -> None:
    hand = Hand()
    hand.type("a")
    hand.hold(ALT, *(KEYPAD[digit] for digit in digits))
    hand.tap(ENTER)
    hand.type("b")
    hand.tap(ENTER)
    assert hand.seen == ["!" + reason, "b"]


def test_other_control_keys_spoil_the_scan() -> None:
    hand = Hand()
    hand.type("a")
    hand.hold(CTRL, KEYS["c"])
    hand.tap(ENTER)
    assert hand.seen == ["!control_character"]


def test_dropped_events_never_give_a_shorter_code() -> None:
    hand = Hand()
    hand.type("690123")
    hand.event(EV_SYN, SYN_DROPPED, 0)
    hand.event(EV_KEY, KEYS["4"], 1)  # stale until the next report
    hand.event(EV_SYN, SYN_REPORT, 0)
    hand.type("892")
    hand.tap(ENTER)
    hand.type("OK")
    hand.tap(ENTER)
    assert hand.seen == ["!dropped", "OK"], "the rest of the torn scan is swallowed to its suffix"


def test_shift_lost_in_a_drop_does_not_stick() -> None:
    hand = Hand()
    hand.event(EV_KEY, SHIFT, 1)
    hand.event(EV_SYN, SYN_DROPPED, 0)
    hand.event(EV_SYN, SYN_REPORT, 0)
    hand.tap(ENTER)
    hand.type("a")
    hand.tap(ENTER)
    assert hand.seen == ["!dropped", "a"]


def test_quiet_without_suffix_drops_or_ends_as_configured() -> None:
    strict, lenient = Hand(), Hand(HidRules(idle_ends=True))
    for hand in (strict, lenient):
        hand.type("sf1")
        hand.keep(hand.decoder.idle(hand.now_ms + 299))
        hand.now_ms += 400
        hand.keep(hand.decoder.idle(hand.now_ms))
        hand.type("sf2")
        hand.tap(ENTER)
    assert strict.seen == ["!incomplete", "sf2"]
    assert lenient.seen == ["sf1", "sf2"]


def test_ten_thousand_keys_are_one_error() -> None:
    hand = Hand()
    hand.type("a" * 10_000)
    hand.tap(ENTER)
    hand.type("b")
    hand.tap(ENTER)
    assert hand.seen == ["!too_long", "b"]


def test_two_scanners_never_mix() -> None:
    left, right = Hand(), Hand()
    for a, b in zip("123", "789", strict=True):
        left.type(a)
        right.type(b)
    left.tap(ENTER)
    right.tap(ENTER)
    assert (left.seen, right.seen) == (["123"], ["789"])


@pytest.mark.parametrize("value", range(128))
def test_every_ascii_code_has_a_defined_answer(value: int) -> None:
    """As Alt digits, the way a scanner sends any character: data, an end, or a named refusal."""
    hand = Hand()
    hand.type("a")
    hand.hold(ALT, *(KEYPAD[digit] for digit in f"{value:04d}"))
    hand.type("b")
    hand.tap(ENTER)
    if 32 <= value < 127 or value == 0x1D:
        assert hand.seen == [f"a{chr(value)}b"]
    else:
        assert hand.seen == ["!control_character"]


@pytest.mark.parametrize("letter", "abcdefghijklmnopqrstuvwxyz[\\]")
def test_every_control_key_is_data_an_end_or_refused(letter: str) -> None:
    hand = Hand()
    hand.type("a")
    hand.hold(CTRL, KEYS[letter])
    hand.type("b")
    hand.tap(ENTER)
    wanted = {"]": ["a\x1db"], "j": ["a", "b"], "m": ["a", "b"]}
    assert hand.seen == wanted.get(letter, ["!control_character"])


def test_a_key_that_types_nothing_never_shortens_a_code() -> None:
    f1, volume_up = 59, 115
    hand = Hand()
    hand.tap(volume_up)
    hand.type("0106")
    hand.tap(f1)
    hand.type("21")
    hand.tap(ENTER)
    hand.type("ok")
    hand.tap(ENTER)
    assert hand.seen == ["!control_character", "ok"]


def test_num_lock_around_alt_codes_is_no_part_of_them() -> None:
    hand = Hand()
    hand.tap(69)
    hand.hold(ALT, *(KEYPAD[digit] for digit in "0083"))
    hand.tap(69, ENTER)
    assert hand.seen == ["S"]


def test_a_code_that_was_under_way_when_the_device_was_opened_is_refused() -> None:
    hand = Hand()
    hand.decoder.opened(hand.now_ms)
    hand.type("234567892")  # the first digits came before us
    hand.tap(ENTER)
    hand.type("6901234567892")
    hand.tap(ENTER)
    assert hand.seen == ["!incomplete", "6901234567892"]


def test_a_device_opened_in_peace_loses_nothing() -> None:
    hand = Hand()
    hand.decoder.opened(hand.now_ms)
    hand.now_ms += 300
    hand.type("69")
    hand.tap(ENTER)
    assert hand.seen == ["69"]


def test_pulling_the_plug_in_mid_code_is_an_error_and_no_code() -> None:
    hand = Hand()
    hand.type("690")
    hand.keep(hand.decoder.abandon(hand.now_ms))
    hand.keep(hand.decoder.abandon(hand.now_ms))
    assert hand.seen == ["!incomplete"]


def test_only_the_suffixes_of_the_profile_end_a_code() -> None:
    hand = Hand(HidRules(suffixes=("ENTER",)))
    hand.type("a")
    hand.tap(TAB)
    hand.type("b")
    hand.tap(ENTER)
    assert hand.seen == ["!control_character"], "a Tab that is no end would be lost from the code"
