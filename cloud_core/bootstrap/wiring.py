"""Puts a core together over given ports; tests and the simulation call it too. Starts nothing."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from functools import cache, partial
from typing import Any

from sqlalchemy import Engine

from cloud_core.api.doors import Console, Doors, Limits
from cloud_core.api.ledger import Ledger, StockFeed
from cloud_core.bootstrap.chance import make_secret
from cloud_core.carriers.pool import PoolCarrier
from cloud_core.channels.douyin import DouyinDialect
from cloud_core.channels.external_check import CheckTarget, HttpExternalCheck, target_among
from cloud_core.channels.generic import GenericDialect
from cloud_core.channels.spreadsheet import mappable_fields, read_order_file, read_sheet
from cloud_core.committer import CommitCore, Committer, Flow, InlineCommitter
from cloud_core.domain.address import AddressMatcher
from cloud_core.domain.master import Master
from cloud_core.domain.policy import Policy
from cloud_core.flows.connect_shop import ShopDoor
from cloud_core.flows.conserve import Conservator
from cloud_core.flows.deliver import Delivery, judge_forever
from cloud_core.flows.import_master import MasterDoor
from cloud_core.flows.ingest import Ingest, Languages
from cloud_core.flows.ledger_watch import LedgerPace, LedgerWatch
from cloud_core.flows.notify_door import NotifyDoor
from cloud_core.flows.outside_desk import OutsideDesk
from cloud_core.flows.registry import FOLDS
from cloud_core.notifiers import HttpxPost, notifiers_of
from cloud_core.pages import console, tracking
from cloud_core.ports import (
    Carrier,
    ChannelConfig,
    Clock,
    Ids,
    Link,
    Notifier,
    Share,
    WriteBack,
)
from cloud_core.store.access import KeyRegister
from cloud_core.store.after_views import AfterViews
from cloud_core.store.breaker_rows import BreakerReads
from cloud_core.store.channel_rows import ChannelRegister
from cloud_core.store.console_details import ConsoleDetails
from cloud_core.store.console_sessions import SessionRegister
from cloud_core.store.console_views import ConsoleViews
from cloud_core.store.divisions import load_divisions, load_names
from cloud_core.store.hold_rows import due_checks
from cloud_core.store.key_file import MasterKeys
from cloud_core.store.loop_reads import LoopReads, begin_life
from cloud_core.store.notify_rows import NoticeReads, TargetRegister
from cloud_core.store.sealing import Sealer
from cloud_core.store.secret_box import SecretBox
from cloud_core.store.stock_check import StockCheck
from cloud_core.store.stock_views import StockViews
from cloud_core.store.views import Views
from cloud_core.worker import Core, Pace, Reads
from protocols.errors import PacklineError


@dataclass(frozen=True, slots=True)
class Ports:
    """What tests and the simulation replace."""

    clock: Clock
    ids: Ids
    link: Link
    write_back: WriteBack


@dataclass(frozen=True, slots=True)
class Knobs:
    """Values behind the settings, and hooks of the simulation."""

    policy: Policy = field(default_factory=Policy)
    pace: Pace = field(default_factory=Pace)
    limits: Limits = field(default_factory=Limits)
    inline: bool = False
    """Commit in the caller's thread: simulation, command line, most tests."""
    on_commit: Callable[[str], None] | None = None
    database_clock: bool = False
    """Commits take their time from PostgreSQL: several processes have one clock (P9)."""
    share: Callable[[Engine], Share] | None = None
    """Where several processes serve one database: which sites are this one's."""
    ledger: LedgerPace = field(default_factory=LedgerPace)
    judge_s: float = 10.0
    """Between two looks at all breakers."""
    systems: Mapping[str, CheckTarget] = field(default_factory=dict)
    """What rules may ask first, by name."""
    outside_timeout_s: float = 5.0
    random_bytes: Callable[[int], bytes] = secrets.token_bytes
    """Nonces of sealed values; seeded in the simulation, so that a seed repeats byte by byte."""


@dataclass(frozen=True, slots=True)
class Wired:
    """A core, put together and not yet running."""

    engine: Engine
    ports: Ports
    commit_core: CommitCore
    committer: Committer | InlineCommitter
    core: Core
    doors: Doors
    views: Views
    keys: KeyRegister
    channels: ChannelRegister
    ingest: Ingest
    master: MasterDoor
    shops: ShopDoor
    reads: LoopReads
    watch: LedgerWatch
    """Beside `core`: ends holds whose time is over, checks stock against its movements."""
    delivery: Delivery
    """Beside `core`: carries queued notices to robots and hooks."""
    post: HttpxPost
    desk: OutsideDesk
    """Beside `core`: asks other systems about paid orders."""
    asking: HttpExternalCheck
    judge: Callable[[], Coroutine[Any, Any, None]]
    """Beside `core`: has the breakers judged, for ever."""


