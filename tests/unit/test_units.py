"""The services are what they claim: hardened, valid, and every line has its reason."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest

from tests.house.tree import ROOT

UNITS = ROOT / "systemd"
EXPOSURE_MOST = {"packline-edge.service": 1.6, "packline-core.service": 2.0}


@pytest.fixture(params=sorted(EXPOSURE_MOST))
def unit(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A unit as it is after an install: its command exists."""
    text = (UNITS / request.param).read_text(encoding="utf-8")
    placed = tmp_path / str(request.param)
    placed.write_text(re.sub(r"^ExecStart=\S+", "ExecStart=/bin/true", text, flags=re.MULTILINE))
    return placed


@pytest.fixture
def analyze(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """`systemd-analyze`, or a skip that is heard."""
    if shutil.which("systemd-analyze") is None:
        with capsys.disabled():
            print("\nNOT PROVED: units were not held against systemd (apt-get install systemd)")
        pytest.skip("systemd-analyze is not installed")

    def run(*words: str | Path) -> str:
        done = subprocess.run(
            ["systemd-analyze", "--no-pager", *map(str, words)],
            capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip
        assert done.returncode in (0, 1), done.stderr
        return done.stdout + done.stderr

    return run


def test_the_service_is_hardened_as_promised(unit: Path, analyze: Callable[..., str]) -> None:
    said = analyze("security", "--offline=true", unit)
    found = re.search(r"Overall exposure level for \S+: ([\d.]+)", said)
    assert found, said
    assert float(found[1]) <= EXPOSURE_MOST[unit.name]


def test_systemd_understands_every_line(unit: Path, analyze: Callable[..., str]) -> None:
    assert analyze("verify", "--recursive-errors=no", unit) == ""


@pytest.mark.parametrize("name", sorted(EXPOSURE_MOST))
def test_the_service_is_watched_and_started_again(name: str) -> None:
    lines = (UNITS / name).read_text(encoding="utf-8").splitlines()
    for wanted in ("Type=notify", "Restart=always", "StartLimitIntervalSec=0"):
        assert wanted in lines
    for key in ("WatchdogSec=", "MemoryMax=", "StateDirectory=", "TasksMax=", "UMask=0077"):
        assert any(line.startswith(key) for line in lines), key
    # Nothing beside the state directory is written.
    assert not any(line.startswith("ReadWritePaths") for line in lines)


def test_the_agents_password_is_handed_over_by_the_service_manager() -> None:
    """root's file, and an empty word where there is none; the core keeps its own key."""
    edge = (UNITS / "packline-edge.service").read_text(encoding="utf-8")
    assert re.search(r"^LoadCredential=mqtt\.password:/etc/packline/mqtt\.password$", edge, re.M)
    assert re.search(r"^SetCredential=mqtt\.password:", edge, re.M)
    assert re.search(
        r"^Environment=PACKLINE_EDGE_MQTT_PASSWORD_FILE=%d/mqtt\.password$", edge, re.M
    )
    core = (UNITS / "packline-core.service").read_text(encoding="utf-8")
    assert not re.search(r"^LoadCredential=", core, re.M)
    assert "# No LoadCredential= of its own:" in core


@pytest.mark.parametrize("name", sorted(EXPOSURE_MOST))
def test_each_line_of_a_unit_says_why(name: str) -> None:
    """A comment right above it, or above the line with the same key before it."""
    lines = (UNITS / name).read_text(encoding="utf-8").splitlines()
    silent, reasons = [], 0
    for before, line in pairwise(lines):
        if not line or line.startswith(("#", "[")):
            continue
        key = line.split("=")[0]
        reasons += before.startswith("#")
        if not before.startswith("#") and before.split("=")[0] != key:
            silent.append(line)
    assert silent == []
    assert reasons >= 45


def test_devices_that_appear_late_are_known_before_the_agent_starts() -> None:
    """`DeviceAllow=char-X` is looked up in /proc/devices at start: its driver must be loaded."""
    unit = (UNITS / "packline-edge.service").read_text(encoding="utf-8")
    modules = (UNITS / "packline-edge.modules.conf").read_text(encoding="utf-8").splitlines()
    wanted = {"char-input": "evdev", "char-usb": "usblp", "char-ttyUSB": "usbserial",
              "char-ttyACM": "cdc_acm"}  # fmt: skip
    for kind, module in wanted.items():
        assert f"DeviceAllow={kind} rw" in unit
        assert module in modules
    assert "systemd-modules-load.service" in unit


def test_users_and_folders_are_those_of_the_units() -> None:
    for key in ("edge", "core"):
        unit = (UNITS / f"packline-{key}.service").read_text(encoding="utf-8")
        users = (UNITS / f"packline-{key}.sysusers.conf").read_text(encoding="utf-8")
        folders = (UNITS / f"packline-{key}.tmpfiles.conf").read_text(encoding="utf-8")
        name = f"packline-{key}"
        assert f"User={name}" in unit
        assert f"u {name} -" in users
        assert f"/var/lib/{name}  0700 {name} {name}" in folders
        for group in re.findall(r"^SupplementaryGroups=(.+)$", unit, re.MULTILINE):
            for one in group.split():
                assert f"m {name} {one}" in users
