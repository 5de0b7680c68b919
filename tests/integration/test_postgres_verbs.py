"""Every verb of the command line on PostgreSQL; what copies files says how it is done there."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from cloud_core.cli import data, people, running
from cloud_core.cli.root import root
from cloud_core.store.leases import Leases
from tests.support import databases, postgres

for room in (running, people, data):
    room.register(root)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Runs a verb on a database of its own; its exit code and output."""
    try:
        with databases.running_on("postgresql"):
            url = databases.url_of(tmp_path)
            monkeypatch.setenv("PACKLINE_CORE_DATABASE_URL", url)
            monkeypatch.setenv("PACKLINE_CORE_DATA_DIR", str(tmp_path))
            monkeypatch.setenv("PACKLINE_CORE_MQTT_ENABLED", "false")

            def verb(*arguments: str) -> tuple[int, str]:
                done = CliRunner().invoke(root, list(arguments))
                return done.exit_code, done.output

            yield verb
    except postgres.NoServer as missing:
        pytest.skip(str(missing))


def test_a_core_is_set_up_and_looked_over(run: Any) -> None:
    assert run("init")[0] == 0
    at, newest = re.findall(r"\d{4}", run("migrate")[1])
    assert at == newest
    code, shown = run("doctor", "--json")
    found = {finding["name"]: finding for finding in json.loads(shown)}
    assert found["database"]["ok"]
    assert found["server"]["ok"], found["server"]
    assert not found["durability"]["ok"], "the test server is not durable, and the doctor says so"
    assert "fsync" in found["durability"]["saw"]
    assert found["schema"]["ok"], found["schema"]
    assert code == 1
    assert run("sweep")[0] == 0


def test_a_copy_of_files_is_refused_with_the_way_to_do_it(run: Any, tmp_path: Path) -> None:
    run("init")
    (tmp_path / "copy").write_bytes(b"")
    for arguments in (("backup", str(tmp_path / "b")), ("restore", str(tmp_path / "copy"))):
        code, shown = run(*arguments)
        assert code != 0
        assert "pg_dump" in shown
        assert "new-life" in shown


def test_a_new_life_begins_only_when_nobody_serves(run: Any, tmp_path: Path) -> None:
    run("init")
    leases = Leases(databases.open_database(tmp_path), "host-1", time.monotonic)
    leases.look()
    code, shown = run("new-life", "--yes")
    assert code != 0
    assert "host-1" in shown
    leases.give_back()
    code, shown = run("new-life", "--yes")
    assert (code, "core_epoch" in shown) == (0, True)
    first = int(shown.split("=")[1].split()[0])
    assert int(run("new-life", "--yes")[1].split("=")[1].split()[0]) > first
