"""Both brokers for tests with real programs, PostgreSQL, and a voice that is heard in every run."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator

import pytest

from tests.support import databases, postgres
from tests.support.plant import BrokerKind
from virtual_warehouse.broker import EmbeddedBroker, MosquittoBroker, find_mosquitto


@pytest.fixture(params=[EmbeddedBroker, MosquittoBroker], ids=lambda one: one.name)
def broker_kind(request: pytest.FixtureRequest) -> BrokerKind:
    """The embedded broker, then mosquitto; without the latter its half is skipped aloud."""
    found: BrokerKind = request.param
    if found is MosquittoBroker and find_mosquitto() is None:
        pytest.skip("NOT PROVED ON MOSQUITTO: it is not installed (apt-get install mosquitto)")
    return found


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str]) -> Callable[[str], None]:
    """Lines that are seen in every run, not only in a failed one.

    They go to standard error: a worker of pytest-xdist has its standard output closed.
    """

    def aloud(text: str) -> None:
        with capsys.disabled():
            print(text, file=sys.stderr, flush=True)

    return aloud


@pytest.fixture
def on_postgresql() -> Iterator[None]:
    """Every core opened by the test stands on PostgreSQL; without a server it is skipped aloud."""
    try:
        with databases.running_on("postgresql"):
            yield
    except postgres.NoServer as missing:
        pytest.skip(str(missing))
