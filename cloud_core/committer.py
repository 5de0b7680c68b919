"""The one write queue: take what waits, fold it, commit once, then answer (group commit).

`CommitCore` has no thread: it turns a list of commands into one transaction and a result each, and
is what the simulation runs. `Committer` is the thin thread around it with two lanes, so that heavy
work (event batches, order files, sweeps) never delays a light command. Nothing is answered before
the commit. When a batch cannot be written it is replayed one by one; a command that trips an
assertion, or any other fault of ours, fails alone (DESIGN §5).

On SQLite a batch is loaded inside its write transaction (adr/0007). On PostgreSQL it is loaded
beside other writers and every row it changes is checked again; a batch that comes too late is
folded anew, one whose connection broke is tried again when the server is back (adr/0008).
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Engine
from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_random_exponential

from cloud_core.domain import breaker_commands as b
from cloud_core.domain import commands as c
from cloud_core.domain import hold_commands as h
from cloud_core.domain import outside_commands as o
from cloud_core.domain.master import Master
from cloud_core.domain.policy import Policy
from cloud_core.domain.routing_table import RoutingTable
from cloud_core.ports import Carrier, Clock
from cloud_core.store.checkpoints import Checkpoints
from cloud_core.store.engine import committing
from cloud_core.store.failures import is_busy, is_of_database, reason
from cloud_core.store.guarded_writer import GuardMissed
from cloud_core.store.kept_stock import KeptStock
from cloud_core.store.loading import SqlFetch
from cloud_core.store.rounds import Folded, GuardedRounds
from cloud_core.store.rules_rows import META_KEY, load_rules
from cloud_core.store.saving import save
from cloud_core.store.snapshot import CLOCK, load_master, load_meta
from cloud_core.store.working_set import WorkingSet
from protocols.errors import PacklineError, Unavailable

Fold = Callable[[WorkingSet, Any], Any]
Prefetch = Callable[[WorkingSet, list[Any]], None]

LIGHT_MAX = 512
"""Light commands in one commit."""
HEAVY_WEIGHT_MAX = 2_000
"""Rows (orders, events) of heavy commands in one commit."""
QUEUE_MAX = 20_000
"""Commands that may wait; above it a submit is refused as unavailable."""


@dataclass(frozen=True, slots=True)
class Flow:
    """How one command type is folded; `prefetch` loads for many commands at once."""

    fold: Fold
    prefetch: Prefetch | None = None


@dataclass(frozen=True, slots=True)
class Committed:
    """What one commit did: a result or an exception per command, and whom it concerns.

    `touched_agents` have new commands; `wake_parked` says that stock or a warehouse arrived;
    `shop_calls` that a shop is to be told something.
    """

    results: list[Any]
    touched_agents: frozenset[str] = frozenset()
    wake_parked: bool = False
    shop_calls: bool = False


class CommitCore:
    """Commands in, one durable commit, results out. Not thread-safe: one caller at a time."""

    def __init__(
        self,
        engine: Engine,
        flows: Mapping[type, Flow],
        clock: Clock,
        policy: Policy,
        carriers: Callable[[Master], Callable[[str], Carrier]],
        track_token: Callable[[], str],
        on_commit: Callable[[str], None] | None = None,
        database_clock: bool = False,
    ) -> None:
        self._engine = committing(engine)
        self._on_commit = on_commit or (lambda point: None)
        self._rounds = GuardedRounds() if engine.dialect.name == "postgresql" else None
        self._kept_stock = KeptStock()
        self._database_clock = database_clock and self._rounds is not None
        self._flows = flows
        self._clock = clock
        self._policy = policy
        self._carriers = carriers
        self._track_token = track_token
        self._master: Master | None = None
        self._routing: RoutingTable | None = None
        self._replay_goals: dict[str, dict[str, int]] = {}

    def checkpoints(self) -> Checkpoints:
        """What tidies the database's log up beside the commits; not started."""
        return Checkpoints(self._engine)

    def commit(self, commands: Sequence[Any]) -> Committed:
        """Fold and commit; when the whole cannot be committed once more, one by one."""
        try:
            return self._commit(commands)
        except Exception as error:
            if len(commands) == 1 or isinstance(error, Unavailable):
                return Committed([_outcome(error)] * len(commands))
        results: list[Any] = []
        touched: set[str] = set()
        wake = calls = False
        for command in commands:
            try:
                done = self._commit([command])
            except Exception as error:
                results.append(_outcome(error))
                continue
            results.append(done.results[0])
            touched |= done.touched_agents
            wake, calls = wake or done.wake_parked, calls or done.shop_calls
        return Committed(results, frozenset(touched), wake, calls)

    def _commit(self, commands: Sequence[Any]) -> Committed:
        if self._rounds is not None:
            folded = self._rounds.commit(
                self._engine, lambda con: self._folded(con, commands), self._on_commit
            )
            return self._done(*folded)
        for attempt in Retrying(
            retry=retry_if_exception(is_busy),
            stop=stop_after_attempt(3),
            reraise=True,
            wait=wait_random_exponential(multiplier=0.05, max=1),
        ):
            with attempt:
                return self._transact(commands)
        raise AssertionError("unreachable")

    def _transact(self, commands: Sequence[Any]) -> Committed:
        with self._engine.connect() as connection, connection.begin() as transaction:
            ws, results = self._folded(connection, commands)
            save(connection, ws)
            self._on_commit("before_commit")
            transaction.commit()
            self._kept_stock.close(ws.stock, len(ws.master.warehouses), all_known=not ws.writes)
        return self._done(ws, results)

    def _folded(self, connection: Connection, commands: Sequence[Any]) -> Folded:
        ws = self._working_set(connection)
        self._prefetch(ws, commands)
        return ws, [self._fold(ws, command) for command in commands]

    def _done(self, ws: WorkingSet, results: list[Any]) -> Committed:
        self._on_commit("after_commit")
        if "master_version" in ws.meta:
            self._master = None
        if META_KEY in ws.meta or "master_version" in ws.meta:
            self._routing = None
        return Committed(
            results, frozenset(ws.touched_agents), ws.wake_parked, bool(ws.shop_calls.changes()[0])
        )

    def _working_set(self, connection: Connection) -> WorkingSet:
        meta = load_meta(connection)
        now_ms = int(meta[CLOCK]) if self._database_clock else self._clock.now_ms()
        version = int(meta.get("master_version", "0"))
        if self._master is None or self._master.version != version:
            self._master = load_master(connection, version)
        fetch = SqlFetch(connection)
        ws = WorkingSet(
            fetch,
            now_ms=now_ms,
            core_epoch=int(meta["core_epoch"]),
            recovering=meta.get("recovering") == "1",
            master=self._master,
            policy=self._policy,
            carrier=self._carriers(self._master),
            track_token=self._track_token,
            shelves=self._kept_stock.open(connection) if self._rounds is None else None,
        )
        ws.replay_goals = self._replay_goals
        ws.routing = self._routing_for(connection, self._master, int(meta.get(META_KEY, "0")))
        return ws

    def _routing_for(self, connection: Connection, master: Master, version: int) -> RoutingTable:
        """Rules and master data as they run now, compiled once for each change of either."""
        found = self._routing
        if found is None or found.master is not master or found.rules.version != version:
            found = self._routing = RoutingTable(load_rules(connection, version), master)
        return found

    def _prefetch(self, ws: WorkingSet, commands: Sequence[Any]) -> None:
        by_type: dict[type, list[Any]] = {}
        for command in commands:
            by_type.setdefault(type(command), []).append(command)
        for kind, group in by_type.items():
            flow = self._flows[kind]
            if flow.prefetch is not None:
                flow.prefetch(ws, group)

    def _fold(self, ws: WorkingSet, command: Any) -> Any:
        mark = ws.savepoint()
        try:
            return self._flows[type(command)].fold(ws, command)
        except PacklineError as error:
            ws.rollback(mark)
            return error
        except Exception as error:
            ws.rollback(mark)
            ws.quarantine_bug(f"command:{type(command).__name__}", error)
            return error


