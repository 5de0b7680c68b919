"""The way to the core, and the page of this machine."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

from edge_agent.doctor.patient import Finding, Patient, ill, well
from edge_agent.link import BrokerAddress, MqttLink
from edge_agent.ports import Connected

BROKER_S = 8.0
CERT_DAYS_MIN = 14
DAY_MS = 86_400_000
_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


def _password_file(patient: Patient) -> Finding:
    if not patient.password_file:
        return well("password_file", "没有使用密码文件")
    path = Path(patient.password_file)
    if not path.is_file():
        fix = "在云端运行 cloud-core agent add 本机编号 --warehouse 仓库，把显示的密码写进去"
        return ill("password_file", f"没有密码文件 {path}", fix)
    if stat.S_IMODE(path.stat().st_mode) & 0o077:
        return ill("password_file", f"{path} 其他用户可读", f"chmod 600 {path}")
    return well("password_file", "只有属主可读")


def _tls_files(patient: Patient) -> Finding:
    for setting, name in patient.tls_files:
        path = Path(name)
        if not path.is_file():
            return ill("tls_files", f"没有文件 {path}", f"把文件放好，或改设置 {setting}")
        if setting == "mqtt_tls_key_file" and stat.S_IMODE(path.stat().st_mode) & 0o077:
            return ill("tls_files", f"私钥 {path} 其他用户可读", f"chmod 600 {path}")
    return well("tls_files", "证书文件齐全" if patient.tls_files else "没有使用 TLS")


def _tls_dates(patient: Patient) -> Finding:
    """By the agent's own clock, which is never below the floor."""
    now_ms = max(patient.now.wall_ms, patient.floor_ms)
    for setting, name in patient.tls_files:
        if setting == "mqtt_tls_key_file" or not Path(name).is_file():
            continue
        days = (not_after_ms(Path(name)) - now_ms) // DAY_MS
        if days < CERT_DAYS_MIN:
            found = f"{name} 还有 {days} 天到期" if days >= 0 else f"{name} 已过期"
            return ill("tls_dates", found, "向云端申请新证书并替换文件，再重启")
    return well("tls_dates", "证书都在有效期内" if patient.tls_files else "没有使用 TLS")


