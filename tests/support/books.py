"""The books of both sides after faults: agents' journals, the core's database, papers, people.

Every check returns the broken promises as sentences; an empty list is what a test asks for. The
books are read beside running or dead programs and are never written to.
"""

from __future__ import annotations

import sqlite3
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from protocols import chain
from protocols.messages import Event
from virtual_warehouse.people import Record
from virtual_warehouse.printer import PrintedLabel

LOAD_ORDER = (
    "offer.accepted", "grant.stored", "task.started", "item.picked", "item.verified",
    "parcel.packed", "parcel.handed_over",
)  # fmt: skip
"""The order of a parcel's facts at its bench, whatever was killed in between."""
ONCE = frozenset({"task.started", "parcel.packed", "parcel.handed_over"})
GONE = ("handed_over", "in_transit", "out_for_delivery", "delivered", "closed")

Key = tuple[str, str]


class _About(msgspec.Struct):
    shipment: str = ""
    sku: str = ""
    quantity: int = 0


@dataclass(frozen=True, slots=True)
class Row:
    """One event where it stands: at the agent or in the core."""

    stream: str
    epoch: str
    seq: int
    hash: bytes
    row: bytes
    result: str = ""

    @property
    def event(self) -> Event:
        return msgspec.json.decode(self.row, type=Event)

    @property
    def about(self) -> _About:
        return msgspec.json.decode(self.event.d, type=_About)


@dataclass(frozen=True, slots=True)
class AtRisk:
    """Acknowledged by one program, not yet known to the next, at the moment of a kill."""

    orders: int = 0
    scans: int = 0
    commands: int = 0

    def __add__(self, other: AtRisk) -> AtRisk:
        return AtRisk(
            self.orders + other.orders, self.scans + other.scans, self.commands + other.commands
        )

    def __str__(self) -> str:
        return (
            f"{self.orders} answered orders, {self.scans} durable events, {self.commands} commands"
        )


@dataclass(frozen=True, slots=True)
class BenchBooks:
    """One agent's journals, and what its people and its printer saw with their own eyes."""

    agent: str
    warehouse: str
    journals: Mapping[str, Path]
    record: Record = field(default_factory=Record)
    papers: Sequence[PrintedLabel] = ()

    def rows(self, stream: str = "floor") -> list[Row]:
        """Every row of the journal, oldest first."""
        found = read(
            self.journals[stream],
            "SELECT e.id, r.seq, r.hash, r.row FROM row r JOIN epoch e ON e.no = r.epoch_no "
            "ORDER BY e.no, r.seq",
        )
        return [Row(stream, r["id"], r["seq"], bytes(r["hash"]), bytes(r["row"])) for r in found]

    def last(self, stream: str = "floor") -> tuple[str, int]:
        """(epoch, newest seq)."""
        found = read(
            self.journals[stream],
            "SELECT e.id, MAX(r.seq) AS seq FROM epoch e LEFT JOIN row r ON r.epoch_no = e.no "
            "WHERE e.no = (SELECT MAX(no) FROM epoch) GROUP BY e.id",
        )
        return (found[0]["id"], found[0]["seq"] or 0) if found else ("", 0)


@dataclass(frozen=True, slots=True)
class CoreBooks:
    """The core's SQLite file."""

    path: Path

    def read(self, sql: str, *values: Any) -> list[sqlite3.Row]:
        """All rows of a read."""
        return read(self.path, sql, *values)

    def one(self, sql: str, *values: Any) -> Any:
        """The single value of a read."""
        (row,) = self.read(sql, *values)
        return row[0]

    def native_ids(self) -> list[str]:
        """The shop's number of every order."""
        return [row["native_id"] for row in self.read("SELECT native_id FROM orders")]

    def gone(self) -> int:
        """Orders that have left."""
        marks = ",".join("?" * len(GONE))
        return int(self.one(f"SELECT COUNT(*) FROM orders WHERE state IN ({marks})", *GONE))

    def events(self, agent: str = "") -> int:
        """Events the core holds, of one agent or of all."""
        return int(
            self.one("SELECT COALESCE(SUM(have), 0) FROM stream WHERE ? IN ('', agent)", agent)
        )

    def have(self, agent: str, epoch: str, stream: str = "floor") -> int:
        """How far the core holds an epoch of a stream."""
        found = self.read(
            "SELECT have FROM stream WHERE agent = ? AND name = ? AND epoch = ?",
            agent, stream, epoch,
        )  # fmt: skip
        return int(found[0]["have"]) if found else 0

    def rows(self, agent: str, stream: str = "floor") -> list[Row]:
        """Every event of an agent, in the order of its stream."""
        found = self.read(
            "SELECT s.epoch, e.seq, e.hash, e.row, e.result FROM event e JOIN stream s "
            "ON s.id = e.stream_id WHERE s.agent = ? AND s.name = ? ORDER BY s.id, e.seq",
            agent, stream,
        )  # fmt: skip
        return [
            Row(stream, r["epoch"], r["seq"], bytes(r["hash"]), bytes(r["row"]), r["result"])
            for r in found
        ]


