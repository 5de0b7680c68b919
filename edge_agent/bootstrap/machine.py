"""What the kernel tells of the machine the agent runs on, for the doctor and the support bundle."""

from __future__ import annotations

import contextlib
import grp
import os
import sqlite3
import struct
import sys
from pathlib import Path

from edge_agent.doctor import Machine

_STA_UNSYNC = 0x0040
"""adjtimex(2): the kernel's clock follows no server."""
_TIMEX_BYTES = 512
_TIMEX_STATUS_AT = 5 * struct.calcsize("l")


def examined_machine(folder: Path) -> Machine:
    """The facts about this machine; `folder` is where the journals are or will be."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.absolute().parent
    room = os.statvfs(folder)
    memory = _memory()
    return Machine(
        free_bytes=room.f_bavail * room.f_frsize,
        # File systems without a fixed number of inodes tell 0 of 0.
        free_inodes=room.f_favail if room.f_files else 1 << 30,
        file_system=_file_system(folder),
        read_only=bool(room.f_flag & os.ST_RDONLY),
        memory_free_bytes=memory.get("MemAvailable", 1 << 40),
        undervolted=_undervolted(),
        temperature_c=_temperature(),
        sqlite=sqlite3.sqlite_version_info,
        python=(sys.version_info.major, sys.version_info.minor),
        bits=struct.calcsize("P") * 8,
        groups=_groups(),
        root=os.geteuid() == 0,
        clock_synced=_clock_synced(),
        swap_used_bytes=memory.get("SwapTotal", 0) - memory.get("SwapFree", 0),
    )


def _memory() -> dict[str, int]:
    found: dict[str, int] = {}
    for line in _text("/proc/meminfo").splitlines():
        name, _, rest = line.partition(":")
        words = rest.split()
        if words and words[0].isdigit():
            found[name] = int(words[0]) * 1024
    return found


def _file_system(folder: Path) -> str:
    """The kind of the file system that holds `folder` (proc(5), mounts: the longest prefix)."""
    best, kind = "", ""
    place = str(folder.resolve())
    for line in _text("/proc/self/mounts").splitlines():
        words = line.split()
        if len(words) < 3:
            continue
        point = words[1].replace("\\040", " ").rstrip("/")
        if (place == point or place.startswith(f"{point}/")) and len(point) >= len(best):
            best, kind = point, words[2]
    return kind


def _undervolted() -> bool:
    """The Pi's firmware raises this alarm below 4.63 V (kernel driver raspberrypi-hwmon)."""
    alarms = Path("/sys/class/hwmon").glob("hwmon*/in0_lcrit_alarm")
    return any(_text(str(path)).strip() == "1" for path in alarms)


def _temperature() -> float | None:
    found = _text("/sys/class/thermal/thermal_zone0/temp").strip()
    return int(found) / 1000 if found.lstrip("-").isdigit() else None


def _groups() -> frozenset[str]:
    names = set()
    for number in {*os.getgroups(), os.getegid()}:
        with contextlib.suppress(KeyError):
            names.add(grp.getgrgid(number).gr_name)
    return frozenset(names)


def _clock_synced() -> bool | None:
    """adjtimex(2) with nothing to change needs no right; None where it cannot be called."""
    import ctypes  # makes a page that is writable and executable, which a hardened agent may not

    try:
        buffer = ctypes.create_string_buffer(_TIMEX_BYTES)
        if ctypes.CDLL(None, use_errno=True).adjtimex(buffer) < 0:
            return None
    except (OSError, AttributeError):
        return None
    (status,) = struct.unpack_from("i", buffer.raw, _TIMEX_STATUS_AT)
    return not status & _STA_UNSYNC


def _text(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
