"""Wires the core: the only room that names concrete classes, reads clocks and makes ids.

`wire` puts a core together over given ports and is what tests and the simulation call; `build` does
the same from settings with the real ports; `serve` runs it: HTTP, the line and the loops in one
event loop, the write queue in its thread.
"""

from __future__ import annotations

from cloud_core.bootstrap.chance import (
    CHINA,
    RandomIds,
    SystemClock,
    make_key_id,
    make_secret,
    process_name,
)
from cloud_core.bootstrap.chosen import build, knobs_of, link_config, open_store
from cloud_core.bootstrap.serving import calm_collector, running, serve
from cloud_core.bootstrap.wiring import (
    Knobs,
    Ports,
    Wired,
    carriers_of,
    dialect_names,
    wire,
)

__all__ = [
    "CHINA",
    "Knobs",
    "Ports",
    "RandomIds",
    "SystemClock",
    "Wired",
    "build",
    "calm_collector",
    "carriers_of",
    "dialect_names",
    "knobs_of",
    "link_config",
    "make_key_id",
    "make_secret",
    "open_store",
    "process_name",
    "running",
    "serve",
    "wire",
]
