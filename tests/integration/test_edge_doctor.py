"""`edge-agent doctor` on real set-ups: a good one passes, each broken one is told with its fix."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from cloud_core.domain.broker_access import BrokerAccess, BrokerAgent
from edge_agent import doctor
from edge_agent import settings as settings_module
from edge_agent.bootstrap.examined import examined
from edge_agent.doctor import Finding
from virtual_warehouse.broker import EmbeddedBroker
from virtual_warehouse.printer import VirtualPrinter
from virtual_warehouse.scanner import VirtualScanner


@dataclass
class House:
    """A complete, healthy set-up; `settings` may be changed before asking."""

    folder: Path
    settings: dict[str, Any]

    def ask(self, *command: str) -> subprocess.CompletedProcess[str]:
        lines = [f"{key} = {json.dumps(value)}" for key, value in self.settings.items()
                 if not isinstance(value, list)]  # fmt: skip
        for key, rows in self.settings.items():
            if isinstance(rows, list):
                for row in rows:
                    lines.append(f"[[{key}]]")
                    lines += [f"{name} = {json.dumps(value)}" for name, value in row.items()]
        file = self.folder / "edge.toml"
        file.write_text("\n".join(lines), encoding="utf-8")
        return subprocess.run(
            [sys.executable, "-m", "edge_agent.cli", "--config", str(file), *command],
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip

    def doctor(self) -> tuple[bool, dict[str, Finding]]:
        """(all well, finding by name), without the cost of a process."""
        checked = settings_module.check(self.settings)
        found = doctor.examine(examined(checked))
        return all(one.ok for one in found), {one.name: one for one in found}


@pytest.fixture(scope="module")
def paper(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VirtualPrinter]:
    loop = asyncio.new_event_loop()
    printer = VirtualPrinter(tmp_path_factory.mktemp("labels"))
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    asyncio.run_coroutine_threadsafe(printer.start(), loop).result(10)
    yield printer
    asyncio.run_coroutine_threadsafe(printer.stop(), loop).result(10)
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, str]]:
    secret = secrets.token_urlsafe(32)
    access = BrokerAccess(secrets.token_urlsafe(32), (BrokerAgent("sha", "sha-1", secret),))
    process = EmbeddedBroker(tmp_path_factory.mktemp("nats"), access)
    _, port = process.start()
    yield port, secret
    process.stop()


@pytest.fixture
def house(tmp_path: Path, broker: tuple[int, str], paper: VirtualPrinter) -> Iterator[House]:
    port, secret = broker
    password = tmp_path / "password"
    password.write_text(secret, encoding="utf-8")
    password.chmod(0o600)
    with VirtualScanner() as scanner:
        path = scanner.open()
        yield House(
            tmp_path,
            {
                "site": "sha", "agent": "sha-1", "data_dir": str(tmp_path / "data"),
                "mqtt_port": port, "mqtt_password_file": str(password), "page_port": 0,
                "printers": [{"name": "label-1", "host": paper.host, "port": paper.port,
                              "profile": "virtual"}],
                "stations": [{"id": "S1"}],
                "scanners": [{"source": "gun-1", "station": "S1", "path": path}],
            },
        )  # fmt: skip


OF_THE_MACHINE = {"clock_synced", "disk_kind", "disk_space", "memory", "swap", "temperature"}
"""What the machine that runs the tests may lack; `tests/unit/test_doctor.py` has each of them."""


def test_a_good_house_passes_every_check(house: House) -> None:
    done = house.ask("doctor", "--json")
    found = {one["name"]: one for one in map(json.loads, done.stdout.splitlines())}
    wrong = {name: one["found"] for name, one in found.items() if not one["ok"]}
    assert set(wrong) <= OF_THE_MACHINE
    assert done.returncode == (1 if wrong else 0)
    assert len(found) >= 20
    assert set(found) >= {
        "settings", "clock", "data_dir", "disk_space", "journal_floor", "journal_telemetry",
        "password_file", "broker", "labels", "printer_label-1", "scanner_gun-1", "page",
    }  # fmt: skip


def broken(house: House, name: str) -> str:
    """What the doctor finds in the one check that must fail; it also says what to do."""
    well, found = house.doctor()
    assert not well
    assert not found[name].ok, found[name]
    assert found[name].fix_zh
    return found[name].found_zh


def test_a_typing_error_in_the_settings(house: House) -> None:
    house.settings["mqtt_prot"] = 1883
    done = house.ask("doctor")
    assert done.returncode == 1
    assert "✗ settings" in done.stdout
    assert "mqtt_prot" in done.stdout
    assert "→" in done.stdout


def test_a_broker_that_is_not_there(house: House) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        house.settings["mqtt_port"] = server.getsockname()[1]
    broken(house, "broker")


def test_a_wrong_broker_password(house: House) -> None:
    Path(house.settings["mqtt_password_file"]).write_text("wrong", encoding="utf-8")
    assert "拒绝登录" in broken(house, "broker")


def test_a_password_file_that_anybody_reads_or_that_is_missing(house: House) -> None:
    file = Path(house.settings["mqtt_password_file"])
    file.chmod(0o644)
    broken(house, "password_file")
    file.unlink()
    broken(house, "password_file")


def test_a_printer_that_is_not_there_or_has_no_paper(house: House, paper: VirtualPrinter) -> None:
    paper.faults.paper_out = True
    assert "缺纸" in broken(house, "printer_label-1")
    paper.faults.clear()
    house.settings["printers"][0]["port"] = 1
    broken(house, "printer_label-1")
    house.settings["printers"] = []
    broken(house, "printers")


def test_a_scanner_that_is_not_plugged_in(house: House) -> None:
    house.settings["scanners"][0]["path"] = "/dev/serial/by-path/nothing"
    broken(house, "scanner_gun-1")


def test_a_data_folder_that_cannot_be_made(house: House) -> None:
    house.settings["data_dir"] = "/proc/packline"
    broken(house, "data_dir")


def test_a_page_port_that_is_taken(house: House) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        house.settings["page_port"] = server.getsockname()[1]
        broken(house, "page")


def test_a_broken_journal_is_told_and_put_aside_at_the_next_start(house: House) -> None:
    data = Path(house.settings["data_dir"])
    data.mkdir()
    (data / "floor.db").write_bytes(os.urandom(8192))
    assert "损坏" in broken(house, "journal_floor")


def test_the_test_print_comes_out(house: House, paper: VirtualPrinter) -> None:
    done = house.ask("print-test", "label-1")
    assert done.returncode == 0, done.stderr
    assert paper.count("TEST0000000001") == 1


def test_commands_without_a_journal_say_so(house: House) -> None:
    done = house.ask("journal", "list", "--json")
    assert done.returncode == 2
    assert "journal_missing" in done.stderr
