"""The usual ways to hold stock, as child processes: SQL by order, and a script in Redis.

`python -m benchmarks.stock_rivals guarded|onego|summed URL` or `... redis SOCKET`. `guarded` is a
transaction of plain statements, as programs write it; `onego` the same as one statement in one
round trip, the best that can be made of it. Statements are prepared, the rows are ours in the same
tables (`summed` has the index it needs besides), the sync before the answer is the same.
"""

from __future__ import annotations

import itertools
import random
import secrets
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import psycopg

from benchmarks.core_bed import SKUS
from benchmarks.stock_core import opposite
from benchmarks.stock_crew import Answer, Job, Tally, serve_jobs
from benchmarks.stock_redis import RedisStock

WAREHOUSE = "W01"
SUM_INDEX = "CREATE INDEX hold_line_stock ON hold_line (warehouse, sku)"
TTL_MS = 900_000
_STORED = (
    '{{"digest":"{0}","holds":[{{"id":"{1}","state":"held","expires_ms":{2},'
    '"lines":[["W01","{3}",1]]}}]}}'
)
_KEY = (
    "INSERT INTO seen_key (scope, key, at_ms, result, until_ms) "
    "VALUES ('holds:kbench', %s, %s, %s, %s)"
)
_HOLD = (
    "INSERT INTO hold (id, warehouse, state, expires_ms, created_ms, kind) "
    "SELECT %s, 'W01', 'held', %s::bigint, %s::bigint, 'checkout'"
)
_LINE = "INSERT INTO hold_line (hold_id, warehouse, sku, quantity) SELECT %s, 'W01', %s, 1"
_MOVE = (
    "INSERT INTO movement (at_ms, warehouse, sku, d_shelf, d_picked, d_held, reason, ref) "
    "SELECT %s::bigint, 'W01', %s, 0, 0, 1, 'checkout_hold', %s"
)
_TAKE = (
    "UPDATE stock SET held = held + 1, version = version + 1 WHERE warehouse = 'W01' "
    "AND sku = %s AND shelf + picked - held - safety >= 1"
)
_ONE_GO = (
    f"WITH s AS ({_TAKE} RETURNING 1), h AS ({_HOLD} FROM s), l AS ({_LINE} FROM s), "
    f"m AS ({_MOVE} FROM s), k AS ({_KEY}) SELECT count(*) FROM s"
)
_LOCK = "SELECT shelf + picked - safety FROM stock WHERE warehouse = 'W01' AND sku = %s FOR UPDATE"
_SUM = (
    "SELECT coalesce(sum(l.quantity), 0) FROM hold_line l JOIN hold h ON h.id = l.hold_id "
    "WHERE l.warehouse = 'W01' AND l.sku = %s AND h.state IN ('held', 'confirmed')"
)
Basket = tuple[tuple[str, int], ...]
Buy = Callable[[Basket], bool]


class _Values:
    """What the rows of one hold are made of."""

    def __init__(self, run: str, number: int, sku: str) -> None:
        self.hold = f"H{run}{number:014d}"
        self.key = f"{run}-{number}"
        self.now = time.time_ns() // 1_000_000
        self.sku = sku
        digest = f"{number:032d}"
        self.stored = _STORED.format(digest, self.hold, self.now + TTL_MS, sku)


