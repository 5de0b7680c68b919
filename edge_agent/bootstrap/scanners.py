"""Puts a scanner together and leads its scans into the agent's loop."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from typing import Any

from edge_agent.agent import Agent
from edge_agent.bootstrap.chance import SystemClock
from edge_agent.domain.scan import ScanEvent, ScanRefused
from edge_agent.domain.scan_framing import FramingRules
from edge_agent.scanners.serial import SerialPort, SerialScanner
from edge_agent.settings import ScannerSetting


def scanner_of(setting: ScannerSetting, agent: Agent) -> SerialScanner:
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
