"""Wires the agent: the one place that names concrete clocks, files, brokers, printers, scanners.

`serve` runs the whole program until a signal. Nothing here decides anything about orders.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import functools
import importlib
import importlib.resources
import logging
import os
import random
import secrets
import signal
import socket
import sqlite3
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from edge_agent import doctor, labels
from edge_agent.agent import Agent
from edge_agent.agent.parts import Ports
from edge_agent.domain.floor_plan import FloorPlan
from edge_agent.domain.moment import Now
from edge_agent.domain.printer_status import StatusProbe
from edge_agent.domain.scan import ScanEvent, ScanRefused
from edge_agent.domain.scan_framing import FramingRules
from edge_agent.journal import salvage
from edge_agent.journal.core import JournalCore
from edge_agent.journal.writer import ThreadJournal
from edge_agent.link import BrokerAddress, MqttLink
from edge_agent.ports import Connection, LabelMaker, Printer
from edge_agent.printers import tspl
from edge_agent.printers.profile import PrinterProfile, read_profile
from edge_agent.printers.tcp import TcpPrinter, TcpTimes
from edge_agent.scanners.serial import SerialPort, SerialScanner
from edge_agent.settings import PrinterSetting, ScannerSetting, Settings
from protocols.errors import Unavailable
from protocols.topics import STREAMS

if TYPE_CHECKING:
    import uvicorn

log = logging.getLogger(__name__)

VERSION = "0.1.0"
CHECKED_BYTES_MAX = 64 * 1024 * 1024
"""Journals up to this size are checked whole at each start; a larger one would delay the shift."""
SUSPECT = "journal.suspect"
"""File beside the journals: the last run met broken content, so both are checked whole."""
_BROKEN = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_IOERR)
"""What SQLite says of broken content; a lock, a missing right or a full disk say nothing of it."""
PROBES: dict[str, StatusProbe | None] = {
    "byte": tspl.PROBE_BYTE,
    "full": tspl.PROBE_FULL,
    "none": None,
}


class SystemClock:
    """The kernel's clocks."""

    def now(self) -> Now:
        """See `ports.Clock.now`."""
        return Now(
            time.time_ns() // 1_000_000, time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000
        )


class SystemIds:
    """Real randomness."""

    def __init__(self) -> None:
        self._spread = random.SystemRandom()

    def epoch(self) -> str:
        """See `ports.Ids.epoch`."""
        return secrets.token_hex(8)

    def jitter(self) -> float:
        """See `ports.Ids.jitter`."""
        return self._spread.random()


def plan_of(settings: Settings) -> FloorPlan:
    """The agent's place in the warehouse, from the settings."""
    return FloorPlan(
        site=settings.site,
        agent=settings.agent,
        warehouse_name=settings.warehouse_name,
        stations={station.id: station.printer for station in settings.stations},
        printers=tuple(printer.name for printer in settings.printers),
        version=VERSION,
        print_ttl_s=settings.print_ttl_s,
        repeat_ms=settings.repeat_ms,
        retain_days=settings.retain_days,
        retain_bytes=settings.retain_bytes,
        personal_hours=settings.personal_hours,
        telemetry_rows_max=settings.telemetry_rows_max,
        zone_minutes=settings.zone_minutes,
    )


def journal_path(settings: Settings, stream: str) -> Path:
    """The file of one stream."""
    return settings.data_path / f"{stream}.db"


def connector(path: Path) -> Callable[[], Connection]:
    """How connections to one file are made: autocommit, usable from the writer's thread."""
    return lambda: sqlite3.connect(
        path, isolation_level=None, check_same_thread=False, cached_statements=256
    )


