"""Installing: a dry run changes nothing, a second run changes nothing, a rollback goes back."""

from __future__ import annotations

import subprocess
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from cloud_core import install as core_install
from cloud_core.settings import check as check_core
from edge_agent import install as edge_install
from edge_agent.settings import check as check_edge
from installation import before, slots, verbs
from installation.machine import Machine
from installation.program import Program, Source
from protocols.errors import Rejected, Unavailable
from tests.house.tree import ROOT

ASKED = {"site": "hz01", "agent": "hz01-a", "mqtt_host": "", "mqtt_port": ""}


@dataclass(slots=True)
class PaperMachine(Machine):
    """A target in a folder whose commands are written down; `pip install` leaves a slot behind."""

    commands: list[list[str]] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    breaks_at: str = ""

    def run(self, command: Sequence[str | Path]) -> str:
        words = [str(word) for word in command]
        self.commands.append(words)
        if self.breaks_at and self.breaks_at in words:
            raise Unavailable("install_command", "失败", "failed")
        if words[1:3] == ["-m", "venv"]:
            slot = Path(words[3])
            share = slot / "share/packline"
            share.mkdir(parents=True)
            for file in (ROOT / "systemd").iterdir():
                (share / file.name).write_bytes(file.read_bytes())
            rules = slot / "lib/python3.11/site-packages/firmware_configs/udev"
            rules.mkdir(parents=True)
            (rules / "70-scanners.rules").write_text("# rules\n")
        return "systemd 252 (252)\n" if words[0] == "systemctl" else ""


def machine_at(folder: Path, *, dry: bool = False) -> PaperMachine:
    machine = PaperMachine(folder, dry)
    machine.say = machine.said.append
    return machine


def house(folder: Path, version: str = "0.1.0") -> Source:
    """A wheelhouse that names one package."""
    folder.mkdir(parents=True, exist_ok=True)
    for key in ("edge", "core"):
        text = f"packline=={version} \\\n    --hash=sha256:{'0' * 64}\n"
        (folder / f"requirements-{key}.txt").write_text(text)
    return Source(wheelhouse=folder)


def install(
    machine: Machine,
    source: Source,
    program: Program = edge_install.PROGRAM,
    asked: Mapping[str, str] = ASKED,
) -> None:
    for _name, work in verbs.install_steps(machine, program, source, asked, start=True):
        work()


def files_of(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*") if path.is_file()
    }  # fmt: skip


@pytest.fixture
def source(tmp_path: Path) -> Source:
    return house(tmp_path / "wheels")


def test_a_fresh_machine_gets_everything(tmp_path: Path, source: Source) -> None:
    machine = machine_at(tmp_path / "target")
    install(machine, source)
    root = machine.root
    settings = check_edge(tomllib.loads((root / "etc/packline/edge.toml").read_text()))
    assert (settings.site, settings.agent) == ("hz01", "hz01-a")
    assert settings.data_dir == "/var/lib/packline-edge"
    assert (root / "etc/packline/mqtt.password").stat().st_mode & 0o777 == 0o600
    assert (root / "etc/systemd/system/packline-edge.service").read_bytes() == (
        ROOT / "systemd/packline-edge.service"
    ).read_bytes()
    assert (root / "etc/udev/rules.d/70-packline-edge-scanners.rules").exists()
    assert (root / "etc/modules-load.d/packline-edge.conf").exists()
    assert (root / "opt/packline/edge/current").readlink().name.startswith("0.1.0-")
    wants = root / "etc/systemd/system/multi-user.target.wants/packline-edge.service"
    assert wants.is_symlink()


