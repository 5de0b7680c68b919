"""The file of operators and their PINs (hashed), written by the command line, read at each PIN.

A file of its own and not the journal: it is set while the agent runs, and survives a broken card's
journal. There is no operator and no PIN until somebody sets one.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import msgspec

from edge_agent.domain import pin as pins
from protocols.errors import Unavailable

FILE = "operators.json"
OPERATORS_MAX = 500
BYTES_MAX = 256 * 1024
_HASH = re.compile(r"[0-9a-f]{32}\$[0-9a-f]{64}")


class Operators:
    """Staff number -> stored PIN hash, in one file with mode 0600."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE
        self._seen: tuple[tuple[int, ...], dict[str, str]] = ((), {})

    def read(self) -> dict[str, str]:
        """All of them, from the file as it is now; an unchanged file is not read again.

        Raises `Unavailable("operators_unreadable")`: nobody signs in then, and no session counts.
        """
        try:
            state = self._path.stat()
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise self._unreadable(str(error)) from error
        mark = (state.st_ino, state.st_size, state.st_mtime_ns, state.st_ctime_ns)
        if self._seen[0] != mark:
            # One assignment: the loop and a thread may read at the same time.
            self._seen = (mark, self._parsed())
        return dict(self._seen[1])

    def _parsed(self) -> dict[str, str]:
        try:
            with self._path.open("rb") as file:
                data = file.read(BYTES_MAX + 1)
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise self._unreadable(str(error)) from error
        try:
            found = msgspec.json.decode(data[:BYTES_MAX], type=dict[str, str])
        except msgspec.DecodeError as error:
            raise self._unreadable(str(error)) from error
        if not all(pins.OPERATOR.fullmatch(k) and _HASH.fullmatch(v) for k, v in found.items()):
            raise self._unreadable("bad entry")
        return found

    def set(self, operator: str, pin: str, salt: bytes) -> None:
        """Add an operator or change the PIN. Raises `Rejected` naming `operator` or `pin`."""
        known = self.read()
        known[pins.check_operator(operator)] = pins.kept(pins.check_pin(pin), salt)
        if len(known) > OPERATORS_MAX:
            raise Unavailable("operators_many", "工号太多", "too many operators", field="operator")
        self._write(known)

    def remove(self, operator: str) -> bool:
        """Take an operator out; whether there was one."""
        known = self.read()
        gone = known.pop(operator, None) is not None
        if gone:
            self._write(known)
        return gone

    def _write(self, known: dict[str, str]) -> None:
        """A new file in the place of the old one, whole or not at all; the owner stays."""
        fresh = self._path.with_suffix(".new")
        fresh.unlink(missing_ok=True)
        opened = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(opened, "wb") as file:
            owner = self._path.parent.stat()
            if os.geteuid() == 0:
                os.fchown(file.fileno(), owner.st_uid, owner.st_gid)
            file.write(msgspec.json.format(msgspec.json.encode(known)))
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(self._path)

    def _unreadable(self, reason: str) -> Unavailable:
        return Unavailable(
            "operators_unreadable", f"读不了工号文件 {self._path.name}：{reason}", reason,
            field="operators",
        )  # fmt: skip
