"""Named checks of an installation, with the fix beside each failure.

Every check is run, one that breaks is a failure of its own. Changes nothing; prints nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import socket
import stat
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from edge_agent.domain.moment import Now
from edge_agent.domain.printer_status import PrinterLevel
from edge_agent.link import BrokerAddress, MqttLink
from edge_agent.ports import Connected, Printer
from protocols.errors import PacklineError, Unavailable

FREE_BYTES_MIN = 500_000_000
WALL_MS_MIN = 1_735_689_600_000  # 2025-01-01: a clock before it was never set
BROKER_S = 8.0


@dataclass(frozen=True, slots=True)
class Patient:
    """What is examined, as plain values and calls that bootstrap supplies."""

    data_dir: Path
    journals: tuple[Path, ...]
    is_whole: Callable[[Path], bool]
    broker: Callable[[], BrokerAddress]
    password_file: str
    page: tuple[str, int] | None
    scanners: tuple[tuple[str, str], ...]
    printers: tuple[tuple[str, Callable[[], Printer]], ...]
    draw: Callable[[], Any]
    now: Now
    running: bool = False
    """The agent runs on this data folder: its line and its page's port are in use, by it."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One check: its stable name, whether it is well, what was found, what to do about it."""

    name: str
    ok: bool
    found_zh: str
    fix_zh: str = ""


def examine(patient: Patient) -> list[Finding]:
    """Run every check. Raises nothing."""
    findings = []
    for name, check in _checks(patient):
        try:
            findings.append(check())
        except (OSError, PacklineError, ValueError) as error:
            told = error.zh if isinstance(error, PacklineError) else str(error)
            findings.append(Finding(name, False, told, "按提示修正设置后再运行 edge-agent doctor"))
    return findings


def _checks(patient: Patient) -> Iterator[tuple[str, Callable[[], Finding]]]:
    yield "clock", partial(_clock, patient)
    yield "data_dir", partial(_data_dir, patient)
    yield "disk_space", partial(_disk_space, patient)
    for path in patient.journals:
        yield f"journal_{path.stem}", partial(_journal, patient, path)
    yield "password_file", partial(_password_file, patient)
    yield "broker", partial(_broker, patient)
    yield "labels", partial(_labels, patient)
    if not patient.printers:
        yield "printers", _no_printer
    for name, make in patient.printers:
        yield f"printer_{name}", partial(_printer, name, make)
    for source, device in patient.scanners:
        yield f"scanner_{source}", partial(_scanner, source, device)
    yield "page", partial(_page, patient)


def _clock(patient: Patient) -> Finding:
    ok = patient.now.wall_ms >= WALL_MS_MIN
    found = "时间正常" if ok else "系统时间早于 2025 年"
    return Finding("clock", ok, found, "" if ok else "联网校时：sudo timedatectl set-ntp true")


def _data_dir(patient: Patient) -> Finding:
    folder = patient.data_dir
    try:
        with tempfile.TemporaryFile(dir=folder if folder.exists() else folder.absolute().parent):
            return Finding("data_dir", True, f"{folder} 可写")
    except OSError as error:
        fix = f"sudo install -d -o $USER {folder}"
        return Finding("data_dir", False, f"{folder} 不可写：{error.strerror}", fix)


def _disk_space(patient: Patient) -> Finding:
    folder = patient.data_dir
    while not folder.exists() and folder != folder.parent:
        folder = folder.absolute().parent
    free = shutil.disk_usage(folder).free
    ok = free >= FREE_BYTES_MIN
    found = f"剩余 {free // 1_000_000} MB"
    return Finding("disk_space", ok, found, "" if ok else "清理磁盘，至少留出 500 MB")


def _journal(patient: Patient, path: Path) -> Finding:
    name = f"journal_{path.stem}"
    if not path.exists():
        return Finding(name, True, "还没有日志文件，首次启动时创建")
    try:
        ok = patient.is_whole(path)
    except Unavailable as error:
        return Finding(name, False, error.zh, "检查文件权限、磁盘空间，以及是否有别的程序占用")
    found = "完好" if ok else f"{path} 已损坏"
    fix = "直接启动即可：损坏的文件会被改名保留，云端随后补发任务；请把改名后的文件交给运维"
    return Finding(name, ok, found, "" if ok else fix)