def weight(command: Any) -> int:
    """How much a command weighs; 0 is light."""
    if isinstance(command, c.RecordBatch):
        return len(command.rows)
    if isinstance(command, c.ApplyShopEvents):
        return 1 + len(command.orders)
    if isinstance(command, c.CheckTables):
        return 1 + sum(len(values) for _, values in command.tables)
    if isinstance(command, c.ImportRows):
        return 1 + len(command.values)
    if isinstance(command, c.Sweep | h.ExpireHolds | o.ExpireOutside):
        return command.limit
    if isinstance(command, b.JudgeBreakers):
        return _JUDGE_ROWS
    if isinstance(command, h.PlaceHolds) and len(command.holds) > _LIGHT_HOLDS:
        return len(command.holds)
    return 0


_JUDGE_ROWS = 200
"""A look at every warehouse, and perhaps the offers of one that opens."""
_LIGHT_HOLDS = 8
"""Baskets a light command may hold; more go with the heavy ones."""


class InlineCommitter:
    """Commits each command at once, in the caller's thread (simulation, command line)."""

    def __init__(self, core: CommitCore, on_done: Callable[[Committed], None]) -> None:
        self._core = core
        self._on_done = on_done

    def submit_now(self, command: Any) -> Any:
        """Commit one command; its result, or the exception it ended with."""
        done = self._core.commit([command])
        self._on_done(done)
        if isinstance(done.results[0], BaseException):
            raise done.results[0]
        return done.results[0]

    def post(self, command: Any) -> asyncio.Future[Any]:
        """Commit at once; the future is done when this returns."""
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        try:
            future.set_result(self.submit_now(command))
        except Exception as error:
            future.set_exception(error)
        return future

    async def submit(self, command: Any) -> Any:
        """As `submit_now`."""
        return self.submit_now(command)


