"""What must be true before anything is changed; each failure says its fix."""

from __future__ import annotations

import os
import re
import shutil
import struct
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path

from installation.machine import Machine
from installation.program import Program, Source
from protocols.errors import Rejected

PYTHON_LEAST = (3, 11)
SYSTEMD_LEAST = 250
FREE_BYTES_LEAST = 700_000_000
"""A slot with the label fonts takes 250 MB; two slots and pip's scratch must fit."""


def check(machine: Machine, program: Program, source: Source) -> None:
    """Raises `Rejected("install_…")` with the fix for the first thing that is missing."""
    if os.geteuid() != 0 and machine.root == Path("/") and not machine.dry:
        raise _no("install_root", "需要 root 权限", "sudo", "must be run as root")
    if sys.version_info < PYTHON_LEAST:
        raise _no("install_python", f"Python 太旧：{sys.version.split()[0]}",
                  "apt-get install python3 (Debian 12)", "python is older than 3.11")  # fmt: skip
    if struct.calcsize("P") != 8:
        raise _no("install_64bit", "32 位系统没有现成的软件包", "64-bit Debian 12",
                  "a 32-bit system has no prebuilt packages")  # fmt: skip
    if not _importable("ensurepip") or not _importable("venv"):
        raise _no("install_venv", "缺少 python3-venv", "apt-get install python3-venv",
                  "ensurepip is missing")  # fmt: skip
    _check_systemd(machine)
    free = shutil.disk_usage(_existing(machine.at("/opt"))).free
    if free < FREE_BYTES_LEAST:
        raise _no("install_space", f"/opt 只剩 {free // 1_000_000} MB", "至少留出 700 MB",
                  "less than 700 MB free in /opt")  # fmt: skip
    _check_source(program, source)


def _check_systemd(machine: Machine) -> None:
    if machine.dry:
        return
    found = re.search(r"systemd (\d+)", machine.run(["systemctl", "--version"]))
    if found is None or int(found[1]) < SYSTEMD_LEAST:
        raise _no("install_systemd", "systemd 版本低于 250", "Debian 12 (bookworm)",
                  "systemd is older than 250")  # fmt: skip


def _check_source(program: Program, source: Source) -> None:
    if source.wheelhouse is not None:
        listed = source.wheelhouse / requirements_name(program)
        if not listed.is_file():
            raise _no("install_wheelhouse", f"{source.wheelhouse} 里没有 {listed.name}",
                      f"tools/wheelhouse {program.key} FOLDER", f"no {listed.name}",
                      "wheelhouse")  # fmt: skip
        return
    if source.wheel is None or not source.wheel.is_file():
        raise _no("install_source", "没有软件包来源",
                  "先 tools/wheelhouse，再加 --wheelhouse 目录（或 --wheel 文件）",
                  "neither a wheelhouse nor a wheel", "wheel")  # fmt: skip
    missing = [what for what, found in compiler_parts().items() if not found()]
    if "hid" in program.extras and missing:
        parts = ", ".join(missing)
        raise _no("install_compiler", f"扫描枪驱动 evdev 要在本机编译，缺少：{parts}",
                  "apt-get install gcc python3-dev linux-libc-dev，或使用带 evdev 的 wheelhouse",
                  f"evdev must be compiled here; missing: {parts}")  # fmt: skip


def compiler_parts() -> dict[str, Callable[[], bool]]:
    """What compiling evdev needs, and how each is found."""
    headers = Path(sysconfig.get_paths()["include"])
    return {
        "gcc": lambda: shutil.which("gcc") is not None or shutil.which("cc") is not None,
        "Python.h": lambda: (headers / "Python.h").is_file(),
        "linux/input.h": lambda: Path("/usr/include/linux/input.h").is_file(),
    }


def requirements_name(program: Program) -> str:
    """The hashed list of a wheelhouse."""
    return f"requirements-{program.key}.txt"


def _importable(name: str) -> bool:
    from importlib.util import find_spec

    return find_spec(name) is not None


def _existing(path: Path) -> Path:
    while not path.exists():
        path = path.parent
    return path


def _no(code: str, zh: str, fix: str, en: str, field: str = "") -> Rejected:
    return Rejected(code, f"{zh}\n    → {fix}", f"{en}; fix: {fix}", field=field)
