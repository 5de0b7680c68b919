"""Wires the core: the only module that names concrete classes, reads clocks and makes ids.

`wire` puts a core together over given ports and is what tests and the simulation call; `build` does
the same from settings with the real ports; `serve` runs it: HTTP, the line and the loops in one
event loop, the write queue in its thread.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import secrets
import socket
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta, timezone
from functools import cache, partial
from time import monotonic

from sqlalchemy import Engine

from cloud_core import logs
from cloud_core.api.doors import Console, Doors, Limits
from cloud_core.api.ledger import Ledger, StockFeed
from cloud_core.carriers.pool import PoolCarrier
from cloud_core.channels.douyin import DouyinDialect
from cloud_core.channels.generic import GenericDialect
from cloud_core.channels.spreadsheet import mappable_fields, read_order_file, read_sheet
from cloud_core.channels.write_back import HttpWriteBack, Target
from cloud_core.committer import CommitCore, Committer, Flow, InlineCommitter
from cloud_core.domain.address import AddressMatcher
from cloud_core.domain.broker_access import CORE_USER
from cloud_core.domain.master import Master
from cloud_core.domain.policy import Policy
from cloud_core.flows.connect_shop import ShopDoor
from cloud_core.flows.conserve import Conservator
from cloud_core.flows.deliver import Delivery
from cloud_core.flows.import_master import MasterDoor
from cloud_core.flows.ingest import Ingest, Languages
from cloud_core.flows.ledger_watch import LedgerPace, LedgerWatch
from cloud_core.flows.notify_door import NotifyDoor
from cloud_core.flows.registry import FOLDS
from cloud_core.link import LinkConfig, NoLink, PahoLink, read_password
from cloud_core.notifiers import HttpxPost, notifiers_of
from cloud_core.pages import console, tracking
from cloud_core.ports import (
    Carrier,
    ChannelConfig,
    Clock,
    Ids,
    Link,
    Share,
    WriteBack,
)
from cloud_core.settings import Settings
from cloud_core.store import key_file
from cloud_core.store.access import KeyRegister
from cloud_core.store.breaker_rows import BreakerReads
from cloud_core.store.channel_rows import ChannelRegister
from cloud_core.store.console_details import ConsoleDetails
from cloud_core.store.console_sessions import SessionRegister
from cloud_core.store.console_views import ConsoleViews
from cloud_core.store.divisions import load_divisions, load_names
from cloud_core.store.engine import ServeLock, open_engine, sqlite_path
from cloud_core.store.key_file import MasterKeys
from cloud_core.store.leases import Leases
from cloud_core.store.loop_reads import LoopReads, begin_life
from cloud_core.store.migrate import migrate
from cloud_core.store.notify_rows import NoticeReads, TargetRegister
from cloud_core.store.sealing import Sealer
from cloud_core.store.secret_box import SecretBox
from cloud_core.store.stock_check import StockCheck
from cloud_core.store.stock_views import StockViews
from cloud_core.store.views import Views
from cloud_core.worker import Core, Pace, Reads
from protocols.errors import PacklineError

CHINA = timezone(timedelta(hours=8))
COLLECT_AFTER = 50_000
"""New container objects before Python looks for cycles. A commit holds several hundred thousand
live rows and no cycles; looking every 700 objects took a quarter of its time."""
_BASE32 = "23456789ABCDEFGHJKLMNPQRSTUVWXYZ"  # without 0 1 I O, which people mix up
_CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_log = logs.get("bootstrap")


class SystemClock:
    """The system's clock."""

    def now_ms(self) -> int:
        """Milliseconds since 1970 UTC."""
        return time.time_ns() // 1_000_000


