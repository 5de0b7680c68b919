"""The core as its own process, for benchmarks: `cloud-core serve` with settings from a file.

`python -m benchmarks.serve_core CONFIG.toml READY` writes the HTTP address to READY once it
listens.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

import msgspec

from benchmarks.core_bed import CoreBed
from cloud_core import bootstrap, logs, settings
from virtual_warehouse.processes import Program


async def started(bed: CoreBed, name: str = "core") -> tuple[Program, str]:
    """Start the core of a bed; the program and its HTTP address once it listens."""
    folder = bed.settings.data_path
    config, ready = folder / "core.toml", folder / "ready"
    config.write_text(_toml(bed.settings), encoding="utf-8")
    ready.unlink(missing_ok=True)
    program = Program(
        name,
        [sys.executable, "-m", "benchmarks.serve_core", str(config), str(ready)],
        folder / "core.log",
    )

    async def well() -> bool:
        return ready.exists() and ready.read_text().endswith("\n")

    program.start()
    await program.wait_until(well)
    return program, ready.read_text().strip()


def main() -> None:
    """Serve until a signal."""
    config, ready = Path(sys.argv[1]), Path(sys.argv[2])
    chosen = settings.load(config, {})
    logs.set_up(chosen.log_level, chosen.log_format)
    asyncio.run(bootstrap.serve(chosen, lambda url: _note(ready, url)))


def _toml(chosen: settings.Settings) -> str:
    """Strings, numbers and truth values look the same in TOML as in JSON."""
    values = msgspec.to_builtins(chosen)
    return "".join(f"{name} = {json.dumps(value)}\n" for name, value in values.items())


def _note(ready: Path, url: str) -> None:
    ready.write_text(url + "\n", encoding="ascii")


if __name__ == "__main__":
    main()
