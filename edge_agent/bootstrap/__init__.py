"""Wires the agent: the one room that names concrete clocks, files, brokers, printers, scanners.

`serve` runs the whole program until a signal. What only the command line needs (`examined`,
`support`, `asking`) is imported there, so that the agent does not carry it. Nothing here decides
anything about orders.
"""

from __future__ import annotations

from edge_agent.bootstrap.chance import SystemClock, SystemIds
from edge_agent.bootstrap.journals import (
    SUSPECT,
    clock_floor,
    connector,
    is_running,
    is_whole,
    journal_path,
    open_core,
)
from edge_agent.bootstrap.printers import test_print
from edge_agent.bootstrap.serving import serve
from edge_agent.bootstrap.starts import leave_safe_mode, safe_mode_reason

__all__ = [
    "SUSPECT",
    "SystemClock",
    "SystemIds",
    "clock_floor",
    "connector",
    "is_running",
    "is_whole",
    "journal_path",
    "leave_safe_mode",
    "open_core",
    "safe_mode_reason",
    "serve",
    "test_print",
]
