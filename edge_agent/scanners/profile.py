"""What is known of one kind of scanner: data read from `firmware_configs/scanners/*.toml`.

Bootstrap turns a profile into the rules of a reader; this module only checks it. The set-up steps
are for people: `edge-agent scanner sheet` prints them with a code that shows whether all is well.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from dataclasses import fields as dataclass_fields
from pathlib import Path
from typing import Any

from edge_agent.domain.scan_framing import SUFFIXES
from protocols.errors import Rejected

KINDS = ("serial", "hid")
TIERS = ("generic", "manual", "bench")
"""How far it is known: any scanner of the kind; its vendor's manual; tried on a real one."""
HID_SUFFIXES = ("any", "ENTER", "KP_ENTER", "TAB", "DOWN", "NONE")
SETUP_STEPS_MAX = 16


@dataclass(frozen=True, slots=True)
class SetupStep:
    """One line of the set-up sheet: what to set, why, and the words to look for in the manual.

    Set-up codes themselves are the vendor's (Code 128 with FNC3, or a format of its own): they are
    scanned from its manual. We print none that we have not seen work.
    """

    what_zh: str
    why_zh: str
    look_for: str


@dataclass(frozen=True, slots=True)
class ScannerProfile:
    """`suffix`: what ends a code ("any": every usual one; "NONE": quiet time).

    `aim_ids`: it sends the AIM id before each code, without which GS1 is not read. `baud` of a
    serial port, ignored by USB CDC. `source`: the manual all this is from.
    """

    name: str
    kind: str
    tier: str
    source: str
    suffix: str
    prefix: str
    idle_ms: int
    aim_ids: bool
    note_zh: str
    baud: int = 115_200
    setup: tuple[SetupStep, ...] = ()


def read_profile(path: Path) -> ScannerProfile:
    """Load and check one profile. Raises `Rejected` (code `scanner_profile`) naming the key."""
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as broken:
        raise _bad(f"读不了扫描枪配置 {path.name}", "profile") from broken
    setup = data.pop("setup", [])
    _check_keys(data, ScannerProfile, "", {"baud", "setup"})
    if not isinstance(setup, list) or len(setup) > SETUP_STEPS_MAX:
        raise _bad(f"设置步骤最多 {SETUP_STEPS_MAX} 个", "setup")
    for number, one in enumerate(setup):
        _check_keys(one, SetupStep, f"setup[{number}].", set())
    return checked(ScannerProfile(**data, setup=tuple(SetupStep(**one) for one in setup)))


def _check_keys(data: Any, wanted: type, where: str, optional: set[str]) -> None:
    """Every key known and of its type, every needed one there."""
    if not isinstance(data, dict):
        raise _bad("应为一张表", where.rstrip(".") or "profile")
    kinds = {field.name: str(field.type) for field in dataclass_fields(wanted)}
    for key in sorted(set(data) ^ set(kinds)):
        if key not in kinds:
            raise _bad("不认识的键", where + key)
        if key not in optional:
            raise _bad("缺少的键", where + key)
    for key, value in data.items():
        if type(value).__name__ != kinds[key]:
            raise _bad("类型不对", where + key)


def checked(profile: ScannerProfile) -> ScannerProfile:
    """The profile itself. Raises `Rejected` (code `scanner_profile`) naming the key that is off."""
    if profile.kind not in KINDS:
        raise _bad("不支持的接口", "kind")
    if profile.tier not in TIERS:
        raise _bad("不认识的支持级别", "tier")
    suffixes = tuple(SUFFIXES) if profile.kind == "serial" else HID_SUFFIXES
    if profile.suffix not in suffixes:
        raise _bad(f"后缀只能是 {', '.join(suffixes)}", "suffix")
    if len(profile.prefix) > 8:
        raise _bad("前缀最多 8 个字符", "prefix")
    if not 20 <= profile.idle_ms <= 5_000:
        raise _bad("静默时间超限 (20 到 5000 毫秒)", "idle_ms")
    if not 300 <= profile.baud <= 921_600:
        raise _bad("波特率超限", "baud")
    return profile


def _bad(zh: str, field: str) -> Rejected:
    return Rejected("scanner_profile", f"扫描枪配置有误: {zh}", "bad scanner profile", field=field)
