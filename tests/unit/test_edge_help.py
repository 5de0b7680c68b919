"""What helps from outside: status, journal export and verify, a bundle without persons."""

from __future__ import annotations

import io
import json
import re
import sqlite3
import tarfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from edge_agent import bootstrap, bundle
from edge_agent import settings as settings_module
from edge_agent.agent import view
from edge_agent.agent.clock import FlooredClock
from edge_agent.bootstrap import printer_probe, support
from edge_agent.bootstrap.box import Box
from edge_agent.cli.root import root
from edge_agent.cli.status import _told
from edge_agent.domain.moment import ClockFloor
from edge_agent.pages import metrics
from protocols import commands
from tests.house.tree import ROOT
from tests.support.edge import Floor, grant, hand_over, offer
from tests.support.edge_live import HandPrinter, live_of

Ask = Callable[..., Result]


@pytest.fixture
def floor(tmp_path: Path) -> Floor:
    """The journal of a shipment that went its whole way."""
    floor = Floor(tmp_path)
    floor.tell(offer())
    floor.tell(grant())
    hand_over(floor)
    return floor


@pytest.fixture
def ask(tmp_path: Path) -> Ask:
    """Runs the command line on the journal's folder."""
    config = tmp_path / "edge.toml"
    config.write_text(
        f'site = "sha"\nagent = "sha-1"\ndata_dir = "{tmp_path}"\npage_enabled = false\n',
        encoding="utf-8",
    )

    def run(*words: str) -> Result:
        return CliRunner().invoke(root, ["--config", str(config), *words])

    return run


def lines(result: Result) -> list[dict[str, Any]]:
    assert result.exit_code == 0, result.output
    return [json.loads(line) for line in result.output.splitlines()]


def test_the_chain_of_an_untouched_journal_is_whole(floor: Floor, ask: Ask) -> None:
    (found,) = lines(ask("journal", "verify", "--stream", "floor", "--json"))
    assert found["rows"] == found["last"] == len(floor.events())
    assert found["broken_at"] == 0


@pytest.mark.parametrize(
    ("sql", "why"),
    [
        (
            "UPDATE row SET row=CAST(REPLACE(CAST(row AS TEXT), 'SKU-A', 'SKU-Z') AS BLOB)",
            "changed",
        ),
        ("DELETE FROM row WHERE seq=5", "missing"),
    ],
)
def test_a_row_that_was_changed_or_taken_out_is_found(
    floor: Floor, ask: Ask, sql: str, why: str
) -> None:
    floor.core.close()
    with sqlite3.connect(floor.path) as db:
        db.execute(sql)
    done = ask("journal", "verify", "--stream", "floor", "--json")
    assert done.exit_code == 1
    found = json.loads(done.output)
    assert found["why"] == why
    assert 1 < found["broken_at"] <= found["last"]


def test_what_aged_out_does_not_break_the_chain(floor: Floor, ask: Ask) -> None:
    from edge_agent.journal import rows

    def age(tx: Any) -> None:
        rows.set_acked(tx.db, 1, 6)
        rows.prune(tx.db)

    floor.write(age)
    (found,) = lines(ask("journal", "verify", "--stream", "floor", "--json"))
    assert (found["first"], found["broken_at"]) == (7, 0)


def test_every_event_is_exported_with_its_hash(floor: Floor, ask: Ask, tmp_path: Path) -> None:
    found = lines(ask("journal", "export"))
    assert [one["type"] for one in found] == floor.types()
    assert all(len(one["hash"]) == 64 for one in found)
    done = ask("journal", "export", "--format", "csv", "--out", str(tmp_path / "out.csv"))
    assert str(len(found)) in done.output
    table = (tmp_path / "out.csv").read_text(encoding="utf-8").splitlines()
    assert len(table) == len(found) + 1
    assert len(lines(ask("journal", "export", "--since", "9"))) == len(found) - 8


