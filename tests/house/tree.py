"""What the house tests look at: the files git would ship, and the parsed Python modules."""

from __future__ import annotations

import ast
import subprocess
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


@cache
def shipped_files() -> tuple[Path, ...]:
    """Every file that is tracked or about to be, as sorted paths from the root."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    paths = (Path(name) for name in sorted(set(listed.split("\0"))) if name)
    return tuple(path for path in paths if (ROOT / path).is_file())


def with_suffix(*suffixes: str) -> list[Path]:
    """The shipped files whose name ends in one of the suffixes."""
    return [path for path in shipped_files() if path.suffix in suffixes]


@cache
def text_of(path: Path) -> str | None:
    """The text of a shipped file, or None for a binary one."""
    try:
        return (ROOT / path).read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return None


@cache
def module_of(path: Path) -> ast.Module:
    """A shipped Python file, parsed."""
    return ast.parse((ROOT / path).read_text(encoding="utf-8"), filename=str(path))