def wire(engine: Engine, keys: MasterKeys, ports: Ports, knobs: Knobs | None = None) -> Wired:
    """Put a core together over a migrated database; nothing is started."""
    knobs = knobs or Knobs()
    box = SecretBox(keys.keys, keys.current, knobs.random_bytes)
    channels = ChannelRegister(engine, box)
    languages = _languages()
    sealer = Sealer(keys.keys, keys.current, keys.lookup, knobs.random_bytes)
    config_of = _config_reader(channels)
    ingest = Ingest(languages, config_of, sealer, box, ports.ids, ports.clock)
    folds = {kind: Flow(fold, prefetch) for kind, (fold, prefetch) in FOLDS.items()}
    commit_core = CommitCore(
        engine, folds, ports.clock, knobs.policy, carriers_of, ports.ids.track_token,
        knobs.on_commit, database_clock=knobs.database_clock,
    )  # fmt: skip
    running: list[Core] = []
    committer = (InlineCommitter if knobs.inline else Committer)(
        commit_core, lambda done: running[0].on_done(done)
    )
    reads = LoopReads(engine)
    core = Core(
        link=ports.link,
        committer=committer,
        reads=Reads(
            reads.core_state,
            reads.open_messages,
            reads.due_calls,
            partial(reads.desired_config, personal_hours=knobs.policy.personal_hours),
            reads.unconfirmed,
            reads.unsent,
            partial(begin_life, engine),
        ),
        prepare=ingest.prepare,
        write_back=ports.write_back,
        clock=ports.clock,
        pace=knobs.pace,
        share=knobs.share(engine) if knobs.share is not None else None,
    )
    running.append(core)
    views, register = Views(engine), KeyRegister(engine)
    targets, notices, post = TargetRegister(engine, box), NoticeReads(engine), HttpxPost()
    notifiers = notifiers_of(post, ports.clock)
    delivery = _delivery(core, committer, ports, notifiers, targets, notices)
    asking, desk = _desk(engine, core, committer, ports, knobs)
    master = MasterDoor(read_sheet, committer.submit)
    shops = ShopDoor(channels, dialect_names(), mappable_fields(), make_secret, ports.clock)
    doors = Doors(
        views=views,
        keys=register,
        channels=channels,
        ingest=ingest,
        master=master,
        shops=shops,
        submit=committer.submit,
        pages=tracking,
        console=_console(engine, sealer),
        ledger=_ledger(engine, ports, knobs.policy),
        breakers=BreakerReads(engine),
        after=AfterViews(engine),
        notify=NotifyDoor(targets, notices, notifiers, ports.clock),
        clock=ports.clock,
        limits=knobs.limits,
        on_raw=core.message_stored,
        health=lambda: _health(views, committer),
    )
    return Wired(
        engine, ports, commit_core, committer, core, doors, views, register, channels, ingest,
        master, shops, reads, _watch(core, committer, doors, ports, knobs),
        delivery, post, desk, asking,
        partial(judge_forever, committer.submit, knobs.judge_s, lambda: core.serves("!sweep")),
    )  # fmt: skip


def _delivery(
    core: Core, committer: Committer | InlineCommitter, ports: Ports,
    notifiers: Mapping[str, Notifier], targets: TargetRegister, notices: NoticeReads,
) -> Delivery:  # fmt: skip
    return Delivery(
        due=lambda *asked: notices.due(*asked) if core.serves("!notices") else [],
        target_of=targets.get, notifiers=notifiers, submit=committer.submit,
        clock=ports.clock, spread=secrets.SystemRandom().random,
    )  # fmt: skip


def _desk(
    engine: Engine, core: Core, committer: Committer | InlineCommitter, ports: Ports, knobs: Knobs
) -> tuple[HttpExternalCheck, OutsideDesk]:
    asking = HttpExternalCheck(
        target_among(knobs.systems), ports.clock, timeout_s=knobs.outside_timeout_s
    )
    desk = OutsideDesk(
        lambda *asked: due_checks(engine, *asked) if core.serves("!calls") else [],
        asking, committer.submit, ports.clock,
    )  # fmt: skip
    return asking, desk


def _watch(
    core: Core, committer: Committer | InlineCommitter, doors: Doors, ports: Ports, knobs: Knobs
) -> LedgerWatch:
    return LedgerWatch(
        committer.submit, doors.ledger.conservator, ports.clock, knobs.ledger,
        lambda: core.serves("!ledger"),
    )  # fmt: skip


def _ledger(engine: Engine, ports: Ports, policy: Policy) -> Ledger:
    stock = StockViews(engine)
    return Ledger(
        stock,
        StockFeed(stock, ports.clock),
        lambda: "H" + ports.ids.command_id(ports.clock.now_ms()),
        Conservator(StockCheck(engine)),
        policy.hold_ttl_max_s,
    )


def _console(engine: Engine, sealer: Sealer) -> Console:
    return Console(
        lists=ConsoleViews(engine),
        details=ConsoleDetails(engine),
        sessions=SessionRegister(engine),
        pages=console,
        new_name=make_secret,
        phone_hash=sealer.phone_hash,
        last_digits_hash=sealer.last_digits_hash,
    )


def carriers_of(master: Master) -> Callable[[str], Carrier]:
    """The carrier behind an id of the master data; numbers of all come from imported pools."""
    known = {info.id: PoolCarrier(info.pattern) for info in master.carriers.values()}
    anything = PoolCarrier()
    return lambda carrier: known.get(carrier, anything)


@cache
def _languages() -> Languages:
    """Dialects and the address index hold no state, so every core of a process shares them."""
    load_names()  # routing rules need them, and no commit should wait for that
    dialects = {d.name: d for d in (GenericDialect(), DouyinDialect())}
    return Languages(dialects, read_order_file, AddressMatcher(load_divisions()).match)


def _config_reader(channels: ChannelRegister) -> Callable[[str], ChannelConfig]:
    return lambda name: channels.get(name).config


def _health(views: Views, committer: Committer | InlineCommitter) -> dict[str, str]:
    checks = {"database": "ok", "write_queue": "ok"}
    try:
        views.ping()
    except PacklineError as error:
        checks["database"] = error.code
    if isinstance(committer, Committer) and not committer.alive:
        checks["write_queue"] = "stopped"
    return checks


def dialect_names() -> frozenset[str]:
    """The shop dialects of this installation."""
    return frozenset(_languages().dialects)
