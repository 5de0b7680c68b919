"""The cloud core as a process of the simulation: the real loops, flows and SQL, on virtual time.

Starts, dies at any commit boundary, comes back on the same file, and is restored from a backup.
The shops' door is the one of the HTTP API without HTTP: verify, parse, store, answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

from cloud_core import ports as core_ports
from cloud_core.bootstrap import Knobs, Ports, Wired, wire
from cloud_core.committer import InlineCommitter
from cloud_core.domain.breaker import BreakerPolicy
from cloud_core.domain.commands import ApplyRules, ImportRows
from cloud_core.domain.policy import Policy
from cloud_core.domain.rows import Audit
from cloud_core.flows.deliver import Delivery
from cloud_core.flows.ledger_watch import LedgerPace
from cloud_core.flows.outside_desk import OutsideDesk
from cloud_core.ports import (
    ChannelConfig,
    ExternalAnswer,
    Notification,
    NotifyAnswer,
    NotifyTarget,
    WriteBackAnswer,
)
from cloud_core.store import backup
from cloud_core.store.channel_rows import Channel
from cloud_core.store.engine import open_engine, sqlite_url
from cloud_core.store.hold_rows import due_checks
from cloud_core.store.key_file import MasterKeys
from cloud_core.store.loop_reads import begin_life
from cloud_core.store.migrate import migrate
from cloud_core.store.notify_rows import Ear, NoticeReads, TargetRegister
from cloud_core.store.secret_box import SecretBox
from cloud_core.worker import Pace
from protocols.errors import Corrupt, Rejected, Unavailable
from tests.simulation.broker import FakeBroker, Rights
from tests.simulation.clocks import CoreClock, SeededIds
from tests.simulation.links import SimLink
from tests.simulation.plan import START_WALL_MS, Plan
from tests.simulation.process import CrashPoint, Process, ProcessGone
from tests.simulation.scenery import RULES, master_values
from tests.simulation.shops import CHANNELS

RIGHTS = Rights(("v1/+/+/dn/#", "v1/core/st"), ("v1/+/+/up/#",))
PACE = Pace(
    sweep_s=900.0,
    parked_s=1800.0,
    purge_s=7200.0,
    ingest_s=900.0,
    resend_s=240.0,
    shop_call_s=900.0,
)
POLICY = Policy(
    reachable_s=9000,
    personal_hours=24,
    raw_hours=24,
    breaker=BreakerPolicy(behind_max_ms=9_000_000),
)
LEDGER = LedgerPace(expire_s=600.0, orphans_s=7200.0, check_s=60.0, rest_s=6 * 3600.0)
JUDGE_S = 1800.0
NOTICES_S = 1800.0
DESK_S = 900.0
_KEY = bytes(range(32))
KEYS = MasterKeys({"k1": _KEY}, "k1", _KEY)
BOX = SecretBox(KEYS.keys, KEYS.current)


class Shop:
    """The shops' side of the write-back: takes each call once, sometimes does not answer."""

    def __init__(self, rng: Random) -> None:
        self._rng = rng
        self.told: dict[str, int] = {}

    async def send(self, channel: str, kind: str, body: bytes, key: str) -> WriteBackAnswer:
        await asyncio.sleep(self._rng.uniform(0.05, 2.0))
        self.told[key] = self.told.get(key, 0) + 1
        if self._rng.random() < 0.05:
            return WriteBackAnswer(False, "no answer")
        return WriteBackAnswer(True, "ok")


class Head:
    """The people who are told of breakers; their robot does not always answer."""

    kind = "log"
    per_min = 20

    def __init__(self, rng: Random) -> None:
        self._rng = rng

    async def send(self, target: NotifyTarget, notice: Notification) -> NotifyAnswer:
        await asyncio.sleep(self._rng.uniform(0.05, 2.0))
        heard = self._rng.random() > 0.2
        return NotifyAnswer(heard, "ok" if heard else "no answer")


class Erp:
    """The system that some orders are asked of first: it says yes, slowly, or nothing at all."""

    def __init__(self, rng: Random) -> None:
        self._rng = rng

    async def ask(self, rule: str, body: bytes, idempotency_key: str) -> ExternalAnswer:
        await asyncio.sleep(self._rng.choice((0.2, 5.0, 4_000.0)))
        return ExternalAnswer("accept" if self._rng.random() > 0.3 else "")


class _Still:
    """The clock of the preparation: before the history begins."""

    def now_ms(self) -> int:
        return START_WALL_MS - 3_600_000


