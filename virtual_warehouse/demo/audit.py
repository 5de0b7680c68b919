"""Holds the promises against what happened: journals, core database, papers and people's records.

Everything is counted from what each side kept for itself; nothing is taken from a program's own
claim about itself. Reads both databases, changes nothing.
"""

from __future__ import annotations

import sqlite3
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec

from protocols.messages import Event
from virtual_warehouse.people import Record
from virtual_warehouse.printer import PrintedLabel

ARRIVAL_S = 15.0
_Row = tuple[str, str, int, bytes]
"""(stream, epoch, seq, chain hash) of a journal row."""
GONE_STATES = ("handed_over", "in_transit", "out_for_delivery", "delivered", "closed")


class _About(msgspec.Struct):
    """The one field of an event's body that is of interest here."""

    shipment: str = ""


@dataclass(frozen=True, slots=True)
class Bench:
    """One agent's side of the truth: its journal files, its people and its printer's papers."""

    agent: str
    warehouse: str
    journals: Mapping[str, Path]
    record: Record
    papers: Sequence[PrintedLabel]


@dataclass(slots=True)
class Findings:
    """What was found, and each broken promise in words (`broken`)."""

    orders: int = 0
    cancelled: int = 0
    shipped: int = 0
    labels: int = 0
    papers: int = 0
    events: int = 0
    lost_events: int = 0
    double_labels: int = 0
    unreadable_labels: int = 0
    oversold: int = 0
    stock_wrong: int = 0
    confirmed: int = 0
    personal_leaks: int = 0
    states: dict[str, int] = field(default_factory=dict)
    broken: list[str] = field(default_factory=list)


class CoreBooks:
    """Reads the core's SQLite file beside the running core."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def rows(self, sql: str, values: Sequence[Any] = ()) -> list[sqlite3.Row]:
        """All rows of a read."""
        return _read(self._path, sql, values)

    def states(self) -> dict[str, int]:
        """Orders by where they stand: a state's name, `stopping` or `cancelled`."""
        found = self.rows(
            "SELECT CASE stop WHEN '' THEN state WHEN 'cancelled' THEN 'cancelled' "
            "ELSE 'stopping' END AS at, COUNT(*) AS n FROM orders GROUP BY at"
        )
        return {row["at"]: row["n"] for row in found}

    def overheld(self) -> int:
        """Units promised beyond what is there, now (P3)."""
        sql = "SELECT COALESCE(SUM(MAX(0, held - shelf - picked)), 0) AS n FROM stock"
        return int(self.rows(sql)[0]["n"])


def audit(
    core: CoreBooks,
    benches: Sequence[Bench],
    opening: Mapping[tuple[str, str], int],
    *,
    confirmed: Iterable[str],
    wanted: Iterable[str],
    overheld: int = 0,
) -> Findings:
    """Look at everything. `opening`: (warehouse, SKU) -> units; `confirmed`: native ids that shops
    were told of; `wanted`: every native id that was ordered; `overheld`: the most units seen
    promised beyond the stock during the shift."""
    found = Findings()
    _orders(core, found, set(wanted), set(confirmed))
    _labels(core, benches, found)
    for bench in benches:
        found.lost_events += _rows_missing(core, bench, found) + _told_missing(core, bench)
    if found.lost_events:
        found.broken.append(f"丢失事件 {found.lost_events} 条")
    _stock(core, benches, opening, overheld, found)
    return found


def personal_leaks(
    folders: Iterable[Path], secrets: Iterable[str], limit_bytes: int = 200_000_000
) -> list[str]:
    """Files below `folders` that hold one of the clear texts in `secrets`."""
    needles = [secret.encode() for secret in secrets if secret]
    leaks: list[str] = []
    for folder in folders:
        for path in sorted(folder.rglob("*")):
            if not path.is_file() or path.stat().st_size > limit_bytes:
                continue
            data = path.read_bytes()
            if any(needle in data for needle in needles):
                leaks.append(path.name)
    return leaks


def _orders(core: CoreBooks, found: Findings, wanted: set[str], confirmed: set[str]) -> None:
    found.states = core.states()
    rows = core.rows("SELECT native_id, state, stop FROM orders")
    known = [row["native_id"] for row in rows]
    stopped = {row["native_id"] for row in rows if row["stop"] == "cancelled"}
    gone = {row["native_id"] for row in rows if row["state"] in GONE_STATES} - stopped
    found.orders = len(set(known) - stopped)
    found.cancelled = len(stopped)
    found.shipped = len(gone)
    found.confirmed = len(confirmed & gone)
    if set(known) != wanted or len(known) != len(wanted):
        found.broken.append(f"订单 {len(wanted)} 单，核心有 {len(known)} 单")
    if found.shipped != found.orders:
        found.broken.append(f"还有 {found.orders - found.shipped} 单没有发出")
    if confirmed != gone:
        found.broken.append(f"发货回传 {len(confirmed)} 单，应为 {len(gone)} 单")


