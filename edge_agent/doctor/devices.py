"""Scanners, printers, stations and what labels are drawn with."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from edge_agent.doctor.patient import Check, Finding, Patient, ill, well
from edge_agent.domain.printer_status import PrinterLevel
from edge_agent.ports import Printer
from edge_agent.scanners.hid import discovery

PRINTER_S = 15.0
_GROUPS = frozenset({"dialout", "input", "lp"})


def checks(patient: Patient) -> Iterator[tuple[str, Check]]:
    """One check a device, and those about all of them."""
    yield "labels", partial(_labels, patient)
    yield "stations", partial(_stations, patient)
    yield "device_rights", partial(_device_rights, patient)
    yield "drivers", partial(_drivers, patient)
    if not patient.printers:
        yield "printers", _no_printer
    for name, read in patient.profiles:
        yield f"profile_{name}", partial(_profile, name, read)
    for name, make in patient.printers:
        yield f"printer_{name}", partial(_printer, patient, name, make)
    for source, device in patient.scanners:
        yield f"scanner_{source}", partial(_scanner, source, device)


def _labels(patient: Patient) -> Finding:
    patient.draw()
    return well("labels", "字体和面单模板可用")


def _stations(patient: Patient) -> Finding:
    if patient.stations:
        return well("stations", f"{len(patient.stations)} 个工位：{'、'.join(patient.stations)}")
    return ill("stations", "没有设置工位", '在设置文件里添加 [[stations]]，例如 id = "S1"')


def _device_rights(patient: Patient) -> Finding:
    machine = patient.machine
    missing = sorted(_GROUPS - machine.groups)
    local = [path for _, path in patient.scanners]
    if machine.root or not missing or not local:
        return well("device_rights", "有权使用扫描枪和打印机")
    if all(os.access(path, os.R_OK) for path in local if os.path.exists(path)):
        return well("device_rights", "有权使用设置里的设备")
    fix = f"sudo usermod -aG {','.join(missing)} $USER 后重新登录；装成服务时自动设好"
    return ill("device_rights", f"用户不在组 {'、'.join(missing)} 里", fix)


def _drivers(patient: Patient) -> Finding:
    """What the running agent had to leave out."""
    broken = ((patient.status or {}).get("box") or {}).get("drivers") or {}
    if not broken:
        return well("drivers", "驱动都在使用" if patient.status else "代理没有在运行，未检查")
    told = "；".join(f"{name}: {reason}" for name, reason in sorted(broken.items()))
    return ill("drivers", told, "按上面的原因修正设置或插好设备，再重启代理")


def _no_printer() -> Finding:
    return ill("printers", "没有设置打印机", "在设置文件里添加 [[printers]]")


def _profile(name: str, read: Callable[[], Any]) -> Finding:
    read()
    return well(f"profile_{name}", "机型文件可用")


def _printer(patient: Patient, name: str, make: Callable[[], Printer]) -> Finding:
    """A printer serves one connection: while the agent holds it, the agent's answer counts."""
    if patient.running:
        return _held_printer(name, (patient.status or {}).get("printers"))

    async def ask() -> Any:
        printer = make()
        try:
            async with asyncio.timeout(PRINTER_S):
                return await printer.status()
        finally:
            await printer.close()

    try:
        status = asyncio.run(ask())
    except TimeoutError:
        return ill(f"printer_{name}", "没有应答", "关机再开打印机，检查连线")
    return _judged(name, status.level, status.reason_zh)


def _held_printer(name: str, shown: dict[str, Any] | None) -> Finding:
    if shown is None:
        return well(f"printer_{name}", "代理在运行，打印机由它独占，未检查")
    if name not in shown:
        fix = "看 drivers 一项；改过设置要重启代理"
        return ill(f"printer_{name}", "正在运行的代理没有使用它", fix)
    return _judged(name, shown[name]["level"], shown[name].get("reason_zh") or "")


def _judged(name: str, level: str, reason_zh: str) -> Finding:
    found = reason_zh or "正常"
    if level in (PrinterLevel.OK, PrinterLevel.WARN):
        return well(f"printer_{name}", found)
    fix = "检查打印机电源、网线、纸和 host / port；型号不应答状态时用 profile = tspl-203-silent"
    return ill(f"printer_{name}", found, fix)


def _scanner(source: str, port: str) -> Finding:
    """`port` is a by-path link, or the kernel's or Bluetooth's own name of the port."""
    name, node = f"scanner_{source}", port
    if not port.startswith("/"):
        node = next((one.node for one in discovery.find([port]) if one.port == port), "")
    if not os.path.exists(node):
        fix = "插好扫描枪，用 edge-agent scanner list 找到路径，写入 [[scanners]] path"
        return ill(name, f"没有设备 {port}", fix)
    is_input = os.path.realpath(node).startswith("/dev/input/")
    if os.access(node, os.R_OK if is_input else os.R_OK | os.W_OK):
        return well(name, f"{port} 可用")
    group = "input" if is_input else "dialout"
    return ill(name, f"没有权限读写 {port}", f"sudo usermod -aG {group} $USER 后重新登录")
