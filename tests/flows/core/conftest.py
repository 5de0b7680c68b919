"""The journey of an order is the same on both engines."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def _on_each_engine(database: str) -> str:
    return database