def test_what_the_runbook_tells_people_to_type_is_in_their_path(
    tmp_path: Path, source: Source
) -> None:
    machine = machine_at(tmp_path / "target")
    install(machine, source)
    launcher = machine.root / "usr/local/bin/edge-agent"
    assert launcher.stat().st_mode & 0o777 == 0o755
    program = tmp_path / "program"
    program.write_text('#!/bin/sh\necho "$PACKLINE_EDGE_CONFIG" "$@"\n')
    program.chmod(0o755)
    launcher.write_text(launcher.read_text().replace(edge_install.PROGRAM.binary, str(program)))
    typed = [str(launcher), "journal", "list", "--out", "a b"]
    for given, config in (({}, "/etc/packline/edge.toml"), ({"PACKLINE_EDGE_CONFIG": "x"}, "x")):
        said = subprocess.run(typed, env=given, capture_output=True, text=True, check=True).stdout
        assert said == f"{config} journal list --out a b\n"
    for _name, work in verbs.uninstall_steps(machine, edge_install.PROGRAM):
        work()
    assert not launcher.exists()


def test_packages_come_by_hash_and_nothing_is_compiled(tmp_path: Path, source: Source) -> None:
    machine = machine_at(tmp_path / "target")
    install(machine, source)
    (pip,) = [words for words in machine.commands if "pip" in words]
    assert {"--no-index", "--require-hashes", "--only-binary"} <= set(pip)


def test_a_dry_run_shows_each_step_and_changes_nothing(tmp_path: Path, source: Source) -> None:
    machine = Machine(tmp_path / "target", dry=True, say=(said := []).append)
    install(machine, source)
    assert not machine.root.exists()
    told = "\n".join(said)
    for wanted in ("-m venv", "--require-hashes", "packline-edge.conf", "edge.toml", "enable"):
        assert wanted in told


def test_a_second_run_changes_nothing(tmp_path: Path, source: Source) -> None:
    machine = machine_at(tmp_path / "target")
    install(machine, source)
    (machine.root / "etc/packline/edge.toml").write_text('site = "own"\nagent = "own-a"\n')
    before_it = files_of(machine.root)
    machine.commands.clear()
    install(machine, source)
    assert files_of(machine.root) == before_it
    assert not any("venv" in words or "pip" in words for words in machine.commands)


def test_half_a_slot_is_made_again(tmp_path: Path, source: Source) -> None:
    machine = machine_at(tmp_path / "target")
    machine.breaks_at = "--help"
    with pytest.raises(Unavailable):
        install(machine, source)
    assert not (machine.root / "opt/packline/edge/current").is_symlink()
    machine.breaks_at = ""
    install(machine, source)
    assert (machine.root / "opt/packline/edge/current").is_symlink()


def test_the_way_back_is_the_version_before(tmp_path: Path, source: Source) -> None:
    machine = machine_at(tmp_path / "target")
    install(machine, source)
    install(machine, house(tmp_path / "newer", "0.2.0"))
    current = machine.root / "opt/packline/edge/current"
    assert current.readlink().name.startswith("0.2.0-")
    for _name, work in verbs.rollback_steps(machine, edge_install.PROGRAM):
        work()
    assert current.readlink().name.startswith("0.1.0-")
    install(machine, house(tmp_path / "newest", "0.3.0"))
    kept = {path.name[:5] for path in (machine.root / "opt/packline/edge/slots").iterdir()}
    assert kept == {"0.1.0", "0.3.0"}


def test_without_a_version_before_there_is_no_way_back(tmp_path: Path, source: Source) -> None:
    machine = machine_at(tmp_path / "target")
    install(machine, source)
    with pytest.raises(Rejected, match="install_no_previous"):
        slots.back(machine, edge_install.PROGRAM)


def test_uninstall_keeps_journal_and_settings(tmp_path: Path, source: Source) -> None:
    machine = machine_at(tmp_path / "target")
    install(machine, source)
    journal = machine.root / "var/lib/packline-edge/floor.db"
    journal.parent.mkdir(parents=True)
    journal.write_bytes(b"rows")
    for _name, work in verbs.uninstall_steps(machine, edge_install.PROGRAM):
        work()
    assert journal.read_bytes() == b"rows"
    assert (machine.root / "etc/packline/edge.toml").exists()
    assert not (machine.root / "opt/packline/edge").exists()
    left = [name for name in files_of(machine.root) if "service" in name or "rules" in name]
    assert left == []


def test_a_person_is_told_what_comes_next(tmp_path: Path, source: Source) -> None:
    machine = machine_at(tmp_path / "target")
    install(machine, source)
    told = "\n".join(machine.said)
    for wanted in ("doctor", "journalctl -u packline-edge", "配对 PDA"):
        assert wanted in told


