"""Wires the agent: the one room that names concrete clocks, files, brokers, printers, scanners.

`serve` runs the whole program until a signal. Nothing here decides anything about orders.
"""

from __future__ import annotations

from edge_agent.bootstrap.chance import SystemClock, SystemIds
from edge_agent.bootstrap.examined import examined
from edge_agent.bootstrap.journals import SUSPECT, connector, is_whole, journal_path, open_core
from edge_agent.bootstrap.printers import test_print
from edge_agent.bootstrap.serving import serve

__all__ = [
    "SUSPECT",
    "SystemClock",
    "SystemIds",
    "connector",
    "examined",
    "is_whole",
    "journal_path",
    "open_core",
    "serve",
    "test_print",
]