def test_the_newest_rows_are_listed_first(floor: Floor, ask: Ask) -> None:
    found = lines(ask("journal", "list", "--json", "--count", "3"))
    assert [one["seq"] for one in found] == sorted((one["seq"] for one in found), reverse=True)


def test_the_status_of_an_agent_that_is_down_comes_from_its_journal(floor: Floor, ask: Ask) -> None:
    assert "代理没有在运行" in ask("status").output
    shown = json.loads(ask("status", "--json").output)
    assert shown["running"] is False
    assert shown["tasks"] == {"handed_over": 1}


def test_a_journal_that_is_no_database_is_told_in_words(tmp_path: Path, ask: Ask) -> None:
    (tmp_path / "floor.db").write_bytes(b"rubbish" * 999)
    for words in (["status"], ["journal", "verify", "--stream", "floor"], ["journal", "export"]):
        done = ask(*words)
        assert done.exit_code == 2
        assert "journal_unreadable" in done.output


def test_safe_mode_and_the_clocks_floor_at_the_command_line(tmp_path: Path, ask: Ask) -> None:
    assert ask("safe-mode").exit_code == 0
    for _ in range(4):
        bootstrap.starts.begin(tmp_path, bootstrap.chance.boot_id())
    assert "安全模式" in ask("safe-mode").output
    assert ask("safe-mode", "--leave").exit_code == 0
    assert ask("safe-mode").exit_code == 0
    told = json.loads(ask("clock", "--json").output)
    assert told["floor_ms"] >= bootstrap.chance.built_ms()
    assert "系统时间" in ask("clock").output


def test_a_journal_in_a_folder_with_a_question_mark_is_read(tmp_path: Path) -> None:
    odd = tmp_path / "仓#1?"
    odd.mkdir()
    config = odd / "edge.toml"
    config.write_text(f'site = "sha"\nagent = "sha-1"\ndata_dir = "{odd}"\npage_enabled = false\n')
    Floor(odd).tell(offer())
    done = CliRunner().invoke(root, ["--config", str(config), "status"])
    assert "offered 1" in done.output or "accepted 1" in done.output, done.output


def test_wear_and_safe_mode_are_metrics(tmp_path: Path, floor: Floor) -> None:
    live = live_of(floor, Floor(tmp_path, stream="telemetry"), HandPrinter())
    box = Box(FlooredClock(floor.clock, ClockFloor()), "安全模式")
    text = metrics.text({**view.status(live), "box": box.health()})
    for wanted in ("written_bytes_per_day ", "safe_mode 1", "journal_failing 0"):
        assert f"packline_edge_{wanted}" in text
    assert "packline_edge_safe_mode" not in metrics.text(view.status(live))


PERSON = {
    "name": "演示乙丙",
    "latin_name": "Yanshi Yibing",
    "dotted_phone": "100.0000.0002",
    "phone": "10000000001",
    "spaced_phone": "100 0000 0001",
    "address": "测试省测试市演示路99号",
    "mail": "yanshi@example.com",
    "operator": "测试操作员甲",
    "native": "N-10000000001",
    "code": "SN-PRIVATE-4711",
}


def planted(folder: Path) -> None:
    """A journal with persons wherever a text can stand."""
    floor = Floor(folder)
    floor.tell(offer())
    task = grant()
    label = commands.LabelText(
        carrier_name="测试快递", receiver_name=PERSON["name"], receiver_phone=PERSON["phone"],
        receiver_address=PERSON["address"],
    )  # fmt: skip
    floor.tell(type(task)(**{
        **{name: getattr(task, name) for name in task.__struct_fields__},
        "label": label, "native_id": PERSON["native"],
    }))  # fmt: skip
    floor.scan(f"OP-{PERSON['operator']}")
    floor.scan(PERSON["phone"])
    floor.scan(PERSON["code"])
    floor.write(lambda tx: tx.db.execute("UPDATE station SET operator=?", (PERSON["operator"],)))
    floor.write(lambda tx: tx.db.execute("UPDATE task SET notice=?", (PERSON["address"],)))
    floor.core.close()
    (folder / f"floor.db.broken-{PERSON['phone']}").write_bytes(PERSON["name"].encode())