def read(path: Path, sql: str, *values: Any) -> list[sqlite3.Row]:
    """A read of a database that others write: never a lock, never a checkpoint."""
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=10)) as db:
        db.row_factory = sqlite3.Row
        return db.execute(sql, values).fetchall()


def at_risk(core: CoreBooks, benches: Iterable[BenchBooks], answered: Iterable[str]) -> AtRisk:
    """What has been acknowledged and could be lost now.

    Orders answered with 202 that are not in the order table, journal rows (every beeped scan is
    one) the core does not hold, and commands sent that no agent has confirmed.
    """
    waiting = len(set(answered) - set(core.native_ids()))
    behind = 0
    for bench in benches:
        epoch, last = bench.last()
        behind += max(0, last - core.have(bench.agent, epoch))
    sent = core.one("SELECT COUNT(*) FROM outbox WHERE sent_ms IS NOT NULL AND received_ms IS NULL")
    return AtRisk(waiting, behind, int(sent))


def orders_wrong(core: CoreBooks, answered: Iterable[str]) -> list[str]:
    """Every answered order exists once, with one shipment, and has left if it was paid."""
    known = Counter(core.native_ids())
    wrong = [f"order {name} was answered and is lost" for name in set(answered) - set(known)]
    wrong += [f"order {name} exists {count} times" for name, count in known.items() if count > 1]
    wrong += [
        f"order {row['order_id']} has {row['n']} shipments"
        for row in core.read(
            "SELECT order_id, COUNT(*) AS n FROM shipment GROUP BY order_id HAVING n <> 1"
        )
    ]
    paid = core.one("SELECT COUNT(*) FROM orders WHERE state <> 'created'")
    if core.gone() != paid:
        wrong.append(f"{paid - core.gone()} of {paid} paid orders have not left")
    return wrong


def streams_wrong(core: CoreBooks, bench: BenchBooks) -> list[str]:
    """The journal and the core hold the same rows, each once, in one unbroken chain."""
    wrong: list[str] = []
    for stream in bench.journals:
        mine, theirs = bench.rows(stream), core.rows(bench.agent, stream)
        at_agent = Counter((row.epoch, row.seq, row.hash) for row in mine)
        at_core = Counter((row.epoch, row.seq, row.hash) for row in theirs)
        name = f"{bench.agent}/{stream}"
        wrong += [f"{name} {key[:2]} is not in the core" for key in at_agent - at_core]
        wrong += [f"{name} {key[:2]} is only in the core" for key in at_core - at_agent]
        wrong += [f"{name} #{row.seq} was refused: {row.result}" for row in theirs if row.result]
        wrong += _chain_wrong(bench.agent, stream, theirs)
    return wrong


def _chain_wrong(agent: str, stream: str, rows: Sequence[Row]) -> list[str]:
    wrong: list[str] = []
    epochs: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        epochs[row.epoch].append(row)
    for epoch, found in epochs.items():
        current = chain.genesis(agent, stream, epoch)
        for number, row in enumerate(found, 1):
            current = chain.link(current, row.row)
            if (row.seq, row.event.q) != (number, number) or row.hash != current:
                wrong.append(f"{agent}/{stream} {epoch} breaks at row {number}")
                break
    return wrong


