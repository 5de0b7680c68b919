"""One core behind its HTTP door for each test."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.http_core import HttpCore


@pytest.fixture
async def core(tmp_path: Path, database: str) -> AsyncIterator[HttpCore]:
    """Master data filled in, one generic and one Douyin channel, loops running."""
    found = HttpCore(tmp_path)
    found.fill()
    found.add_channel()
    found.add_channel("douyin-a", "douyin")
    async with found.started():
        yield found
