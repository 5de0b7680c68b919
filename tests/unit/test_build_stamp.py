"""The clock floor's first word: when the program was built, not when it was copied somewhere."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from edge_agent.bootstrap.chance import NEVER_BEFORE_MS, built_ms
from tests.house.tree import ROOT

BUILT_S = 1_795_000_000


def test_the_stamp_is_the_floor_and_a_files_own_time_is_not(tmp_path: Path) -> None:
    stamp = tmp_path / "built_at.txt"
    stamp.write_text(f"{BUILT_S}\n", encoding="ascii")
    os.utime(stamp, (4_000_000_000, 4_000_000_000))  # installed by a clock in 2096
    assert built_ms(stamp) == BUILT_S * 1000


@pytest.mark.parametrize("text", [None, "", "yesterday\n", "12\n"])
def test_without_a_stamp_it_is_the_year_before_which_nothing_was(
    tmp_path: Path, text: str | None
) -> None:
    stamp = tmp_path / "built_at.txt"
    if text is not None:
        stamp.write_text(text, encoding="ascii")
    assert built_ms(stamp) == NEVER_BEFORE_MS


def test_a_build_writes_the_stamp(tmp_path: Path) -> None:
    package = tmp_path / "edge_agent/bootstrap"
    package.mkdir(parents=True)
    for folder in (package, package.parent):
        (folder / "__init__.py").touch()
    shutil.copy(ROOT / "setup.py", tmp_path)
    (tmp_path / "pyproject.toml").write_text(
        '[project]\nname = "small"\nversion = "1"\n'
        '[tool.setuptools.packages.find]\ninclude = ["edge_agent*"]\n',
        encoding="utf-8",
    )
    subprocess.run(
        [sys.executable, "setup.py", "-q", "build_py", "--build-lib", "made"],
        cwd=tmp_path, env={**os.environ, "SOURCE_DATE_EPOCH": str(BUILT_S)}, check=True,
        capture_output=True,
    )  # fmt: skip
    stamp = tmp_path / "made/edge_agent/bootstrap/built_at.txt"
    assert built_ms(stamp) == BUILT_S * 1000