class RunningMachine(PaperMachine):
    """A machine whose service has come up; what `tell` would run is written down."""

    @property
    def is_live(self) -> bool:
        return True

    def run(self, command: Sequence[str | Path]) -> str:
        return "ActiveState=active\n"

    def tell(self, command: Sequence[str | Path], limit_s: float) -> None:
        self.commands.append([str(word) for word in command])
        assert limit_s < 120, "an installation does not wait long for paper"


def test_at_the_end_the_pairing_ticket_is_asked_for_or_how_to_print_it_later(
    tmp_path: Path, source: Source
) -> None:
    image = machine_at(tmp_path / "target")
    install(image, source)
    assert any("sudo edge-agent pair" in line for line in image.said)
    running = RunningMachine(tmp_path)
    running.say = running.said.append
    edge_install.welcome(running, edge_install.PROGRAM, ASKED)
    (asked,) = running.commands
    assert asked[:2] == ["/opt/packline/edge/current/bin/edge-agent", "--config"]
    assert asked[3:5] == ["pair", "--first"]


def test_what_is_only_told_never_ends_an_installation(tmp_path: Path) -> None:
    said: list[str] = []
    machine = Machine(tmp_path, say=said.append)
    machine.tell(["sh", "-c", "echo 缺纸; exit 1"], 10)
    machine.tell(["/nowhere/edge-agent", "pair"], 10)
    machine.tell(["sleep", "60"], 0.1)
    assert said[0] == "    缺纸"
    assert len(said) == 3


@pytest.mark.parametrize(
    ("where", "place"),
    [
        ("192.0.2.31", ("192.0.2.31", 0, "")),
        ("192.0.2.31:9101", ("192.0.2.31", 9101, "")),
        ("/dev/usb/lp0", ("", 0, "/dev/usb/lp0")),
        ("usb:1-1.2", ("", 0, "usb:1-1.2")),
    ],
)
def test_a_label_printer_and_a_name_for_handhelds_may_be_named_at_the_first_install(
    where: str, place: tuple[str, int, str]
) -> None:
    named = {**ASKED, "label_printer": where, "pda_name": "192.0.2.20"}
    settings = check_edge(tomllib.loads(edge_install.settings_text(named)))
    (printer,) = settings.printers
    assert (printer.host, printer.port, printer.device) == place
    assert settings.pda_enabled
    assert settings.pda_names == ("192.0.2.20",)


def test_the_first_install_names_what_it_must_be_told(tmp_path: Path, source: Source) -> None:
    machine = machine_at(tmp_path / "target")
    nothing = dict.fromkeys(ASKED, "")
    with pytest.raises(Rejected, match="install_settings") as refused:
        install(machine, source, asked=nothing)
    assert "--site" in refused.value.zh


def test_a_missing_compiler_is_named_before_anything_is_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wheel = tmp_path / "packline-0.1.0-py3-none-any.whl"
    wheel.write_bytes(b"wheel")
    monkeypatch.setattr(before, "compiler_parts", lambda: {"gcc": lambda: False})
    machine = machine_at(tmp_path / "target")
    with pytest.raises(Rejected, match="install_compiler") as refused:
        install(machine, Source(wheel=wheel))
    assert "gcc" in refused.value.zh
    assert not machine.root.exists()


def test_the_core_is_installed_the_same_way(tmp_path: Path, source: Source) -> None:
    machine = machine_at(tmp_path / "target")
    install(machine, source, core_install.PROGRAM)
    settings = check_core(tomllib.loads((machine.root / "etc/packline/core.toml").read_text()))
    assert settings.data_dir == "/var/lib/packline-core"
    assert (machine.root / "etc/systemd/system/packline-core.service").exists()


def test_a_refusal_ends_with_status_one_and_its_fix(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["--dry-run", "--root", str(tmp_path), "--wheelhouse", str(tmp_path)]
    assert verbs.main(edge_install.PROGRAM, given) == 1
    assert "tools/wheelhouse edge" in capsys.readouterr().out
