"""What holds for every test: a clean environment, and the stage's marker from the folder's name."""

from __future__ import annotations

import os

import pytest

STAGES = ("integration", "simulation", "browser", "hardware")


def pytest_configure() -> None:
    """Forget a developer's own settings; `PACKLINE_TEST_*` is how a test run itself is steered."""
    for name in list(os.environ):
        if name.startswith("PACKLINE_") and not name.startswith("PACKLINE_TEST_"):
            del os.environ[name]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        folders = item.path.relative_to(item.config.rootpath).parts
        for stage in STAGES:
            if stage in folders:
                item.add_marker(stage)