class CoreNode:
    """The machine the core runs on. `after_commit` is called by the world after each commit."""

    def __init__(self, folder: Path, plan: Plan, broker: FakeBroker) -> None:
        self.path = folder / "core.db"
        self.broker = broker
        self.clock = CoreClock(asyncio.get_running_loop())
        self.rng = Random(f"core-{plan.seed}")
        self.crash_point = CrashPoint(Random(f"core-crash-{plan.seed}"))
        self.shop = Shop(Random(f"write-back-{plan.seed}"))
        self.head = Head(Random(f"head-{plan.seed}"))
        self.erp = Erp(Random(f"erp-{plan.seed}"))
        self.policy = replace(
            POLICY, ship_within_h=plan.ship_within_h, offer_ttl_s=plan.offer_ttl_s
        )
        self.started_ms = 0
        self.after_commit: Callable[[], None] = lambda: None
        self.on_crash: Callable[[str], None] = lambda point: None
        self.commits = 0
        self.process: Process | None = None
        self._wired: Wired | None = None
        self._link: SimLink | None = None

    @property
    def up(self) -> bool:
        return self.process is not None and self.process.alive

    @property
    def wired(self) -> Wired:
        assert self._wired is not None
        return self._wired

    def prepare(self, plan: Plan) -> None:
        """A new database with the history's master data, by the product's own import."""
        migrate(open_engine(sqlite_url(self.path)))
        wired = self._wire(Process(), _Still())
        for kind, values in master_values(plan):
            done = self._submit(wired, ImportRows(kind, tuple(values), False, "simulation"))
            if done.problems:
                raise AssertionError(f"master data {kind} refused: {done.problems[0]}")
        for name, secret in CHANNELS.items():
            channel = Channel(ChannelConfig(name, "generic"), (secret,), name, "", True)
            wired.channels.add(channel, Audit(0, "simulation", "", "channel.added", name, ""))
        TargetRegister(wired.engine, BOX).add(
            NotifyTarget("head", "log"),
            Ear("head", (), ()),
            "",
            Audit(0, "simulation", "", "", "", ""),
        )
        if plan.rules:
            applied = self._submit(wired, ApplyRules(RULES, "simulation"))
            assert not applied.problems, applied.problems
        wired.engine.dispose()

    def start(self) -> None:
        """A new life on the same file."""
        process = self.process = Process()
        wired = self._wired = self._wire(process, self.clock)
        begin_life(wired.engine)
        process.spawn(wired.core.run())
        process.spawn(wired.watch.run())
        process.spawn(wired.judge())
        process.spawn(self._delivery(wired).run())
        process.spawn(self._desk(wired).run(DESK_S))
        self.started_ms = self.clock.now_ms()

    def _delivery(self, wired: Wired) -> Delivery:
        """The product's loop of notices, with the robot of the simulation at its end."""
        return Delivery(
            due=NoticeReads(wired.engine).due,
            target_of=TargetRegister(wired.engine, BOX).get,
            notifiers={"log": self.head},
            submit=wired.committer.submit,
            clock=self.clock,
            spread=self.rng.random,
            poll_s=NOTICES_S,
        )

    def _desk(self, wired: Wired) -> OutsideDesk:
        """The product's desk of outside checks, with the other system of the simulation."""
        return OutsideDesk(
            lambda *asked: due_checks(wired.engine, *asked), self.erp, wired.committer.submit,
            self.clock,
        )  # fmt: skip

    def crash(self) -> None:
        """Gone between two instructions; what was committed is there."""
        if self.process is None or not self.process.alive:
            return
        self.process.end()
        assert self._link is not None
        self._link.die()
        self.wired.engine.dispose()

    def submit(self, command: Any) -> Any:
        """A person's command on this machine."""
        return self._submit(self.wired, command)

    def _wire(self, process: Process, clock: core_ports.Clock) -> Wired:
        self._link = SimLink(self.broker, "core", RIGHTS, core_ports, self.rng)
        knobs = Knobs(
            self.policy,
            PACE,
            inline=True,
            ledger=LEDGER,
            judge_s=JUDGE_S,
            on_commit=self._committing(process),
            random_bytes=self.rng.randbytes,
        )
        ports = Ports(clock, SeededIds(self.rng), self._link, self.shop)
        return wire(open_engine(sqlite_url(self.path)), KEYS, ports, knobs)

    @staticmethod
    def _submit(wired: Wired, command: Any) -> Any:
        assert isinstance(wired.committer, InlineCommitter)
        return wired.committer.submit_now(command)

    async def hold_door(self, command: Any) -> Any:
        """The ledger's doors without HTTP; None when no answer comes. Raises `Rejected`."""
        await asyncio.sleep(self.rng.uniform(0.01, 0.3))
        return self.ask(command)

    def ask(self, command: Any) -> Any:
        """A person's or a shop's command; None when the core is not there or dies of it."""
        if not self.up:
            return None
        try:
            return self.submit(command)
        except (ProcessGone, Unavailable):
            return None

    # --- the shops' door ----------------------------------------------------------------------

    async def door(self, channel: str, headers: dict[str, str], raw: bytes) -> int:
        """The status a shop gets; what `api.intake.push_events` does."""
        if not self.up:
            return 503
        try:
            return self._take(channel, headers, raw)
        except (ProcessGone, Unavailable):
            return 503
        except (Rejected, Corrupt) as error:
            return 401 if "signature" in error.code or "timestamp" in error.code else 422

    def _take(self, channel: str, headers: dict[str, str], raw: bytes) -> int:
        wired, now_ms = self.wired, self.clock.now_ms()
        found = wired.channels.get(channel)
        dialect = wired.ingest.languages.dialect(found.config)
        dialect.verify(headers, raw, found.secrets, found.config, now_ms // 1000)
        parsed = wired.ingest.languages.parse("event", raw, "", found.config, now_ms)
        stored = self.submit(wired.ingest.stored(channel, "event", raw))
        if not stored.duplicate:
            wired.ingest.keep(stored.raw_id, parsed)
            wired.core.message_stored()
        return 202 if parsed.events else 422

    # --- commits ------------------------------------------------------------------------------

    def _committing(self, process: Process) -> Callable[[str], None]:
        def on_commit(point: str) -> None:
            process.check()
            if point == "after_commit":
                self.commits += 1
                self.after_commit()
            if self.crash_point.now(point):
                self.on_crash(point)
                self.crash()
                raise ProcessGone

        return on_commit

    # --- backups ------------------------------------------------------------------------------

    def backup(self, path: Path) -> None:
        backup.backup(self.wired.engine, path)

    def restore(self, path: Path) -> None:
        """Replace the database by a backup; the product begins a new life of the core."""
        assert not self.up
        backup.restore(path, self.path, self.clock.now_ms() // 1000)