class SqlStock:
    """Connections to one database; each thread has its own."""

    def __init__(self, way: str, url: str) -> None:
        self._way, self._url = way, url.replace("postgresql+psycopg://", "postgresql://")
        self._run = secrets.token_hex(6).upper()
        self._numbers = itertools.count(1)

    def connect(self) -> Buy:
        """A connection and how to buy over it."""
        connection = psycopg.connect(self._url, autocommit=True, prepare_threshold=1)
        buy: Callable[[Any, _Values], bool] = getattr(self, f"_{self._way}")

        def bought(basket: Basket) -> bool:
            if len(basket) > 1:
                return self._several(connection, basket)
            return buy(connection, _Values(self._run, next(self._numbers), basket[0][0]))

        return bought

    def _guarded(self, connection: Any, v: _Values) -> bool:
        """Update where there is enough, then write what belongs to it."""
        with connection.transaction():
            fits = connection.execute(_TAKE, (v.sku,)).rowcount == 1
            if fits:
                self._rows(connection, v)
            self._key(connection, v)
        return bool(fits)

    def _onego(self, connection: Any, v: _Values) -> bool:
        """One statement, one commit, one round trip."""
        values = (
            v.sku, v.hold, v.now + TTL_MS, v.now, v.hold, v.sku, v.now, v.sku, v.hold, v.key, v.now,
            v.stored, v.now + 2 * 86_400_000,
        )  # fmt: skip
        return bool(connection.execute(_ONE_GO, values).fetchone()[0])

    def _summed(self, connection: Any, v: _Values) -> bool:
        """Lock the row, add up what was promised, write what fits."""
        with connection.transaction():
            room = connection.execute(_LOCK, (v.sku,)).fetchone()[0]
            fits = room - connection.execute(_SUM, (v.sku,)).fetchone()[0] >= 1
            if fits:
                connection.execute(_TAKE, (v.sku,))
                self._rows(connection, v)
            self._key(connection, v)
        return bool(fits)

    def _several(self, connection: Any, basket: Basket) -> bool:
        """A guarded UPDATE per line, in the order of the basket, one transaction."""
        v = _Values(self._run, next(self._numbers), "")
        with connection.transaction():
            for sku, _ in basket:
                taken = connection.execute(_TAKE, (sku,)).rowcount
                assert taken == 1, "there is plenty where baskets have several lines"
            connection.execute(_HOLD, (v.hold, v.now + TTL_MS, v.now))
            for sku, _ in basket:
                connection.execute(_LINE, (v.hold, sku))
                connection.execute(_MOVE, (v.now, sku, v.hold))
            self._key(connection, v)
        return True

    def _rows(self, connection: Any, v: _Values) -> None:
        connection.execute(_HOLD, (v.hold, v.now + TTL_MS, v.now))
        connection.execute(_LINE, (v.hold, v.sku))
        connection.execute(_MOVE, (v.now, v.sku, v.hold))

    def _key(self, connection: Any, v: _Values) -> None:
        connection.execute(_KEY, (v.key, v.now, v.stored, v.now + 2 * 86_400_000))


class Callers:
    """Threads with a connection each, opened once."""

    def __init__(self, connect: Callable[[], Any]) -> None:
        self._connect = connect
        self._ends: list[Any] = []

    def do(self, job: Job) -> Answer:
        """`callers` threads buy `orders` baskets or for `seconds`; Redis may pipeline `depth`."""
        while len(self._ends) < job["callers"]:
            self._ends.append(self._connect())
        left = itertools.count(job.get("orders") or 10**9, -1)
        tally, lock = Tally(), threading.Lock()
        end = job["begin"] + job.get("seconds", 3_600)

        def caller(buy: Any, draw: random.Random) -> None:
            time.sleep(max(0.0, job["begin"] - time.time()))
            while time.time() < end:
                depth = job.get("depth", 1)
                baskets = [_basket(job, draw) for _ in range(depth) if next(left) > 0]
                if not baskets:
                    return
                began = time.perf_counter()
                try:
                    sold = buy(baskets) if job["do"] == "redis" else [buy(baskets[0])]
                except psycopg.Error as error:
                    tally.errors += [type(error).__name__] * len(baskets)
                    if isinstance(error, psycopg.OperationalError) and not error.sqlstate:
                        return  # the connection is gone
                    continue
                except Exception as error:  # whatever it is, it must be seen in the figures
                    tally.errors += [repr(error)[:200]] * len(baskets)
                    return  # what is on the way over this connection is unknown
                with lock:
                    tally.add_all(sold, began)

        threads = [
            threading.Thread(target=caller, args=(buy, random.Random(secrets.randbits(32))))
            for buy in self._ends[: job["callers"]]
        ]
        for thread in threads:
            thread.start()
        tally.start = job["begin"]
        for thread in threads:
            thread.join()
        return tally.answer()


def _basket(job: Job, draw: random.Random) -> Basket:
    if job.get("sku"):
        return ((job["sku"], 1),)
    if job.get("pairs"):
        return opposite(draw, SKUS[: job["pairs"]])
    return ((SKUS[draw.randrange(len(SKUS))], 1),)


def main() -> None:
    """Serve jobs until the parent goes."""
    way, place = sys.argv[1], sys.argv[2]
    if way == "redis":
        callers = Callers(lambda: RedisStock(place).buy)
    else:
        callers = Callers(SqlStock(way, place).connect)
    serve_jobs(callers.do)


if __name__ == "__main__":
    main()
