"""A browser for each test; without one the stage is skipped aloud."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.browser import Browser, find_browser, started


@pytest.fixture
async def browser(tmp_path: Path) -> AsyncIterator[Browser]:
    """A fresh Chromium; its files and pictures stay in the test's own folder."""
    if find_browser() is None:
        pytest.skip("NOT SEEN IN A BROWSER: chromium is not installed (apt-get install chromium)")
    async with started(tmp_path) as found:
        yield found
