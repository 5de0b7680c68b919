"""Holds as one Lua script in Redis, over a socket: guard, counter, hold, movement, idempotency key.

The client speaks only what is needed of RESP 2 (redis.io/docs/latest/develop/reference/
protocol-spec): it costs less than any client library and may pipeline.
"""

from __future__ import annotations

import itertools
import secrets
import socket
import time
from collections.abc import Iterable, Sequence

SCRIPT = b"""
local seen = redis.call('GET', KEYS[2])
if seen then return 0 end
local row = redis.call('HMGET', KEYS[1], 'shelf', 'held')
local fits = tonumber(row[1]) - tonumber(row[2]) >= 1
if fits then
  redis.call('HINCRBY', KEYS[1], 'held', 1)
  redis.call('HSET', KEYS[3], 'warehouse', 'W01', 'state', 'held', 'kind', 'checkout',
    'expires_ms', ARGV[1], 'created_ms', ARGV[2], 'sku', ARGV[3], 'quantity', 1)
  redis.call('XADD', 'movement', '*', 'at_ms', ARGV[2], 'warehouse', 'W01', 'sku', ARGV[3],
    'd_held', 1, 'reason', 'checkout_hold', 'ref', KEYS[3])
end
redis.call('SET', KEYS[2], ARGV[4], 'PX', 172800000)
return fits and 1 or 0
"""


class RedisStock:
    """One connection."""

    def __init__(self, path: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(path)
        self._answers = self._socket.makefile("rb")
        self._run = secrets.token_hex(6).upper()
        self._numbers = itertools.count(1)
        self._sha = self.ask(b"SCRIPT", b"LOAD", SCRIPT)

    def fill(self, skus: Iterable[str], units: int) -> None:
        """Put units on the shelf and forget everything else."""
        self.ask(b"FLUSHALL")
        for sku in skus:
            self.ask(b"HSET", f"stock:{sku}".encode(), b"shelf", b"%d" % units, b"held", b"0")

    def held(self, sku: str) -> int:
        """What the counter says, and what the holds say, must agree; the counter."""
        return int(self.ask(b"HGET", f"stock:{sku}".encode(), b"held"))

    def movements(self) -> int:
        """How many movements were written."""
        return int(self.ask(b"XLEN", b"movement"))

    def ask(self, *parts: bytes) -> bytes:
        """One command; its answer as bytes. Raises `RuntimeError` with Redis' own words."""
        self._socket.sendall(_command(parts))
        return self._read()

    def buy(self, baskets: Sequence[tuple[tuple[str, int], ...]]) -> list[bool]:
        """One script call a basket, sent at once; whether each was sold."""
        now = time.time_ns() // 1_000_000
        self._socket.sendall(b"".join(self._call(basket[0][0], now) for basket in baskets))
        return [self._read() == b"1" for _ in baskets]

    def _call(self, sku: str, now: int) -> bytes:
        number = next(self._numbers)
        hold, expires = f"H{self._run}{number:014d}", now + 900_000
        stored = (
            f'{{"digest":"{number:032d}","holds":[{{"id":"{hold}","state":"held",'
            f'"expires_ms":{expires},"lines":[["W01","{sku}",1]]}}]}}'
        )
        texts = (
            f"stock:{sku}", f"seen:{self._run}-{number}", hold, str(expires), str(now), sku, stored,
        )  # fmt: skip
        return _command((b"EVALSHA", self._sha, b"3", *(text.encode() for text in texts)))

    def _read(self) -> bytes:
        line = self._answers.readline()
        kind, rest = line[:1], line[1:-2]
        if kind == b"-":
            raise RuntimeError(rest.decode())
        if kind != b"$":
            return rest
        body = self._answers.read(int(rest) + 2)
        return body[:-2]


def _command(parts: Sequence[bytes]) -> bytes:
    head = b"*%d\r\n" % len(parts)
    return head + b"".join(b"$%d\r\n%b\r\n" % (len(part), part) for part in parts)
