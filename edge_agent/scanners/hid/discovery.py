"""Finds keyboard-style devices and says at which port each is plugged in, without opening any.

A port is the `by-path` link of the device, else `phys:` and the kernel's physical path, or for
Bluetooth `uniq:` and the device's own address. Names and vendor numbers identify nothing: two
scanners of one model carry the same. Reads sysfs; a FIFO named in the settings is its own port.
"""

from __future__ import annotations

import contextlib
import os
import socket
import stat
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

_BUS_BLUETOOTH = 0x05
_NEEDED_KEYS = (*range(2, 12), 28, 30)
"""Digits, Enter and A: what a scanner types with; a power button has none of them."""
_NETLINK_KOBJECT_UEVENT = 15
_KERNEL_AND_UDEV = 3
"""Multicast groups: 1 from the kernel, 2 from udev when its links are in place."""


@dataclass(frozen=True, slots=True)
class Plugged:
    """A device that is there. `plugging` changes when it is pulled out and put back."""

    port: str
    node: str
    name: str
    plugging: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Roots:
    """Where the kernel shows its input devices; tests have a tree of their own."""

    dev: Path = Path("/dev/input")
    sys: Path = Path("/sys/class/input")


def find(listed: Iterable[str], roots: Roots | None = None) -> list[Plugged]:
    """Every keyboard-style device and every listed FIFO, by port; one device a port.

    A device whose `by-path` link, `phys:` or `uniq:` is `listed` has that spelling as its port.
    """
    roots = roots or Roots()
    wanted = tuple(listed)
    found: dict[str, Plugged] = {}
    links = _links(roots.dev / "by-path")
    for folder in sorted(roots.sys.glob("event*")):
        node = roots.dev / folder.name
        if not _is_keyboard(folder):
            continue
        names = _ports(folder, links.get(os.path.realpath(node), ""))
        port = next((name for name in names if name in wanted), names[0] if names else "")
        plugged = _plugged(port, node, _text(folder / "device" / "name"))
        if port and plugged is not None:
            found.setdefault(port, plugged)
    for port in wanted:
        fifo = None if port in found else _fifo(port)
        if fifo is not None:
            found[port] = fifo
    return list(found.values())


def open_uevents() -> socket.socket | None:
    """A socket that becomes readable when something is plugged in or out, None if not allowed."""
    with contextlib.suppress(OSError, AttributeError):
        news = socket.socket(
            socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, _NETLINK_KOBJECT_UEVENT
        )
        news.bind((0, _KERNEL_AND_UDEV))
        return news
    return None


def _ports(folder: Path, link: str) -> list[str]:
    """The names of the port a device is at, the best first."""
    phys, uniq = _text(folder / "device" / "phys"), _text(folder / "device" / "uniq")
    names = [link] if link else []
    if _number(folder / "device" / "id" / "bustype") == _BUS_BLUETOOTH and uniq:
        names.insert(0, f"uniq:{uniq}")  # `phys` is the adapter of this machine there
    elif phys:
        names.append(f"phys:{phys}")
    return names


def _links(folder: Path) -> dict[str, str]:
    """Real node -> its by-path link."""
    try:
        entries = sorted(folder.iterdir())
    except OSError:
        return {}
    return {os.path.realpath(link): str(link) for link in entries}


def _is_keyboard(folder: Path) -> bool:
    """`capabilities/key` is a bit map in words of a long, highest first (drivers/input/input.c)."""
    words = _text(folder / "device" / "capabilities" / "key").split()
    bits, width = 0, struct.calcsize("@l") * 8
    try:
        for word in words:
            bits = bits << width | int(word, 16)
    except ValueError:
        return False
    return all(bits >> key & 1 for key in _NEEDED_KEYS)


def _fifo(path: str) -> Plugged | None:
    if not path.startswith("/"):
        return None
    try:
        is_fifo = stat.S_ISFIFO(os.stat(path).st_mode)
    except OSError:
        return None
    return _plugged(path, Path(path), "fifo") if is_fifo else None


def _plugged(port: str, node: Path, name: str) -> Plugged | None:
    try:
        seen = os.stat(node)
    except OSError:
        return None  # gone between two looks
    return Plugged(port, str(node), name, (seen.st_ino, seen.st_rdev))


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""


def _number(file: Path) -> int:
    try:
        return int(_text(file), 16)
    except ValueError:
        return 0