def unpacked(data: bytes) -> dict[str, str]:
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        return {
            one.name: file.read().decode()
            for one in archive.getmembers()
            if (file := archive.extractfile(one)) is not None
        }


LOG: Sequence[str] = (
    "2026-11-22T05:00:00.123Z INFO edge_agent.agent.shell agent.started boot=3 unknown=0 held=0",
    f"2026-11-22T05:00:01.000Z ERROR x label.not_drawn number=1 for={PERSON['name']}"
    f" phone={PERSON['phone']} mail={PERSON['mail']} at={PERSON['address']}",
    f"a line of another program about {PERSON['operator']} {PERSON['code']}",
    f"2026-11-22T05:00:02+08:00 scan.refused tel {PERSON['spaced_phone']}",
    f"2026-11-22T05:00:03Z label.not_drawn for={PERSON['latin_name']} tel={PERSON['dotted_phone']}",
    f"2026-11-22T05:00:03Z label.not_drawn reason={PERSON['latin_name']} {PERSON['dotted_phone']}",
)


def test_a_bundle_holds_nothing_of_the_persons_planted_everywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    planted(tmp_path)
    status = {
        "agent": "sha-1", "site": "sha", "version": "1", "now_ms": 1_800_000_000_000, "boot": 3,
        "link": {"connected": True, "reason": PERSON["phone"]}, "warehouse": PERSON["name"],
        "streams": {}, "journal": {"used_bytes": 1}, "counters": {}, "task_counts": {},
        "job_counts": {},
        "printers": {"p": {"level": "ok", "code": "", "reason_zh": PERSON["name"]}},
        "tasks": [{"state": "picking", "station": "S1", "notice": PERSON["address"],
                   "native_id": PERSON["native"], "lines": [{"name": PERSON["name"]}]}],
        "jobs": [{"kind": "waybill", "number": PERSON["native"], "state": "sent", "reason": "",
                  "printer": "p", "queued_ms": 1, "operator": PERSON["operator"]}],
        "stations": [{"operator": PERSON["operator"]}], "scans": [{"code": PERSON["code"]}],
        "box": {"drivers": {"printer p": f"tel {PERSON['phone']}"}},
    }  # fmt: skip
    monkeypatch.setattr(support, "running_status", lambda settings: status)
    monkeypatch.setattr("edge_agent.doctor.examine", lambda patient: [])
    settings = settings_module.check(
        {"site": "sha", "agent": "sha-1", "data_dir": str(tmp_path),
         "warehouse_name": f"仓 {PERSON['name']} {PERSON['phone']}",
         "mqtt_username": PERSON["mail"]}
    )  # fmt: skip
    files = unpacked(support.support_bundle(settings, list(LOG)))
    everything = "\n".join(files.values())
    assert {what: text for what, text in PERSON.items() if text in everything} == {}
    assert "10000000001" not in everything.replace(" ", "").replace("-", "")
    assert "另" not in everything


