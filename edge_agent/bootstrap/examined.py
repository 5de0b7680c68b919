"""What the doctor is told of this agent, as plain values."""

from __future__ import annotations

import contextlib
import functools
from pathlib import Path

from edge_agent import doctor, labels
from edge_agent.bootstrap import starts
from edge_agent.bootstrap.asking import running_status
from edge_agent.bootstrap.chance import SystemClock, boot_id
from edge_agent.bootstrap.journals import clock_floor, is_running, is_whole, journal_path
from edge_agent.bootstrap.machine import examined_machine
from edge_agent.bootstrap.printers import papers_of, printer_of, profile_of
from edge_agent.bootstrap.serving import broker_of
from edge_agent.domain import start
from edge_agent.journal import inspect
from edge_agent.settings import Settings
from protocols.errors import PacklineError
from protocols.topics import STREAMS


def examined(settings: Settings) -> doctor.Patient:
    """What the doctor needs to know, as plain values."""
    now = SystemClock().now()
    running = is_running(settings.data_path)
    record = starts.read(settings.data_path)
    safe = start.must_be_safe(record, boot_id())
    return doctor.Patient(
        data_dir=settings.data_path,
        journals=tuple(journal_path(settings, stream) for stream in STREAMS),
        is_whole=is_whole,
        broker=lambda: broker_of(settings),
        password_file=settings.mqtt_password_file,
        page=(settings.page_host, settings.page_port) if settings.page_enabled else None,
        scanners=tuple((one.source, one.path) for one in settings.scanners),
        printers=tuple((one.name, functools.partial(printer_of, one)) for one in settings.printers),
        draw=lambda: [papers_of(one, labels.load()) for one in settings.printers],
        now=now,
        machine=examined_machine(settings.data_path),
        running=running,
        status=running_status(settings) if running else None,
        pda=_door(settings) if settings.pda_enabled else None,
        page_names=settings.page_names,
        tls_files=_tls_files(settings),
        stations=tuple(station.id for station in settings.stations),
        profiles=tuple((one.name, functools.partial(profile_of, one)) for one in settings.printers),
        floor_ms=clock_floor(settings, now).wall_ms,
        safe_zh=start.reason_zh(record) if safe else "",
        unfinished=record.total,
        quota_bytes=settings.quota_bytes,
        unsent=unsent,
    )


def _door(settings: Settings) -> doctor.Door:
    def operators() -> int:
        from edge_agent.pages.operators import Operators

        return len(Operators(settings.data_path).read())

    return doctor.Door(
        host=settings.pda_host,
        port=settings.pda_port,
        names=settings.pda_names,
        cert_file=settings.pda_tls_cert_file,
        key_file=settings.pda_tls_key_file,
        operators=operators,
    )


def _tls_files(settings: Settings) -> tuple[tuple[str, str], ...]:
    named = (
        ("mqtt_tls_ca_file", settings.mqtt_tls_ca_file),
        ("mqtt_tls_cert_file", settings.mqtt_tls_cert_file),
        ("mqtt_tls_key_file", settings.mqtt_tls_key_file),
    )
    return tuple((setting, path) for setting, path in named if path)


def unsent(path: Path) -> tuple[int, int]:
    """(rows the core does not hold, wall ms of the oldest); (0, 0) for a file nobody can read."""
    with contextlib.suppress(PacklineError):  # its own check says what is wrong with it
        return inspect.unsent(path)
    return 0, 0
