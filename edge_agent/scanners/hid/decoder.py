"""Turns the key events of a keyboard-style scanner into codes: a pure decoder, one per device.

Fed with `(type, code, value)` as the kernel's input layer gives them; opening and grabbing the
device is somebody else's work. Numbers are those of `linux/input-event-codes.h`, US layout.
"""

from __future__ import annotations

from dataclasses import dataclass

from edge_agent.domain.scan import MAX_CODE_CHARS, ScanEvent, ScanRefused, refuse_code

EV_SYN, EV_KEY, EV_LED = 0, 1, 0x11
SYN_REPORT, SYN_DROPPED = 0, 3
UP, DOWN = 0, 1
_SHIFTS = frozenset((42, 54))
_CTRLS = frozenset((29, 97))
_ALTS = frozenset((56, 100))
_CAPS, _NUM, _SCROLL = 58, 69, 70
GS = "\x1d"
SUFFIX_KEYS: dict[str, int] = {"ENTER": 28, "KP_ENTER": 96, "TAB": 15, "DOWN": 108}
"""Keys that scanners are set up to send after a code."""

_PLAIN: dict[int, str] = {
    **dict(zip(range(2, 14), "1234567890-=", strict=True)),
    **dict(zip(range(16, 28), "qwertyuiop[]", strict=True)),
    **dict(zip(range(30, 42), "asdfghjkl;'`", strict=True)),
    **dict(zip(range(43, 54), "\\zxcvbnm,./", strict=True)),
    57: " ",
}
_SHIFTED: dict[str, str] = dict(zip("1234567890-=[];'`\\,./", '!@#$%^&*()_+{}:"~|<>?', strict=True))
_KEYPAD: dict[int, str] = {
    **dict(zip((71, 72, 73, 75, 76, 77, 79, 80, 81, 82), "7894561230", strict=True)),
    55: "*",
    74: "-",
    78: "+",
    83: ".",
    98: "/",
}


@dataclass(frozen=True, slots=True)
class HidRules:
    """`suffixes`: keys of `SUFFIX_KEYS` that end a code.

    `idle_ends`: quiet time ends a code (scanners without suffix) instead of dropping it.
    `prefix`, if set, is cut from the front where it is there.
    """

    suffixes: tuple[str, ...] = tuple(SUFFIX_KEYS)
    idle_ms: int = 300
    idle_ends: bool = False
    prefix: str = ""
    max_chars: int = MAX_CODE_CHARS