class RandomIds:
    """Names from the system's random source."""

    def __init__(self, prefix: str = "DB") -> None:
        self._prefix = prefix

    def order_id(self, now_ms: int) -> str:
        """Prefix, year in China, eight base-32 characters (40 bits)."""
        year = datetime.fromtimestamp(now_ms / 1000, UTC).astimezone(CHINA).year
        return f"{self._prefix}{year}{_digits(secrets.randbits(40), 8, _BASE32)}"

    def track_token(self) -> str:
        """22 URL-safe characters, 128 bits."""
        return secrets.token_urlsafe(16)

    def command_id(self, now_ms: int) -> str:
        """A ULID."""
        return _digits((now_ms << 80) | secrets.randbits(80), 26, _CROCKFORD)


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
    delivery = Delivery(
        due=lambda *asked: notices.due(*asked) if core.serves("!notices") else [],
        target_of=targets.get, notifiers=notifiers, submit=committer.submit,
        clock=ports.clock, spread=secrets.SystemRandom().random,
    )  # fmt: skip
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
        notify=NotifyDoor(targets, notices, notifiers, ports.clock),
        clock=ports.clock,
        limits=knobs.limits,
        on_raw=core.message_stored,
        health=lambda: _health(views, committer),
    )
    return Wired(
        engine, ports, commit_core, committer, core, doors, views, register, channels, ingest,
        master, shops, reads, _watch(committer, doors, ports, knobs),
        delivery, post,
    )  # fmt: skip


def _watch(
    committer: Committer | InlineCommitter, doors: Doors, ports: Ports, knobs: Knobs
) -> LedgerWatch:
    return LedgerWatch(committer.submit, doors.ledger.conservator, ports.clock, knobs.ledger)


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
    )


def carriers_of(master: Master) -> Callable[[str], Carrier]:
    """The carrier behind an id of the master data; numbers of all come from imported pools."""
    known = {info.id: PoolCarrier(info.pattern) for info in master.carriers.values()}
    anything = PoolCarrier()
    return lambda carrier: known.get(carrier, anything)


def open_store(settings: Settings) -> Engine:
    """The database of the settings, at the newest schema."""
    file = sqlite_path(settings.database)
    if file is not None:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    engine = open_engine(settings.database)
    migrate(engine)
    if file is not None:
        file.chmod(0o600)
    return engine


def build(settings: Settings, *, inline: bool = False) -> Wired:
    """A core from settings, with the real clock, ids, line and write-back.

    Raises `Unavailable` when the master key or a password file cannot be read.
    """
    keys = key_file.load(settings.master_key_path)
    engine = open_store(settings)
    clock = SystemClock()
    channels = ChannelRegister(engine, SecretBox(keys.keys, keys.current))

    def target_of(channel: str) -> Target:
        found = channels.get(channel)
        return Target(found.write_back_url, found.secrets)

    write_back = HttpWriteBack(
        target_of, clock, timeout_s=settings.write_back_timeout_s, tries=settings.write_back_tries
    )
    link = PahoLink(link_config(settings)) if settings.mqtt_enabled and not inline else NoLink()
    ports = Ports(clock, RandomIds(settings.order_id_prefix), link, write_back)
    knobs = _knobs(settings, inline=inline)
    if engine.dialect.name == "postgresql":
        shared = None if inline else partial(Leases, holder=process_name(), monotonic=monotonic)
        knobs = replace(knobs, database_clock=True, share=shared)
    return wire(engine, keys, ports, knobs)


def process_name() -> str:
    """What this process is called among those of one database: host, process id, some chance."""
    return f"{socket.gethostname()[:30]}-{os.getpid()}-{secrets.token_hex(4)}"


@contextlib.asynccontextmanager
async def running(
    wired: Wired, on_failure: Callable[[], None] | None = None
) -> AsyncIterator[asyncio.Task[None]]:
    """Start the write queue and the loops, end them in the right order afterwards."""
    if isinstance(wired.committer, Committer):
        wired.committer.start()
    task = asyncio.create_task(wired.core.run(), name="core")
    beside = [asyncio.create_task(b.run()) for b in (wired.watch, wired.delivery)]
    if on_failure is not None:
        task.add_done_callback(lambda _task: on_failure())
    try:
        yield task
    finally:
        task.cancel()
        for other in beside:
            other.cancel()
        ended = await asyncio.gather(task, *beside, return_exceptions=True)
        await wired.post.close()
        if isinstance(wired.committer, Committer):
            await asyncio.to_thread(wired.committer.stop)
        if isinstance(wired.ports.write_back, HttpWriteBack):
            await wired.ports.write_back.close()
        wired.engine.dispose()
        _report_end(ended[0])


