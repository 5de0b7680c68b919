"""Puts a printer together: profile, transport, and the press that draws its labels."""

from __future__ import annotations

import functools

from edge_agent import labels
from edge_agent.bootstrap.files import data_file
from edge_agent.domain.printer_status import StatusProbe
from edge_agent.ports import Printer
from edge_agent.printers import tspl
from edge_agent.printers.profile import PrinterProfile, read_profile
from edge_agent.printers.tcp import TcpPrinter, TcpTimes
from edge_agent.settings import PrinterSetting

PROBES: dict[str, StatusProbe | None] = {
    "byte": tspl.PROBE_BYTE,
    "full": tspl.PROBE_FULL,
    "none": None,
}


def profile_of(printer: PrinterSetting) -> PrinterProfile:
    """The printer's profile: a name of `firmware_configs/printers` or a path to a file."""
    return read_profile(data_file("printers", printer.profile))


def printer_of(setting: PrinterSetting) -> Printer:
    """The transport to one printer."""
    profile = profile_of(setting)
    times = TcpTimes(
        connect_s=profile.connect_s,
        stall_s=profile.stall_s,
        answer_s=profile.answer_s,
        finish_s=profile.finish_s,
        settle_s=profile.settle_s,
    )
    return TcpPrinter(setting.host, setting.port or profile.port, PROBES[profile.status], times)


def press_of(setting: PrinterSetting, renderer: labels.Renderer) -> labels.LabelPress:
    """What draws and frames one printer's labels."""
    profile = profile_of(setting)
    template = labels.read_template(data_file("labels", setting.template))
    framing = functools.partial(tspl.frame, gap_mm=profile.gap_mm)
    return labels.LabelPress(renderer, template, framing, profile.dpi)


def test_print(setting: PrinterSetting) -> tuple[Printer, bytes]:
    """A printer and a label that says nothing about anybody."""
    press = press_of(setting, labels.load())
    return printer_of(setting), press.framed(labels.SAMPLE, "TEST")
