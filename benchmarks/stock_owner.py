"""B7: four warehouses say yes at once over a line that loses, delays, reorders and repeats.

Four cores' write queues on one database and four real agent journals, a thread each; orders are
claimed by broadcast, claims and offers run out while answers are on their way. Afterwards no
shipment may have been granted under two tokens, and no label may have been begun by anybody but
the owner under the owner's token, or twice.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from benchmarks import sample
from benchmarks.figures import Figure, Target
from benchmarks.stock_bed import CARRIERS, StockBed
from benchmarks.stock_ground import Ground, durable, say
from cloud_core import bootstrap, logs
from cloud_core.domain import commands as c
from cloud_core.store import schema as t
from cloud_core.store.engine import writer
from edge_agent.domain.floor_plan import FloorPlan
from edge_agent.domain.moment import Now, ServerOffset
from edge_agent.flows import receive
from protocols import chain
from protocols.messages import AgentState, Command, Hello, StreamPosition
from tests.support.edge import PRINTED, Floor

AGENTS = 4
ORDERS, QUICK_ORDERS = 400, 40
ORDERS_A_COMMAND = 20
OFFER_TTL_S = 5
STREAM = "floor"
COMMANDS_A_TURN = 50
PATIENCE_S = 400.0
"""Longer than a warehouse that let an offer pass stays out (`flows/excluded.py`, 300 s)."""
SENT_TWICE, LOST, NOT_YET = 0.3, 0.15, 0.4
RULE = '[[rules]]\nname = "抢单"\nthen = {broadcast = 4}\n'
NOTHING = Target(0, at_least=False)
_GRANTS = "SELECT shipment_id, agent, body FROM outbox WHERE kind = 'grant'"
_OWNERS = "SELECT id, agent, token_epoch, token_n FROM shipment WHERE state <> 'offered'"
_OPEN = "SELECT count(*) FROM shipment WHERE state = 'offered' OR parked <> ''"
Owner = tuple[str, int, int]


class RealClock:
    """The system's clock, for a journal that is asked by hand."""

    def now(self) -> Now:
        return Now(time.time_ns() // 1_000_000, time.monotonic_ns() // 1_000_000)


@dataclass
class Worst:
    """What the line did to commands, and to rows that were told twice."""

    twice: int = 0
    lost: int = 0
    """Commands dropped on the way, and those beyond what an agent takes in one turn."""
    late: int = 0


@dataclass
class Side:
    """One agent with its journal, and the core process that serves its site."""

    agent: str
    site: str
    floor: Floor
    submit: Callable[[Any], Any]
    draw: random.Random
    acked: int = 0
    on_the_way: list[Command] = field(default_factory=list)
    worst: Worst = field(default_factory=Worst)

    def greet(self) -> None:
        """The agent says hello; its labels may be printed from now on."""
        position = self.floor.core.position
        hello = Hello(
            1, self.agent, 1, "bench", [1], 1, "boot", RealClock().now().wall_ms, 1_000,
            [StreamPosition(STREAM, position.epoch, 1, 1, self._hash(0).hex())],
        )  # fmt: skip
        self.submit(c.GreetAgent(self.site, self.agent, hello))
        self.floor.resynced()

    def turn(self) -> None:
        """Hear some commands, print perhaps, tell some of what is in the journal."""
        self._hear()
        if self.draw.random() > NOT_YET:
            self.floor.print_next(PRINTED)
        if self.draw.random() > NOT_YET:
            self._tell()

    def _hear(self) -> None:
        drawn = self.submit(c.DrawCommands(self.agent, COMMANDS_A_TURN, 300))
        self.on_the_way += [
            Command(1, o.id, o.cs, o.kind, o.sent_ms, o.core_epoch, msgspec.Raw(o.body), o.ttl_s)
            for o in drawn
        ]
        self.draw.shuffle(self.on_the_way)
        arrived, later = [], []
        for command in self.on_the_way:
            chance = self.draw.random()
            if chance < LOST:
                self.worst.lost += 1  # drawn again when it was not confirmed
            elif chance < LOST + NOT_YET:
                self.worst.late += 1
                later.append(command)
            else:
                arrived.append(command)
                if self.draw.random() < SENT_TWICE:
                    self.worst.twice += 1
                    later.append(command)
        self.on_the_way = later
        self.worst.lost += max(0, len(arrived) - COMMANDS_A_TURN)
        del arrived[COMMANDS_A_TURN:]
        if arrived:
            self.floor.write(lambda tx: receive.receive(tx, arrived, self.floor.bench))

    def _tell(self) -> None:
        """Rows that were not acknowledged, sometimes with some that were."""
        again = self.draw.random() < SENT_TWICE
        first = max(1, self.acked + 1 - (self.draw.randrange(6) if again else 0))
        rows = self.floor.core.db.execute(
            "SELECT row FROM row WHERE seq >= ? ORDER BY seq LIMIT 100", (first,)
        ).fetchall()
        if not rows:
            return
        batch = c.RecordBatch(
            self.site, self.agent, STREAM, self.floor.core.position.epoch, first,
            self._hash(first - 1), tuple(row for (row,) in rows),
        )  # fmt: skip
        self.worst.twice += again
        ack = self.submit(batch)
        if self.draw.random() > LOST:
            self.acked = ack.have

    def _hash(self, seq: int) -> bytes:
        if seq == 0:
            return chain.genesis(self.agent, STREAM, self.floor.core.position.epoch)
        found = self.floor.core.db.execute("SELECT hash FROM row WHERE seq = ?", (seq,))
        return bytes(found.fetchone()[0])

    def labels(self) -> list[tuple[str, Owner]]:
        """(shipment, under whose right) of every label that was begun."""
        bodies = self.floor.bodies("label.started")
        return [(b["shipment"], (self.agent, *_token(b["token"]))) for b in bodies]


def owners(ground: Ground) -> Iterator[Figure]:
    """B7 on each engine."""
    logs.set_up("warning")
    orders = QUICK_ORDERS if ground.quick else ORDERS
    for engine in ground.engines:
        doubles, stale, said = [], [], ""
        for _ in range(ground.runs()):
            with ground.bed(engine, warehouses=AGENTS) as bed:
                double, wrong, said = _run(ground, bed, orders)
            doubles.append(double)
            stale.append(wrong)
        what = (
            f"whole claim flow, agents' journals included; {durable(engine)}; {orders} orders "
            f"asked of {AGENTS} warehouses by 4 cores; last run: {said}"
        )
        say(f"  {engine}: double grants {doubles}, stale or second labels {stale}; {said}")
        name = f"B7 owner race, {orders} orders, {engine}"
        labels = f"{name}: labels under a stale token or twice"
        yield ground.figure(f"{name}: double grants", "shipments", doubles, what, NOTHING)
        yield ground.figure(labels, "labels", stale, what, NOTHING)


def _run(ground: Ground, bed: StockBed, orders: int) -> tuple[int, int, str]:
    _prepare(bed, orders)
    settings = msgspec.structs.replace(bed.settings, offer_ttl_s=OFFER_TTL_S)
    cores = [bootstrap.build(settings, inline=True) for _ in range(AGENTS + 1)]

    def submits(number: int) -> Callable[[Any], Any]:
        return lambda command: _done(cores[number].commit_core.commit([command]).results[0])

    shop = submits(AGENTS)
    assert not shop(c.ApplyRules(RULE, "bench")).problems
    sides = []
    for number, (agent, warehouse) in enumerate(zip(bed.core.agents, bed.warehouses, strict=True)):
        plan = FloorPlan(
            warehouse.lower(), agent, printers=("label-1",), stations={"S1": "label-1"}
        )
        floor = _floor(ground.new_folder(), plan)
        sides.append(
            Side(agent, warehouse.lower(), floor, submits(number), random.Random(number + 1))
        )
        sides[-1].greet()
    try:
        _race(cores[AGENTS].ingest, shop, sides, orders, lambda: bed.count(_OPEN))
        double, wrong = _judge(bed, sides, orders)
        won = [side.agent for side in sides if side.labels()]
    finally:
        for side in sides:
            side.floor.core.close()
        for core in cores:
            core.engine.dispose()
    worst = [side.worst for side in sides]
    said = (
        f"{sum(w.twice for w in worst):,} repeated, {sum(w.lost for w in worst):,} lost, "
        f"{sum(w.late for w in worst):,} delayed, {len(won)} warehouses won some"
    )
    return double, wrong, said


def _floor(folder: Path, plan: FloorPlan) -> Floor:
    floor = Floor(folder, plan)
    floor.clock = RealClock()  # type: ignore[assignment]
    now = floor.clock.now()
    floor.offset = ServerOffset(now.wall_ms - now.mono_ms, 1)
    return floor


def _prepare(bed: StockBed, orders: int) -> None:
    """Waybill numbers for all, and labels as soon as the grant is there."""
    numbers = [
        {"number": f"{carrier}{number:010d}", "carrier": carrier, "state": "free"}
        for carrier in CARRIERS for number in range(2 * orders)
    ]  # fmt: skip
    engine = bed.open()
    with writer(engine).begin() as connection:
        connection.execute(t.waybill.insert(), numbers)
        connection.execute(t.warehouse.update().values(print_on="grant"))
    engine.dispose()


def _done(result: Any) -> Any:
    if isinstance(result, BaseException):
        raise result
    return result


def _race(
    ingest: Any,
    shop: Callable[[Any], Any],
    sides: list[Side],
    orders: int,
    open_: Callable[[], int],
) -> None:
    """Orders come in while every agent works, until all are granted and printed."""
    ended, faults = threading.Event(), list[BaseException]()

    def work(side: Side) -> None:
        try:
            while not ended.is_set():
                side.turn()
                side.submit(c.SeeAgent(side.site, side.agent, AgentState(1, side.agent, True, 1)))
        except BaseException as error:
            faults.append(error)
            ended.set()

    threads = [threading.Thread(target=work, args=(side,)) for side in sides]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + PATIENCE_S
    try:
        for command in sample.commands(ingest, orders // ORDERS_A_COMMAND, ORDERS_A_COMMAND, 1):
            shop(command)
            shop(c.Sweep())
        while open_() or sum(len(side.labels()) for side in sides) < orders:
            assert not faults, faults[0]
            assert time.monotonic() < deadline, f"{open_()} shipments are not granted yet"
            shop(c.Sweep())
            time.sleep(0.1)
    finally:
        ended.set()
        for thread in threads:
            thread.join()


def _judge(bed: StockBed, sides: list[Side], orders: int) -> tuple[int, int]:
    """(shipments granted under two tokens, labels begun under a right that was not the owner's)."""
    grants = [
        (shipment, (agent, *_token(msgspec.json.decode(bytes(body))["token"])))
        for shipment, agent, body in bed.rows(_GRANTS)
    ]
    owner = {row[0]: (row[1], row[2], row[3]) for row in bed.rows(_OWNERS)}
    assert len(owner) == orders, (len(owner), orders)
    assert bed.drifts() == 0
    return verdict(grants, owner, [one for side in sides for one in side.labels()])


def verdict(
    grants: Iterable[tuple[str, Owner]],
    owner: Mapping[str, Owner],
    begun: Sequence[tuple[str, Owner]],
) -> tuple[int, int]:
    """As `_judge`, from (shipment, right) of grants and of labels, and the rights in force."""
    granted: dict[str, set[Owner]] = {}
    for shipment, right in grants:
        granted.setdefault(shipment, set()).add(right)
    stale = sum(1 for shipment, right in begun if owner.get(shipment) != right)
    twice = len(begun) - len({shipment for shipment, _ in begun})
    return sum(1 for rights in granted.values() if len(rights) > 1), stale + twice


def _token(found: Any) -> tuple[int, int]:
    return int(found[0]), int(found[1])
