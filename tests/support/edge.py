"""A bench without a world: an agent's floor on real SQLite, driven through its flows."""

from __future__ import annotations

import itertools
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from edge_agent.domain.answer import Answer
from edge_agent.domain.floor_plan import FloorPlan
from edge_agent.domain.moment import Now, ServerOffset
from edge_agent.domain.print_job import PrintKey
from edge_agent.domain.printer_status import READY, PrinterStatus, SendOutcome
from edge_agent.flows import print_label, receive, work
from edge_agent.flows.bench import Bench
from edge_agent.flows.receive import Taken
from edge_agent.journal import jobs, tasks
from edge_agent.journal.core import JournalCore
from edge_agent.journal.jobs import Placed
from edge_agent.journal.tx import Tx
from edge_agent.ports import Connection
from protocols import codec, commands
from protocols.messages import Command, Event, Token

PLAN = FloorPlan(site="sha", agent="sha-1", printers=("label-1",), stations={"S1": "label-1"})
LABEL = commands.LabelText(
    carrier_name="测试快递",
    receiver_name="测*",
    receiver_phone="100******01",
    receiver_address="测试省测试市测试区****",
)


def connect(path: Path) -> Callable[[], Connection]:
    """A factory of connections to one file, as bootstrap makes them."""
    return lambda: sqlite3.connect(path, isolation_level=None, check_same_thread=False)


class HandClock:
    """A clock that stands until it is told."""

    def __init__(self) -> None:
        self.wall_ms = 1_800_000_000_000
        self.mono_ms = 1_000

    def now(self) -> Now:
        return Now(self.wall_ms, self.mono_ms)

    def step(self, ms: int) -> None:
        self.wall_ms += ms
        self.mono_ms += ms


class Floor:
    """One agent's floor journal and the flows over it; `restart` is a crash and a new boot."""

    def __init__(self, folder: Path, plan: FloorPlan = PLAN, stream: str = "floor") -> None:
        self.path = folder / f"{stream}.db"
        self.stream = stream
        self.plan = plan
        self.clock = HandClock()
        self.offset: ServerOffset | None = None
        self.core_seen = True
        self.core_epoch = 1
        self._epochs = itertools.count(1)
        self._commands = itertools.count(1)
        self.core = self.open()

    def open(self, **more: Any) -> JournalCore:
        """The file as a start of the program finds it."""
        core = JournalCore(
            connect(self.path), self.plan.agent, self.stream, self._new_epoch, **more
        )
        core.open(self.clock.now())
        return core

    def _new_epoch(self) -> str:
        return f"{next(self._epochs):016x}"

    def restart(self) -> print_label.Recovered:
        """The process dies and starts again; what was not committed is gone."""
        self.core.close()
        self.core = self.open()
        self.core_seen = False
        recovered: print_label.Recovered = self.write(
            lambda tx: print_label.recover(tx, self.bench)
        )
        return recovered

    def write(self, work: Callable[[Tx], Any]) -> Any:
        """One commit; raises what the work raised."""
        ((value, error),) = self.core.commit([(work, self.clock.now())])
        if error is not None:
            raise error
        return value

    def read(self, work: Callable[[Connection], Any]) -> Any:
        return work(self.core.db)

    @property
    def bench(self) -> Bench:
        return Bench(self.plan, self.offset)

    def resynced(self) -> None:
        """As after a welcome without resynchronisation."""
        from edge_agent.flows import bench

        self.write(lambda tx: bench.set_resynced(tx.db, tx.head.epoch))

    def tell(self, body: Struct, *, ttl_s: int | None = None, cmd_id: str = "") -> Taken:
        """The core sends one command."""
        taken: Taken = self.write(
            lambda tx: receive.receive(tx, [self.command(body, ttl_s, cmd_id)], self.bench)
        )
        return taken

    def command(self, body: Struct, ttl_s: int | None = None, cmd_id: str = "") -> Command:
        number = next(self._commands)
        kind = next(k for k, struct in commands.COMMANDS.items() if struct is type(body))
        return Command(
            v=1, id=cmd_id or f"cmd-{number}", cs=number, k=kind, sent_ms=1_800_000_000_000,
            core_epoch=self.core_epoch, d=codec.raw(body), ttl_s=ttl_s,
        )  # fmt: skip

    def scan(self, code: str, station: str = "S1") -> Answer:
        """Somebody scans a code at a station."""
        answer: Answer = self.write(lambda tx: work.scan(tx, station, code, self.bench))
        return answer

    def events(self, kind: str = "") -> list[Event]:
        """Every row of every epoch, in order; only of one type if asked."""
        rows = self.core.db.execute("SELECT row FROM row ORDER BY epoch_no, seq").fetchall()
        found = [codec.decode_event(row) for (row,) in rows]
        return [event for event in found if kind in ("", event.t)]

    def types(self) -> list[str]:
        return [event.t for event in self.events()]

    def bodies(self, kind: str) -> list[Any]:
        return [msgspec.json.decode(event.d) for event in self.events(kind)]

    def job(self, shipment: str) -> Placed:
        """The newest label job of a shipment."""
        placed: Placed = self.read(lambda db: jobs.of_shipment(db, shipment))[-1]
        return placed

    def state(self, shipment: str) -> str:
        """The state of a shipment's newest task."""
        return str(self.read(lambda db: tasks.newest(db, shipment)).state)

    def print_next(
        self, outcome: SendOutcome | None = None, *, status: PrinterStatus = READY
    ) -> str:
        """The printer worker's turn; "" when nothing is queued or may be printed."""
        whole = self.read(lambda db: print_label.may_print(db, self.core.position.epoch))
        placed = self.read(lambda db: print_label.next_for(db, "label-1", whole=whole))
        if placed is None:
            return ""
        key: PrintKey = placed.job.key
        job = self.write(
            lambda tx: print_label.begin(tx, key, 1000, status, core_seen=self.core_seen)
        )
        if job.state == "sending" and outcome is not None:
            job = self.write(lambda tx: print_label.finish(tx, key, outcome))
        return str(job.state)


