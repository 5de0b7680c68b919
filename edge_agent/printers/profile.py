"""What is known about one kind of printer: data read from `firmware_configs/printers/*.toml`.

Bootstrap turns a profile into a language, a line and a press; this module only checks it.
"""

from __future__ import annotations

import tomllib
from dataclasses import MISSING, dataclass
from dataclasses import fields as dataclass_fields
from pathlib import Path
from typing import Any

from protocols.errors import Rejected

STATUS_KINDS = {
    "tspl": ("byte", "full", "none"),
    "zpl": ("host", "none"),
    "escpos": ("realtime", "paper", "none"),
    "raw": ("none",),
}
"""Language -> the status questions a printer of it may answer."""
RESOLUTIONS = (180, 203, 300, 600)
TIERS = ("device", "simulated", "manual")
"""How sure we are: tried on the device; on our simulated one; only read in the manual."""
ENCODINGS = ("z64", "acs", "hex")


@dataclass(frozen=True, slots=True)
class PrinterProfile:
    """One model or family. Times in seconds, see `SendTimes`; sizes in dots, rows or mm.

    `status`: which question it answers. `source`: the manual. `width_dots`: reach of the print
    head, 0 = not known. `encoding`: ZPL pictures. `strip_rows`, `cut`, `echo`: ESC/POS pictures,
    cutter, process id. `escpos_model`: its name in python-escpos, "" = none.
    """

    name: str
    language: str
    dpi: int
    status: str
    source: str
    tier: str
    connect_s: float
    stall_s: float
    answer_s: float
    finish_s: float
    settle_s: float
    port: int = 9100
    gap_mm: int = 2
    width_dots: int = 0
    encoding: str = "z64"
    strip_rows: int = 128
    cut: bool = True
    echo: bool = True
    pace_ms: int = 0
    escpos_model: str = ""


def read_profile(path: Path) -> PrinterProfile:
    """Load and check one profile. Raises `Rejected` (code `printer_profile`) naming the key."""
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as broken:
        raise _bad(f"读不了打印机配置 {path.name}", "profile") from broken
    fields = {field.name: field for field in dataclass_fields(PrinterProfile)}
    for key in sorted(set(data) - set(fields)):
        raise _bad("不认识的键", key)
    for name, field in fields.items():
        if name in data:
            _check_type(name, data[name], str(field.type))
        elif field.default is MISSING:
            raise _bad("缺少的键", name)
    profile = PrinterProfile(**data)
    _check(profile)
    return profile


def _check_type(key: str, value: Any, kind: str) -> None:
    wanted: Any = {"str": str, "int": int, "bool": bool}.get(kind, (int, float))
    if not isinstance(value, wanted) or (isinstance(value, bool) and kind != "bool"):
        raise _bad("类型不对", key)


def _check(profile: PrinterProfile) -> None:
    one_of = (
        ("language", profile.language in STATUS_KINDS, "不支持的打印机语言"),
        (
            "status",
            profile.status in STATUS_KINDS.get(profile.language, ()),
            "不认识的状态查询方式",
        ),
        ("dpi", profile.dpi in RESOLUTIONS, "不支持的打印精度"),
        ("tier", profile.tier in TIERS, "不认识的支持等级"),
        ("source", bool(profile.source.strip()), "没有写明出处"),
        ("encoding", profile.encoding in ENCODINGS, "不支持的图像编码"),
        ("port", 0 < profile.port < 65_536, "端口超限"),
        ("gap_mm", 0 <= profile.gap_mm <= 25, "标签间隙超限"),
        ("width_dots", 0 <= profile.width_dots <= 2_560, "打印宽度超限"),
        ("strip_rows", 8 <= profile.strip_rows <= 128, "条带高度超限 (8 到 128 行)"),
        ("pace_ms", 0 <= profile.pace_ms <= 1_000, "停顿超限 (0 到 1000 毫秒)"),
    )
    for key, holds, zh in one_of:
        if not holds:
            raise _bad(zh, key)
    for key in ("connect_s", "stall_s", "answer_s", "finish_s", "settle_s"):
        if not 0 < getattr(profile, key) <= 120:
            raise _bad("等待时间超限 (0 到 120 秒)", key)


def _bad(zh: str, field: str) -> Rejected:
    return Rejected("printer_profile", f"打印机配置有误: {zh}", "bad printer profile", field=field)
