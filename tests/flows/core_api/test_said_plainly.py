"""What a person at a terminal is told when a set-up is wrong: one Chinese line, no secrets."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from cloud_core.cli import rules, watching
from cloud_core.cli.root import root
from cloud_core.domain.freight import place_zh
from cloud_core.domain.routing_rules import DEFAULTS_TOML, read_rules
from cloud_core.domain.rule_values import NO_RULES
from cloud_core.store.divisions import load_names
from tests.flows.core_api.test_cli import ORDERS, SKUS, Terminal

rules.register(root)
watching.register(root)
WAREHOUSES = "仓库编码,站点,仓库名称,优先级\nHZ01,hz01,杭州仓,1\n"
RULE = '[[rules]]\nname = "重货"\nwhen = {weight_over_kg = 3}\nthen = {tags = ["重货"]}\n'


@pytest.fixture
def terminal(tmp_path: Path) -> Terminal:
    return Terminal(tmp_path)


@pytest.mark.parametrize("verb", ["init", "serve", "migrate", "doctor"])
@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("postgresql+psycopg://a:hidden-word@127.0.0.1:1/x", "连接被拒绝"),
        ("mysql://a:hidden-word@127.0.0.1/x", "database_url 须为"),
        ("hidden-word", "database_url 须为"),
    ],
)
def test_a_wrong_database_url_is_said_in_chinese(
    terminal: Terminal, verb: str, url: str, says: str
) -> None:
    terminal.run("init")
    terminal.environment["PACKLINE_CORE_DATABASE_URL"] = url
    terminal.environment["PACKLINE_CORE_MQTT_ENABLED"] = "false"
    found = terminal.run(verb, ok=False)
    assert says in found.output
    assert "hidden-word" not in found.output
    assert "Traceback" not in found.output
    assert isinstance(found.exception, SystemExit)


def test_a_busy_port_and_a_broken_file_are_said_in_chinese(terminal: Terminal) -> None:
    terminal.run("init")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        terminal.environment["PACKLINE_CORE_HTTP_PORT"] = str(taken.getsockname()[1])
        terminal.environment["PACKLINE_CORE_MQTT_ENABLED"] = "false"
        found = terminal.run("serve", ok=False)
    assert "端口被占用" in found.output
    assert isinstance(found.exception, SystemExit)
    files = sorted((terminal.folder / "core").glob("*.sqlite*"))
    for beside in files[1:]:
        beside.unlink()
    files[0].write_bytes(b"this is no database at all" * 400)
    assert "文件不是 SQLite 数据库" in terminal.run("doctor", ok=False).output
    missing = terminal.run("restore", str(terminal.folder / "none.sqlite"), "--yes", ok=False)
    assert "没有备份文件" in missing.output


def test_an_empty_rule_file_replaces_nothing_unasked(terminal: Terminal) -> None:
    terminal.run("init")
    shown = terminal.file("shown.toml", terminal.run("rules", "show").output)
    assert "第 1 版" in terminal.run("rules", "apply", shown).output
    terminal.run("rules", "apply", terminal.file("rule.toml", RULE))
    empty = terminal.file("empty.toml", "# 没有规则\n")
    refused = terminal.run("rules", "apply", empty, ok=False)
    assert "rules_empty" in refused.output
    assert terminal.json("rules", "show")["version"] == 2
    assert "第 3 版" in terminal.run("rules", "apply", empty, "--empty").output


def test_the_defaults_that_are_shown_are_those_that_run() -> None:
    read = read_rules(DEFAULTS_TOML, load_names())
    assert not read.problems
    counted = tuple(name for name in NO_RULES.ranking.order if name != "load")  # not looked at
    assert read.rules.ranking.order == counted
    assert read.rules.ranking.transit_buckets == NO_RULES.ranking.transit_buckets
    assert read.rules.split == NO_RULES.split


def test_a_forced_breaker_is_said_in_the_words_of_the_console(terminal: Terminal) -> None:
    terminal.run("init")
    terminal.run("import", "warehouses", terminal.file("w.csv", WAREHOUSES))
    forced = terminal.run("breaker", "force", "HZ01", "open", "--reason", "停电").output
    assert forced == "仓库 HZ01：人工暂停派单\n"
    assert "正常接单" not in terminal.run("breaker", "list").output
    assert terminal.run("breaker", "force", "HZ01", "auto").output == (
        "仓库 HZ01：正常接单（自动判断）\n"
    )
    assert "熔断只能设为" in terminal.run("breaker", "force", "HZ01", "shut", ok=False).output
    refused = terminal.run("notify", "add", "x", "--kind", "log", "--only", "nonsense", ok=False)
    assert "没有类别 nonsense，可选：breaker" in refused.output


def test_orders_are_listed_in_chinese_and_by_state(terminal: Terminal) -> None:
    terminal.run("init")
    terminal.run("import", "skus", terminal.file("skus.csv", SKUS))
    terminal.run("channel", "add", "demo-shop", "--dialect", "generic")
    orders = terminal.file("orders.csv", ORDERS)
    terminal.run("import", "orders", orders, "--channel", "demo-shop", ok=False)
    listed = terminal.run("list", "orders").output
    assert "停放" in listed
    assert "routed" not in listed
    assert "F-1" in terminal.run("list", "orders", "--state", "parked").output
    assert "F-1" not in terminal.run("list", "orders", "--state", "delivered").output
    refused = terminal.run("list", "orders", "--state", "lost", ok=False)
    assert "没有状态 lost" in refused.output


def test_a_rule_file_tells_all_its_faults_at_once(terminal: Terminal) -> None:
    terminal.run("init")
    text = (
        '[[rules]]\nname = "一"\nthen = {force_carrier = "NOPE"}\n'
        '[[rules]]\nname = "二"\nwhen = {weight_over_kg = "x"}\nthen = {tags = ["t"]}\n'
    )
    found = terminal.run("rules", "check", terminal.file("r.toml", text), ok=False).output
    assert "NOPE" in found
    assert "when.weight_over_kg" in found


def test_a_place_is_named_and_a_freight_row_names_its_column(terminal: Terminal) -> None:
    assert place_zh("54") == "西藏（54）"
    assert place_zh("5401") == "西藏（5401）"
    terminal.run("init")
    carriers = "id,name\nYS,演示快运\n"
    terminal.run("import", "carriers", terminal.file("c.csv", carriers))
    freight = (
        "承运商,地区,起始重量(克),首重(克),首重价(分),续重(克),续重价(分)\n"
        "YS,全国,500,1000,800,1000,300\n"
    )
    found = terminal.run("import", "freight", terminal.file("f.csv", freight), ok=False).output
    assert "[起始重量(克)]" in found, found
