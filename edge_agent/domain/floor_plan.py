"""What this agent is: its site, its stations and printers, its limits. Values, decided elsewhere.

Built by bootstrap from the settings, and by tests by hand; flows and the agent shell take it as an
argument, so that none of them knows where settings come from.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from types import MappingProxyType

from edge_agent.domain.scan_patterns import CodePattern

_NO_STATIONS: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class FloorPlan:
    """The agent's place in the warehouse.

    `stations` maps a station to its printer ("" = the first of `printers`). `spares` maps a printer
    to the one that takes its labels while it cannot print. `repeat_ms`: the same
    code at the same station within it is a mechanical repeat. `personal_hours`: label fields are
    purged so long after hand-over or stop. `quota_bytes` is shown, the journal keeps to it itself.
    `zone_minutes` is local time east of UTC, for what people read. `code_patterns` say what
    an unknown code looks like.
    """

    site: str
    agent: str
    warehouse_name: str = ""
    stations: Mapping[str, str] = field(default_factory=lambda: _NO_STATIONS)
    printers: tuple[str, ...] = ()
    spares: Mapping[str, str] = field(default_factory=lambda: _NO_STATIONS)
    version: str = "0.1.0"
    print_ttl_s: int = 600
    repeat_ms: int = 1_500
    retain_days: int = 7
    retain_bytes: int = 1_000_000_000
    personal_hours: int = 24
    telemetry_rows_max: int = 100_000
    quota_bytes: int = 4_000_000_000
    zone_minutes: int = 480
    code_patterns: tuple[CodePattern, ...] = ()

    def printer_of(self, station: str) -> str:
        """The printer that serves `station`, "" when this agent has none at all."""
        chosen = self.stations.get(station, "")
        if chosen in self.printers:
            return chosen
        return self.printers[0] if self.printers else ""

    def clock_text(self, wall_ms: int) -> str:
        """Local "HH:MM" of a moment."""
        minutes = wall_ms // 60_000 + self.zone_minutes
        return f"{minutes // 60 % 24:02d}:{minutes % 60:02d}"

    def date_text(self, wall_ms: int) -> str:
        """Local "YYYY-MM-DD HH:MM" of a moment."""
        local = datetime.fromtimestamp(wall_ms / 1000, UTC) + timedelta(minutes=self.zone_minutes)
        return local.strftime("%Y-%m-%d %H:%M")
