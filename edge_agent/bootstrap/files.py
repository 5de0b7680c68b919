"""Where the files of `firmware_configs` are found."""

from __future__ import annotations

import importlib
import importlib.resources
from pathlib import Path


def data_file(folder: str, name: str) -> Path:
    """A file shipped in `firmware_configs`, or the path itself when it is one."""
    if "/" in name:
        return Path(name)
    found = importlib.resources.files("firmware_configs") / folder / f"{name}.toml"
    return Path(str(found))
