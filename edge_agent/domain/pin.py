"""An operator's PIN: which ones are allowed, how one is kept, how one is compared.

Kept only as an scrypt hash with its own salt. Pure: the salt is an argument.
"""

from __future__ import annotations

import hashlib
import hmac
import itertools
import re

from protocols.errors import Rejected

OPERATOR = re.compile(r"[0-9]{1,8}")
"""A staff number: what a keypad can type and a badge can carry, not a name."""
SALT_BYTES = 16
_PIN = re.compile(r"[0-9]{4,8}")
_COST = 1 << 13
_MEMORY_BYTES = 16 << 20
"""scrypt with N = 8192, r = 8: 8 MiB and some tens of milliseconds a try on a Pi (RFC 7914)."""
_STEPS_EASY = ({0}, {1}, {9})


def check_operator(operator: str) -> str:
    """The staff number itself. Raises `Rejected("operator_invalid")`."""
    if not OPERATOR.fullmatch(operator):
        raise Rejected(
            "operator_invalid", "工号只能是 1 到 8 位数字", "1 to 8 digits", field="operator"
        )
    return operator


def check_pin(pin: str) -> str:
    """A PIN that may be set: 4 to 8 digits, not 0000 or 1234. Raises `Rejected("pin_weak")`."""
    if not _PIN.fullmatch(pin) or _steps(pin) in _STEPS_EASY:
        raise Rejected(
            "pin_weak", "PIN 要 4 到 8 位数字, 不能全相同或连号", "4 to 8 digits, not 0000 or 1234",
            field="pin",
        )  # fmt: skip
    return pin


def kept(pin: str, salt: bytes) -> str:
    """What is stored of a PIN: `salt$hash` in hex. Takes long and blocks: not on the loop."""
    return f"{salt.hex()}${_digest(pin, salt).hex()}"


def fits(pin: str, stored: str) -> bool:
    """Whether `pin` is the one that was stored, in constant time; "" costs as much and is never.

    Takes long and blocks: not on the loop.
    """
    salt_hex, _, digest_hex = stored.partition("$")
    salt = bytes.fromhex(salt_hex) if stored else bytes(SALT_BYTES)
    found = _digest(pin[:64], salt)
    return hmac.compare_digest(found, bytes.fromhex(digest_hex) if stored else b"")


def _steps(pin: str) -> set[int]:
    return {(int(after) - int(before)) % 10 for before, after in itertools.pairwise(pin)}


def _digest(pin: str, salt: bytes) -> bytes:
    return hashlib.scrypt(
        pin.encode(), salt=salt, n=_COST, r=8, p=1, maxmem=_MEMORY_BYTES, dklen=32
    )
