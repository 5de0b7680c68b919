"""Every check of the doctor passes on a sound box and fails on the one fault it is there for."""

from __future__ import annotations

import socket
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from edge_agent import doctor
from edge_agent.doctor import Door, Finding, Machine, Patient, storage
from edge_agent.domain.moment import Now
from edge_agent.domain.printer_status import READY, PrinterLevel, PrinterStatus
from edge_agent.link import BrokerAddress
from edge_agent.ports import Printer
from protocols.errors import Rejected
from tests.support.edge_live import HandPrinter

NOW_MS = 1_800_000_000_000
MACHINE = Machine(
    free_bytes=9_000_000_000, free_inodes=1_000_000, file_system="ext4", read_only=False,
    memory_free_bytes=600_000_000, undervolted=False, temperature_c=51.0, sqlite=(3, 40, 1),
    python=(3, 11), bits=64, groups=frozenset({"dialout", "input", "lp"}), root=False,
    clock_synced=True,
)  # fmt: skip
RUNNING: dict[str, Any] = {
    "link": {"connected": True, "welcomed": True, "clock_off_ms": 12},
    "journal": {"used_bytes": 1, "full": False, "failing": ""},
    "box": {"drivers": {}, "safe_mode": "", "root": False},
    "printers": {"label-1": {"level": "ok", "code": "", "reason_zh": ""}},
}


@pytest.fixture
def door() -> Iterator[int]:
    """A port where something listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.fixture
def sound(tmp_path: Path, door: int) -> Patient:
    """A box with nothing wrong, its agent running."""
    folder = tmp_path / "data"
    folder.mkdir(mode=0o700)
    password = tmp_path / "password"
    password.write_text("x", encoding="utf-8")
    password.chmod(0o600)
    gun = tmp_path / "gun"
    gun.touch()
    return Patient(
        data_dir=folder,
        journals=(folder / "floor.db", folder / "telemetry.db"),
        is_whole=lambda path: True,
        broker=lambda: BrokerAddress("127.0.0.1", door, "sha-1"),
        password_file=str(password),
        page=("127.0.0.1", 8090),
        scanners=(("gun-1", str(gun)),),
        printers=(("label-1", lambda: HandPrinter()),),
        draw=lambda: None,
        now=Now(NOW_MS, 5),
        machine=MACHINE,
        running=True,
        status=RUNNING,
        stations=("S1",),
        profiles=(("label-1", lambda: None),),
        floor_ms=NOW_MS - 1,
    )


def found(patient: Patient) -> dict[str, Finding]:
    return {one.name: one for one in doctor.examine(patient)}


def test_a_sound_box_passes_over_thirty_checks_with_names_of_their_own(sound: Patient) -> None:
    findings = doctor.examine(sound)
    assert [one for one in findings if not one.ok] == []
    names = [one.name for one in findings]
    assert len(names) == len(set(names)) > 30, "as the manuals say"
    assert [name for name, _ in doctor.checks(sound)] == names


def machine(**changes: Any) -> Callable[[Patient], Patient]:
    return lambda sound: replace(sound, machine=replace(sound.machine, **changes))


def status(part: str, **changes: Any) -> Callable[[Patient], Patient]:
    told = {**RUNNING, part: {**RUNNING.get(part, {}), **changes}}
    return lambda sound: replace(sound, status=told)


def patient(**changes: Any) -> Callable[[Patient], Patient]:
    return lambda sound: replace(sound, **changes)


def with_files(**contents: bytes) -> Callable[[Patient], Patient]:
    def change(sound: Patient) -> Patient:
        for name, content in contents.items():
            (sound.data_dir / name.replace("__", ".")).write_bytes(content)
        return sound

    return change


def opened(sound: Patient) -> Patient:
    sound.data_dir.chmod(0o755)
    return sound


def shared_password(sound: Patient) -> Patient:
    Path(sound.password_file).chmod(0o644)
    return sound


def says(level: PrinterLevel, zh: str) -> Callable[[Patient], Patient]:
    def make() -> Printer:
        return HandPrinter(says=PrinterStatus(level, "x", zh))

    return patient(printers=(("label-1", make),), running=False, status=None)


def refuse() -> None:
    raise Rejected("profile_invalid", "机型文件有误", "bad profile", field="dpi")


def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


def no_broker(sound: Patient) -> Patient:
    port = closed_port()
    return replace(sound, broker=lambda: BrokerAddress("127.0.0.1", port, "sha-1"))


def no_name(sound: Patient) -> Patient:
    # RFC 6761: this name is never there.
    return replace(sound, broker=lambda: BrokerAddress("broker.invalid", 1883, "sha-1"))


def late(sound: Patient) -> Patient:
    sound.journals[0].touch()
    return replace(sound, unsent=lambda path: (312, NOW_MS - 30 * 3_600_000))


def taken_page(sound: Patient) -> Patient:
    return replace(sound, running=True, status=None, page=("127.0.0.1", 8090))


def tls(setting: str, path: str) -> Callable[[Patient], Patient]:
    return patient(tls_files=((setting, path),))


def expired(sound: Patient) -> Patient:
    """A CA whose certificate ended in 2020."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "packline test")])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(datetime(2020, 1, 1, tzinfo=UTC))
        .not_valid_after(datetime(2020, 2, 1, tzinfo=UTC))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = sound.data_dir / "ca.pem"
    path.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    return tls("mqtt_tls_ca_file", str(path))(sound)


