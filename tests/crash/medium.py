"""A card under the journal that can die, fill up or fail at any chosen operation.

Built on the simulation's forgetful disk (`tests.simulation.disk`); adds the trigger. Knows no
table; the journal above cannot tell it from a real file system.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

import apsw

from edge_agent.journal.core import JournalCore, Room
from tests.simulation.disk import CrashVfs, Disk
from tests.simulation.sqlite_shim import Connection, abandon, translate

CHANGING = frozenset({"write", "truncate", "sync", "delete"})
_names = itertools.count(1)


class PowerGone(apsw.IOError):
    """The machine is off; no later operation reaches the card."""


@dataclass(slots=True)
class Trigger:
    """What happens at operation `at` among `kinds` (1 = the next); counts on, hit or not."""

    at: int = 0
    kinds: frozenset[str] = CHANGING
    error: type[apsw.Error] = PowerGone
    lasting: bool = True
    seen: int = 0

    @property
    def hit(self) -> bool:
        return 0 < self.at <= self.seen

    def __call__(self, kind: str) -> None:
        if kind not in self.kinds:
            return
        self.seen += 1
        if self.at and (self.seen == self.at or (self.lasting and self.seen > self.at)):
            raise self.error(f"{kind} no. {self.seen}")


class Face(Connection):
    """The journal's connection; may weaken its pragmas (the control) and shorten the WAL."""

    def __init__(self, raw: apsw.Connection, swaps: dict[str, str]) -> None:
        super().__init__(raw)
        self._swaps = swaps

    def execute(self, sql: str, params: Any = ()) -> Any:
        return super().execute(self._swaps.get(sql, sql), params)


class Medium:
    """One card with the journal file of one stream on it."""

    def __init__(
        self, *, synchronous: str = "FULL", lies: bool = False, checkpoint: int = 1000
    ) -> None:
        self.vfs = CrashVfs(f"crash-{next(_names)}")
        self.disk = self.vfs.disks["card"] = Disk()
        self.disk.lies = lies
        self.free_bytes = 1 << 40
        self._epochs = (f"{number:016x}" for number in itertools.count(1))
        self._raw: list[apsw.Connection] = []
        self._swaps = {
            "PRAGMA synchronous=FULL": f"PRAGMA synchronous={synchronous}",
            "PRAGMA wal_autocheckpoint=1000": f"PRAGMA wal_autocheckpoint={checkpoint}",
        }

    def arm(self, trigger: Callable[[str], None] | None) -> None:
        """Ask `trigger` before every operation from now on; None = a good card again."""
        self.disk.before = trigger

    def core(self, quota_bytes: int = 4_000_000_000) -> JournalCore:
        """A journal on this card, not opened yet."""
        room = Room(lambda: self.free_bytes, 32_000)
        return JournalCore(
            self._connect, "sha-1", "floor", lambda: next(self._epochs), quota_bytes, room
        )

    def cut_power(self, rng: Random) -> None:
        """Lose what was never synced; the dead process' handles are deaf from here on."""
        self.disk.before = None
        self.disk.cut_power(rng)
        self.leave()

    def leave(self) -> None:
        """Drop the connections of a process that is over."""
        for raw in self._raw:
            abandon(raw)
        self._raw.clear()

    def close(self) -> None:
        self.disk.before = None
        self.disk.kill()
        self.leave()
        self.vfs.unregister()

    def quick_check(self) -> str:
        """What SQLite itself says of the file."""
        return str(self._connect().execute("PRAGMA quick_check").fetchone()[0])

    def _connect(self) -> Connection:
        try:
            raw = apsw.Connection(self.vfs.path("card", "floor.db"), vfs=self.vfs.vfs_name)
        except apsw.Error as error:
            raise translate(error) from error
        self._raw.append(raw)
        face = Face(raw, self._swaps)
        face.execute("PRAGMA locking_mode=EXCLUSIVE")
        return face


def rows_of(core: JournalCore) -> Sequence[tuple[int, int, bytes, bytes]]:
    """(epoch number, seq, row, hash) of everything the journal holds."""
    found = core.db.execute("SELECT epoch_no, seq, row, hash FROM row ORDER BY epoch_no, seq")
    return [(no, seq, bytes(row), bytes(digest)) for no, seq, row, digest in found.fetchall()]
