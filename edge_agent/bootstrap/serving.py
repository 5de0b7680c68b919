"""Runs the whole agent until a signal."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import msgspec

from edge_agent.agent import Agent
from edge_agent.agent.clock import FlooredClock
from edge_agent.agent.parts import Ports
from edge_agent.bootstrap import starts
from edge_agent.bootstrap.box import Box
from edge_agent.bootstrap.chance import NEVER_BEFORE_MS, SystemClock, SystemIds, boot_id, boot_no
from edge_agent.bootstrap.codes import code_patterns
from edge_agent.bootstrap.devices import all_printers, start_scanners
from edge_agent.bootstrap.heartbeat import Pulse, beat, tell_service_manager
from edge_agent.bootstrap.journals import (
    SUSPECT,
    alone,
    clock_floor,
    connector,
    journal_path,
    open_core,
    storage_trouble,
)
from edge_agent.bootstrap.page import show_page
from edge_agent.bootstrap.waiting import wait_for_storage
from edge_agent.domain import start
from edge_agent.domain.floor_plan import FloorPlan
from edge_agent.journal import soundness
from edge_agent.journal.writer import ThreadJournal
from edge_agent.link import BrokerAddress, MqttLink
from edge_agent.ports import Scanner
from edge_agent.settings import Settings
from protocols.errors import PacklineError, Unavailable
from protocols.topics import STREAMS

VERSION = "0.1.0"
log = logging.getLogger(__name__)


def plan_of(settings: Settings) -> FloorPlan:
    """The agent's place in the warehouse, from the settings."""
    return FloorPlan(
        site=settings.site,
        agent=settings.agent,
        warehouse_name=settings.warehouse_name,
        stations={station.id: station.printer for station in settings.stations},
        printers=tuple(printer.name for printer in settings.printers),
        spares={printer.name: printer.spare for printer in settings.printers if printer.spare},
        version=VERSION,
        print_ttl_s=settings.print_ttl_s,
        repeat_ms=settings.repeat_ms,
        retain_days=settings.retain_days,
        retain_bytes=settings.retain_bytes,
        personal_hours=settings.personal_hours,
        telemetry_rows_max=settings.telemetry_rows_max,
        quota_bytes=settings.quota_bytes,
        zone_minutes=settings.zone_minutes,
        code_patterns=code_patterns(),
    )


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


async def serve(settings: Settings) -> None:
    """Run the agent until SIGINT or SIGTERM. Raises `Unavailable("already_running")`.

    A medium that takes nothing is waited for, visibly; a safe start is followed by one with
    drivers after a while. Every other failure ends the program, and the service manager starts it.
    """
    folder = settings.data_path
    ended = asyncio.Event()
    again = True
    while again:
        try:
            with alone(folder):
                again = await _serve_once(settings, ended)
        except Exception as error:
            if soundness.is_broken(error) or soundness.is_read_error(error):
                with contextlib.suppress(OSError):
                    folder.joinpath(SUSPECT).touch()
            reason = storage_trouble(error, folder)
            if not reason:
                raise
            starts.finish(folder)  # it waits, ready to refuse: no start that broke off
            _on_signals(ended.set)
            again = await wait_for_storage(
                settings, reason, ended, partial(start_scanners, settings)
            )


def _on_signals(call: Callable[[], None]) -> None:
    for name in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(name, call)


async def _serve_once(settings: Settings, ended: asyncio.Event) -> bool:
    """One run over open journals; True when the drivers are to be tried again after a safe one."""
    raw = SystemClock()
    record = starts.begin(settings.data_path, boot_id())
    clock = FlooredClock(raw, clock_floor(settings, raw.now()), NEVER_BEFORE_MS)
    box = Box(clock, start.reason_zh(record) if record is not None else "")
    if record is not None:
        log.error("agent.safe_mode unfinished=%d", record.total)
    journals: dict[str, ThreadJournal] = {}
    number = boot_no()
    try:
        for stream in STREAMS:
            core = open_core(settings, stream, clock.now(), number)
            journals[stream] = ThreadJournal(core, connector(journal_path(settings, stream)), clock)
        settings.data_path.joinpath(SUSPECT).unlink(missing_ok=True)
        for journal in journals.values():
            journal.start(asyncio.get_running_loop())
        with ThreadPoolExecutor(1, thread_name_prefix="labels") as drawer:
            ports = _ports(settings, clock, box, journals, drawer)
            agent = Agent(plan_of(settings), ports)
            await _run_all(settings, agent, box, journals, ended)
    finally:
        for journal in journals.values():
            await journal.stop()
    return bool(box.safe_zh) and not ended.is_set()


