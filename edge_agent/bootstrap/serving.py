"""Runs the whole agent until a signal."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from edge_agent import labels
from edge_agent.agent import Agent
from edge_agent.agent.parts import Ports
from edge_agent.bootstrap.chance import SystemClock, SystemIds, boot_id
from edge_agent.bootstrap.heartbeat import beat, tell_service_manager
from edge_agent.bootstrap.journals import (
    SUSPECT,
    alone,
    connector,
    is_broken,
    journal_path,
    open_core,
)
from edge_agent.bootstrap.page import show_page
from edge_agent.bootstrap.printers import press_of, printer_of
from edge_agent.bootstrap.scanners import scanner_of
from edge_agent.domain.floor_plan import FloorPlan
from edge_agent.journal.writer import ThreadJournal
from edge_agent.link import BrokerAddress, MqttLink
from edge_agent.ports import LabelMaker
from edge_agent.settings import Settings
from protocols.errors import Unavailable
from protocols.topics import STREAMS

VERSION = "0.1.0"


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
    """Run the agent until SIGINT or SIGTERM. Raises `Unavailable("already_running")`."""
    with alone(settings.data_path):
        try:
            await _serve(settings)
        except Exception as error:
            if is_broken(error):
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
            boot_id=boot_id(),
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
    scanners = [scanner_of(one, agent) for one in settings.scanners]
    async with asyncio.TaskGroup() as group:
        running = group.create_task(agent.run())
        await _ready_or_over(agent, running)
        for scanner in scanners:
            scanner.start()
        page = group.create_task(show_page(settings, agent)) if settings.page_enabled else None
        tell_service_manager("READY=1")
        beating = group.create_task(beat())
        try:
            await asyncio.wait({running})
        finally:
            for scanner in scanners:
                await asyncio.to_thread(scanner.stop)
            beating.cancel()
            if page is not None:
                page.cancel()


async def _ready_or_over(agent: Agent, running: asyncio.Task[None]) -> None:
    ready = asyncio.create_task(agent.ready.wait())
    await asyncio.wait({ready, running}, return_when=asyncio.FIRST_COMPLETED)
    ready.cancel()
