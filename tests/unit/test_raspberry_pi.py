"""The snippets for a Pi: whole, parsable where a parser is at hand, and true to the unit."""

from __future__ import annotations

import configparser
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.house.tree import ROOT

FOLDER = ROOT / "firmware_configs" / "raspberry_pi"


def lines_of(name: str) -> list[str]:
    text = (FOLDER / name).read_text(encoding="utf-8")
    return [line for line in text.splitlines() if line.strip() and not line.startswith("#")]


def test_the_journal_has_a_partition_of_its_own_and_the_root_is_not_written() -> None:
    mounts = {line.split()[1]: line.split() for line in lines_of("fstab.conf")}
    assert "ro" in mounts["/"][3].split(",")
    journal = mounts["/var/lib/packline-edge"]
    options = journal[3].split(",")
    assert {"noatime", "errors=remount-ro", "noexec"} <= set(options)
    # A late disk delays the agent, a missing one leaves a machine that can be reached.
    assert {"nofail", "x-systemd.device-timeout=0"} <= set(options)
    # Anything that turns the card's flush off would break P1 silently.
    assert not {"nobarrier", "barrier=0", "data=writeback"} & set(options)
    assert journal[5] == "2"
    unit = (ROOT / "systemd/packline-edge.service").read_text(encoding="utf-8")
    assert f"RequiresMountsFor={journal[1]}" in unit


def test_findmnt_understands_the_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    if shutil.which("findmnt") is None:
        with capsys.disabled():
            print("\nNOT PROVED: fstab was not parsed (apt-get install util-linux)")
        pytest.skip("findmnt is not installed")
    table = tmp_path / "fstab"
    table.write_text((FOLDER / "fstab.conf").read_text(encoding="utf-8"))
    done = subprocess.run(
        ["findmnt", "--tab-file", str(table), "--noheadings", "--raw", "--output", "TARGET"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "/var/lib/packline-edge" in done.stdout.split()
    assert len(done.stdout.split()) == len(lines_of("fstab.conf"))


def test_the_log_stays_off_the_card() -> None:
    parsed = configparser.ConfigParser()
    parsed.optionxform = str  # type: ignore[assignment,method-assign]
    parsed.read(FOLDER / "journald.conf", encoding="utf-8")
    assert parsed["Journal"]["Storage"] == "volatile"
    assert re.fullmatch(r"\d+M", parsed["Journal"]["RuntimeMaxUse"])


def test_the_watchdogs_form_a_chain() -> None:
    parsed = configparser.ConfigParser()
    parsed.read(FOLDER / "watchdog.conf", encoding="utf-8")
    # The SoC's counter ends at 15 s; a longer time is refused by its driver.
    assert parsed["Manager"]["RuntimeWatchdogSec"] == "14s"
    assert "dtparam=watchdog=on" in lines_of("config.txt")


def test_the_kernel_line_is_one_line_and_repairs_unasked() -> None:
    (line,) = lines_of("cmdline.txt")
    assert {"fsck.repair=yes", "rootwait", "panic=10"} <= set(line.split())


def test_kernel_settings_are_named_as_the_kernel_names_them() -> None:
    for line in lines_of("sysctl.conf"):
        name, _, value = line.partition(" = ")
        assert re.fullmatch(r"[a-z_]+(\.[a-z_]+)+", name)
        assert value.strip().isdigit()
        place = Path("/proc/sys") / name.replace(".", "/")
        if place.parent.is_dir():
            assert place.exists(), name


def test_every_file_says_where_it_goes() -> None:
    readme = (FOLDER / "README.md").read_text(encoding="utf-8")
    for file in FOLDER.iterdir():
        assert file.name == "README.md" or f"`{file.name}`" in readme
