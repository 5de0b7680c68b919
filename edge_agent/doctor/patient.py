"""What is examined, as plain values and calls that bootstrap supplies, and what is found."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edge_agent.domain.moment import Now
from edge_agent.link import BrokerAddress
from edge_agent.ports import Printer


@dataclass(frozen=True, slots=True)
class Finding:
    """One check: its stable name, whether it is well, what was found, what to do about it."""

    name: str
    ok: bool
    found_zh: str
    fix_zh: str = ""


Check = Callable[[], Finding]


@dataclass(frozen=True, slots=True)
class Machine:
    """The box under the program, as the kernel tells it."""

    free_bytes: int
    free_inodes: int
    file_system: str
    read_only: bool
    memory_free_bytes: int
    undervolted: bool
    temperature_c: float | None
    sqlite: tuple[int, int, int]
    python: tuple[int, int]
    bits: int
    groups: frozenset[str]
    root: bool
    clock_synced: bool | None
    """Whether the kernel's clock follows a server; None = it does not tell."""
    swap_used_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Door:
    """The handhelds' page as it is set; `operators` counts who may sign in, or raises."""

    host: str
    port: int
    names: tuple[str, ...]
    cert_file: str
    key_file: str
    operators: Callable[[], int]


@dataclass(frozen=True, slots=True)
class Patient:
    """One installation. `status` is what the running agent shows of itself, None if it is not."""

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
    machine: Machine
    running: bool = False
    """The agent runs on this data folder: its line and its page's port are in use, by it."""
    status: dict[str, Any] | None = None
    pda: Door | None = None
    page_names: tuple[str, ...] = ()
    tls_files: tuple[tuple[str, str], ...] = ()
    """(setting, path) of the certificate files that are set."""
    stations: tuple[str, ...] = ()
    profiles: tuple[tuple[str, Callable[[], Any]], ...] = ()
    floor_ms: int = 0
    """No clock before this moment is right."""
    safe_zh: str = ""
    """Why the next start would be a safe one, "" if it would not."""
    unfinished: int = 0
    quota_bytes: int = 4_000_000_000
    unsent: Callable[[Path], tuple[int, int]] = field(default=lambda path: (0, 0))
    """(rows the core does not hold, wall ms of the oldest) of a journal file."""


def well(name: str, found_zh: str) -> Finding:
    """Nothing to do."""
    return Finding(name, True, found_zh)


def ill(name: str, found_zh: str, fix_zh: str) -> Finding:
    """Something to do."""
    return Finding(name, False, found_zh, fix_zh)