def _password_file(patient: Patient) -> Finding:
    if not patient.password_file:
        return Finding("password_file", True, "没有使用密码文件")
    path = Path(patient.password_file)
    if not path.is_file():
        fix = "在云端运行 cloud-core agent add 本机编号 --warehouse 仓库，把显示的密码写进去"
        return Finding("password_file", False, f"没有密码文件 {path}", fix)
    ok = not stat.S_IMODE(path.stat().st_mode) & 0o077
    found = "只有属主可读" if ok else f"{path} 其他用户可读"
    return Finding("password_file", ok, found, "" if ok else f"chmod 600 {path}")


def _broker(patient: Patient) -> Finding:
    address = patient.broker()
    where = f"{address.host}:{address.port}"
    try:
        with socket.create_connection((address.host, address.port), timeout=BROKER_S):
            pass
    except OSError as error:
        fix = "检查 mqtt_host / mqtt_port、网线和防火墙；确认代理在运行"
        return Finding("broker", False, f"连不上 {where}：{error}", fix)
    if patient.running:
        # A second login under the same name would push the running agent off the line.
        return Finding("broker", True, f"{where} 可达；代理正在运行，不重复登录")
    reason = asyncio.run(_log_in(address))
    fix = "核对 mqtt_username、密码文件和证书；本机标识须在云端登记"
    found = f"{where} 已登录" if not reason else f"{where} 拒绝登录：{reason}"
    return Finding("broker", not reason, found, "" if not reason else fix)


async def _log_in(address: BrokerAddress) -> str:
    """Connect once, without a will; "" or why it did not work."""
    link = MqttLink(address)
    try:
        await link.start(lambda: ("", b""))
        async with asyncio.timeout(BROKER_S):
            event = await link.inbox.get()
    except TimeoutError:
        return link.last_error or "没有应答"
    finally:
        await link.stop()
    return "" if isinstance(event, Connected) else str(event)


def _labels(patient: Patient) -> Finding:
    patient.draw()
    return Finding("labels", True, "字体和面单模板可用")


def _no_printer() -> Finding:
    return Finding("printers", False, "没有设置打印机", "在设置文件里添加 [[printers]]")


def _printer(name: str, make: Callable[[], Printer]) -> Finding:
    async def ask() -> Any:
        printer = make()
        try:
            return await printer.status()
        finally:
            await printer.close()

    status = asyncio.run(ask())
    ok = status.level in (PrinterLevel.OK, PrinterLevel.WARN)
    found = status.reason_zh or "正常"
    fix = "检查打印机电源、网线、纸和 host / port；型号不应答状态时用 profile = tspl-203-silent"
    return Finding(f"printer_{name}", ok, found, "" if ok else fix)


def _scanner(source: str, device: str) -> Finding:
    name = f"scanner_{source}"
    if not os.path.exists(device):
        fix = "插好扫描枪，用 ls /dev/serial/by-path 找到路径，写入 [[scanners]] path"
        return Finding(name, False, f"没有设备 {device}", fix)
    ok = os.access(device, os.R_OK | os.W_OK)
    found = f"{device} 可用" if ok else f"没有权限读写 {device}"
    return Finding(name, ok, found, "" if ok else "sudo usermod -aG dialout $USER 后重新登录")


def _page(patient: Patient) -> Finding:
    if patient.page is None:
        return Finding("page", True, "状态页已关闭")
    host, port = patient.page
    with contextlib.closing(socket.socket(socket.AF_INET, socket.SOCK_STREAM)) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind((host, port))
        except OSError as error:
            if patient.running:
                return Finding("page", True, f"{host}:{port} 正在使用")
            return Finding("page", False, f"{host}:{port} 不能监听：{error}", "换一个 page_port")
    return Finding("page", True, f"{host}:{port} 可用")