class HidDecoder:
    """State of one device. Two scanners never share one, or their codes would mix."""

    def __init__(self, source: str, rules: HidRules | None = None) -> None:
        self._source = source
        self._rules = rules or HidRules()
        self._ends = frozenset(SUFFIX_KEYS[name] for name in self._rules.suffixes)
        self._text: list[str] = []
        self._held: set[int] = set()
        self._caps = False
        self._alt_digits = ""
        self._spoiled = ""
        self._skip_to_sync = False
        self._last_ms = 0
        self._settled_ms = 0

    @property
    def pending(self) -> bool:
        """Whether a code has begun and not ended: `idle` must be called in time."""
        return bool(self._text or self._spoiled or self._alt_digits)

    def opened(self, at_ms: int) -> None:
        """The device was opened now: a code whose first key we missed may be under way.

        A key within `idle_ms` of it belongs to such a code, which is refused.
        """
        self._settled_ms = at_ms + self._rules.idle_ms

    def abandon(self, at_ms: int) -> ScanRefused | None:
        """The device is gone: what had begun will never end. Error tone, not a shorter code."""
        torn = self.pending and self._spoiled != "dropped"
        self._reset()
        self._held.clear()
        return ScanRefused(self._source, "incomplete", at_ms) if torn else None

    def feed(self, kind: int, code: int, value: int, at_ms: int) -> ScanEvent | ScanRefused | None:
        """One kernel event; a finished or refused code when this event ended it.

        After SYN_DROPPED everything up to the next SYN_REPORT is stale (kernel documentation,
        input event-codes) and the scan in hand is refused: a shorter code would be a wrong code.
        """
        if kind == EV_SYN:
            return self._synced(code, at_ms)
        if kind != EV_KEY or self._skip_to_sync:
            return None
        late = self.idle(at_ms)
        self._last_ms = at_ms
        if at_ms < self._settled_ms:
            self._spoiled = self._spoiled or "incomplete"
            self._settled_ms = at_ms + self._rules.idle_ms
        if value == DOWN:
            return self._pressed(code, at_ms) or late
        if value == UP:
            self._released(code)
        return late

    def idle(self, at_ms: int) -> ScanEvent | ScanRefused | None:
        """Call now and then: ends or drops a code that has been quiet for `idle_ms`."""
        if not self.pending or at_ms - self._last_ms < self._rules.idle_ms:
            return None
        if self._rules.idle_ends:
            return self._finish(at_ms)
        self._spoiled = self._spoiled or "incomplete"
        return self._finish(at_ms)

    def _synced(self, code: int, at_ms: int) -> ScanRefused | None:
        if code == SYN_DROPPED:
            self._reset()
            self._held.clear()
            self._skip_to_sync = True
            # The rest of this scan may still arrive: it belongs to the refused one.
            self._spoiled = "dropped"
            self._last_ms = at_ms
            return ScanRefused(self._source, "dropped", at_ms)
        if code == SYN_REPORT:
            self._skip_to_sync = False
        return None

    def _pressed(self, code: int, at_ms: int) -> ScanEvent | ScanRefused | None:
        if code == _CAPS:
            self._caps = not self._caps
        elif code in _SHIFTS or code in _CTRLS or code in _ALTS:
            self._held.add(code)
        elif code in (_NUM, _SCROLL):
            pass  # some scanners put Num Lock around Alt codes
        elif self._held & _ALTS:
            digit = _KEYPAD.get(code) or _PLAIN.get(code) or ""
            self._alt_digits += digit if digit.isdigit() else "x"
        elif code in self._ends:
            return self._finish(at_ms)
        elif self._held & _CTRLS:
            return self._control(code, at_ms)
        else:
            self._type(code)
        return None

    def _released(self, code: int) -> None:
        self._held.discard(code)
        if code in _ALTS and self._alt_digits and not self._held & _ALTS:
            digits, self._alt_digits = self._alt_digits, ""
            self._add(_alt_char(digits), "alt_code")

    def _control(self, code: int, at_ms: int) -> ScanEvent | ScanRefused | None:
        key = _PLAIN.get(code, "")
        if key in ("j", "m"):  # Ctrl+J and Ctrl+M are LF and CR
            return self._finish(at_ms)
        self._add(GS if key == "]" else "", "control_character")
        return None

    def _type(self, code: int) -> None:
        if code in _KEYPAD:
            self._add(_KEYPAD[code], "")
            return
        key = _PLAIN.get(code)
        if key is None:
            # An F-key or arrow inside a code stands for a control character: without it the code
            # would be another one. Alone (a media key) it is nothing.
            self._spoiled = self._spoiled or ("control_character" if self._text else "")
            return
        shift = bool(self._held & _SHIFTS)
        if key.isalpha():
            self._add(key.upper() if shift != self._caps else key, "")
        else:
            self._add(_SHIFTED.get(key, key) if shift else key, "")

    def _add(self, char: str, reason_if_none: str) -> None:
        if not char:
            self._spoiled = self._spoiled or reason_if_none
        elif len(self._text) >= self._rules.max_chars:
            self._spoiled = self._spoiled or "too_long"
        else:
            self._text.append(char)

    def _finish(self, at_ms: int) -> ScanEvent | ScanRefused | None:
        text, spoiled = "".join(self._text), self._spoiled
        code = text.removeprefix(self._rules.prefix).strip(" ")
        self._reset()
        self._settled_ms = 0
        if spoiled == "dropped":
            return None  # already reported when it happened
        reason = spoiled or refuse_code(code)
        if reason:
            return ScanRefused(self._source, reason, at_ms)
        return ScanEvent(self._source, code, at_ms) if code else None

    def _reset(self) -> None:
        self._text.clear()
        self._alt_digits = ""
        self._spoiled = ""


def _alt_char(digits: str) -> str:
    """Alt + decimal digits as one character ("" if none): below 256 Windows-1252, else Unicode."""
    if not digits.isdigit() or len(digits) > 6:
        return ""
    value = int(digits)
    if value < 256:
        try:
            return bytes((value,)).decode("cp1252")
        except UnicodeDecodeError:
            return ""
    return chr(value) if value < 0xD800 or 0xE000 <= value <= 0x10FFFF else ""
