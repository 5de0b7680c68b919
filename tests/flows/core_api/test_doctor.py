"""The doctor finds a sound core sound, and each broken set-up by its name, with its fix."""

from __future__ import annotations

import secrets
import socket
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from cloud_core.doctor import Finding, Patient, examine_all
from cloud_core.link import LinkConfig
from cloud_core.store import key_file
from cloud_core.store import schema as t
from cloud_core.store.engine import ServeLock, open_engine, sqlite_url, writer
from tests.support.http_core import NOW_MS, HttpCore

NAMES = {
    "data_folder", "disk_space", "disk_flush", "master_key", "database", "durability", "schema",
    "api_keys", "channels", "skus", "warehouses", "waybill_pool", "recovery", "messages",
    "clock_order", "sealed_data", "clock", "http_port", "broker",
}  # fmt: skip
Break = Callable[[HttpCore, Patient], Patient | None]


def sound(folder: Path) -> tuple[HttpCore, Patient]:
    """A core in which nothing is wrong, and the patient that describes it."""
    core = HttpCore(folder, inline=True)
    core.fill()
    core.add_channel()
    core.key("admin")
    core.insert(t.waybill, *({"number": f"YS{n:010d}", "carrier": "YS", "state": "free"}
                             for n in range(60)))  # fmt: skip
    patient = Patient(
        folder, sqlite_url(folder / "core.sqlite"), folder / "master.key", "127.0.0.1", 0, None,
        "", frozenset({"generic", "douyin"}), NOW_MS,
    )  # fmt: skip
    return core, patient


def failures(patient: Patient) -> dict[str, Finding]:
    return {finding.name: finding for finding in examine_all(patient) if not finding.ok}


def test_a_sound_core_is_sound(tmp_path: Path) -> None:
    _, patient = sound(tmp_path)
    found = examine_all(patient)
    assert {finding.name for finding in found} == NAMES
    assert [finding for finding in found if not finding.ok] == []


def execute(core: HttpCore, statement: object) -> None:
    with writer(core.wired.engine).begin() as connection:
        connection.execute(statement)  # type: ignore[call-overload]


def _no_key(core: HttpCore, patient: Patient) -> None:
    patient.master_key_path.unlink()


def _exposed_key(core: HttpCore, patient: Patient) -> None:
    patient.master_key_path.chmod(0o644)


def _broken_key(core: HttpCore, patient: Patient) -> None:
    patient.master_key_path.write_text("current = 1")


def _other_key(core: HttpCore, patient: Patient) -> None:
    patient.master_key_path.unlink()
    key_file.create(patient.master_key_path, secrets.token_bytes)


def _no_database(core: HttpCore, patient: Patient) -> None:
    core.wired.engine.dispose()
    for file in core.folder.glob("core.sqlite*"):
        file.unlink()


def _damaged_database(core: HttpCore, patient: Patient) -> None:
    core.wired.engine.dispose()
    file = core.folder / "core.sqlite"
    raw = bytearray(file.read_bytes())
    for at in range(4096, len(raw), 4096):
        raw[at : at + 2000] = b"\xff" * 2000
    file.write_bytes(raw)


def _old_schema(core: HttpCore, patient: Patient) -> None:
    with writer(core.wired.engine).begin() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '0000'")


def _drifted_schema(core: HttpCore, patient: Patient) -> None:
    with writer(core.wired.engine).begin() as connection:
        connection.exec_driver_sql("ALTER TABLE trail ADD COLUMN surprise TEXT")


def _no_api_key(core: HttpCore, patient: Patient) -> None:
    execute(core, t.api_key.update().values(revoked_ms=1))


def _no_channel(core: HttpCore, patient: Patient) -> None:
    execute(core, t.channel.delete())


def _strange_dialect(core: HttpCore, patient: Patient) -> None:
    execute(core, t.channel.update().values(dialect="martian"))


def _no_goods(core: HttpCore, patient: Patient) -> None:
    execute(core, t.sku.delete())


def _no_agent(core: HttpCore, patient: Patient) -> None:
    execute(core, t.agent.update().values(enabled=0))


def _no_numbers(core: HttpCore, patient: Patient) -> None:
    execute(core, t.waybill.update().values(state="drawn"))


def _recovering(core: HttpCore, patient: Patient) -> None:
    core.insert(t.core_meta, {"key": "recovering", "value": "1"})


def _stuck_message(core: HttpCore, patient: Patient) -> None:
    core.insert(
        t.raw_message,
        {"channel": "demo-shop", "kind": "event", "digest": "x", "body": b"",
         "received_ms": NOW_MS - 600_000},
    )  # fmt: skip


def _clock_went_back(core: HttpCore, patient: Patient) -> Patient:
    core.insert(t.trail, {"at_ms": NOW_MS, "subject": "x", "change": "x", "actor": "x"})
    return replace(patient, now_ms=NOW_MS - 3_600_000)


def _clock_never_set(core: HttpCore, patient: Patient) -> Patient:
    return replace(patient, now_ms=1_000)


def _no_folder(core: HttpCore, patient: Patient) -> Patient:
    return replace(patient, data_path=patient.data_path / "missing")


def _no_broker(core: HttpCore, patient: Patient) -> Patient:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    return replace(patient, mqtt=LinkConfig("127.0.0.1", port, "core", "core", "x", 15))


def _no_password(core: HttpCore, patient: Patient) -> Patient:
    return replace(patient, mqtt_problem="无法读取消息代理密码文件")


@pytest.mark.parametrize(
    ("break_it", "name"),
    [
        (_no_key, "master_key"),
        (_exposed_key, "master_key"),
        (_broken_key, "master_key"),
        (_other_key, "sealed_data"),
        (_no_database, "database"),
        (_damaged_database, "database"),
        (_old_schema, "schema"),
        (_drifted_schema, "schema"),
        (_no_api_key, "api_keys"),
        (_no_channel, "channels"),
        (_strange_dialect, "channels"),
        (_no_goods, "skus"),
        (_no_agent, "warehouses"),
        (_no_numbers, "waybill_pool"),
        (_recovering, "recovery"),
        (_stuck_message, "messages"),
        (_clock_went_back, "clock_order"),
        (_clock_never_set, "clock"),
        (_no_folder, "data_folder"),
        (_no_broker, "broker"),
        (_no_password, "broker"),
    ],
)
def test_what_is_broken_is_named_with_its_fix(tmp_path: Path, break_it: Break, name: str) -> None:
    core, patient = sound(tmp_path)
    if break_it is _no_goods:
        execute(core, t.sku_barcode.delete())
    broken = break_it(core, patient) or patient
    core.wired.engine.dispose()
    found = failures(broken)
    assert name in found, found
    assert found[name].fix
    assert found[name].saw


def test_a_port_that_is_taken_is_named_unless_we_hold_it(tmp_path: Path) -> None:
    _, patient = sound(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        patient = replace(patient, http_port=taken.getsockname()[1])
        assert "http_port" in failures(patient)
        lock = ServeLock(tmp_path / "core.sqlite")
        lock.acquire()
        assert "http_port" not in failures(patient)
        lock.release()


def test_examining_changes_nothing(tmp_path: Path) -> None:
    core, patient = sound(tmp_path)
    core.wired.engine.dispose()
    before = (tmp_path / "core.sqlite").read_bytes()
    examine_all(patient)
    engine = open_engine(patient.database_url)
    engine.dispose()
    assert (tmp_path / "core.sqlite").read_bytes() == before
