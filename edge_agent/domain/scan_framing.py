"""Splits the bytes of a wired scanner into codes. Pure and incremental.

A code ends with its suffix and only with it: splitting on time gaps loses fast scans. What cannot
be a code becomes one `ScanRefused` and the next code is whole again.
"""

from __future__ import annotations

from dataclasses import dataclass

from edge_agent.domain.scan import MAX_CODE_CHARS, ScanEvent, ScanRefused, refuse_code

SUFFIXES: dict[str, bytes] = {
    "CR": b"\r", "LF": b"\n", "CRLF": b"\r\n", "ETX": b"\x03", "any": b"\r\n\x03", "NONE": b"",
}  # fmt: skip
MAX_CODE_BYTES = MAX_CODE_CHARS * 4


@dataclass(frozen=True, slots=True)
class FramingRules:
    """How one scanner is set up. `suffix` is a key of `SUFFIXES`; "any" is CR, LF or ETX.

    "NONE": the scanner sends none, quiet time ends a code; only for one that cannot be set up.

    `prefix`, if set, is cut from the front where it is there (STX is always cut).
    """

    suffix: str = "any"
    prefix: str = ""
    max_chars: int = MAX_CODE_CHARS


class ScanFramer:
    """State of one port: the code that has begun, or that one is being thrown away."""

    def __init__(self, source: str, rules: FramingRules | None = None) -> None:
        self._source = source
        self._rules = rules or FramingRules()
        assert self._rules.suffix in SUFFIXES, self._rules.suffix
        assert 0 < self._rules.max_chars <= MAX_CODE_CHARS, self._rules.max_chars
        self._ends = SUFFIXES[self._rules.suffix]
        self._buffer = bytearray()
        self._overlong = False

    def feed(self, data: bytes, at_ms: int) -> list[ScanEvent | ScanRefused]:
        """Every code that ended within `data`. Bounded memory whatever arrives."""
        found: list[ScanEvent | ScanRefused] = []
        for byte in data:
            if byte in self._ends:
                self._end(found, at_ms)
            elif not self._overlong:
                self._buffer.append(byte)
                if len(self._buffer) > MAX_CODE_BYTES + len(self._rules.prefix) + 1:
                    self._overlong = True
                    self._buffer.clear()
        return found

    def idle(self, at_ms: int) -> list[ScanEvent | ScanRefused]:
        """The line went quiet in mid-code: what came is dropped and reported, never guessed.

        An overlong code stays refused up to its suffix, or its tail would pass for a code.
        """
        if not self._ends and (self._buffer or self._overlong):
            found: list[ScanEvent | ScanRefused] = []
            self._end(found, at_ms)
            return found
        if not self._buffer:
            return []
        self._buffer.clear()
        return [ScanRefused(self._source, "incomplete", at_ms)]

    def _end(self, found: list[ScanEvent | ScanRefused], at_ms: int) -> None:
        raw, overlong = bytes(self._buffer), self._overlong
        self._buffer.clear()
        self._overlong = False
        if overlong:
            found.append(ScanRefused(self._source, "too_long", at_ms))
            return
        try:
            text = raw.removeprefix(b"\x02").decode("utf-8")
        except UnicodeDecodeError:
            found.append(ScanRefused(self._source, "encoding", at_ms))
            return
        code = text.removeprefix(self._rules.prefix).strip(" ")
        if not code:
            return  # the second half of CR LF, or an empty line
        reason = "too_long" if len(code) > self._rules.max_chars else refuse_code(code)
        if reason:
            found.append(ScanRefused(self._source, reason, at_ms))
        else:
            found.append(ScanEvent(self._source, code, at_ms))
