"""Token buckets: how often one address, key or channel may ask; bounded memory, no clock read.

In memory of one process: a limit protects this process, it does not bill anybody.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass

from protocols.errors import Unavailable

BUCKETS_MAX = 20_000
"""Names remembered; the one unused longest is forgotten first, which fills its bucket again."""


class RateLimited(Unavailable):
    """Asked too often; the same request may succeed later."""


@dataclass(slots=True)
class _Bucket:
    tokens: float
    at_ms: int


class Rates:
    """Buckets of `per_minute` tokens that refill evenly."""

    def __init__(self, per_minute: int) -> None:
        self._per_minute = per_minute
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()
        self._lock = threading.Lock()  # routes ask from the loop and from worker threads

    def take(self, name: str, now_ms: int) -> None:
        """Take one token for `name`. Raises `RateLimited` when there is none."""
        with self._lock:
            if self._has_token(name, now_ms):
                return
        raise RateLimited(
            "rate_limited",
            f"请求过于频繁，每分钟最多 {self._per_minute} 次",
            f"too many requests, at most {self._per_minute} a minute",
        )

    def _has_token(self, name: str, now_ms: int) -> bool:
        bucket = self._buckets.get(name)
        if bucket is None:
            bucket = self._buckets[name] = _Bucket(float(self._per_minute), now_ms)
            if len(self._buckets) > BUCKETS_MAX:
                self._buckets.popitem(last=False)
        self._buckets.move_to_end(name)
        passed_ms = max(0, now_ms - bucket.at_ms)
        bucket.tokens = min(self._per_minute, bucket.tokens + passed_ms * self._per_minute / 60_000)
        bucket.at_ms = now_ms
        if bucket.tokens < 1:
            return False
        bucket.tokens -= 1
        return True
