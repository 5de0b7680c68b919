"""Puts a printer together: profile, language, line, and the press that draws its papers."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from edge_agent import labels
from edge_agent.bootstrap.files import data_file
from edge_agent.domain.label import TEXT_FIELDS_OF
from edge_agent.domain.printer_status import StatusProbe
from edge_agent.labels import check
from edge_agent.labels.press import Framing
from edge_agent.ports import Printer, PrinterWire
from edge_agent.printers import device, escpos, escpos_devices, raw, serial_port, tcp, tspl, zpl
from edge_agent.printers.owner import PrinterOwner, SendTimes
from edge_agent.printers.profile import PrinterProfile, read_profile
from edge_agent.settings import PrinterSetting

PROBES: dict[tuple[str, str], StatusProbe] = {
    ("tspl", "byte"): tspl.PROBE_BYTE,
    ("tspl", "full"): tspl.PROBE_FULL,
    ("zpl", "host"): zpl.PROBE,
    ("escpos", "realtime"): escpos.PROBE,
    ("escpos", "paper"): escpos.PROBE_PAPER,
}
"""(language, status) of a profile -> how to ask; no entry = never answers."""


def profile_of(printer: PrinterSetting) -> PrinterProfile:
    """The printer's profile: a name of `firmware_configs/printers` or a path to a file."""
    return read_profile(data_file("printers", printer.profile))


def printer_of(setting: PrinterSetting) -> Printer:
    """The one owner of a printer's line."""
    profile = profile_of(setting)
    probe = PROBES.get((profile.language, profile.status))
    return PrinterOwner(wire_of(setting, profile), probe, times_of(profile))


def times_of(profile: PrinterProfile) -> SendTimes:
    """The profile's waits."""
    return SendTimes(
        connect_s=profile.connect_s,
        stall_s=profile.stall_s,
        answer_s=profile.answer_s,
        finish_s=profile.finish_s,
        settle_s=profile.settle_s,
        pace_s=profile.pace_ms / 1000,
    )


def wire_of(setting: PrinterSetting, profile: PrinterProfile) -> PrinterWire:
    """TCP for a host, serial for a device with a baud rate, else a USB printer device.

    Network and serial ESC/POS printers are opened by python-escpos; every byte is still ours.
    """
    by_library = profile.language == "escpos" and not (setting.device and not setting.baud)
    if by_library:
        escpos_devices.load()
    if setting.device and setting.baud:
        opener = escpos_devices.open_serial if by_library else serial_port.open_port
        return serial_port.SerialWire(setting.device, setting.baud, opener)
    if setting.device:
        return device.DeviceWire(functools.partial(device.port_of, setting.device))
    host, port = setting.host, setting.port or profile.port
    if by_library:
        opened = functools.partial(escpos_devices.open_socket, host, port, profile.connect_s)
        return tcp.TcpWire(host, port, opened)
    return tcp.TcpWire(host, port)


def press_of(setting: PrinterSetting, renderer: labels.Renderer) -> labels.LabelPress:
    """What draws and frames one printer's papers."""
    profile = profile_of(setting)
    return labels.LabelPress(
        renderer,
        templates_of(setting),
        framing_of(profile),
        profile.dpi,
        language=profile.language,
        raw=raw.frame,
        width_dots=width_of(profile),
    )


def width_of(profile: PrinterProfile) -> int:
    """Reach of the print head in dots: the profile's own word, else python-escpos', 0 = unknown."""
    if profile.width_dots or not profile.escpos_model:
        return profile.width_dots
    return escpos_devices.media_dots(profile.escpos_model)


def templates_of(setting: PrinterSetting) -> list[labels.Template]:
    """The stock's template first, then the setting's others, then the same stock's other kinds.

    `waybill-100x150` brings along `return-ticket-100x150` and its like as far as they are shipped.
    """
    names = [setting.template, *setting.templates]
    found = [labels.read_template(data_file("labels", name)) for name in names]
    found += [labels.read_template(path) for path in _same_stock(setting.template)]
    return found


def _same_stock(template: str) -> Iterable[Any]:
    _kind, dash, stock = template.rpartition("-")
    if "/" in template or not dash:
        return
    for kind in TEXT_FIELDS_OF:
        path = data_file("labels", f"{kind.replace('_', '-')}-{stock}")
        if path.is_file():
            yield path


def framing_of(profile: PrinterProfile) -> Framing:
    """The profile's language as a function from picture to bytes."""
    if profile.language == "zpl":
        return functools.partial(zpl.frame, encoding=profile.encoding)
    if profile.language == "escpos":
        options: dict[str, Any] = {
            "strip_rows": profile.strip_rows,
            "cut": profile.cut,
            "echo": profile.echo,
        }
        return functools.partial(escpos.frame, **options)
    if profile.language == "raw":
        return raw.no_picture
    return functools.partial(tspl.frame, gap_mm=profile.gap_mm)


def papers_of(setting: PrinterSetting, renderer: labels.Renderer) -> tuple[str, ...]:
    """The kinds of paper a printer can print, each drawn once to be sure. Raises `Rejected`."""
    press = press_of(setting, renderer)
    if profile_of(setting).language == "raw":
        return ()
    for kind in press.kinds:
        press.framed(labels.SAMPLES[kind])
    return press.kinds


def test_print(setting: PrinterSetting, kind: str | None) -> tuple[Printer, bytes]:
    """A printer and a paper that says nothing about anybody. Raises `Rejected`."""
    press = press_of(setting, labels.load())
    return printer_of(setting), press.framed(labels.SAMPLES[kind or press.stock_kind], "TEST")


def sample_png(setting: PrinterSetting, kind: str | None = None) -> bytes:
    """The picture of such a paper. Raises `Rejected`."""
    press = press_of(setting, labels.load())
    return press.preview_png(labels.SAMPLES[kind or press.stock_kind])


def template_faults(name: str, read: check.Read) -> list[str]:
    """What is wrong with a template at 203 and 300 dpi, as Chinese lines. Raises `Rejected`."""
    path = Path(name) if name.endswith(".toml") else data_file("labels", name)
    template, renderer = labels.read_template(path), labels.load()
    return [line for dpi in (203, 300) for line in check.faults(renderer, template, read, dpi=dpi)]


def usb_printers() -> list[tuple[str, str, str]]:
    """(device, socket, what it says of itself) of every USB printer of this machine."""
    return device.usb_printers()


def shipped(folder: str) -> list[str]:
    """Names of the files of `firmware_configs/<folder>`."""
    return sorted(path.stem for path in data_file(folder, "x").parent.glob("*.toml"))