PRINTED = SendOutcome(1000, 1000, READY, printed=True)


def offer(shipment: str = "DB2026AAAA-1", n: int = 1, lines: dict[str, int] | None = None) -> Any:
    asked = lines or {"SKU-A": 2, "SKU-B": 1}
    return commands.Offer(
        shipment=shipment, token=Token(1, n), order=shipment[:-2], channel="shop", native_id="N-1",
        lines=[commands.OfferLine(sku, units) for sku, units in asked.items()],
        ship_by_ms=1_800_086_400_000,
    )  # fmt: skip


def grant(
    shipment: str = "DB2026AAAA-1",
    n: int = 1,
    lines: dict[str, int] | None = None,
    *,
    print_on: str = "grant",
    reissue: bool = False,
    waybill: str = "",
) -> Any:
    asked = lines or {"SKU-A": 2, "SKU-B": 1}
    return commands.Grant(
        shipment=shipment, token=Token(1, n), order=shipment[:-2], channel="shop", native_id="N-1",
        waybill=waybill or f"W{shipment[-6:-2]}{n}", carrier="test-express", label=LABEL,
        lines=[
            commands.TaskLine(sku, units, name=f"商品 {sku}", barcodes=[f"69{sku}"], location="A-1")
            for sku, units in asked.items()
        ],
        ship_by_ms=1_800_086_400_000, print_on=print_on, reissue=reissue,
    )  # fmt: skip


def cancel(shipment: str = "DB2026AAAA-1", fence: int = 2, *, answer: bool = True) -> Any:
    return commands.Cancel(shipment=shipment, fence=Token(1, fence), reason="refund", answer=answer)


def hand_over(floor: Floor) -> None:
    """The whole way of the default grant: print, pick, verify, load."""
    floor.print_next(PRINTED)
    task = "TASK-DB2026AAAA-1"
    for code in (task, "SKU-A", "SKU-A", "SKU-B", task, "SKU-A", "SKU-A", "SKU-B"):
        floor.scan(code)
    floor.scan("WAAAA1")
    assert floor.scan("LOAD-7").code == "handed_over"
