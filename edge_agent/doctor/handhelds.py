"""The handhelds' page: whether a device in the aisle reaches it, trusts it, and signs in."""

from __future__ import annotations

import contextlib
import http.client
import os
import socket
import ssl
import stat
from collections.abc import Callable
from pathlib import Path

from edge_agent.doctor.line import CERT_DAYS_MIN, DAY_MS, decoded, not_after_ms
from edge_agent.doctor.patient import Door, Finding, Patient, ill, well

ANSWER_S = 5.0
_OFF_ZH = "没有开启 PDA 页面"


def _page(patient: Patient) -> Finding:
    door = patient.pda
    if door is None:
        return well("pda_page", _OFF_ZH)
    url = f"{'https' if door.cert_file else 'http'}://{door.names[0]}:{door.port}/pda"
    if door.port == 0:
        return ill("pda_page", "pda_port = 0：每次启动端口都不同，配对过的 PDA 打不开", "写 8091")
    if patient.running:
        return _asked(door, url)
    if wrong := _cannot_listen(door.host, door.port):
        return ill("pda_page", f"{door.host}:{door.port} 不能监听：{wrong}", "换一个 pda_port")
    if wrong := _not_ours(door.names[0]):
        fix = "把 pda_names 第一个写成本机在仓库 Wi-Fi 里的固定 IP：ip -4 addr"
        return ill("pda_page", f"二维码里的 {door.names[0]} 不是本机：{wrong}", fix)
    return well("pda_page", f"{url} 可用；代理没有在运行，未打开")


def _asked(door: Door, url: str) -> Finding:
    """As a handheld asks: by the name that stands in the QR code."""
    status, wrong = _status_of(door)
    if status == 200:
        return well("pda_page", f"{url} 打得开")
    if status:
        fix = "改过 pda_names 或证书要重启代理：sudo systemctl restart packline-edge"
        return ill("pda_page", f"{url} 应答 {status}", fix)
    fix = "核对 pda_names（ip -4 addr）、pda_host 和防火墙；端口被占就换 pda_port；改后重启代理"
    return ill("pda_page", f"{url} 打不开：{wrong}", fix)


def _status_of(door: Door) -> tuple[int, str]:
    """(HTTP status, "") or (0, why not). What the certificate says is a check of its own."""
    name = door.names[0]
    if door.cert_file:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        asking: http.client.HTTPConnection = http.client.HTTPSConnection(
            name, door.port, timeout=ANSWER_S, context=context
        )
    else:
        asking = http.client.HTTPConnection(name, door.port, timeout=ANSWER_S)
    with contextlib.closing(asking):
        try:
            asking.request("GET", "/pda")
            return asking.getresponse().status, ""
        except (OSError, http.client.HTTPException) as error:
            return 0, str(error) or type(error).__name__


def _cannot_listen(host: str, port: int) -> str:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with contextlib.closing(socket.socket(family, socket.SOCK_STREAM)) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind((host, port))
        except OSError as error:
            return str(error)
    return ""


def _not_ours(name: str) -> str:
    """Why a name does not lead to this machine, "" if it does: only own addresses can be bound."""
    try:
        family, kind, _, _, address = socket.getaddrinfo(name, 0, type=socket.SOCK_DGRAM)[0]
        with contextlib.closing(socket.socket(family, kind)) as sock:
            sock.bind(address)
    except OSError as error:
        return str(error)
    return ""


def _tls(patient: Patient) -> Finding:
    """By the agent's own clock, as `tls_dates`."""
    door = patient.pda
    if door is None or not door.cert_file:
        return well("pda_tls", _OFF_ZH if door is None else "PDA 页面没有使用 TLS")
    for path in (Path(door.cert_file), Path(door.key_file)):
        if not os.access(path, os.R_OK):
            return ill("pda_tls", f"读不到 {path}", "把文件放好，让代理的用户能读")
    if stat.S_IMODE(Path(door.key_file).stat().st_mode) & 0o007:
        return ill("pda_tls", f"私钥 {door.key_file} 其他用户可读", f"chmod o= {door.key_file}")
    fix = "换一对新的证书和私钥，再重启代理"
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(
            door.cert_file,
            door.key_file,
            password=str,  # an encrypted key: no, not a prompt
        )
    except ssl.SSLError as error:
        return ill("pda_tls", f"证书和私钥不能用：{error}", fix)
    now_ms = max(patient.now.wall_ms, patient.floor_ms)
    days = (not_after_ms(Path(door.cert_file)) - now_ms) // DAY_MS
    if days < CERT_DAYS_MIN:
        found = f"还有 {days} 天到期" if days >= 0 else "已过期"
        return ill("pda_tls", f"{door.cert_file} {found}", fix)
    named = [value for _, value in (decoded(Path(door.cert_file)).get("subjectAltName") or ())]
    if named and not {door.names[0], f"*.{door.names[0].partition('.')[2]}"} & set(named):
        found = f"证书写给 {'、'.join(named)}，不是 {door.names[0]}"
        return ill("pda_tls", found, "按 pda_names 第一个名称签发证书，否则 PDA 浏览器不放行")
    return well("pda_tls", "证书和私钥可用")


def _operators(patient: Patient) -> Finding:
    if patient.pda is None:
        return well("pda_operators", _OFF_ZH)
    if count := patient.pda.operators():
        return well("pda_operators", f"{count} 个工号")
    return ill("pda_operators", "还没有工号，没有人能登录 PDA", "edge-agent operator set 工号")


CHECKS: tuple[tuple[str, Callable[[Patient], Finding]], ...] = (
    ("pda_page", _page),
    ("pda_tls", _tls),
    ("pda_operators", _operators),
)
