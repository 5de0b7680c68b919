"""One-time codes by which a handheld is paired: shown on the status page or printed, used once.

Held in memory only: a restart of the agent voids them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from protocols.errors import Rejected

VALID_MS = 5 * 60_000
PAPER_VALID_MS = 30 * 60_000
"""A code on paper is carried to the handheld."""
OUTSTANDING_MAX = 8
ALPHABET = "23456789ABCDEFGHJKLMNPQRSTUVWXYZ"
"""32 signs that nobody reads for another one."""
SIGNS = 8
"""40 bits: within its half hour nobody guesses one over a socket."""


@dataclass(slots=True)
class _Outstanding:
    until_ms: int
    ticket: str = ""


class PairingCodes:
    """`pick` gives a random number below its argument; times are monotonic ms."""

    def __init__(self, pick: Callable[[int], int]) -> None:
        self._pick = pick
        self._known: dict[str, _Outstanding] = {}
        self._papers = 0

    def new(self, now_ms: int) -> str:
        """A fresh code; the oldest one goes when too many are outstanding."""
        self._drop_old(now_ms)
        while len(self._known) >= OUTSTANDING_MAX:
            del self._known[next(iter(self._known))]
        code = "".join(ALPHABET[self._pick(len(ALPHABET))] for _ in range(SIGNS))
        self._known[code] = _Outstanding(now_ms + VALID_MS)
        return code

    def on_paper(self, code: str, now_ms: int, start: int) -> tuple[str, int]:
        """The code goes on paper: (the number of its one ticket, ms it is good for from now).

        The number stays, so that no code is printed twice; `start` (wall ms) keeps it apart from
        those of other starts. Raises `Rejected("pair_code_unknown")`.
        """
        self._drop_old(now_ms)
        found = self._known.get(_plain(code))
        if found is None:
            raise _unknown()
        if not found.ticket:
            self._papers += 1
            found.ticket, found.until_ms = f"pair-{start}-{self._papers}", now_ms + PAPER_VALID_MS
        return found.ticket, found.until_ms - now_ms

    def use(self, code: str, now_ms: int) -> None:
        """Take a code out of use. Raises `Rejected("pair_code_unknown")` for any other."""
        self._drop_old(now_ms)
        if self._known.pop(_plain(code), None) is None:
            raise _unknown()

    def _drop_old(self, now_ms: int) -> None:
        self._known = {code: one for code, one in self._known.items() if one.until_ms > now_ms}


def _plain(code: str) -> str:
    return code.upper().replace("-", "").strip()


def _unknown() -> Rejected:
    text = "配对码已用过或已过期, 请在状态页重新生成"
    return Rejected("pair_code_unknown", text, "used or expired", field="code")