def aisle(**changes: Any) -> Callable[[Patient], Patient]:
    """A handhelds' page that nobody opened; more of it in `test_doctor_handhelds`."""
    door = Door("127.0.0.1", closed_port(), ("127.0.0.1",), "", "", lambda: 2)
    return patient(pda=replace(door, **changes))


BROKEN: tuple[tuple[str, Callable[[Patient], Patient]], ...] = (
    ("clock", patient(floor_ms=NOW_MS + 3_600_000)),
    ("clock_synced", machine(clock_synced=False)),
    ("clock_core", status("link", clock_off_ms=-90_000)),
    ("memory", machine(memory_free_bytes=20_000_000)),
    ("swap", machine(swap_used_bytes=50_000_000)),
    ("power", machine(undervolted=True)),
    ("temperature", machine(temperature_c=83.0)),
    ("sqlite", machine(sqlite=(3, 8, 0))),
    ("program", machine(bits=32)),
    ("rights", lambda s: status("box", root=True)(machine(root=True)(s))),
    ("start", patient(safe_zh="连续 3 次启动未完成")),
    ("start", lambda s: no_broker(replace(s, unfinished=2, running=False))),
    ("data_dir", patient(data_dir=Path("/proc/packline"))),
    ("data_private", opened),
    ("disk_space", machine(free_bytes=100_000_000)),
    ("disk_inodes", machine(free_inodes=3)),
    ("disk_kind", machine(file_system="nfs4")),
    ("disk_kind", machine(file_system="tmpfs")),
    ("disk_read_only", machine(read_only=True)),
    ("journal_floor", lambda s: with_files(floor__db=b"x")(replace(s, is_whole=lambda p: False))),
    ("journal_telemetry",
     lambda s: with_files(telemetry__db=b"x")(replace(s, is_whole=lambda p: False))),
    ("journal_quota", lambda s: with_files(floor__db=bytes(900))(replace(s, quota_bytes=1_000))),
    ("journal_unsent", late),
    ("journal_put_aside", lambda s: with_files(**{"floor__db__broken-17": b""})(s)),
    ("password_file", shared_password),
    ("password_file", patient(password_file="/nowhere/password")),
    ("tls_files", tls("mqtt_tls_ca_file", "/nowhere/ca.pem")),
    ("tls_dates", expired),
    ("broker_name", no_name),
    ("broker", no_broker),
    ("core", status("link", welcomed=False)),
    ("core", status("link", welcomed=False, connected=False)),
    ("scans_accepted", status("journal", full=True)),
    ("scans_accepted", status("journal", failing="disk I/O error")),
    ("scans_accepted", patient(status={"out_of_order": {"reason_zh": "磁盘已满"}})),
    ("page", taken_page),
    ("page_names", patient(page=("0.0.0.0", 8090), page_names=("localhost",))),
    ("pda_page", aisle()),
    ("pda_tls", aisle(cert_file="/nowhere/cert.pem", key_file="/nowhere/key.pem")),
    ("pda_operators", aisle(operators=lambda: 0)),
    ("pda_operators", aisle(operators=refuse)),
    ("labels", patient(draw=refuse)),
    ("stations", patient(stations=())),
    ("drivers", status("box", drivers={"printer label-2": "机型文件有误"})),
    ("printers", patient(printers=(), profiles=())),
    ("profile_label-1", patient(profiles=(("label-1", refuse),))),
    ("printer_label-1", says(PrinterLevel.ERROR, "缺纸")),
    ("printer_label-1", status("printers", **{"label-1": {"level": "error", "reason_zh": "缺纸"}})),
    ("scanner_gun-1", patient(scanners=(("gun-1", "/dev/nothing"),))),
)  # fmt: skip