async def serve(settings: Settings, ready: Callable[[str], None] | None = None) -> None:
    """Run until a signal or a failed loop. `ready` gets the HTTP address once it listens.

    Raises `Unavailable("already_serving")` when another process serves the same SQLite file.
    """
    # Imported here: the command line's short verbs must not wait for the HTTP framework.
    import uvicorn

    from cloud_core.api.app import create_app

    file = sqlite_path(settings.database)
    lock = ServeLock(file) if file is not None else None
    if lock is not None:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True) if file else None
        lock.acquire()
    try:
        wired = build(settings)
        calm_collector()
        if file is not None:  # beside others a life begins with each share of theirs we take over
            begin_life(wired.engine)
        listener = _listen(settings)
        config = uvicorn.Config(
            create_app(wired.doors), log_config=None, access_log=False, lifespan="off",
            proxy_headers=False,  # which proxies may name a caller is our setting, not uvicorn's
            server_header=False, timeout_graceful_shutdown=5, h11_max_incomplete_event_size=65_536,
        )  # fmt: skip
        server = uvicorn.Server(config)

        def give_up() -> None:
            server.should_exit = True

        async with running(wired, give_up):
            host, port = listener.getsockname()[:2]
            _log.info("core.started", host=host, port=port, database=wired.engine.url.database)
            if ready is not None:
                ready(f"http://{host}:{port}")
            await server.serve(sockets=[listener])
    finally:
        if lock is not None:
            lock.release()


def calm_collector() -> None:
    """Set Python's cycle collector up for a long-running process with large commits."""
    gc.collect()
    gc.freeze()  # what the start has loaded stays; it need not be walked again
    gc.set_threshold(COLLECT_AFTER, 20, 100)


def make_secret() -> str:
    """A signing secret or credential: 43 URL-safe characters, 256 bits."""
    return secrets.token_urlsafe(32)


def make_key_id() -> str:
    """A short public name of an API key."""
    return "k" + _digits(secrets.randbits(30), 6, _BASE32).lower()


def _report_end(outcome: BaseException | None) -> None:
    if outcome is not None and not isinstance(outcome, asyncio.CancelledError):
        _log.error("core.failed", error=repr(outcome)[:500], exc_info=outcome)
        raise outcome


def _listen(settings: Settings) -> socket.socket:
    listener = socket.create_server((settings.http_host, settings.http_port), backlog=512)
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


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


def link_config(settings: Settings) -> LinkConfig:
    """Where the broker is and who we are there. Raises `Unavailable` without the password file."""
    return LinkConfig(
        settings.mqtt_host, settings.mqtt_port, settings.mqtt_username or CORE_USER,
        settings.mqtt_username, read_password(settings.mqtt_password_path),
        settings.mqtt_keepalive_s,
        settings.mqtt_tls_ca_file, settings.mqtt_tls_cert_file, settings.mqtt_tls_key_file,
    )  # fmt: skip


def _knobs(settings: Settings, *, inline: bool) -> Knobs:
    policy = Policy(
        offer_ttl_s=settings.offer_ttl_s,
        ship_within_h=settings.ship_within_h,
        personal_hours=settings.personal_hours,
        track_days=settings.track_days,
        raw_hours=settings.raw_hours,
        raw_kept_max=settings.raw_kept_max,
        quarantine_days=settings.quarantine_days,
        quarantine_kept_max=settings.quarantine_kept_max,
        track_base_url=settings.public_url,
    )
    proxies = frozenset(p.strip() for p in settings.trusted_proxies.split(",") if p.strip())
    limits = Limits(
        event_body_max_bytes=settings.event_body_max_bytes,
        file_body_max_bytes=settings.file_body_max_bytes,
        channel_per_min=settings.channel_rate_per_min,
        api_per_min=settings.api_rate_per_min,
        anonymous_per_min=settings.anonymous_rate_per_min,
        public_url=settings.public_url,
        trusted_proxies=proxies,
    )
    pace = Pace(
        sweep_s=settings.sweep_s, parked_s=settings.sweep_parked_s, purge_s=settings.sweep_purge_s,
        sweep_rows=settings.sweep_rows,
    )  # fmt: skip
    return Knobs(policy=policy, pace=pace, limits=limits, inline=inline)


def _digits(number: int, length: int, alphabet: str) -> str:
    found = []
    for _ in range(length):
        number, rest = divmod(number, 32)
        found.append(alphabet[rest])
    return "".join(reversed(found))
