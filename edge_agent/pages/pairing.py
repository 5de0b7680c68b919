"""One-time codes by which a handheld is paired: shown on the status page, gone after one use.

Held in memory only: a restart of the agent voids them.
"""

from __future__ import annotations

from collections.abc import Callable

from protocols.errors import Rejected

VALID_MS = 5 * 60_000
OUTSTANDING_MAX = 8
ALPHABET = "23456789ABCDEFGHJKLMNPQRSTUVWXYZ"
"""32 signs that nobody reads for another one."""
SIGNS = 8
"""40 bits: within its five minutes nobody guesses one over a socket."""


class PairingCodes:
    """`pick` gives a random number below its argument; times are monotonic ms."""

    def __init__(self, pick: Callable[[int], int]) -> None:
        self._pick = pick
        self._until: dict[str, int] = {}

    def new(self, now_ms: int) -> str:
        """A fresh code; the oldest one goes when too many are outstanding."""
        self._drop_old(now_ms)
        while len(self._until) >= OUTSTANDING_MAX:
            del self._until[next(iter(self._until))]
        code = "".join(ALPHABET[self._pick(len(ALPHABET))] for _ in range(SIGNS))
        self._until[code] = now_ms + VALID_MS
        return code

    def use(self, code: str, now_ms: int) -> None:
        """Take a code out of use. Raises `Rejected("pair_code_unknown")` for any other."""
        self._drop_old(now_ms)
        if self._until.pop(code.upper().replace("-", "").strip(), None) is None:
            text = "配对码已用过或已过期, 请在状态页重新生成"
            raise Rejected("pair_code_unknown", text, "used or expired", field="code")

    def _drop_old(self, now_ms: int) -> None:
        self._until = {code: until for code, until in self._until.items() if until > now_ms}
