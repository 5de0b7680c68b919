"""What is known about one kind of printer: data read from `firmware_configs/printers/*.toml`.

Bootstrap turns a profile into a language and a transport; this module only checks it.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from dataclasses import fields as dataclass_fields
from pathlib import Path

from protocols.errors import Rejected

LANGUAGES = ("tspl",)
STATUS_KINDS = ("byte", "full", "none")
RESOLUTIONS = (203, 300, 600)


@dataclass(frozen=True, slots=True)
class PrinterProfile:
    """`status`: which question the printer answers. Times in seconds, see `TcpTimes`."""

    name: str
    language: str
    dpi: int
    port: int
    status: str
    gap_mm: int
    connect_s: float
    stall_s: float
    answer_s: float
    finish_s: float
    settle_s: float


def read_profile(path: Path) -> PrinterProfile:
    """Load and check one profile. Raises `Rejected` (code `printer_profile`) naming the key."""
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as broken:
        raise _bad(f"读不了打印机配置 {path.name}", "profile") from broken
    kinds = {field.name: str(field.type) for field in dataclass_fields(PrinterProfile)}
    for key in sorted(set(data) ^ set(kinds)):
        raise _bad("缺少的键" if key in kinds else "不认识的键", key)
    for key, kind in kinds.items():
        wanted = {"str": str, "int": int}.get(kind, (int, float))
        if not isinstance(data[key], wanted) or isinstance(data[key], bool):
            raise _bad("类型不对", key)
    profile = PrinterProfile(**data)
    _check(profile)
    return profile


def _check(profile: PrinterProfile) -> None:
    if profile.language not in LANGUAGES:
        raise _bad("不支持的打印机语言", "language")
    if profile.status not in STATUS_KINDS:
        raise _bad("不认识的状态查询方式", "status")
    if profile.dpi not in RESOLUTIONS:
        raise _bad("不支持的打印精度", "dpi")
    if not 0 < profile.port < 65_536:
        raise _bad("端口超限", "port")
    if not 0 <= profile.gap_mm <= 25:
        raise _bad("标签间隙超限", "gap_mm")
    for key in ("connect_s", "stall_s", "answer_s", "finish_s", "settle_s"):
        if not 0 < getattr(profile, key) <= 120:
            raise _bad("等待时间超限 (0 到 120 秒)", key)


def _bad(zh: str, field: str) -> Rejected:
    return Rejected("printer_profile", f"打印机配置有误: {zh}", "bad printer profile", field=field)
