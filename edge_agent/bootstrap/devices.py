"""Every scanner and printer of the settings; a broken one is its own state, never the others'."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from edge_agent import labels
from edge_agent.agent.guarded import OffPrinter, attempt, guarded, off
from edge_agent.bootstrap.box import Box
from edge_agent.bootstrap.printers import press_of, printer_of
from edge_agent.bootstrap.scanners import SWITCH_S, FloorScanners
from edge_agent.ports import LabelMaker, Printer, Scanner
from edge_agent.settings import PrinterSetting, Settings


def all_printers(
    settings: Settings, box: Box, drawer: ThreadPoolExecutor
) -> tuple[dict[str, Printer], dict[str, LabelMaker]]:
    """Every printer of the settings; one that cannot be used stands there with its reason."""
    printers: dict[str, Printer] = {}
    makers: dict[str, LabelMaker] = {}
    renderer = "" if box.safe_zh else attempt("labels", labels.load)
    for one in settings.printers:
        if isinstance(renderer, str):
            found = off(f"字体有误：{renderer}" if renderer else "安全模式, 打印机驱动停用")
        else:
            found = guarded(one.name, partial(_printer_and_press, one, renderer, drawer))
        printers[one.name], makers[one.name] = found
        if isinstance(found[0], OffPrinter):
            box.drivers[f"printer {one.name}"] = found[0].reason_zh
    return printers, makers


def _printer_and_press(
    setting: PrinterSetting, renderer: labels.Renderer, drawer: ThreadPoolExecutor
) -> tuple[Printer, LabelMaker]:
    press = press_of(setting, renderer)
    printer = printer_of(setting)
    drawer.submit(press.warm)
    return printer, press


def start_scanners(settings: Settings, agent: Any, box: Box | None = None) -> list[Scanner]:
    """Start every scanner that can be; one that cannot be is shown with its reason."""
    if box is not None and box.safe_zh:
        box.drivers.update(
            {f"scanner {one.source}": "安全模式, 扫描枪驱动停用" for one in settings.scanners}
        )
        return []
    sys.setswitchinterval(SWITCH_S)
    scanners = FloorScanners(settings, agent)
    for one in settings.scanners:
        failed = attempt(f"scanner {one.source}", partial(scanners.add, one))
        if failed is not None and box is not None:
            box.drivers[f"scanner {one.source}"] = failed
    failed = attempt("scanners", scanners.start)
    if failed is not None and box is not None:
        box.drivers["scanners"] = failed
    return [scanners]
