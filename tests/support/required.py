"""What a run may not do without: a test that is skipped for want of it would prove nothing.

`PACKLINE_TEST_REQUIRE=postgresql,mosquitto` names it. It is looked for before the first test, and
the run ends there when it is not to be had.
"""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from tests.support import postgres
from virtual_warehouse.broker import find_mosquitto

VARIABLE = "PACKLINE_TEST_REQUIRE"


def check() -> None:
    """Raises `pytest.UsageError` that names what is missing, or what nobody knows."""
    for name in filter(None, map(str.strip, os.environ.get(VARIABLE, "").split(","))):
        if name not in _LOOKS:
            raise pytest.UsageError(f"{VARIABLE}: {name} is none of {', '.join(_LOOKS)}")
        missing = _LOOKS[name]()
        if missing:
            raise pytest.UsageError(f"{VARIABLE}: {name} is required here: {missing}")


def _postgresql() -> str:
    try:
        postgres.server_url()
    except postgres.NoServer as error:
        return str(error)
    return ""


def _mosquitto() -> str:
    return "" if find_mosquitto() else "it is not installed (apt-get install mosquitto)"


_LOOKS: dict[str, Callable[[], str]] = {"postgresql": _postgresql, "mosquitto": _mosquitto}
"""Each says why it is not to be had, "" when it is."""