def _labels(core: CoreBooks, benches: Sequence[Bench], found: Findings) -> None:
    papers = Counter(paper.waybill for bench in benches for paper in bench.papers)
    found.unreadable_labels = papers.pop("", 0)
    found.papers = sum(papers.values())
    found.labels = len(papers)
    found.double_labels = sum(count - 1 for count in papers.values())
    drawn = {r["number"] for r in core.rows("SELECT number FROM waybill WHERE state <> 'free'")}
    strange = sorted(set(papers) - drawn)
    gone = {number for bench in benches for number in bench.record.gone}
    shipments = core.rows("SELECT waybill, state FROM shipment")
    booked = {row["waybill"] for row in shipments if row["state"] in GONE_STATES}
    if found.double_labels:
        found.broken.append(f"重复面单 {found.double_labels} 张")
    if found.unreadable_labels:
        found.broken.append(f"{found.unreadable_labels} 张面单读不出条码")
    if strange:
        found.broken.append(f"面单号不是核心发出的：{strange[0]}")
    if gone != booked:
        found.broken.append("装车的包裹与核心记录的发货不一致")


def _rows_missing(core: CoreBooks, bench: Bench, found: Findings) -> int:
    """Journal rows of an agent that the core does not hold with the same hash.

    The agent lives on: what it wrote in the last moment has a while to arrive.
    """
    missing: set[_Row] = set()
    for name, path in bench.journals.items():
        rows = _read(
            path, "SELECT e.id, r.seq, r.hash FROM row r JOIN epoch e ON e.no = r.epoch_no", ()
        )
        found.events += len(rows)
        missing |= {(name, row["id"], row["seq"], bytes(row["hash"])) for row in rows}
    deadline = time.monotonic() + ARRIVAL_S
    missing -= _rows_held(core, bench.agent)
    while missing and time.monotonic() < deadline:
        time.sleep(0.5)
        missing -= _rows_held(core, bench.agent)
    return len(missing)


def _rows_held(core: CoreBooks, agent: str) -> set[_Row]:
    """Every row of an agent the core holds, under its own place or that of its origin."""
    held = core.rows(
        "SELECT s.name, s.epoch, e.seq, e.hash FROM event e JOIN stream s ON s.id = e.stream_id "
        "WHERE s.agent = ? UNION ALL SELECT name, epoch, seq, hash FROM origin WHERE agent = ?",
        (agent, agent),
    )
    return {(row["name"], row["epoch"], row["seq"], bytes(row["hash"])) for row in held}


def _told_missing(core: CoreBooks, bench: Bench) -> int:
    """What people were told "ok" for and the core has no event of."""
    known: Counter[tuple[str, str]] = Counter()
    for row in core.rows(
        "SELECT e.type, e.row FROM event e JOIN stream s ON s.id = e.stream_id "
        "WHERE s.agent = ? AND s.name = 'floor'",
        (bench.agent,),
    ):
        shipment = _shipment_in(row["row"])
        if shipment:
            known[shipment, row["type"]] += 1
    told = bench.record.told_ok
    return sum(max(0, count - known[key]) for key, count in told.items() if key[1])


def _shipment_in(row: bytes) -> str:
    event = msgspec.json.decode(row, type=Event)
    return msgspec.json.decode(event.d, type=_About).shipment


def _stock(
    core: CoreBooks,
    benches: Sequence[Bench],
    opening: Mapping[tuple[str, str], int],
    overheld: int,
    found: Findings,
) -> None:
    """Promised more than there is, sent more than there was, or booked other than it went."""
    gone: Counter[tuple[str, str]] = Counter()
    for bench in benches:
        for units in bench.record.gone.values():
            for sku, count in units.items():
                gone[bench.warehouse, sku] += count
    oversent = sum(max(0, count - opening.get(key, 0)) for key, count in gone.items())
    overheld = max(overheld, core.overheld())
    for row in core.rows("SELECT warehouse, sku, shelf, picked, held FROM stock"):
        key = (row["warehouse"], row["sku"])
        right = row["shelf"] + row["picked"] == opening.get(key, 0) - gone[key]
        found.stock_wrong += not right or row["held"] != 0 or row["picked"] != 0
    found.oversold = overheld + oversent
    if found.oversold:
        found.broken.append(f"超卖 {found.oversold} 件")
    if found.stock_wrong:
        found.broken.append(f"{found.stock_wrong} 个库存与实物不一致")


def _read(path: Path, sql: str, values: Sequence[Any]) -> list[sqlite3.Row]:
    with closing(sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True, timeout=10)) as db:
        db.row_factory = sqlite3.Row
        return db.execute(sql, values).fetchall()
