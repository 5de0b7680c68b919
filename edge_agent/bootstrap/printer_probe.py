"""Finds out what a printer answers and writes it down as a profile.

The questions of each language are asked in an order in which an unanswered one does least harm:
TSPL's to an ESC/POS printer changes a mode that our jobs reset, DLE EOT is nothing to a Zebra.
"""

from __future__ import annotations

from dataclasses import dataclass

from edge_agent.bootstrap.files import data_file
from edge_agent.bootstrap.printers import PROBES, wire_of
from edge_agent.domain.printer_status import OFFLINE, PrinterLevel, PrinterStatus
from edge_agent.ports import PrinterWire
from edge_agent.printers import zpl
from edge_agent.printers.owner import PrinterOwner, SendTimes
from edge_agent.printers.profile import read_profile
from edge_agent.settings import PrinterSetting

ORDER = (
    ("tspl", "full"),
    ("tspl", "byte"),
    ("escpos", "realtime"),
    ("escpos", "paper"),
    ("zpl", "host"),
)
BASES = {"tspl": "tspl-203", "escpos": "escpos-80", "zpl": "zpl-203"}
TIMES = SendTimes(connect_s=3.0, answer_s=0.7)


@dataclass(frozen=True, slots=True)
class Probed:
    """What a printer turned out to be; `language` "" = it answered nothing we know."""

    reachable: bool
    language: str = ""
    status_kind: str = "none"
    status: PrinterStatus | None = None
    model: str = ""
    dpi: int = 0


async def probe(setting: PrinterSetting) -> Probed:
    """Ask every question until one is answered. Prints nothing; the line is closed afterwards."""
    profile = read_profile(data_file("printers", BASES["tspl"]))
    wire = wire_of(setting, profile)
    try:
        for language, kind in ORDER:
            # Each question on a line of its own: a late answer cannot be taken for another's.
            status = await PrinterOwner(wire, PROBES[language, kind], TIMES).status()
            if status is OFFLINE:
                return Probed(reachable=False)
            if status.level is not PrinterLevel.UNKNOWN:
                model = await _identity(wire) if language == "zpl" else PrinterStatus(status.level)
                return Probed(
                    True, language, kind, status, model.reason_zh, zpl.DPI_OF.get(model.code, 0)
                )
            wire.close()
    finally:
        wire.close()
    return Probed(reachable=True)


async def _identity(wire: PrinterWire) -> PrinterStatus:
    return await PrinterOwner(wire, zpl.IDENTITY, TIMES).status()


def profile_text(found: Probed, name: str, dpi: int = 0, port: int = 0) -> str:
    """A profile file for what was found: the family's values, the answers as they were.

    `port`: the TCP port that answered, 0 = it was no network line.
    """
    base = data_file("printers", BASES[found.language]).read_text(encoding="utf-8")
    changes = {
        "name": f'"{name}"',
        "tier": '"device"',
        "status": f'"{found.status_kind}"',
        "dpi": str(dpi or found.dpi or 203),
        "source": f'"edge-agent printer probe{": " + found.model if found.model else ""}"',
    }
    if port:
        changes["port"] = str(port)
    lines = [f"# {name}: edge-agent printer probe 写出 written by probe"]
    for line in base.splitlines():
        key = line.partition("=")[0].strip()
        if key == "escpos_model" or line.startswith("#"):
            continue
        lines.append(f"{key} = {changes[key]}" if key in changes else line)
    if found.language == "escpos":
        lines.append("width_dots = 576")
    return "\n".join(lines) + "\n"
