"""Which process serves which site: leases in the database, fenced, by the database's clock.

One row per site, and one per process (`~` and its name) that says it is alive. A lease that is not
renewed is over; who takes it raises its fence, and a process whose fence has been passed has lost
the site, whatever it believes. PostgreSQL only: on SQLite there is one process.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, Engine, delete, select

from cloud_core.store import schema as t
from cloud_core.store.engine import changing

LEASE_MS = 5_000
"""How long a lease lasts when it is not renewed."""
SURE_S = 3.5
"""How long a process believes in what it last saw: shorter than a lease, whatever its clock."""
CHORES = ("!calls", "!ingest", "!ledger", "!notices", "!sweep")
"""What belongs to no site and is still done by one process at a time."""
_NOW = "(extract(epoch FROM clock_timestamp()) * 1000)::bigint"
_PROCESS = "~"
_ALIVE = f"""
INSERT INTO lease (site, holder, fence, until_ms) VALUES (%s, %s, 1, {_NOW} + {LEASE_MS})
ON CONFLICT (site) DO UPDATE SET holder = excluded.holder, until_ms = excluded.until_ms
"""  # noqa: S608
_RENEW = f"""
UPDATE lease SET until_ms = {_NOW} + {LEASE_MS}
WHERE holder = %s AND site NOT LIKE '~%%' AND until_ms > {_NOW} RETURNING site, fence
"""  # noqa: S608
# Waits for nobody: a row that another process is taking is that process's.
_TAKE = f"""
INSERT INTO lease (site, holder, fence, until_ms)
SELECT site, %s, 1, {_NOW} + {LEASE_MS} FROM unnest(%s::text[]) AS w (site)
WHERE NOT EXISTS (SELECT 1 FROM lease l WHERE l.site = w.site AND l.until_ms > {_NOW})
ORDER BY site LIMIT %s
ON CONFLICT (site) DO UPDATE
SET holder = excluded.holder, fence = lease.fence + 1, until_ms = excluded.until_ms
WHERE lease.until_ms <= {_NOW} RETURNING site, fence
"""  # noqa: S608


@dataclass(frozen=True, slots=True)
class Look:
    """What a look found: whether sites are new to this process, and processes came or went."""

    gained: bool
    others_changed: bool


class Leases:
    """The leases of one process; `look` is called several times within a lease's life.

    `monotonic` gives seconds that only grow.
    """

    def __init__(self, engine: Engine, holder: str, monotonic: Callable[[], float]) -> None:
        self._engine, self._holder, self._monotonic = engine, holder, monotonic
        self._held: dict[str, int] = {}
        self._alive = 0
        self._sure_until = 0.0

    def serves(self, name: str) -> bool:
        """Whether this process serves a site or does a chore now."""
        return name in self._held and self._monotonic() < self._sure_until

    def look(self) -> Look:
        """Renew what is held, take a fair share of what nobody holds, give back what is too much.

        Raises `Unavailable("database")`: then what was held is held until it is no longer sure.
        """
        asked = self._monotonic()
        with changing(self._engine) as connection:
            held, alive = self._renewed(connection)
        known, was_alive = self._held, self._alive
        self._held, self._alive, self._sure_until = held, alive, asked + SURE_S
        gained = any(known.get(n) != fence for n, fence in held.items() if n not in CHORES)
        return Look(gained, alive != was_alive)

    def _renewed(self, connection: Connection) -> tuple[dict[str, int], int]:
        run = connection.exec_driver_sql
        run(_ALIVE, (_PROCESS + self._holder, self._holder))
        held: dict[str, int] = {row[0]: row[1] for row in run(_RENEW, (self._holder,))}
        sites = sorted(connection.execute(select(t.warehouse.c.site)).scalars())
        count = f"SELECT count(*) FROM lease WHERE site LIKE '~%%' AND until_ms > {_NOW}"  # noqa: S608
        alive = int(run(count).scalar_one())
        kept: dict[str, int] = {}
        for names in (sites, CHORES):
            share = -(-len(names) // max(1, alive))
            mine = {name: held[name] for name in names if name in held}
            if len(mine) < share:
                wanted = (self._holder, list(names), share - len(mine))
                mine |= {row[0]: row[1] for row in run(_TAKE, wanted)}
            kept |= {name: mine[name] for name in sorted(mine)[:share]}
        _give_back(connection, self._holder, sorted(held.keys() - kept.keys()))
        return kept, alive

    def give_back(self) -> None:
        """An orderly end: others need not wait for the leases to run out."""
        with changing(self._engine) as connection:
            _give_back(connection, self._holder, [*self._held, _PROCESS + self._holder])
        self._held = {}


def live_holders(connection: Connection, now_ms: int) -> list[str]:
    """The processes that hold any lease at `now_ms`."""
    c = t.lease.c
    return sorted(set(connection.execute(select(c.holder).where(c.until_ms > now_ms)).scalars()))


def _give_back(connection: Connection, holder: str, sites: Sequence[str]) -> None:
    """The rows stay with their fences, over at once; only the sign of life goes."""
    c = t.lease.c
    mine = t.lease.update().where(c.holder == holder, c.site.in_(sites))
    connection.execute(mine.values(until_ms=0))
    connection.execute(delete(t.lease).where(c.site == _PROCESS + holder, c.site.in_(sites)))
