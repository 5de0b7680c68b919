"""What the doctor is told of this agent, as plain values."""

from __future__ import annotations

import functools

from edge_agent import doctor, labels
from edge_agent.bootstrap.chance import SystemClock
from edge_agent.bootstrap.journals import is_running, is_whole, journal_path
from edge_agent.bootstrap.printers import papers_of, printer_of
from edge_agent.bootstrap.serving import broker_of
from edge_agent.settings import Settings
from protocols.topics import STREAMS


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
        draw=lambda: [papers_of(one, labels.load()) for one in settings.printers],
        now=SystemClock().now(),
        running=is_running(settings.data_path),
    )