def not_after_ms(path: Path) -> int:
    """The earliest end of the certificates in a PEM file. Raises `ValueError`."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        context.load_verify_locations(path)
    except ssl.SSLError as error:
        raise ValueError(f"{path} 不是证书文件：{error}") from error
    ends = [str(one["notAfter"]) for one in context.get_ca_certs()] or [_leaf_end(path)]
    return min(int(ssl.cert_time_to_seconds(end)) * 1000 for end in ends)


def _leaf_end(path: Path) -> str:
    """A certificate that is no CA's is not listed by the context; OpenSSL's own reader knows it."""
    found = decoded(path)
    if not found:
        raise ValueError(f"读不出 {path} 的有效期")
    return str(found["notAfter"])


def decoded(path: Path) -> dict[str, Any]:
    """The first certificate of a PEM file as `getpeercert` has it; {} where nothing reads it."""
    decode = getattr(getattr(ssl, "_ssl", None), "_test_decode_cert", None)
    return {} if decode is None else dict(decode(str(path)))


def _broker_name(patient: Patient) -> Finding:
    host = _address(patient).host
    try:
        found = socket.getaddrinfo(host, None)
    except OSError as error:
        return ill(
            "broker_name", f"解析不了 {host}：{error}", "检查 mqtt_host 和 DNS：resolvectl status"
        )
    return well("broker_name", f"{host} 即 {found[0][4][0]}")


def _broker(patient: Patient) -> Finding:
    if patient.password_file and not Path(patient.password_file).is_file():
        return well("broker", "未检查登录：先修好 password_file")
    address = patient.broker()
    where = f"{address.host}:{address.port}"
    try:
        with socket.create_connection((address.host, address.port), timeout=BROKER_S):
            pass
    except OSError as error:
        fix = "检查 mqtt_host / mqtt_port、网线和防火墙；确认代理在运行"
        return ill("broker", f"连不上 {where}：{error}", fix)
    if patient.running:
        # A second login under the same name would push the running agent off the line.
        return well("broker", f"{where} 可达；代理正在运行，不重复登录")
    reason = asyncio.run(_log_in(address))
    if not reason:
        return well("broker", f"{where} 已登录")
    fix = "核对 mqtt_username、密码文件和证书；本机标识须在云端登记"
    return ill("broker", f"{where} 拒绝登录：{reason}", fix)


def _address(patient: Patient) -> BrokerAddress:
    return patient.broker()


async def _log_in(address: BrokerAddress) -> str:
    """Connect once, without a will; "" or why it did not work."""
    link = MqttLink(address)
    try:
        await link.start(lambda: ("", b""))
        async with asyncio.timeout(BROKER_S):
            while link.inbox.empty() and not link.last_error:
                await asyncio.sleep(0.05)
        if link.inbox.empty():
            return link.last_error
        event = link.inbox.get_nowait()
    except TimeoutError:
        return link.last_error or "没有应答"
    finally:
        await link.stop()
    return "" if isinstance(event, Connected) else str(event)


def _core(patient: Patient) -> Finding:
    if not patient.running or patient.status is None:
        return well("core", "代理没有在运行，未检查")
    link = patient.status.get("link") or {}
    if link.get("welcomed"):
        return well("core", "云端已应答")
    if not link.get("connected"):
        return ill("core", "没有连上 MQTT 代理", "看 broker 检查项；断网时作业照常")
    return ill(
        "core", "已连上 MQTT 代理，云端没有应答", "在云端运行 cloud-core doctor，确认本机已登记"
    )


def _storage_open(patient: Patient) -> Finding:
    """What the running agent itself says of its journal."""
    status = patient.status or {}
    closed = status.get("out_of_order") or {}
    journal = status.get("journal") or {}
    fix = "清理磁盘或更换存储卡；恢复后自动继续，不必重启"
    if closed:
        return ill("scans_accepted", f"扫描不接收：{closed.get('reason_zh', '')}", fix)
    if journal.get("failing"):
        return ill("scans_accepted", f"上一次写入失败：{journal['failing']}", fix)
    if journal.get("full"):
        return ill("scans_accepted", "本机存储已满，扫描不接收", fix)
    return well("scans_accepted", "接收扫描" if patient.status else "代理没有在运行，未检查")


def _page(patient: Patient) -> Finding:
    if patient.page is None:
        return well("page", "状态页已关闭")
    host, port = patient.page
    if patient.running:
        if patient.status is not None or port == 0:
            return well("page", f"{host}:{port} 正在使用")
        return ill("page", f"代理在运行，但 {host}:{port} 没有状态页", "换一个 page_port 后重启")
    with contextlib.closing(socket.socket(socket.AF_INET, socket.SOCK_STREAM)) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind((host, port))
        except OSError as error:
            return ill("page", f"{host}:{port} 不能监听：{error}", "换一个 page_port")
    return well("page", f"{host}:{port} 可用")


def _page_names(patient: Patient) -> Finding:
    if patient.page is None or patient.page[0] in _LOOPBACK:
        return well("page_names", "状态页只在本机打开")
    if set(patient.page_names) - _LOOPBACK:
        return well("page_names", "、".join(patient.page_names))
    fix = "在 page_names 里加上本机的 IP 或主机名，否则 PDA 打不开页面"
    return ill("page_names", f"监听 {patient.page[0]}，但只允许 localhost 访问", fix)


CHECKS: tuple[tuple[str, Callable[[Patient], Finding]], ...] = (
    ("password_file", _password_file),
    ("tls_files", _tls_files),
    ("tls_dates", _tls_dates),
    ("broker_name", _broker_name),
    ("broker", _broker),
    ("core", _core),
    ("scans_accepted", _storage_open),
    ("page", _page),
    ("page_names", _page_names),
)