def facts_wrong(core: CoreBooks, bench: BenchBooks) -> list[str]:
    """What people were told "ok" for is in the core; nothing that is done once was done twice."""
    rows = [row for row in core.rows(bench.agent) if row.event.t in LOAD_ORDER]
    counts: Counter[Key] = Counter()
    units: Counter[tuple[str, str, str]] = Counter()
    steps: dict[str, list[int]] = defaultdict(list)
    for row in rows:
        kind, about = row.event.t, row.about
        counts[about.shipment, kind] += 1
        steps[about.shipment].append(LOAD_ORDER.index(kind))
        if about.sku:
            units[about.shipment, about.sku, kind] += about.quantity
    wrong = [
        f"{kind} of {shipment} was beeped {told} times, the core has {counts[shipment, kind]}"
        for (shipment, kind), told in bench.record.told_ok.items()
        if kind and told > counts[shipment, kind]
    ]
    wrong += [
        f"{kind} of {shipment} is there {count} times"
        for (shipment, kind), count in counts.items()
        if kind in ONCE and count != 1
    ]
    wrong += [f"facts of {name} are out of order" for name, at in steps.items() if at != sorted(at)]
    wanted = {
        (row["shipment_id"], row["sku"]): row["quantity"]
        for row in core.read(
            "SELECT l.* FROM shipment_line l JOIN shipment s ON s.id = l.shipment_id "
            "WHERE s.agent = ? AND s.stop = ''",
            bench.agent,
        )
    }
    wrong += [
        f"{sku} of {shipment}: {count} units {kind}, ordered {wanted[shipment, sku]}"
        for (shipment, sku, kind), count in units.items()
        if count != wanted.get((shipment, sku), count)
    ]
    return wrong


def stock_wrong(
    core: CoreBooks, benches: Iterable[BenchBooks], opening: Mapping[Key, int]
) -> list[str]:
    """Counters are opening + movements, and agree with what left on the trucks."""
    moved: Counter[tuple[str, str, str]] = Counter()
    for row in core.read("SELECT * FROM movement"):
        for counter in ("shelf", "picked", "held"):
            moved[row["warehouse"], row["sku"], counter] += row[f"d_{counter}"]
    gone: Counter[Key] = Counter()
    for bench in benches:
        for units in bench.record.gone.values():
            gone.update({(bench.warehouse, sku): count for sku, count in units.items()})
    wrong: list[str] = []
    seen: set[Key] = set()
    for row in core.read("SELECT * FROM stock"):
        key = (row["warehouse"], row["sku"])
        seen.add(key)
        booked = tuple(row[counter] for counter in ("shelf", "picked", "held"))
        explained = tuple(moved[*key, counter] for counter in ("shelf", "picked", "held"))
        real = (opening.get(key, 0) - gone[key], 0, 0)
        if booked != explained:
            wrong.append(f"stock {key} is {booked}, its movements say {explained}")
        if booked != real:
            wrong.append(f"stock {key} is {booked}, on the shelf stand {real}")
    wrong += [f"stock {key} has no row" for key in set(opening) - seen]
    return wrong


def labels_wrong(core: CoreBooks, bench: BenchBooks) -> list[str]:
    """At most one paper for each time a label was asked for; only a person asks a second time."""
    papers = Counter(paper.waybill for paper in bench.papers)
    drawn = {r["number"]: r["shipment_id"] for r in core.read("SELECT * FROM waybill")}
    jobs: dict[str, list[sqlite3.Row]] = defaultdict(list)
    for job in read(bench.journals["floor"], "SELECT * FROM print_job ORDER BY revision"):
        jobs[job["number"]].append(job)
    wrong = [f"{papers.pop('', 0)} papers carry no readable waybill"] if papers.get("") else []
    for number, count in papers.items():
        asked = jobs.get(number, [])
        if not drawn.get(number):
            wrong.append(f"{number} was printed and never drawn from the pool")
        if count > len(asked):
            wrong.append(f"{number}: {count} papers for {len(asked)} jobs")
        wrong += [
            f"{number} revision {job['revision']}: nobody asked for it"
            for job in asked[1:]
            if not job["operator"] or not job["reprint_reason"]
        ]
    return wrong


RIGHT_ALARMS = frozenset({"agent_offline", "label_unknown"})


def noise(core: CoreBooks) -> list[str]:
    """What should not be there after faults of machines alone."""
    strange = core.read("SELECT source, code FROM quarantine")
    mishaps = core.read("SELECT kind, shipment_id FROM incident")
    wrong = [f"quarantined {row['source']}: {row['code']}" for row in strange]
    wrong += [f"incident {row['kind']} {row['shipment_id']}" for row in mishaps]
    wrong += [
        f"alarm {row['kind']} {row['key']}"
        for row in core.read("SELECT * FROM alarm")
        if row["kind"] not in RIGHT_ALARMS
    ]
    return wrong


def everything_wrong(
    core: CoreBooks,
    benches: Sequence[BenchBooks],
    answered: Iterable[str],
    opening: Mapping[Key, int],
) -> list[str]:
    """All of the above at once."""
    wrong = orders_wrong(core, answered) + stock_wrong(core, benches, opening) + noise(core)
    for bench in benches:
        wrong += streams_wrong(core, bench) + facts_wrong(core, bench) + labels_wrong(core, bench)
    return wrong
