"""Gathers what goes into the support bundle; a part that cannot be read says why."""

from __future__ import annotations

import platform
import subprocess
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import msgspec

from edge_agent import bundle, doctor
from edge_agent.bootstrap import starts
from edge_agent.bootstrap.asking import running_status
from edge_agent.bootstrap.chance import SystemClock
from edge_agent.bootstrap.examined import examined
from edge_agent.bootstrap.journals import journal_path
from edge_agent.bootstrap.machine import examined_machine
from edge_agent.bootstrap.serving import VERSION
from edge_agent.journal import inspect
from edge_agent.settings import Settings
from protocols.errors import PacklineError
from protocols.topics import STREAMS

EVENTS_MAX = 2_000
LOG_S_MAX = 10.0
UNIT = "packline-edge"


def support_bundle(settings: Settings, log_lines: list[str] | None = None) -> bytes:
    """The bundle as bytes. `log_lines` stands in for the system's log."""
    now = SystemClock().now()
    parts: dict[str, Any] = {
        "doctor": _part(lambda: bundle.findings_part(doctor.examine(examined(settings)))),
        "settings": bundle.settings_part(msgspec.to_builtins(settings)),
        "status": _part(lambda: bundle.status_part(running_status(settings) or {})),
        "machine": _part(lambda: _machine(settings)),
        "starts": msgspec.to_builtins(starts.read(settings.data_path)),
        "files": _part(lambda: _files(settings.data_path)),
        "log": bundle.log_part(_log() if log_lines is None else log_lines),
    }
    for stream in STREAMS:
        path = journal_path(settings, stream)
        parts[f"journal_{stream}"] = _part(lambda path=path: _journal(path))  # type: ignore[misc]
        parts[f"chain_{stream}"] = _part(
            lambda path=path, stream=stream: [  # type: ignore[misc]
                asdict(one) for one in inspect.verify(path, settings.agent, stream)
            ]
        )
    return bundle.packed(parts, now.wall_ms // 1000)


def _part(read: Callable[[], Any]) -> Any:
    try:
        return read()
    except PacklineError as error:
        return {"missing": error.code}
    except (OSError, ValueError) as error:
        return {"missing": type(error).__name__}


def _machine(settings: Settings) -> dict[str, Any]:
    facts = asdict(examined_machine(settings.data_path))
    facts["groups"] = sorted(facts["groups"])
    return {**facts, "version": VERSION, "kernel": platform.release(),
            "architecture": platform.machine()}  # fmt: skip


def _files(folder: Path) -> list[dict[str, Any]]:
    return [
        {
            "name": bundle.sieve(path.name),
            "bytes": path.stat().st_size,
            "changed_s": int(path.stat().st_mtime),
        }
        for path in sorted(folder.iterdir())
    ]


def _journal(path: Path) -> dict[str, Any]:
    shown = {"tables": inspect.tables(path),
             "events": bundle.events_part(inspect.newest_rows(path, EVENTS_MAX))}  # fmt: skip
    return shown | ({"epochs": inspect.overview(path)} if path.stem == "floor" else {})


def _log() -> list[str]:
    """The service's newest log lines; none where there is no service manager."""
    command = ["journalctl", "-u", UNIT, "-n", "2000", "-o", "short-iso", "--no-pager", "-q"]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=LOG_S_MAX, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return []
    return done.stdout.splitlines()