def _ports(
    settings: Settings,
    clock: FlooredClock,
    box: Box,
    journals: dict[str, ThreadJournal],
    drawer: ThreadPoolExecutor,
) -> Ports:
    printers, makers = all_printers(settings, box, drawer)
    loop = asyncio.get_running_loop()

    def run_blocking(work: Callable[[], bytes]) -> Awaitable[bytes]:
        return loop.run_in_executor(drawer, work)

    return Ports(
        clock=clock,
        ids=SystemIds(),
        link=MqttLink(_broker(settings, box)),
        journals=dict(journals),
        printers=printers,
        makers=makers,
        run_blocking=run_blocking,
        boot_id=boot_id(),
        told_time=clock.told,
        health=box.health,
    )


def _broker(settings: Settings, box: Box) -> BrokerAddress:
    """In safe mode a password file that cannot be read is shown; the floor works without a line."""
    try:
        return broker_of(settings)
    except PacklineError as error:
        if not box.safe_zh:
            raise
        box.drivers["broker"] = error.zh
        return broker_of(msgspec.structs.replace(settings, mqtt_password_file=""))


async def _run_all(
    settings: Settings,
    agent: Agent,
    box: Box,
    journals: dict[str, ThreadJournal],
    ended: asyncio.Event,
) -> None:
    """The agent with its scanners and its page; whatever fails ends all of it."""

    def end() -> None:
        ended.set()
        agent.stop()

    _on_signals(end)
    async with asyncio.TaskGroup() as group:
        running = group.create_task(agent.run())
        await _ready_or_over(agent, running)
        scanners = start_scanners(settings, agent, box) if agent.ready.is_set() else []
        page = group.create_task(show_page(settings, agent)) if settings.page_enabled else None
        if agent.ready.is_set():
            _ready(settings, box)
        beating = group.create_task(beat(_pulses(journals, scanners)))
        retry = _retry_later(settings, agent) if box.safe_zh else None
        try:
            await asyncio.wait({running})
        finally:
            for scanner in scanners:
                await asyncio.to_thread(scanner.stop)
            beating.cancel()
            if retry is not None:
                retry.cancel()
            if page is not None:
                page.cancel()


def _ready(settings: Settings, box: Box) -> None:
    if box.safe_zh:
        starts.stay_safe(settings.data_path)
    else:
        starts.finish(settings.data_path)
    tell_service_manager(f"READY=1\nSTATUS={'安全模式' if box.safe_zh else '正常'}")


def _retry_later(settings: Settings, agent: Agent) -> asyncio.TimerHandle:
    """A box nobody looks at leaves safe mode for one try."""

    def retry() -> None:
        starts.try_again(settings.data_path)
        agent.stop()

    return asyncio.get_running_loop().call_later(start.RETRY_S, retry)


def _pulses(journals: dict[str, ThreadJournal], scanners: list[Scanner]) -> dict[str, Pulse]:
    """Every thread that must come back: journal writers, and scanners' readers that can tell."""
    pulses: dict[str, Pulse] = {
        f"journal {stream}": journal.stuck_ms for stream, journal in journals.items()
    }
    for number, scanner in enumerate(scanners):
        stuck_ms = getattr(scanner, "stuck_ms", None)
        if stuck_ms is not None:
            pulses[f"scanner {number}"] = stuck_ms
    return pulses


async def _ready_or_over(agent: Agent, running: asyncio.Task[None]) -> None:
    ready = asyncio.create_task(agent.ready.wait())
    await asyncio.wait({ready, running}, return_when=asyncio.FIRST_COMPLETED)
    ready.cancel()