@dataclass(slots=True)
class _Waiting:
    command: Any
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[Any]


class Committer:
    """The thread that owns the write connection; `submit` waits for the commit."""

    def __init__(self, core: CommitCore, on_done: Callable[[Committed], None]) -> None:
        self._core = core
        self._checkpoints = core.checkpoints()
        self._on_done = on_done
        self._light: deque[_Waiting] = deque()
        self._heavy: deque[_Waiting] = deque()
        self._wake = threading.Condition()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="committer", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()
        self._checkpoints.start()

    def stop(self) -> None:
        """Commit what waits and end the thread."""
        with self._wake:
            self._stopping = True
            self._wake.notify()
        if self._thread.is_alive():
            self._thread.join()
        self._checkpoints.stop()

    @property
    def alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    @property
    def waiting(self) -> int:
        """Commands in both lanes."""
        return len(self._light) + len(self._heavy)

    def post(self, command: Any) -> asyncio.Future[Any]:
        """Queue a command, in the order of the calls. Raises `Unavailable` when full."""
        if self.waiting >= QUEUE_MAX or self._stopping:
            raise Unavailable("queue_full", "写入队列已满，请稍后重试", "write queue is full")
        loop = asyncio.get_running_loop()
        entry = _Waiting(command, loop, loop.create_future())
        with self._wake:
            (self._heavy if weight(command) else self._light).append(entry)
            self._wake.notify()
        return entry.future

    async def submit(self, command: Any) -> Any:
        """Queue a command and wait for its commit. Raises what the fold refused it with."""
        return await self.post(command)

    def _run(self) -> None:
        heavy_next = False
        while True:
            with self._wake:
                while not self._light and not self._heavy and not self._stopping:
                    self._wake.wait()
                if self._stopping and not self._light and not self._heavy:
                    return
                taken = self._take(heavy_next)
            heavy_next = not heavy_next
            self._settle(taken)

    def _take(self, heavy_first: bool) -> list[_Waiting]:
        """The next batch: one lane at a time, taking turns while both have work."""
        if self._heavy and (heavy_first or not self._light):
            taken = [self._heavy.popleft()]
            total = weight(taken[0].command)
            while self._heavy and total + weight(self._heavy[0].command) <= HEAVY_WEIGHT_MAX:
                total += weight(self._heavy[0].command)
                taken.append(self._heavy.popleft())
            return taken
        count = min(len(self._light), LIGHT_MAX)
        return [self._light.popleft() for _ in range(count)]

    def _settle(self, taken: list[_Waiting]) -> None:
        try:
            done = self._core.commit([entry.command for entry in taken])
        except Exception as error:
            done = Committed([error] * len(taken))
        by_loop: dict[asyncio.AbstractEventLoop, list[tuple[asyncio.Future[Any], Any]]] = {}
        for entry, result in zip(taken, done.results, strict=True):
            by_loop.setdefault(entry.loop, []).append((entry.future, result))
        for loop, answers in by_loop.items():
            try:
                loop.call_soon_threadsafe(_answer, answers)
            except RuntimeError:
                continue  # the caller's loop is closed; nobody waits any more
        self._on_done(done)
        self._checkpoints.after_commit()


def _answer(answers: list[tuple[asyncio.Future[Any], Any]]) -> None:
    for future, result in answers:
        if future.done():
            continue
        if isinstance(result, BaseException):
            future.set_exception(result)
        else:
            future.set_result(result)


def _outcome(error: Exception) -> Exception:
    """What the caller of a command gets whose commit failed."""
    if isinstance(error, GuardMissed):
        return Unavailable("contended", "数据正被频繁修改，请重试", str(error))
    if not is_of_database(error):
        return error
    return Unavailable("database", "数据库暂时不可用", reason(error))
