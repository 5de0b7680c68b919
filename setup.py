"""Stamps the wheel with the time it is built at; everything else stands in `pyproject.toml`.

The agent's clock is never before that time. The installed files' own times would not do: they are
those of the target's clock, which may be wrong in either direction.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py


class StampedBuild(build_py):
    """`build_py`, and the second of the build beside `edge_agent.bootstrap.chance`."""

    def run(self) -> None:
        super().run()
        if self.editable_mode:  # a checkout is used in place and gets no stamp
            return
        built = os.environ.get("SOURCE_DATE_EPOCH") or str(int(time.time()))  # noqa: TID251
        stamp = Path(self.build_lib, "edge_agent", "bootstrap", "built_at.txt")
        stamp.write_text(f"{int(built)}\n", encoding="ascii")


setup(cmdclass={"build_py": StampedBuild})
