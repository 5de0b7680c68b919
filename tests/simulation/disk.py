"""The edge agent's card: files that forget what was not synced when the power goes.

Stands under the real journal: SQLite writes through an apsw VFS into memory, `xSync` makes writes
durable, a power cut keeps a random part of the rest in 512-byte sectors (SQLite's own crash tests
do the same, test6.c). A killed process loses nothing but its open handles. A card can be wiped,
copied, and put back from an old copy. Knows no table and no event.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any

import apsw

SECTOR = 512


@dataclass(slots=True)
class File:
    """One file: what a reader sees now, and the writes the medium has not been made to keep."""

    now: bytearray = field(default_factory=bytearray)
    durable: bytearray = field(default_factory=bytearray)
    pending: list[tuple[int, bytes | int]] = field(default_factory=list)

    def write(self, data: bytes, offset: int) -> None:
        _put(self.now, offset, data)
        self.pending.append((offset, data))

    def truncate(self, size: int) -> None:
        _cut(self.now, size)
        self.pending.append((-1, size))

    def sync(self) -> None:
        for offset, data in self.pending:
            if isinstance(data, int):
                _cut(self.durable, data)
            else:
                _put(self.durable, offset, data)
        self.pending.clear()

    def lose_power(self, rng: Random) -> None:
        """Keep all, none or a random part of the unsynced writes, torn at sector bounds."""
        kept = self.durable
        share = rng.choice((0.0, 0.0, 0.5, 0.9, 1.0))
        for offset, data in self.pending:
            if isinstance(data, int):
                if rng.random() < share:
                    _cut(kept, data)
                continue
            for start in range(0, len(data), SECTOR):
                if rng.random() < share:
                    _put(kept, offset + start, data[start : start + SECTOR])
        self.now = bytearray(kept)
        self.pending.clear()


def _put(target: bytearray, offset: int, data: bytes) -> None:
    if offset > len(target):
        target.extend(bytes(offset - len(target)))
    target[offset : offset + len(data)] = data


def _cut(target: bytearray, size: int) -> None:
    if size < len(target):
        del target[size:]
    else:
        target.extend(bytes(size - len(target)))


Card = dict[str, bytes]
"""A copy of a card: file name -> durable bytes."""


class Disk:
    """The card of one agent. `generation` counts process lives: a dead one's handles are deaf."""

    def __init__(self) -> None:
        self.files: dict[str, File] = {}
        self.generation = 0
        self.syncs = 0
        self.lies = False
        """A card that says it has synced and has not: the control that must fail."""
        self.before: Callable[[str], None] | None = None
        """Asked before each operation of a living process; may raise what SQLite shall meet."""

    def kill(self) -> None:
        """The process is gone; the page cache is not."""
        self.generation += 1

    def cut_power(self, rng: Random) -> None:
        """The machine is gone, and with it a random part of what was never synced."""
        self.generation += 1
        for name in sorted(self.files):
            self.files[name].lose_power(rng)

    def wipe(self) -> None:
        self.generation += 1
        self.files.clear()

    def copy(self) -> Card:
        """An image of the card as somebody would take it: what is in the page cache included."""
        return {name: bytes(file.now) for name, file in self.files.items()}

    def put_back(self, card: Card) -> None:
        self.generation += 1
        self.files = {name: File(bytearray(data), bytearray(data)) for name, data in card.items()}


class _Handle:
    """One open file of one process life."""

    def __init__(self, disk: Disk, name: str, *, delete_on_close: bool) -> None:
        self._disk = disk
        self._name = name
        self._generation = disk.generation
        self._delete = delete_on_close
        self._file = disk.files.setdefault(name, File())

    @property
    def _dead(self) -> bool:
        return self._generation != self._disk.generation

    def _ask(self, kind: str) -> None:
        if self._disk.before is not None and not self._dead:
            self._disk.before(kind)

    def xRead(self, amount: int, offset: int) -> bytes:
        self._ask("read")
        return bytes(self._file.now[offset : offset + amount])

    def xWrite(self, data: Any, offset: int) -> None:
        self._ask("write")
        if not self._dead:
            self._file.write(bytes(data), offset)

    def xTruncate(self, newsize: int) -> None:
        self._ask("truncate")
        if not self._dead:
            self._file.truncate(newsize)

    def xSync(self, flags: int) -> None:
        self._ask("sync")
        if not self._dead:
            self._disk.syncs += 1
            if not self._disk.lies:
                self._file.sync()

    def xFileSize(self) -> int:
        return len(self._file.now)

    def xLock(self, level: int) -> None: ...

    def xUnlock(self, level: int) -> None: ...

    def xCheckReservedLock(self) -> bool:
        return False

    def xFileControl(self, op: int, ptr: int) -> bool:
        return False

    def xSectorSize(self) -> int:
        return SECTOR

    def xDeviceCharacteristics(self) -> int:
        return 0

    def xClose(self) -> None:
        if self._delete and not self._dead:
            self._disk.files.pop(self._name, None)


class CrashVfs(apsw.VFS):
    """All cards of a history behind one SQLite VFS; a path is `/{card}/{generation}/{file}`."""

    def __init__(self, name: str) -> None:
        self.vfs_name = name
        self.disks: dict[str, Disk] = {}
        super().__init__(name, base="", maxpathname=256)

    def path(self, card: str, file: str) -> str:
        return f"/{card}/{self.disks[card].generation}/{file}"

    def _find(self, path: str) -> tuple[Disk, str, bool]:
        _, card, generation, name = path.split("/", 3)
        disk = self.disks[card]
        return disk, name, int(generation) == disk.generation

    def xOpen(self, name: Any, flags: list[int]) -> Any:
        path = name.filename() if isinstance(name, apsw.URIFilename) else name
        if path is None:
            raise apsw.CantOpenError("no temporary files: temp_store is memory")
        disk, file, alive = self._find(path)
        if alive and disk.before is not None:
            disk.before("open")
        flags[1] = flags[0]
        return _Handle(disk, file, delete_on_close=bool(flags[0] & apsw.SQLITE_OPEN_DELETEONCLOSE))

    def xAccess(self, pathname: str, flags: int) -> bool:
        disk, file, _ = self._find(pathname)
        return file in disk.files

    def xDelete(self, filename: str, syncdir: bool) -> None:
        disk, file, alive = self._find(filename)
        if alive and disk.before is not None:
            disk.before("delete")
        if alive and disk.files.pop(file, None) is None:
            raise apsw.IOError(f"no such file: {file}")

    def xFullPathname(self, name: str) -> str:
        return name

    def xRandomness(self, numbytes: int) -> bytes:
        return bytes(range(numbytes % 256)) if numbytes < 256 else bytes(numbytes)

    def xSleep(self, microseconds: int) -> int:
        return microseconds

    def xCurrentTimeInt64(self) -> int:
        return 0
