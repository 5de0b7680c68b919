"""Two core processes on one PostgreSQL never give a warehouse more than it can send in a day.

Real processes of their own, which route paid orders at the same time: every warehouse has room for
a few, so that the last place of each is wanted by both. A core that reads the capacity outside the
lock must be convicted, or the verdict would mean nothing.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, text

from cloud_core.domain.hours import midnight_ms
from cloud_core.domain.policy import DAY_MS
from cloud_core.store import key_file
from cloud_core.store import schema as t
from tests.support.databases import open_database
from tests.support.hammer import Core
from tests.support.ledger import write_openings

WAREHOUSES, CAPACITY = 24, 3
PLACES = WAREHOUSES * CAPACITY
ORDERS = PLACES + 12
CORES, CLIENTS = 2, 3
"""Few clients a core: many small commits, and so many moments in which both want the last place."""
GIVEN = text(
    "SELECT warehouse, count(*) FROM shipment WHERE state = 'offered' GROUP BY warehouse ORDER BY 1"
)
"""What waits keeps goods aside where there are any (DESIGN §6); that is not work given."""
PARKED = text("SELECT parked, count(*) FROM shipment WHERE parked <> '' GROUP BY parked")
pytestmark = pytest.mark.usefixtures("on_postgresql")


@dataclass
class Day:
    """What the warehouses were given in the end, and who waits."""

    given: dict[str, int] = field(default_factory=dict)
    parked: dict[str, int] = field(default_factory=dict)
    answers: list[Any] = field(default_factory=list)


def test_no_warehouse_is_given_more_than_its_day_holds(tmp_path: Path) -> None:
    day = routed(tmp_path)
    assert day.given == dict.fromkeys(names(), CAPACITY)
    assert day.parked == {"capacity": ORDERS - PLACES}
    assert day.answers == ["created"] * (ORDERS - CORES)


def test_a_core_that_reads_the_capacity_outside_the_lock_is_convicted(tmp_path: Path) -> None:
    day = routed(tmp_path, "capacity outside the lock")
    assert max(day.given.values()) > CAPACITY, day


def names() -> list[str]:
    return [f"W{number:02d}" for number in range(1, WAREHOUSES + 1)]


def paid(number: int) -> dict[str, Any]:
    return {"op": "paid", "key": str(number), "lines": [["A", 1]]}


def routed(folder: Path, plant: str = "") -> Day:
    """Both processes take paid orders, each a few at a time, until all are in."""
    if DAY_MS - (time.time() * 1000 - midnight_ms(int(time.time() * 1000))) < 30_000:
        pytest.skip("the day of the warehouses ends while this would run")
    engine = open_database(folder)
    key = folder / "master.key"
    key_file.create(key, lambda count: bytes(range(count)))
    fill(engine)
    url = engine.url.render_as_string(hide_password=False)
    day = Day()

    numbers = iter(range(ORDERS))

    async def client(core: Core) -> None:
        for number in numbers:
            answer = await core.ask(paid(number))
            day.answers.append(answer["state"])

    async def run() -> None:
        cores = [Core(url, key, plant) for _ in range(CORES)]
        try:
            for core in cores:
                await core.start()
            for core in cores:  # both are at work before the race begins
                await core.ask(paid(next(numbers)))
            async with asyncio.timeout(30), asyncio.TaskGroup() as group:
                for core in cores * CLIENTS:
                    group.create_task(client(core))
        finally:
            for core in cores:
                await core.kill()

    asyncio.run(run())
    with engine.connect() as connection:
        day.given = {row[0]: row[1] for row in connection.execute(GIVEN)}
        day.parked = {row[0]: row[1] for row in connection.execute(PARKED)}
    return day


def fill(engine: Engine) -> None:
    """Warehouses with much stock, little room and a bench that was heard of just now."""
    now_ms = int(time.time() * 1000)
    with engine.begin() as con:
        con.execute(t.carrier.insert(), [{"id": "ZTO", "name": "演示快递"}])
        con.execute(
            t.warehouse.insert(),
            [{"id": w, "site": w.lower(), "name": f"演示仓{w}", "priority": n, "carrier": "ZTO",
              "capacity_per_day": CAPACITY} for n, w in enumerate(names(), 1)],
        )  # fmt: skip
        con.execute(t.agent.insert(), [{"id": f"{w}-a", "warehouse": w} for w in names()])
        con.execute(
            t.agent_state.insert(),
            [{"agent": f"{w}-a", "online": 1, "seen_ms": now_ms} for w in names()],
        )
        con.execute(t.sku.insert(), [{"id": "A", "name": "演示杯"}])
        con.execute(
            t.stock.insert(), [{"warehouse": w, "sku": "A", "shelf": 1_000} for w in names()]
        )
    write_openings(engine)
