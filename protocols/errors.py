"""The three error families both programs share; each has one fate at every edge (DESIGN §5).

`Rejected`: understood and refused, never retried. `Unavailable`: cannot answer now, retried with
bounded backoff. `Corrupt`: the data breaks the contract, quarantined. Assertions are our bugs.
No family knows HTTP or MQTT: the edges map families and codes.
"""

from __future__ import annotations


class PacklineError(Exception):
    """A failure with a stable `code`, the offending `field` ("" if none) and two messages."""

    def __init__(self, code: str, zh: str, en: str = "", *, field: str = "") -> None:
        super().__init__(f"{code}: {en or zh}" + (f" [{field}]" if field else ""))
        self.code = code
        self.field = field
        self.zh = zh
        self.en = en or zh


class Rejected(PacklineError):
    """Understood and refused; the same request will be refused again."""


class Unavailable(PacklineError):
    """Cannot answer now; the same request may succeed later. Nothing was acknowledged."""


class Corrupt(PacklineError):
    """The data breaks the contract; it is kept in quarantine and its neighbours go on."""