def open_core(settings: Settings, stream: str, now: Now) -> JournalCore:
    """Open a stream's file. A broken one is put aside under a new name, never written over.

    Raises `Unavailable("journal_unusable")` when the file cannot be opened or written at all.
    """
    path = journal_path(settings, stream)
    core = JournalCore(
        connector(path), settings.agent, stream, SystemIds().epoch, settings.quota_bytes
    )
    reason, saved = "first", salvage.Salvaged()
    if path.exists() and not is_whole(path):
        aside = path.with_name(f"{path.name}.broken-{now.wall_ms}")
        for suffix in ("", "-wal", "-shm"):
            part = path.with_name(path.name + suffix)
            if part.exists():
                part.rename(aside.with_name(aside.name + suffix))
        saved = salvage.read(aside, settings.agent, stream)
        log.error("journal.put_aside path=%s rows_saved=%d", aside, len(saved.events))
        reason = "salvaged"
    try:
        core.open(now, reason)
    except sqlite3.Error as error:
        raise _unusable(path, error) from error
    if saved.events or saved.gaps:
        ((_, failed),) = core.commit([(functools.partial(salvage.carry_over, salvaged=saved), now)])
        if failed is not None:
            raise failed
    return core


def is_whole(path: Path) -> bool:
    """Whether SQLite finds the file in order (`PRAGMA quick_check`).

    Raises `Unavailable("journal_unusable")` for a file that cannot be looked at: it may be whole,
    and putting it aside would put its unsent rows aside.
    """
    try:
        with contextlib.closing(sqlite3.connect(path, timeout=1)) as db:
            if path.stat().st_size > CHECKED_BYTES_MAX and not path.with_name(SUSPECT).exists():
                return db.execute("SELECT COUNT(*) FROM epoch").fetchone() is not None
            return bool(db.execute("PRAGMA quick_check").fetchone()[0] == "ok")
    except sqlite3.DatabaseError as error:
        if _is_broken(error):
            return False
        raise _unusable(path, error) from error


def _is_broken(error: BaseException) -> bool:
    """Whether this says that a file's content is broken."""
    if isinstance(error, BaseExceptionGroup):
        return any(_is_broken(one) for one in error.exceptions)
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in _BROKEN


def _unusable(path: Path, error: sqlite3.Error) -> Unavailable:
    return Unavailable(
        "journal_unusable", f"打不开日志文件 {path}：{error}", f"cannot open {path}: {error}",
        field="data_dir",
    )  # fmt: skip


def broker_of(settings: Settings) -> BrokerAddress:
    """Where the broker is. Raises `Unavailable("password_file")` when its file cannot be read."""
    password = ""
    if settings.mqtt_password_file:
        try:
            password = Path(settings.mqtt_password_file).read_text(encoding="utf-8").strip()
        except OSError as error:
            raise Unavailable(
                "password_file", f"读不了密码文件：{error}", str(error), field="mqtt_password_file"
            ) from error
    return BrokerAddress(
        host=settings.mqtt_host,
        port=settings.mqtt_port,
        client_id=settings.agent,
        username=settings.mqtt_username or settings.agent,
        password=password,
        ca_file=settings.mqtt_tls_ca_file,
        cert_file=settings.mqtt_tls_cert_file,
        key_file=settings.mqtt_tls_key_file,
        mqtt5=settings.mqtt_version == "5",
        keepalive_s=settings.mqtt_keepalive_s,
    )


def profile_of(printer: PrinterSetting) -> PrinterProfile:
    """The printer's profile: a name of `firmware_configs/printers` or a path to a file."""
    return read_profile(_data_file("printers", printer.profile))


def printer_of(setting: PrinterSetting) -> Printer:
    """The transport to one printer."""
    profile = profile_of(setting)
    times = TcpTimes(
        connect_s=profile.connect_s,
        stall_s=profile.stall_s,
        answer_s=profile.answer_s,
        finish_s=profile.finish_s,
        settle_s=profile.settle_s,
    )
    return TcpPrinter(setting.host, setting.port or profile.port, PROBES[profile.status], times)


def press_of(setting: PrinterSetting, renderer: labels.Renderer) -> labels.LabelPress:
    """What draws and frames one printer's labels."""
    profile = profile_of(setting)
    template = labels.read_template(_data_file("labels", setting.template))
    framing = functools.partial(tspl.frame, gap_mm=profile.gap_mm)
    return labels.LabelPress(renderer, template, framing, profile.dpi)


