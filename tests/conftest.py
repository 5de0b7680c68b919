"""What holds for every test: a clean environment, its stage's marker, a database to stand on."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.support import databases, postgres, required

STAGES = ("integration", "simulation", "browser", "hardware")


def pytest_configure() -> None:
    """Forget a developer's own settings; `PACKLINE_TEST_*` is how a test run itself is steered."""
    for name in list(os.environ):
        if name.startswith("PACKLINE_") and not name.startswith("PACKLINE_TEST_"):
            del os.environ[name]
    postgres.own_folder()


def pytest_sessionstart() -> None:
    """A run that must not do without something ends here when it is not there."""
    required.check()


def pytest_unconfigure() -> None:
    """Databases go with their process, the server with the process that owns the run."""
    databases.forget_databases()
    postgres.end_of_run()


@pytest.fixture(params=databases.KINDS)
def database(request: pytest.FixtureRequest) -> Iterator[str]:
    """The test runs once on each engine; without a PostgreSQL it says so and is skipped."""
    try:
        with databases.running_on(request.param) as kind:
            yield kind
    except postgres.NoServer as missing:
        pytest.skip(str(missing))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Each test bears its stage's mark; the slow go first, that none is left alone at the end."""
    for item in items:
        folders = item.path.relative_to(item.config.rootpath).parts
        for stage in STAGES:
            if stage in folders:
                item.add_marker(stage)
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)
