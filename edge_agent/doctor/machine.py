"""The box: its clock, memory, power, heat, and the program's own ground."""

from __future__ import annotations

from collections.abc import Callable

from edge_agent.doctor.patient import Finding, Patient, ill, well

MEMORY_FREE_MIN = 96_000_000
TEMPERATURE_C_MAX = 80.0
"""A Pi slows itself down from 80 °C on."""
CLOCK_OFF_MS_MAX = 5_000
SQLITE_MIN = (3, 34, 0)
PYTHON_MIN = (3, 11)


def _clock(patient: Patient) -> Finding:
    below_ms = patient.floor_ms - patient.now.wall_ms
    if below_ms <= 0:
        return well("clock", "时间正常")
    found = f"系统时间至少慢 {below_ms // 60_000} 分钟（作业照常，但 TLS 证书会验不过）"
    fix = "联网校时：sudo timedatectl set-ntp true；不能联网时：sudo edge-agent clock --raise"
    return ill("clock", found, fix)


def _clock_synced(patient: Patient) -> Finding:
    if patient.machine.clock_synced is False:
        fix = "sudo apt install systemd-timesyncd && sudo timedatectl set-ntp true"
        return ill("clock_synced", "系统时间没有与服务器同步", fix)
    return well("clock_synced", "系统时间已同步" if patient.machine.clock_synced else "无法得知")


def _clock_core(patient: Patient) -> Finding:
    off_ms = ((patient.status or {}).get("link") or {}).get("clock_off_ms")
    if off_ms is None:
        return well("clock_core", "还没有与云端对过时")
    found = f"与云端相差 {off_ms / 1000:.1f} 秒"
    if abs(off_ms) <= CLOCK_OFF_MS_MAX:
        return well("clock_core", found)
    return ill("clock_core", found, "检查 NTP：timedatectl；记录会由云端按启动编号改正")


def _memory(patient: Patient) -> Finding:
    free = patient.machine.memory_free_bytes
    found = f"可用内存 {free // 1_000_000} MB"
    if free >= MEMORY_FREE_MIN:
        return well("memory", found)
    return ill("memory", found, "关掉别的程序（systemd-cgtop 查看），或换内存更大的机型")


def _swap(patient: Patient) -> Finding:
    used = patient.machine.swap_used_bytes
    if used == 0:
        return well("swap", "没有使用交换区")
    fix = "sudo systemctl disable --now dphys-swapfile（交换区会磨损存储卡）"
    return ill("swap", f"交换区已用 {used // 1_000_000} MB", fix)


def _power(patient: Patient) -> Finding:
    if not patient.machine.undervolted:
        return well("power", "供电正常")
    return ill(
        "power", "供电电压不足，会损坏存储卡", "换官方电源和短线，扫描枪改接带电源的 USB 集线器"
    )


def _temperature(patient: Patient) -> Finding:
    degrees = patient.machine.temperature_c
    if degrees is None:
        return well("temperature", "无法得知")
    found = f"{degrees:.0f} °C"
    if degrees < TEMPERATURE_C_MAX:
        return well("temperature", found)
    return ill("temperature", found, "加散热片或风扇，不要放在打印机上方")


def _sqlite(patient: Patient) -> Finding:
    found = "SQLite " + ".".join(map(str, patient.machine.sqlite))
    if patient.machine.sqlite >= SQLITE_MIN:
        return well("sqlite", found)
    return ill("sqlite", f"{found} 太旧", "升级到 Debian 12 / Raspberry Pi OS 12 或更新")


def _program(patient: Patient) -> Finding:
    version, bits = patient.machine.python, patient.machine.bits
    found = f"Python {version[0]}.{version[1]}，{bits} 位"
    if version >= PYTHON_MIN and bits == 64:
        return well("program", found)
    return ill("program", found, "安装 64 位系统（Raspberry Pi OS 64-bit），Python 3.11 或更新")


def _rights(patient: Patient) -> Finding:
    if not patient.machine.root:
        return well("rights", "不是以 root 运行")
    if not patient.running:
        return well("rights", "本次检查以 root 运行")
    owner = ((patient.status or {}).get("box") or {}).get("root")
    if not owner:
        return well("rights", "代理不是以 root 运行")
    return ill("rights", "代理以 root 运行", "用 sudo edge-agent install 装成服务，它有自己的用户")


def _start(patient: Patient) -> Finding:
    if patient.safe_zh:
        fix = "修好问题后：edge-agent safe-mode --leave，再 sudo systemctl restart packline-edge"
        return ill("start", patient.safe_zh, fix)
    if patient.unfinished and not patient.running:
        fix = "看原因：journalctl -u packline-edge -n 50"
        return ill("start", f"上 {patient.unfinished} 次启动没有完成", fix)
    return well("start", "启动正常")


CHECKS: tuple[tuple[str, Callable[[Patient], Finding]], ...] = (
    ("clock", _clock),
    ("clock_synced", _clock_synced),
    ("clock_core", _clock_core),
    ("memory", _memory),
    ("swap", _swap),
    ("power", _power),
    ("temperature", _temperature),
    ("sqlite", _sqlite),
    ("program", _program),
    ("rights", _rights),
    ("start", _start),
)
