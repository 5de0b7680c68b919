"""A disk with a volatile write cache: what was not flushed may be gone, torn or reordered.

Speaks NBD (fixed newstyle, the one export "") on a UNIX socket to QEMU. Writes go to a cache of
512-byte sectors; FLUSH makes them durable. `power_cut` decides, from a seeded generator, what of
the unflushed writes the platter got. `lies` = a disk that says "flushed" and has not.
"""

from __future__ import annotations

import contextlib
import random
import socket
import struct
import threading
from dataclasses import dataclass
from pathlib import Path

SECTOR = 512
_GREETING = b"NBDMAGIC" + b"IHAVEOPT"
_OPT_EXPORT, _OPT_ABORT, _OPT_INFO, _OPT_GO = 1, 2, 6, 7
_REP_ACK, _REP_INFO, _REP_UNSUPPORTED = 1, 3, 0x80000001
_READ, _WRITE, _DISC, _FLUSH, _TRIM, _ZEROES = 0, 1, 2, 3, 4, 6
_FLAGS = 1 | 4 | 8 | 32 | 64  # has flags, flush, FUA, trim, write zeroes
_FUA = 1
_EIO = 5


@dataclass(slots=True)
class Counts:
    """What happened at this disk."""

    writes: int = 0
    flushes: int = 0
    cuts: int = 0
    sectors_lost: int = 0
    sectors_torn: int = 0


class VolatileDisk:
    """`image`: bytes on the platter, a multiple of 512. One connection at a time."""

    def __init__(
        self, image: bytearray, path: Path, rng: random.Random, *, lies: bool = False
    ) -> None:
        assert len(image) % SECTOR == 0
        self.image = image
        self.path = path
        self.counts = Counts()
        self.lies = lies
        self._rng = rng
        self._pending: dict[int, bytes] = {}
        """Sector number -> its newest unflushed content."""
        self._lock = threading.Lock()
        self._idle = threading.Event()
        self._idle.set()
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        path.unlink(missing_ok=True)
        self._listener.bind(str(path))
        self._listener.listen(1)
        self._thread = threading.Thread(target=self._serve, name="disk", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop serving."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.path.unlink(missing_ok=True)

    def power_cut(self) -> str:
        """The machine is off: decide what was kept; returns how.

        What the dead machine had sent is taken first: it may not reach into the next life.
        """
        assert self._idle.wait(30), "a machine is still connected"
        with self._lock:
            how = self._rng.choice(("none", "all", "some", "torn"))
            for number, data in self._pending.items():
                keep = how == "all" or (how in ("some", "torn") and self._rng.random() < 0.5)
                if keep and how == "torn" and self._rng.random() < 0.2:
                    # A sector is written whole or not at all; the 4 KiB page around it is torn.
                    self.counts.sectors_torn += 1
                    keep = False
                if keep:
                    self._put(number * SECTOR, data)
                else:
                    self.counts.sectors_lost += 1
            self._pending.clear()
            self.counts.cuts += 1
            return how

    def read(self, offset: int, length: int) -> bytes:
        """What a reader sees: the cache over the platter."""
        with self._lock:
            found = bytearray(self.image[offset : offset + length])
            first, last = offset // SECTOR, (offset + length - 1) // SECTOR
            if len(self._pending) < last - first:
                touched = [n for n in self._pending if first <= n <= last]
            else:
                touched = [n for n in range(first, last + 1) if n in self._pending]
            for number in touched:
                at = number * SECTOR - offset
                found[at : at + SECTOR] = self._pending[number]
            return bytes(found)

    def write(self, offset: int, data: bytes, *, through: bool = False) -> None:
        """Into the cache, or through it (FUA)."""
        assert offset % SECTOR == 0
        assert len(data) % SECTOR == 0
        with self._lock:
            self.counts.writes += 1
            for at in range(0, len(data), SECTOR):
                self._pending[(offset + at) // SECTOR] = data[at : at + SECTOR]
            if through:
                self._settle(range(offset // SECTOR, (offset + len(data)) // SECTOR))

    def flush(self) -> None:
        """Everything written so far becomes durable, if the disk is honest."""
        with self._lock:
            self.counts.flushes += 1
            self._settle(tuple(self._pending))

    def _settle(self, numbers: range | tuple[int, ...]) -> None:
        if self.lies:
            return
        for number in numbers:
            data = self._pending.pop(number, None)
            if data is not None:
                self._put(number * SECTOR, data)

    def _put(self, at: int, data: bytes) -> None:
        self.image[at : at + len(data)] = data

    def _serve(self) -> None:
        while True:
            try:
                peer, _ = self._listener.accept()
            except OSError:
                return
            self._idle.clear()
            with peer, contextlib.suppress(OSError, EOFError, struct.error):
                self._negotiate(peer)
                self._work(peer)
            self._idle.set()

    def _negotiate(self, peer: socket.socket) -> None:
        peer.sendall(_GREETING + struct.pack(">H", 3))
        _exactly(peer, 4)
        while True:
            _magic, option, length = struct.unpack(">QII", _exactly(peer, 16))
            _exactly(peer, length)
            if option == _OPT_EXPORT:
                peer.sendall(struct.pack(">QH", len(self.image), _FLAGS))
                return
            if option in (_OPT_GO, _OPT_INFO):
                export = struct.pack(">HQH", 0, len(self.image), _FLAGS)
                blocks = struct.pack(">HIII", 3, SECTOR, 4096, 32 * 1024 * 1024)
                for kind, body in ((_REP_INFO, export), (_REP_INFO, blocks), (_REP_ACK, b"")):
                    _reply(peer, option, kind, body)
                if option == _OPT_GO:
                    return
            elif option == _OPT_ABORT:
                _reply(peer, option, _REP_ACK, b"")
                raise EOFError
            else:
                _reply(peer, option, _REP_UNSUPPORTED, b"")

    def _work(self, peer: socket.socket) -> None:
        while True:
            _magic, flags, kind, handle, offset, length = struct.unpack(
                ">IHHQQI", _exactly(peer, 28)
            )
            data, error = b"", 0
            if kind == _READ:
                data = self.read(offset, length)
            elif kind == _WRITE:
                self.write(offset, _exactly(peer, length), through=bool(flags & _FUA))
            elif kind == _ZEROES:
                self.write(offset, bytes(length), through=bool(flags & _FUA))
            elif kind == _FLUSH:
                self.flush()
            elif kind == _DISC:
                return
            elif kind != _TRIM:
                error = _EIO
            peer.sendall(struct.pack(">IIQ", 0x67446698, error, handle) + data)


def _reply(peer: socket.socket, option: int, kind: int, body: bytes) -> None:
    peer.sendall(struct.pack(">QIII", 0x3E889045565A9, option, kind, len(body)) + body)


def _exactly(peer: socket.socket, length: int) -> bytes:
    found = bytearray()
    while len(found) < length:
        part = peer.recv(length - len(found))
        if not part:
            raise EOFError
        found += part
    return bytes(found)