@pytest.mark.parametrize(("name", "broken"), BROKEN, ids=[name for name, _ in BROKEN])
def test_each_check_can_fail_and_says_what_to_do(
    sound: Patient, name: str, broken: Callable[[Patient], Patient]
) -> None:
    one = found(broken(sound))[name]
    assert not one.ok, one
    assert one.fix_zh
    assert any("\u4e00" <= letter <= "\u9fff" for letter in one.found_zh + one.fix_zh)


def test_the_table_above_leaves_no_check_out(sound: Patient) -> None:
    # How long a sync takes and who owns a device cannot be broken by a value: below.
    apart = {"disk_sync", "device_rights"}
    assert {name for name, _ in doctor.checks(sound)} - {name for name, _ in BROKEN} == apart


def test_a_disk_that_takes_long_to_sync(sound: Patient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage, "SYNC_S_MAX", 0.0)
    assert not found(sound)["disk_sync"].ok


def test_a_user_outside_the_devices_groups(sound: Patient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge_agent.doctor.devices.os.access", lambda path, mode: False)
    one = found(machine(groups=frozenset({"lp"}))(sound))["device_rights"]
    assert not one.ok
    assert "dialout" in one.fix_zh


def test_a_missing_password_file_is_reported_once(sound: Patient) -> None:
    def raising() -> BrokerAddress:
        raise AssertionError("not asked for a broker without its password")

    wrong = [one.name for one in doctor.examine(
        replace(sound, password_file="/nowhere/password", running=False,
                broker=lambda: BrokerAddress("127.0.0.1", 1, "sha-1"))
    ) if not one.ok]  # fmt: skip
    assert wrong.count("password_file") == 1
    assert "broker" not in wrong


def test_a_broken_check_is_a_finding_and_the_others_go_on(sound: Patient) -> None:
    def explode() -> Any:
        raise ZeroDivisionError

    told = found(replace(sound, draw=explode))
    assert not told["labels"].ok
    assert "ZeroDivisionError" in told["labels"].found_zh
    assert told["stations"].ok


def test_the_real_journal_tells_its_backlog(tmp_path: Path) -> None:
    from edge_agent.bootstrap.examined import unsent
    from tests.support.edge import Floor

    floor = Floor(tmp_path)
    floor.scan("nothing")
    assert unsent(floor.path) == (1, floor.clock.wall_ms)
    floor.core.close()
    floor.path.write_bytes(b"no database")
    assert unsent(floor.path) == (0, 0)
    assert READY.level is PrinterLevel.OK
    assert sqlite3.sqlite_version_info >= (3, 34)
