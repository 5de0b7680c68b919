"""A core without HTTP or MQTT: real database and folds, an inline committer and a set clock."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, text

from cloud_core.carriers.pool import PoolCarrier
from cloud_core.committer import CommitCore, Committed, Flow, InlineCommitter
from cloud_core.domain import commands as c
from cloud_core.domain.policy import Policy
from cloud_core.domain.shop_order import ShopEvent, ShopEventKind, ShopLine
from cloud_core.flows.registry import FOLDS
from cloud_core.store import schema as t
from protocols import chain, codec
from protocols.messages import AgentState, Event, Hello, StreamPosition, Token
from tests.support.databases import open_database

START_MS = 1_767_225_600_000


@dataclass
class SetClock:
    """Time that moves only when told."""

    ms: int = START_MS

    def now_ms(self) -> int:
        return self.ms

    def advance(self, seconds: float) -> None:
        self.ms += int(seconds * 1000)


@dataclass
class FloorAgent:
    """The other end of the wire as far as the core can see it: a stream with a hash chain."""

    id: str
    site: str
    epoch: str = "00000000000000aa"
    seq: int = 0
    hash: bytes = b""
    rows: list[bytes] = field(default_factory=list)
    core_epoch: int = 0
    """The life of the core this agent last heard of."""

    def __post_init__(self) -> None:
        self.hash = chain.genesis(self.id, "floor", self.epoch)

    def event(self, kind: str, body: Any, at_ms: int = START_MS) -> bytes:
        self.seq += 1
        row = codec.encode(Event(self.seq, kind, at_ms, at_ms, 1, codec.raw(body)))
        self.rows.append(row)
        return row

    def batch(self, rows: Iterable[bytes]) -> c.RecordBatch:
        rows = tuple(rows)
        command = c.RecordBatch(
            self.site, self.id, "floor", self.epoch, self.seq - len(rows) + 1, self.hash, rows
        )
        self.hash = chain.extend(self.hash, rows)[-1]
        return command

    def hello(self, *, fresh: bool = False) -> Hello:
        return Hello(
            1, self.id, 1, "test", [1], 1, "boot", START_MS, 1_000,
            [StreamPosition("floor", self.epoch, 1, self.seq + 1, self.hash.hex())], fresh=fresh,
            core_epoch=self.core_epoch,
        )  # fmt: skip


class CoreBench:
    """Two warehouses, one agent each, stock and waybill numbers; commands commit at once."""

    def __init__(self, folder: Path, *, policy: Policy | None = None) -> None:
        self.folder = folder
        self.engine: Engine = open_database(folder, "core.db")
        self.clock = SetClock()
        self.touched: set[str] = set()
        self._fill()
        self.policy = policy or Policy()
        self.core = self.another_core(self.engine)
        self.committer = InlineCommitter(self.core, self._done)
        self.agents = {
            "hz-a": FloorAgent("hz-a", "hz01"),
            "sz-a": FloorAgent("sz-a", "sz01", epoch="00000000000000bb"),
        }

    def another_core(self, engine: Engine, **changed: Flow) -> CommitCore:
        """A core on the same database; `changed` flows go by the name of their command."""
        flows = {kind: Flow(fold, prefetch) for kind, (fold, prefetch) in FOLDS.items()}
        flows |= {kind: changed[kind.__name__] for kind in FOLDS if kind.__name__ in changed}
        return CommitCore(
            engine,
            flows,
            self.clock,
            self.policy,
            lambda master: lambda carrier: PoolCarrier(),
            iter(f"t-attached-{n}" for n in range(10_000)).__next__,
        )

    def _done(self, done: Committed) -> None:
        self.touched |= done.touched_agents

    def _fill(self) -> None:
        with self.engine.connect().execution_options(packline_writes=True) as con, con.begin():
            con.execute(t.core_meta.delete())
            con.execute(t.core_meta.insert(), [{"key": "core_epoch", "value": "1"}])
            con.execute(t.carrier.insert(), [{"id": "ZTO", "name": "演示快递"}])
            con.execute(
                t.warehouse.insert(),
                [
                    {
                        "id": "HZ01",
                        "site": "hz01",
                        "name": "华东仓",
                        "priority": 1,
                        "carrier": "ZTO",
                    },
                    {
                        "id": "SZ01",
                        "site": "sz01",
                        "name": "华南仓",
                        "priority": 2,
                        "carrier": "ZTO",
                    },
                ],
            )
            con.execute(
                t.agent.insert(),
                [{"id": "hz-a", "warehouse": "HZ01"}, {"id": "sz-a", "warehouse": "SZ01"}],
            )
            con.execute(t.sku.insert(), [{"id": s, "name": f"商品{s}"} for s in ("A", "B", "C")])
            con.execute(
                t.stock.insert(),
                [
                    {"warehouse": w, "sku": s, "shelf": 10}
                    for w in ("HZ01", "SZ01")
                    for s in ("A", "B")
                ],
            )
            con.execute(
                t.waybill.insert(),
                [
                    {"number": f"ZT{i:010d}", "carrier": "ZTO", "state": "free"}
                    for i in range(1, 101)
                ],
            )

    def do(self, command: Any) -> Any:
        return self.committer.submit_now(command)

    def online(self, *agents: str) -> None:
        for agent in agents or tuple(self.agents):
            other = self.agents[agent]
            self.do(c.GreetAgent(other.site, agent, other.hello()))

    def heartbeat(self, *agents: str) -> None:
        for agent in agents or tuple(self.agents):
            other = self.agents[agent]
            self.do(c.SeeAgent(other.site, agent, AgentState(1, agent, True, 1)))

    def shop(self, native: str, kind: str = "paid", *, version: int = 1, **values: Any) -> Any:
        lines = values.pop("lines", (("A", 1),))
        event = ShopEvent(
            channel="shop1", native_id=native,
            dedupe_key=values.pop("key", f"{native}/{kind}/{version}"),
            kind=ShopEventKind(kind), version=version, occurred_at_ms=self.clock.ms,
            lines=tuple(ShopLine(n, sku, q, 100) for n, (sku, q) in enumerate(lines, 1)),
            **values,
        )  # fmt: skip
        incoming = c.IncomingOrder(event, None, f"DB2026{native:0>8}", f"t-{native}-{version}")
        return self.do(c.ApplyShopEvents("shop1", (incoming,)))

    def report(self, agent: str, *facts: tuple[str, Any]) -> Any:
        other = self.agents[agent]
        rows = [other.event(kind, body, self.clock.ms) for kind, body in facts]
        return self.do(other.batch(rows))

    def commands(self, agent: str, *, everything: bool = True) -> list[c.OutgoingCommand]:
        return list(self.do(c.DrawCommands(agent, 100, 10_000, everything)))

    def rows(self, sql: str, **values: Any) -> list[Any]:
        with self.engine.connect() as con:
            return list(con.execute(text(sql), values))

    def one(self, sql: str, **values: Any) -> Any:
        (row,) = self.rows(sql, **values)
        return row[0] if len(row) == 1 else tuple(row)

    def stock(self, warehouse: str, sku: str) -> tuple[int, int, int]:
        return tuple(
            self.one(
                "SELECT shelf, picked, held FROM stock WHERE warehouse = :w AND sku = :s",
                w=warehouse, s=sku,
            )
        )  # fmt: skip


def token(text_token: str) -> Token:
    """`1.2` as a token."""
    epoch, _, n = text_token.partition(".")
    return Token(int(epoch), int(n))
