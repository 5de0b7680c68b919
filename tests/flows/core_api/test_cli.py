"""A person at a terminal sets up a core, fills it, looks at it, copies and restores it."""

from __future__ import annotations

import importlib.resources
import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import create_engine

from cloud_core.cli import data, people, running
from cloud_core.cli.root import root
from cloud_core.store.engine import ServeLock
from cloud_core.store.migrate import HEAD

running.register(root)
people.register(root)
data.register(root)

SKUS = "商品编码,商品名称,条码\nSKU-001,演示毛巾,690000000011\nSKU-002,演示水杯,690000000028\n"
ORDERS = (
    "订单号,付款时间,商品编码,数量,收货人,手机号,省,市,区,详细地址\n"
    "F-1,2026-11-21 10:00:00,SKU-001,1,测试甲,10000000001,浙江省,杭州市,余杭区,演示路1号301室\n"
    "F-2,2026-11-21 10:00:00,SKU-001,-1,测试甲,10000000001,浙江省,杭州市,余杭区,演示路1号301室\n"
)


class Terminal:
    """Runs verbs in one data folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = {"PACKLINE_CORE_DATA_DIR": str(folder / "core")}

    def run(self, *words: str, given: str = "", ok: bool = True) -> Result:
        result = CliRunner().invoke(root, list(words), input=given, env=self.environment)
        if ok:
            assert result.exit_code == 0, (words, result.output, result.exception)
        else:
            assert result.exit_code != 0, (words, result.output)
        return result

    def json(self, *words: str) -> Any:
        return json.loads(self.run(*words, "--json").stdout)

    def file(self, name: str, text: str) -> str:
        path = self.folder / name
        path.write_text(text, encoding="utf-8")
        return str(path)


@pytest.fixture
def terminal(tmp_path: Path) -> Terminal:
    found = Terminal(tmp_path)
    found.run("init")
    return found


def test_init_makes_private_files_and_never_replaces_the_key(terminal: Terminal) -> None:
    key = terminal.folder / "core" / "master.key"
    before = key.read_bytes()
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert stat.S_IMODE((terminal.folder / "core" / "core.sqlite").stat().st_mode) == 0o600
    terminal.run("init")
    assert key.read_bytes() == before


def test_every_verb_has_help_in_chinese_and_english(terminal: Terminal) -> None:
    def walk(group: Any, words: list[str]) -> None:
        for name, verb in group.commands.items():
            text = (verb.help or "").strip()
            assert any("一" <= char <= "鿿" for char in text), (words, name)
            assert any(char.isascii() and char.isalpha() for char in text), (words, name)
            assert terminal.run(*words, name, "--help").output
            if hasattr(verb, "commands"):
                walk(verb, [*words, name])

    walk(root, [])


def test_a_key_is_shown_once_listed_without_it_and_revoked(terminal: Terminal) -> None:
    made = terminal.json("key", "create", "仓库大屏", "--scope", "write")
    assert made["key"].startswith("pk_")
    assert len(made["key"]) == 46
    (row,) = terminal.json("key", "list")
    assert (row["id"], row["name"], row["scopes"]) == (made["id"], "仓库大屏", ["write"])
    assert made["key"] not in terminal.run("key", "list", "--json").stdout
    terminal.run("key", "revoke", made["id"])
    assert "key_unknown" in terminal.run("key", "revoke", made["id"], ok=False).output
    assert "scope_unknown" in terminal.run("key", "create", "x", "--scope", "god", ok=False).output
    actions = [row["action"] for row in terminal.json("list", "audit")]
    assert actions[:2] == ["key.revoked", "key.created"]


def test_channels_and_their_secrets(terminal: Terminal) -> None:
    made = terminal.json("channel", "add", "demo-shop", "--dialect", "generic")
    assert len(made["secret"]) == 43
    terminal.run("channel", "add", "douyin-a", "--dialect", "douyin", "--secret-stdin",
                 given="platform-secret\n")  # fmt: skip
    rotated = terminal.json("channel", "rotate-secret", "demo-shop")
    assert rotated["secret"] != made["secret"]
    listed = terminal.run("channel", "list", "--json").stdout
    assert [row["live_secrets"] for row in json.loads(listed)] == [2, 1]
    everything = b"".join(
        path.read_bytes() for path in (terminal.folder / "core").glob("core.sqlite*")
    )
    for secret in (made["secret"], rotated["secret"], "platform-secret"):
        assert secret not in listed
        assert secret.encode() not in everything
    for words, code in (
        (("channel", "add", "demo-shop", "--dialect", "generic"), "channel_exists"),
        (("channel", "add", "Demo", "--dialect", "generic"), "channel_name"),
        (("channel", "add", "x", "--dialect", "martian"), "dialect_unknown"),
        (("channel", "rotate-secret", "ghost"), "channel_unknown"),
        (("channel", "add", "y", "--dialect", "generic", "--column", "单号"), "mapping_broken"),
    ):
        assert code in terminal.run(*words, ok=False).output, words


def test_a_channel_is_changed_paused_and_resumed(terminal: Terminal) -> None:
    terminal.run("channel", "add", "demo-shop", "--dialect", "generic", "--column", "心情=-")
    url = "https://shop.example/packline"
    told = terminal.run("channel", "change", "demo-shop", "--pause", "--write-back-url", url)
    assert "已暂停" in told.output
    (row,) = terminal.json("channel", "list")
    assert (row["enabled"], row["write_back_url"], row["columns"]) == (False, url, {"心情": "-"})
    terminal.run("channel", "change", "demo-shop", "--resume", "--column", "备注2=-")
    (row,) = terminal.json("channel", "list")
    assert (row["enabled"], row["columns"]) == (True, {"备注2": "-"})
    for words, code in (
        (("ghost", "--pause"), "channel_unknown"),
        (("demo-shop",), "change_empty"),
        (("demo-shop", "--column", "单号=numbre"), "mapping_broken"),
        (("demo-shop", "--write-back-url", "shop.example"), "url_invalid"),
    ):
        assert code in terminal.run("channel", "change", *words, ok=False).output, words
    short = terminal.run("channel", "rotate-secret", "demo-shop", "--secret-stdin", given="\n",
                         ok=False)  # fmt: skip
    assert "secret_short" in short.output


def fill(terminal: Terminal) -> None:
    """Master data and one order file."""
    files = {
        "carriers": "快递编码,快递名称,单号规则\nYS,演示快运,YS\\d{12}\n",
        "warehouses": "仓库编码,仓库名称,默认快递\nHZ,杭州仓,YS\n",
        "skus": SKUS,
        "stock": "仓库编码,商品编码,数量\nHZ,SKU-001,50\n",
    }
    for kind, text in files.items():
        terminal.run("import", kind, terminal.file(f"{kind}.csv", text))
    terminal.run("waybills", "fill", "YS", "--prefix", "YS", "--count", "120")
    terminal.run("channel", "add", "demo-shop", "--dialect", "generic")


def test_a_folder_of_tables_is_imported_in_one_go(terminal: Terminal) -> None:
    samples = importlib.resources.files("virtual_warehouse") / "samples"
    reports = terminal.json("import", "all", str(samples))
    assert [report["kind"] for report in reports][:3] == ["skus", "carriers", "warehouses"]
    assert all(report["created"] and not report["refused"] for report in reports)
    assert "skus：新增 0，变更 0，相同 20" in terminal.run("import", "all", str(samples)).output
    assert [row["id"] for row in terminal.json("list", "warehouses")] == ["HZ01", "SZ01"]


def test_a_folder_is_checked_against_itself_before_anything_is_there(terminal: Terminal) -> None:
    samples = importlib.resources.files("virtual_warehouse") / "samples"
    reports = terminal.json("import", "all", str(samples), "--dry-run")
    assert all(report["created"] and report["dry_run"] for report in reports)
    assert not [report for report in reports if report["refused"]]
    assert terminal.json("list", "skus") == terminal.json("list", "warehouses") == []
    folder = terminal.folder / "tables"
    folder.mkdir()
    (folder / "agents.csv").write_text("代理编码,仓库编码,名称\nhz-a,HZ,一号台\n", encoding="utf-8")
    refused = terminal.run("import", "all", str(folder), "--dry-run", ok=False)
    assert "warehouse_unknown" in refused.output


def test_imports_dry_runs_reports_and_lists(terminal: Terminal) -> None:
    dry = terminal.json("import", "skus", terminal.file("s.csv", SKUS), "--dry-run")
    assert (dry["created"], dry["dry_run"]) == (2, True)
    assert terminal.json("list", "skus") == []
    fill(terminal)
    assert [row["id"] for row in terminal.json("list", "skus")] == ["SKU-001", "SKU-002"]
    assert "演示毛巾" in terminal.run("list", "skus").output
    bad = terminal.run(
        "import", "skus", terminal.file("b.csv", "商品编码,商品名称\nX,\n"), ok=False
    )
    assert "第 2 行" in bad.output
    whole_file = terminal.file("no-folder.csv", SKUS)
    for words, code in (
        (("import", "skus", str(terminal.folder)), "file_missing"),
        (("import", "all", whole_file), "tables_missing"),
    ):
        assert code in terminal.run(*words, ok=False).output, words
    ghost = terminal.run("import", "ghosts", terminal.file("g.csv", SKUS), ok=False)
    assert "kind_unknown_master" in ghost.output


def test_waybill_numbers_continue_and_fit_the_carrier(terminal: Terminal) -> None:
    fill(terminal)
    terminal.run("waybills", "fill", "YS", "--prefix", "YS", "--count", "3")
    numbers = [row["number"] for row in terminal.json("list", "waybills")]
    assert (len(numbers), numbers[-1]) == (123, "YS000000000123")
    assert "waybill_shape" in terminal.run(
        "waybills", "fill", "YS", "--prefix", "ZZ", "--count", "1", ok=False
    ).output  # fmt: skip


def test_an_order_file_becomes_orders_that_are_shown_and_cancelled(terminal: Terminal) -> None:
    fill(terminal)
    file = terminal.file("orders.csv", ORDERS)
    first = terminal.run("import", "orders", file, "--channel", "demo-shop", "--json", ok=False)
    report = json.loads(first.stdout)
    assert (report["created"], report["refused"]) == (1, 1)
    again = terminal.run("import", "orders", file, "--channel", "demo-shop", "--json", ok=False)
    assert json.loads(again.stdout)["created"] == 0
    (row,) = terminal.json("list", "orders")
    shown = terminal.run("order", "show", "F-1").output
    assert row["id"] in shown
    assert "未选杭州仓（HZ）：没有登记边缘代理。" in shown, "why it goes nowhere"
    assert "测试甲" not in shown
    assert "仍停放：没有可用的仓库" in terminal.run("order", "retry", "F-1").output
    assert "已取消" in terminal.run("order", "cancel", row["id"]).output
    assert "shipment_not_parked" in terminal.run("order", "retry", "F-1", ok=False).output
    assert "order_unknown" in terminal.run("order", "show", "NOPE", ok=False).output
    assert "超时派单 0" in terminal.run("sweep").output


def test_an_agents_credential_is_made_once_and_given_to_both_brokers(terminal: Terminal) -> None:
    fill(terminal)
    made = terminal.json("agent", "add", "hz-a", "--warehouse", "HZ", "--name", "一号台")
    assert made["site"] == "hz"
    out = terminal.folder / "broker"
    for kind, name in (("nats", "nats.conf"), ("mosquitto", "mosquitto.conf")):
        terminal.run("broker-config", "--kind", kind, "--out", str(out), "--port", "18830")
        assert stat.S_IMODE((out / name).stat().st_mode) == 0o600
    assert made["secret"] in (out / "nats.conf").read_text()
    assert made["secret"] not in (out / "passwords").read_text()
    assert (terminal.folder / "core" / "mqtt.password").exists()
    assert terminal.json("agent", "add", "hz-a", "--warehouse", "HZ") == made
    assert [(row["id"], row["name"]) for row in terminal.json("agent", "list")] == [
        ("hz-a", "一号台")
    ]
    assert "最近上报" in terminal.run("agent", "list").output
    assert "warehouse_unknown" in terminal.run(
        "agent", "add", "sz-a", "--warehouse", "SZ", ok=False
    ).output  # fmt: skip


def test_a_restored_core_is_a_new_life_that_waits_for_its_agents(terminal: Terminal) -> None:
    fill(terminal)
    terminal.run("agent", "add", "hz-a", "--warehouse", "HZ")
    copy = terminal.folder / "copy.sqlite"
    terminal.run("backup", str(copy))
    terminal.run("import", "orders", terminal.file("o.csv", ORDERS), "--channel", "demo-shop",
                 ok=False)  # fmt: skip
    assert len(terminal.json("list", "orders")) == 1
    assert "恢复中" in terminal.run("restore", str(copy), "--yes").output
    assert terminal.json("list", "orders") == []
    assert "recovering" in {row["kind"] for row in terminal.json("list", "alarms")}
    assert [row["replay_missing"] for row in terminal.json("agent", "list")] == [True]
    terminal.run("agent", "waive", "hz-a")
    assert [row["replay_missing"] for row in terminal.json("agent", "list")] == [False]
    assert "recovering" not in {row["kind"] for row in terminal.json("list", "alarms")}
    assert (terminal.folder / "core" / "core.sqlite.before-restore").exists()


def test_nothing_is_restored_over_a_serving_core(terminal: Terminal) -> None:
    copy = terminal.folder / "copy.sqlite"
    terminal.run("backup", str(copy))
    lock = ServeLock(terminal.folder / "core" / "core.sqlite")
    lock.acquire()
    try:
        refused = terminal.run("restore", str(copy), "--yes", ok=False)
        assert "already_serving" in refused.output
        assert str(os.getpid()) in refused.output
        assert "already_serving" in terminal.run("serve", ok=False).output
    finally:
        lock.release()
    broken = terminal.file("broken.sqlite", "not a database")
    assert "backup_broken" in terminal.run("restore", broken, "--yes", ok=False).output


def test_a_verb_without_a_key_or_with_a_bad_setting_says_what_to_do(tmp_path: Path) -> None:
    empty = Terminal(tmp_path)
    assert "cloud-core init" in empty.run("key", "list", ok=False).output
    empty.environment["PACKLINE_CORE_HTPP_PORT"] = "1"
    assert "settings_invalid" in empty.run("key", "list", ok=False).output


def test_the_reference_is_printed(terminal: Terminal) -> None:
    assert "`offer_ttl_s`" in terminal.run("settings").output
    assert f"最新 {HEAD}" in terminal.run("migrate").output


def test_a_dry_run_of_an_order_file_says_what_is_true_and_leaves_no_trace(
    terminal: Terminal,
) -> None:
    fill(terminal)
    nothing = {kind: terminal.json("list", kind, "--all") for kind in ("orders", "quarantine")}
    one, row = ORDERS.splitlines()[0], ORDERS.splitlines()[1]
    file = terminal.file("o.csv", f"{one}\n{row}\n")
    words = ("import", "orders", "--channel", "demo-shop")
    tried = terminal.json(*words, file, "--dry-run")
    assert (tried["created"], tried["changed"], tried["same"]) == (1, 0, 0)
    assert {kind: terminal.json("list", kind, "--all") for kind in nothing} == nothing
    assert not [r for r in terminal.json("list", "audit") if r["action"] == "orders.upload"]
    done = terminal.json(*words, file)
    assert (done["created"], done["same"]) == (1, 0)
    tried = terminal.json(*words, file, "--dry-run")
    assert (tried["created"], tried["changed"], tried["same"]) == (0, 0, 1), "it is there already"
    mixed = terminal.file(
        "m.csv", f"{one}\n{row}\n{row.replace('F-1', 'F-3')}\n"
        f"{row.replace('F-1', 'F-4').replace('SKU-001', 'SKU-009')}\n",
    )  # fmt: skip
    refused = terminal.run(*words, mixed, "--dry-run", ok=False).output
    assert "试运行，未写入：新增 1，变更 0，相同 1，拒绝 1" in refused
    assert "订单 F-4：商品编码 SKU-009 不存在（sku_unknown）" in refused
    assert "已隔离" not in refused
    assert terminal.json("list", "quarantine", "--all") == nothing["quarantine"]
    assert [r["native_id"] for r in terminal.json("list", "orders")] == ["F-1"]


def test_what_a_person_does_to_orders_at_the_terminal_is_audited(terminal: Terminal) -> None:
    fill(terminal)
    terminal.run("import", "orders", terminal.file("o.csv", ORDERS), "--channel", "demo-shop",
                 ok=False)  # fmt: skip
    (order,) = terminal.json("list", "orders")
    said = terminal.run("order", "cancel", "F-1", "--reason", "买家 10000000001 来电").output
    assert said == f"{order['id']}：已取消\n"
    found = {row["action"]: row for row in terminal.json("list", "audit")}
    assert found["orders.upload"]["target"] == "demo-shop"
    cancelled = found["order.cancel"]
    assert (cancelled["target"], cancelled["source"]) == (order["id"], "local")
    assert cancelled["actor"].startswith("cli:")
    assert cancelled["detail"] == "买家 *** 来电"


def test_more_orders_than_a_list_holds_are_refused_not_left_out(terminal: Terminal) -> None:
    assert terminal.json("list", "orders", "--limit", "200") == []
    refused = terminal.run("list", "orders", "--limit", "201", ok=False).output
    assert "orders 一次最多列出 200 行" in refused
    assert "limit_too_large" in refused
    terminal.run("list", "skus", "--limit", "100000")


def test_a_parked_order_is_called_so_however_many_newer_ones_wait(terminal: Terminal) -> None:
    """The newest 200 parked orders were looked at, whichever orders were listed."""
    fill(terminal)
    head, row = ORDERS.splitlines()[:2]
    rows = [row.replace("F-1", f"F-{n}") for n in range(1, 204)]
    terminal.run("import", "orders", "--channel", "demo-shop",
                 terminal.file("o.csv", "\n".join([head, *rows])))  # fmt: skip
    engine = create_engine(f"sqlite:///{terminal.folder / 'core' / 'core.sqlite'}")
    with engine.begin() as connection:
        connection.exec_driver_sql(
            "UPDATE orders SET created_ms = 1, state = 'paid' WHERE native_id = 'F-7'"
        )
    engine.dispose()
    listed = terminal.run("list", "orders", "--state", "paid").output
    assert "F-7" in listed
    assert "停放" in listed


def test_an_order_of_a_file_with_unknown_goods_is_in_the_report(terminal: Terminal) -> None:
    terminal.run("import", "skus", terminal.file("skus.csv", SKUS))
    terminal.run("channel", "add", "demo-shop", "--dialect", "generic")
    rows = ORDERS.replace("SKU-001,1", "SKU-009,1").replace("SKU-001,-1", "SKU-001,1")
    told = terminal.run(
        "import", "orders", terminal.file("orders.csv", rows), "--channel", "demo-shop", ok=False
    )
    assert "新增 1" in told.output
    assert "sku_unknown" in told.output