def test_print(setting: PrinterSetting) -> tuple[Printer, bytes]:
    """A printer and a label that says nothing about anybody."""
    press = press_of(setting, labels.load())
    return printer_of(setting), press.framed(labels.SAMPLE, "TEST")


async def serve(settings: Settings) -> None:
    """Run the agent until SIGINT or SIGTERM. Raises `Unavailable("already_running")`."""
    with _alone(settings.data_path):
        try:
            await _serve(settings)
        except Exception as error:
            if _is_broken(error):
                settings.data_path.joinpath(SUSPECT).touch()
            raise


async def _serve(settings: Settings) -> None:
    loop = asyncio.get_running_loop()
    clock = SystemClock()
    address = broker_of(settings)
    cores = {stream: open_core(settings, stream, clock.now()) for stream in STREAMS}
    settings.data_path.joinpath(SUSPECT).unlink(missing_ok=True)
    journals = {
        stream: ThreadJournal(core, connector(journal_path(settings, stream)), clock)
        for stream, core in cores.items()
    }
    for journal in journals.values():
        journal.start(loop)
    renderer = labels.load()
    presses = {printer.name: press_of(printer, renderer) for printer in settings.printers}
    makers: Mapping[str, LabelMaker] = dict(presses)
    with ThreadPoolExecutor(1, thread_name_prefix="labels") as drawer:

        def run_blocking(work: Callable[[], bytes]) -> Awaitable[bytes]:
            return loop.run_in_executor(drawer, work)

        ports = Ports(
            clock=clock,
            ids=SystemIds(),
            link=MqttLink(address),
            journals=journals,
            printers={printer.name: printer_of(printer) for printer in settings.printers},
            makers=makers,
            run_blocking=run_blocking,
            boot_id=_boot_id(),
        )
        agent = Agent(plan_of(settings), ports)
        for name in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(name, agent.stop)
        for press in presses.values():
            drawer.submit(press.warm)
        try:
            await _run_all(settings, agent)
        finally:
            for journal in journals.values():
                await journal.stop()


async def _run_all(settings: Settings, agent: Agent) -> None:
    """The agent with its scanners and its page; whatever fails ends all of it."""
    scanners = [_scanner(one, agent) for one in settings.scanners]
    async with asyncio.TaskGroup() as group:
        running = group.create_task(agent.run())
        await _ready_or_over(agent, running)
        for scanner in scanners:
            scanner.start()
        page = group.create_task(_show_page(settings, agent)) if settings.page_enabled else None
        _tell_service_manager("READY=1")
        beat = group.create_task(_beat())
        try:
            await asyncio.wait({running})
        finally:
            for scanner in scanners:
                await asyncio.to_thread(scanner.stop)
            beat.cancel()
            if page is not None:
                page.cancel()


async def _ready_or_over(agent: Agent, running: asyncio.Task[None]) -> None:
    ready = asyncio.create_task(agent.ready.wait())
    await asyncio.wait({ready, running}, return_when=asyncio.FIRST_COMPLETED)
    ready.cancel()


def _scanner(setting: ScannerSetting, agent: Agent) -> SerialScanner:
    loop = asyncio.get_running_loop()

    def begin(work: Coroutine[Any, Any, Any]) -> None:
        if agent.ready.is_set():
            agent.live.later(work)  # a fault of ours ends the agent instead of a silent scan
        else:
            work.close()  # the agent has left: no tone, no scan

    def scanned(event: ScanEvent) -> None:
        begin(agent.scan(setting.station, event.code, event.source))

    def refused(event: ScanRefused) -> None:
        begin(agent.refuse_scan(setting.station, event.reason, event.source))

    return SerialScanner(
        SerialPort(setting.path, setting.baud),
        setting.source,
        on_scan=lambda event: _enqueue(loop, scanned, event),
        on_refused=lambda event: _enqueue(loop, refused, event),
        clock_ms=lambda: SystemClock().now().mono_ms,
        rules=FramingRules(setting.suffix, setting.prefix),
    )