def test_a_bundle_still_says_what_helps(
    floor: Floor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge_agent.doctor.examine", lambda patient: [])
    settings = settings_module.check({"site": "sha", "agent": "sha-1", "data_dir": str(tmp_path)})
    files = unpacked(support.support_bundle(settings, list(LOG)))
    events = json.loads(files["packline-bundle/journal_floor.json"])["events"]
    assert [one["type"] for one in events] == list(reversed(floor.types()))
    assert "body" not in events[0]
    (chain,) = json.loads(files["packline-bundle/chain_floor.json"])
    assert chain["broken_at"] == 0
    assert "agent.started boot=3" in files["packline-bundle/log.txt"]
    assert "2026-11-22T05:00:00.123Z" in files["packline-bundle/log.txt"]
    assert json.loads(files["packline-bundle/chain_telemetry.json"]) == {
        "missing": "journal_missing"
    }
    assert json.loads(files["packline-bundle/settings.json"])["data_dir"] == str(tmp_path)


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("tel 100-0000-0001 now", "tel [digits] now"),
        ("tel １０００００００００１", "tel [digits]"),
        ("+86(100)0000-0001, 100_0000_0001", "+[digits], [digits]"),
        ("from a.b@example.com", "from [mail]"),
        ("2026-11-22T05:00:00Z up", "2026-11-22T05:00:00Z up"),
        ("192.168.1.20:1883", "192.168.1.20:1883"),
        ("00000000000000ab", "00000000000000ab"),
        ("tel 100.0000.0001", "tel [digits]"),
        ("+86.100.0000.0001, +86 100.0000-0001", "+[digits], +[digits]"),
        ("(86) 100 – 0000 – 0001", "([digits]"),
        ("10.00.00.00.01 or 5550.0001", "[digits] or [digits]"),
        ("100·0000·0001, １００．００００．０００１", "[digits], [digits]"),
        ("linux 6.12.34-1 (3.11.2)", "linux 6.12.34-1 (3.11.2)"),
        ("146.0.7680.71, 2.17.3, 0.1.0", "146.0.7680.71, 2.17.3, 0.1.0"),
        ("6.12.34 of 2026", "6.12.34 of 2026"),
        ("192.168.100.200:9100 255.255.255.0", "192.168.100.200:9100 255.255.255.0"),
        ("for Yanshi Yi-Bing, CESHI JIA", "for [name] [name]-[name], [name] [name]"),
        ("Ólafur Þórsson called", "[name] [name] called"),
        ("[Errno 28] No space left on device", "[Errno 28] No space left on device"),
        ("Raspberry Pi Debian USB HID", "Raspberry Pi Debian USB HID"),
    ],
)
def test_the_sieve(text: str, kept: str) -> None:
    assert bundle.sieve(text) == kept


@pytest.mark.parametrize(
    ("line", "kept"),
    [
        ("label.settled number=YS1 receiver=yanshi yibing state=sent",
         "label.settled number=YS1 receiver=[hidden] state=sent"),
        ("scanner.reader_chosen reader=EvdevDevice", "scanner.reader_chosen reader=EvdevDevice"),
        ("handheld.cut_off device=a operator=Yanshi",
         "handheld.cut_off device=a operator=[hidden]"),
        ("link.connect_failed attempt=3 reason=[Errno 111] Connection refused",
         "link.connect_failed attempt=3 reason=[Errno 111] Connection refused"),
        ("label.not_drawn reason=Yanshi", "label.not_drawn reason=[name]"),
        ("page.opened url=http://192.168.1.20:8090/", "page.opened url=http://192.168.1.20:8090/"),
    ],
)  # fmt: skip
def test_a_log_line_keeps_what_is_ours(line: str, kept: str) -> None:
    assert bundle.log_part([line]) == [kept]


def test_every_key_of_our_log_lines_is_known_to_the_bundle() -> None:
    said: set[str] = set()
    for path in (ROOT / "edge_agent").rglob("*.py"):
        for call in re.findall(r"log\.\w+\(\s*\"([^\"]+)\"", path.read_text(encoding="utf-8")):
            said |= set(re.findall(r"(\w+)=", call))
    assert len(said) > 30
    assert said <= bundle.LOG_KEYS


def test_a_days_wear_is_told_after_an_hour_only(tmp_path: Path, floor: Floor) -> None:
    live = live_of(floor, Floor(tmp_path, stream="telemetry"), HandPrinter())
    health = {"written_bytes_per_day": 530_000_000}
    for running_ms, told in ((10_000, False), (3_600_000, True)):
        box = {**health, "running_ms": running_ms}
        shown = "\n".join(_told({"running": True, **view.status(live), "box": box}))
        assert ("每天写入约 530 MB" in shown) is told


def test_a_probed_profile_has_the_port_that_answered() -> None:
    found = printer_probe.Probed(True, "tspl", "full")
    assert "port = 9101" in printer_probe.profile_text(found, "label-1", port=9_101)
