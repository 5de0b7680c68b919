"""One warehouse of the demo: an agent process, its line, its printer, its scanners, its people.

The places are those of the sample master data. Knows the agent's settings file and its commands.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import httpx

from virtual_warehouse.broker import free_port
from virtual_warehouse.line import Line
from virtual_warehouse.people import Crew, Loader, Packer
from virtual_warehouse.printer import VirtualPrinter
from virtual_warehouse.processes import Program, installed
from virtual_warehouse.scanner import VirtualScanner
from virtual_warehouse.screen import Screen, Status

REPEAT_MS = 150
"""The demo's people are quick: a trigger that bounces does so within this time."""
PRINT_MS = 60


@dataclass(frozen=True, slots=True)
class Place:
    """One warehouse, as in the sample master data. `paper_first`: labels come with the grant."""

    warehouse: str
    agent: str
    name: str
    carrier: str
    waybill_prefix: str
    paper_first: bool
    packing: tuple[str, ...]
    dock: str

    @property
    def site(self) -> str:
        """The warehouse's name on the wire."""
        return self.warehouse.lower()


PLACES = (
    Place("HZ01", "hz01-a", "华东仓", "YANSHI", "YS", True, ("hz01-a-1", "hz01-a-2"), "hz01-a-3"),
    Place("SZ01", "sz01-a", "华南仓", "YANGLI", "YL", False, ("sz01-a-1", "sz01-a-2"), "sz01-a-3"),
)


CARRIERS = {"YANSHI": "YS", "YANGLI": "YL", "SHILI": "SL"}
"""Carriers of the sample master data, with the prefix of their waybill numbers."""


@dataclass(slots=True)
class Warehouse:
    """One warehouse in operation."""

    place: Place
    folder: Path
    agent: Program
    line: Line
    printer: VirtualPrinter
    scanners: Mapping[str, VirtualScanner]
    crew: Crew
    people: list[Packer | Loader]
    page: str

    @property
    def journals(self) -> dict[str, Path]:
        """The agent's journal files by stream."""
        return {name: self.folder / f"{name}.db" for name in ("floor", "telemetry")}

    async def close(self) -> None:
        """Unplug what is not a process; the agent has been stopped before."""
        await self.line.stop()
        await self.printer.stop()
        for scanner in self.scanners.values():
            scanner.close()

    async def is_linked(self) -> bool:
        """Whether the agent shows that the core has welcomed it."""
        status = await self.look()
        return bool(status.get("link", {}).get("welcomed")) and bool(status.get("resynced"))

    async def look(self) -> Status:
        """The agent's status now; empty when it does not answer."""
        try:
            async with httpx.AsyncClient(timeout=2.0, trust_env=False) as client:
                answer = await client.get(f"{self.page}/status.json")
        except httpx.HTTPError:
            return {}
        return dict(answer.json()) if answer.status_code == 200 else {}


async def open_warehouse(
    place: Place,
    root: Path,
    broker_port: int,
    goods: Mapping[str, str],
    more: Mapping[str, str | int] | None = None,
) -> Warehouse:
    """Plug everything in and start the agent; it may still be connecting when this returns.

    The agent's folder below `root` exists and holds the password for the broker. `more`: settings
    of the agent besides those of the place.
    """
    folder = root / place.agent
    line = Line("127.0.0.1", broker_port)
    await line.start()
    printer = VirtualPrinter(root / "labels" / place.agent)
    printer.faults.print_ms = PRINT_MS
    await printer.start()
    scanners = {
        station: VirtualScanner(link=folder / "dev" / station)
        for station in (*place.packing, place.dock)
    }
    for scanner in scanners.values():
        scanner.plug()
    page_port = free_port()
    page = f"http://127.0.0.1:{page_port}"
    settings = folder / "edge-agent.toml"
    settings.write_text(
        _settings(place, folder, line.port, printer.port, page_port, more or {}), encoding="utf-8"
    )
    command = [installed("edge-agent"), "--config", str(settings), "run"]
    agent = Program(f"{place.name}边缘代理", command, root / "logs" / f"{place.agent}.log")
    crew = Crew(place.name, Screen(page), printer, goods, place.paper_first, REPEAT_MS * 1.3 / 1000)
    people: list[Packer | Loader] = [Packer(crew, one, scanners[one]) for one in place.packing]
    people.append(Loader(crew, place.dock, scanners[place.dock], "A1"))
    agent.start()
    return Warehouse(place, folder, agent, line, printer, scanners, crew, people, page)


def _settings(
    place: Place,
    folder: Path,
    mqtt_port: int,
    printer_port: int,
    page_port: int,
    more: Mapping[str, str | int],
) -> str:
    """The agent's settings file, as an installer would write it."""
    values: dict[str, str | int | bool] = {
        "site": place.site,
        "agent": place.agent,
        "warehouse_name": place.name,
        "data_dir": str(folder),
        "mqtt_port": mqtt_port,
        "mqtt_password_file": str(folder / "mqtt.password"),
        "page_port": page_port,
        "repeat_ms": REPEAT_MS,
        "scanner_adopt": False,  # the keyboard of whoever watches the demo is not ours to look at
        **more,
    }
    lines = [f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in values.items()]
    lines += ["", "[[printers]]", 'name = "label"', 'host = "127.0.0.1"', f"port = {printer_port}"]
    for station in (*place.packing, place.dock):
        lines += ["", "[[stations]]", f'id = "{station}"', 'printer = "label"']
        lines += ["", "[[scanners]]", f'source = "gun-{station}"', f'station = "{station}"']
        lines.append(f"path = {json.dumps(str(folder / 'dev' / station))}")
    return "\n".join(lines) + "\n"