def _enqueue(loop: asyncio.AbstractEventLoop, call: Callable[[Any], None], event: Any) -> None:
    with contextlib.suppress(RuntimeError):  # the loop is closed: the program ends
        loop.call_soon_threadsafe(call, event)


async def _show_page(settings: Settings, agent: Agent) -> None:
    """Serve the status page; its failure (a port taken) is logged and the floor goes on."""
    # Importing the web server takes longer than a packer waits for a tone: not on the loop.
    await asyncio.to_thread(importlib.import_module, "edge_agent.pages")
    await asyncio.to_thread(importlib.import_module, "uvicorn")
    import uvicorn

    from edge_agent import pages

    app = pages.build(agent, settings.page_names, settings.zone_minutes)
    config = uvicorn.Config(
        app, host=settings.page_host, port=settings.page_port, log_config=None, lifespan="off",
        loop="none", ws="none", access_log=False, server_header=False, limit_concurrency=64,
        timeout_keep_alive=5, timeout_graceful_shutdown=1,
    )  # fmt: skip
    server = _quiet_server(config)
    try:
        await server.serve()
    except (OSError, SystemExit) as error:
        log.error("page.not_opened host=%s port=%d reason=%s",
                  settings.page_host, settings.page_port, error)  # fmt: skip
    except asyncio.CancelledError:
        # Pages read the journal, which is closed next: the last answer goes out before.
        await server.shutdown()
        raise


def _quiet_server(config: uvicorn.Config) -> uvicorn.Server:
    """A server that leaves the signals to us and says where it listens."""
    import uvicorn

    class QuietServer(uvicorn.Server):
        @contextlib.contextmanager
        def capture_signals(self) -> Iterator[None]:
            yield

        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            for server in self.servers:
                for sock in server.sockets:
                    log.info("page.opened url=http://%s:%d/", *sock.getsockname()[:2])

    return QuietServer(config)


async def _beat() -> None:
    """Tell the service manager's watchdog that the loop turns (sd_notify(3), WATCHDOG_USEC)."""
    usec = int(os.environ.get("WATCHDOG_USEC", "0") or 0)
    while usec:
        _tell_service_manager("WATCHDOG=1")
        await asyncio.sleep(usec / 3_000_000)


def _tell_service_manager(text: str) -> None:
    target = os.environ.get("NOTIFY_SOCKET", "")
    if target:
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.sendto(text.encode(), target.replace("@", "\0", 1))


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[IO[str]]:
    """Hold the data folder's lock: two agents on one journal would tear its chain."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "agent.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise Unavailable(
                "already_running", f"{folder} 正被另一个 edge-agent 使用", "already running"
            ) from error
        yield lock


def _is_running(folder: Path) -> bool:
    try:
        with (folder / "agent.lock").open("r") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return False


def _boot_id() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""


def _data_file(folder: str, name: str) -> Path:
    """A file shipped in `firmware_configs`, or the path itself when it is one."""
    if "/" in name:
        return Path(name)
    found = importlib.resources.files("firmware_configs") / folder / f"{name}.toml"
    return Path(str(found))


def examined(settings: Settings) -> doctor.Patient:
    """What the doctor needs to know, as plain values."""
    return doctor.Patient(
        data_dir=settings.data_path,
        journals=tuple(journal_path(settings, stream) for stream in STREAMS),
        is_whole=is_whole,
        broker=lambda: broker_of(settings),
        password_file=settings.mqtt_password_file,
        page=(settings.page_host, settings.page_port) if settings.page_enabled else None,
        scanners=tuple((one.source, one.path) for one in settings.scanners),
        printers=tuple((one.name, functools.partial(printer_of, one)) for one in settings.printers),
        draw=lambda: [
            press_of(one, labels.load()).framed(labels.SAMPLE) for one in settings.printers
        ],
        now=SystemClock().now(),
        running=_is_running(settings.data_path),
    )
